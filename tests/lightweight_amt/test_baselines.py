import pytest
import torch

from common.checkpoint import CheckpointError, save
from lightweight_amt.baselines import BasicPitch, DeepClustering, OnsetsAndFrames
from lightweight_amt.contrastive import affinity_mse, info_nce
from lightweight_amt.loss import basic_pitch, focal, per_frame
from lightweight_amt.model import NANO, Transcriber

NETWORKS = {
    "Basic Pitch": (BasicPitch, 16_782),
    "Basic Pitch of the paper": (lambda: BasicPitch(enlarged=True), 56_517),
    "Onsets and Frames": (OnsetsAndFrames, 1_714_076),
}


@pytest.fixture(params=NETWORKS)
def net(request) -> torch.nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param][0]()


@pytest.fixture
def encoder(tmp_path) -> DeepClustering:
    torch.manual_seed(0)
    save(tmp_path / "branch.safetensors", Transcriber(**NANO), NANO)
    return DeepClustering(transcriber=str(tmp_path / "branch.safetensors"), hidden=16)


def noise(n_samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(batch, n_samples, generator=torch.Generator().manual_seed(seed))


def trainable(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_are_those_of_the_papers(name):
    build, size = NETWORKS[name]
    assert trainable(build()) == size


def test_deep_clustering_has_the_size_of_the_papers_and_the_shipped_branch_frozen_in_it():
    net = DeepClustering()
    assert trainable(net) == 4_897_776
    assert trainable(net.transcriber) == 0


@pytest.mark.parametrize("n_samples", [1, 257, 22050])
def test_every_length_gives_finite_logits_for_its_frames(net, n_samples):
    net.eval()
    for audio in (noise(n_samples), torch.zeros(1, n_samples)):
        logits = net(audio)
        assert tuple(logits) == net.outputs == ("onset", "frame")
        for logit in logits.values():
            assert logit.shape == (1, 84, net.grid.n_frames(n_samples))
            assert torch.isfinite(logit).all()


@pytest.mark.parametrize("loss", ["focal", "basic_pitch"])
def test_one_step_lowers_the_loss(net, loss):
    audio = noise(30 * 256, batch=2)
    target = (torch.rand(2, 84, 30, generator=torch.Generator().manual_seed(1)) < 0.1).float()
    log_energy = net.log_energy(audio)

    def compute() -> torch.Tensor:
        torch.manual_seed(0)  # the same cells dropped out
        logits = net.transcribe(log_energy)
        if loss == "focal":
            return sum(per_frame(focal(logit, target, alpha=0.2)) for logit in logits.values())
        return sum(basic_pitch(name, logit, target) for name, logit in logits.items())

    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    before = compute()
    before.backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    optimizer.step()
    assert compute() < before


def test_basic_pitch_hears_a_pitch_in_the_middle_of_the_three_bins_that_lead_to_it():
    """The kernels of stride 3 are centred on rows 3 i + 1."""
    net = BasicPitch().eval()
    for conv, height in ((net.note[0], 7), (net.branch[0], 5)):
        for pitch in (10, 40):
            impulse = torch.zeros(1, conv.in_channels, 252, 1)
            impulse[:, :, 3 * pitch + 1] = 1.0
            rows = (conv(impulse) - conv(torch.zeros_like(impulse)))[0, :, :, 0].abs().sum(dim=0)
            reached = torch.nonzero(rows)[:, 0]
            assert torch.equal(reached, torch.arange(pitch - height // 6, pitch + height // 6 + 1))


def test_a_frame_of_basic_pitch_depends_on_ten_to_either_side():
    for enlarged in (False, True):
        net = BasicPitch(enlarged).eval()
        picture = torch.rand(1, 288, 60, generator=torch.Generator().manual_seed(0))
        changed = picture.clone()
        changed[:, :, : 30 - net.reach] = 0.0
        changed[:, :, 30 + net.reach + 1 :] = 0.0
        for name, logit in net.transcribe(picture).items():
            assert torch.allclose(logit[..., 30], net.transcribe(changed)[name][..., 30], atol=1e-6)
        changed[:, :, 30 + net.reach] = 0.0
        onset = net.transcribe(changed)["onset"]
        assert not torch.equal(onset[..., 30], net.transcribe(picture)["onset"][..., 30])


def test_frames_of_onsets_and_frames_do_not_train_its_onsets():
    net = OnsetsAndFrames()
    net(noise(5000))["frame"].sum().backward()
    assert all(parameter.grad is None for parameter in net.onset.parameters())


def test_embeddings_have_unit_length(encoder):
    log_energy = encoder.transcriber.log_energy(noise(22050, batch=2))
    for module in (encoder.train(), encoder.eval()):
        embeddings = module.encode(log_energy)
        assert embeddings.shape == (2, 12, 84, 87)
        assert torch.allclose(embeddings.norm(dim=1), torch.ones(2, 84, 87), atol=1e-5)
    assert torch.equal(encoder(noise(22050, batch=2)), embeddings)


def test_what_is_projected_for_a_pitch_is_its_embedding(encoder):
    torch.nn.init.zeros_(encoder.project.weight)
    vectors = torch.randn(12, 84, generator=torch.Generator().manual_seed(0))
    encoder.project.bias.data = vectors.flatten()
    expected = torch.nn.functional.normalize(torch.tanh(vectors), dim=0)
    assert torch.allclose(encoder(noise(600))[0], expected[:, :, None].expand(12, 84, 3), atol=1e-6)


@pytest.mark.parametrize("loss", ["info_nce", "affinity_mse"])
def test_one_step_lowers_the_loss_of_the_embeddings_and_leaves_the_branch_alone(encoder, loss):
    log_energy = encoder.transcriber.log_energy(noise(10_000))
    labels = torch.arange(84 * 40) % 3

    def compute() -> torch.Tensor:
        cells = encoder.encode(log_energy)[0].flatten(1).T[::7]
        if loss == "info_nce":
            return info_nce(cells, labels[::7])
        return affinity_mse(cells, torch.nn.functional.one_hot(labels[::7], 3))

    branch = {name: value.clone() for name, value in encoder.transcriber.state_dict().items()}
    optimizer = torch.optim.Adam(encoder.train().parameters(), lr=1e-4)
    before = compute()
    before.backward()
    optimizer.step()
    assert compute() < before
    for name, value in encoder.transcriber.state_dict().items():
        assert torch.equal(value, branch[name])
    assert encoder.recurrent.weight_hh_l2_reverse.grad.abs().sum() > 0


def test_a_branch_that_is_not_there_is_named():
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        DeepClustering(transcriber="nowhere")
