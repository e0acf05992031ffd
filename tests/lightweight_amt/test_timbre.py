import numpy as np
import pytest
import torch

from common.checkpoint import save
from lightweight_amt.clustering import STOP_RULE
from lightweight_amt.decode import N_PITCHES
from lightweight_amt.export import export_timbre_onnx
from lightweight_amt.inference import OnnxModel
from lightweight_amt.model import NANO, PAPER, Transcriber
from lightweight_amt.timbre import PaperTimbreEncoder, SharedBlockEncoder, TimbreEncoder, note_vectors

N_BINS = 288


@pytest.fixture(scope="module")
def encoder() -> TimbreEncoder:
    torch.manual_seed(0)
    net = TimbreEncoder()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    torch.nn.init.normal_(net.register)
    return net.eval()


def trainable(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_sizes_are_the_papers():
    assert trainable(PaperTimbreEncoder()) == 25_983
    assert trainable(PaperTimbreEncoder()) + trainable(Transcriber(**PAPER)) == 44_961


def test_both_branches_of_ours_are_below_the_papers_65_thousand():
    assert trainable(TimbreEncoder()) + trainable(Transcriber()) < 64_938


@pytest.mark.parametrize("net", [PaperTimbreEncoder(dim=12), TimbreEncoder(dim=16)], ids=["paper", "ours"])
def test_every_cell_has_a_direction(net):
    embedding = net.eval().encode(torch.randn(2, N_BINS, 40)).detach()
    assert embedding.shape[::2] == (2, N_PITCHES)
    assert embedding.shape[3] == 40
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("options", [PAPER, NANO], ids=["252 rows", "84 rows"])
def test_a_shared_first_block_is_the_branchs_own_and_stays_as_it_is(options, tmp_path):
    branch = Transcriber(**options)
    save(tmp_path / "branch.safetensors", branch, options)
    net = SharedBlockEncoder(12, str(tmp_path / "branch.safetensors")).train()
    log_energy = torch.randn(2, N_BINS, 30)
    net.encode(log_energy).sum().backward()
    assert all(parameter.grad is None for parameter in net.transcriber.parameters())
    before, after = branch.state_dict(), net.transcriber.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # statistics of batch norms, too
    with torch.no_grad():
        block = branch.eval().first_block(log_energy)
        assert torch.equal(net.encode(log_energy), net.body(block))
        frame = branch.trunk.frame(branch.trunk.temporal(branch.trunk.neck(block)))[:, 0]
        assert torch.equal(frame, branch.transcribe(log_energy)["frame"])


def test_the_papers_encoder_without_its_first_block(tmp_path):
    save(tmp_path / "paper.safetensors", Transcriber(**PAPER), PAPER)
    net = SharedBlockEncoder(12, str(tmp_path / "paper.safetensors"))
    own = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    assert own == 25_983 - 12_856 - 2  # the block, and the affine map before it


def test_a_cell_depends_on_its_reach_alone(encoder):
    log_energy = torch.randn(1, N_BINS, 60)
    changed = log_energy.clone()
    changed[..., 30] += 1.0
    with torch.no_grad():
        differs = (encoder.encode(changed) != encoder.encode(log_energy)).any(dim=1)[0].any(dim=0)
    frames = torch.nonzero(differs).ravel()
    assert frames.min() == 30 - encoder.reach
    assert frames.max() == 30 + encoder.reach


def test_a_window_says_what_the_whole_says(encoder):
    log_energy = torch.randn(1, N_BINS, 120)
    with torch.no_grad():
        whole, window = encoder.encode(log_energy), encoder.encode(log_energy[..., 20:100])
    inside = slice(20 + encoder.reach, 100 - encoder.reach)
    assert torch.allclose(whole[..., inside], window[..., encoder.reach : -encoder.reach], atol=1e-5)


def test_the_vector_of_a_note_is_the_weighted_mean_of_its_cells():
    rng = np.random.default_rng(0)
    embedding = torch.from_numpy(rng.standard_normal((3, 4, 5)))
    weight = torch.from_numpy(rng.random((4, 5)))
    note = torch.full((4, 5), -1)
    note[0, 1:4], note[2, :2], note[3, 4] = 0, 2, 2
    vectors = note_vectors(embedding, note, weight, 4)
    first = sum(weight[0, t] * embedding[:, 0, t] for t in (1, 2, 3))
    third = weight[2, 0] * embedding[:, 2, 0] + weight[2, 1] * embedding[:, 2, 1] + weight[3, 4] * embedding[:, 3, 4]
    assert torch.allclose(vectors[0], first / first.norm())
    assert torch.allclose(vectors[2], third / third.norm())
    assert not vectors[[1, 3]].any()


def test_the_graph_computes_what_the_encoder_does(encoder, graph_files, networks, tmp_path):
    path = tmp_path / "timbre" / "ours.onnx"
    path.parent.mkdir()
    export_timbre_onnx(encoder, path, "ours", STOP_RULE)
    model = OnnxModel(graph_files["ours"], path)
    assert model.rule == STOP_RULE
    rng = np.random.default_rng(0)
    signals = {
        "noise": 0.1 * rng.standard_normal(30_000),
        "music": 0.3 * np.sin(2 * np.pi * 440 * np.arange(50_000) / 22050),
        "silence": np.zeros(10_000),
        "full scale": np.sign(np.sin(2 * np.pi * 220 * np.arange(22_051) / 22050)),
    }
    for audio in signals.values():
        found = model(audio.astype(np.float32))
        with torch.no_grad():
            log_energy = networks["ours"].log_energy(torch.from_numpy(audio.astype(np.float32))[None])
            expected = encoder.encode(log_energy)[0].numpy()
        assert np.isfinite(found["embedding"]).all()
        assert np.abs(found["embedding"] - expected).max() <= 1e-4
