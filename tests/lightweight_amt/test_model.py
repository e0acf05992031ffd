import numpy as np
import pytest
import torch

from lightweight_amt.model import FMIN, LEVELS, LOW, NANO, PAPER, Transcriber

LAYOUTS = {"paper": (PAPER, 18_978), "ours": ({}, 34_575), "nano": (NANO, 9_631)}


@pytest.fixture(params=LAYOUTS)
def net(request) -> Transcriber:
    torch.manual_seed(0)
    return Transcriber(**LAYOUTS[request.param][0]).eval()


def noise(n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, n_samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", LAYOUTS)
def test_sizes_are_those_that_we_state(name):
    options, size = LAYOUTS[name]
    assert sum(parameter.numel() for parameter in Transcriber(**options).parameters()) == size
    # Smaller than Basic Pitch, which has 16,782.
    assert name != "nano" or size <= 16_700


def test_a_pitch_is_centred_on_the_middle_of_its_three_bins():
    for pitch in (24, 69, 107):
        assert FMIN * 2 ** ((3 * (pitch - LOW) + 1) / 36) == pytest.approx(440 * 2 ** ((pitch - 69) / 12))


@pytest.mark.parametrize("n_samples", [1, 255, 256, 257, 2561, 22050])
def test_every_length_gives_finite_logits_for_its_frames(net, n_samples):
    for audio in (noise(n_samples), torch.zeros(1, n_samples), torch.full((1, n_samples), 0.1)):
        logits = net(audio)
        assert set(logits) == set(net.outputs)
        for logit in logits.values():
            assert logit.shape == (1, 84, net.grid.n_frames(n_samples))
            assert torch.isfinite(logit).all()


@pytest.mark.parametrize("gain_db", [-40, -20, 12])
def test_ours_does_not_hear_the_gain(gain_db):
    net, audio = Transcriber().eval(), noise(22050 * 3)
    louder = net(audio * 10 ** (gain_db / 20))
    for name, logit in net(audio).items():
        assert torch.allclose(logit, louder[name], atol=1e-4)


def test_the_papers_normalisation_does():
    net, audio = Transcriber(**PAPER).eval(), noise(22050 * 3)
    assert (net(audio)["frame"] - net(audio * 0.01)["frame"]).abs().max() > 1e-2


def test_context_is_as_far_as_a_frame_depends():
    net = Transcriber().eval()
    frame = 500
    centre = frame * net.grid.hop_length
    audio = noise(2 * centre)
    near, far = audio.clone(), audio.clone()
    far[:, : centre - net.context] = noise(centre - net.context, 1)
    far[:, centre + net.context + 1 :] = 0
    near[:, : centre - net.context // 4] = 0
    whole = net(audio)
    for name, logit in net(far).items():
        assert torch.allclose(logit[..., frame], whole[name][..., frame], atol=1e-5)
    assert (net(near)["frame"] - whole["frame"])[..., frame].abs().max() > 1e-3


def test_the_highest_octave_is_heard_and_padding_is_silence():
    ours, paper = Transcriber(), Transcriber(**PAPER)
    picture = torch.full((1, 288, 4), ours.level.log_floor)
    changed = picture.clone()
    changed[:, 252:] = 0.0
    assert torch.equal(ours.stack(picture), torch.full((1, 8, 252, 4), ours.level.log_floor))
    assert not torch.equal(ours.stack(picture), ours.stack(changed))
    assert torch.equal(paper.stack(picture), paper.stack(changed))


def test_folding_keeps_what_the_dilated_convolution_of_the_paper_computes():
    """A kernel that sees every third of 252 rows is the same kernel on the 84 rows of each third."""
    torch.manual_seed(0)
    dilated = torch.nn.Conv2d(4, 2, (25, 3), dilation=(3, 1), padding=(36, 1))
    dense = torch.nn.Conv2d(4, 2, (25, 3), padding=(12, 1))
    dense.load_state_dict(dilated.state_dict())
    x = torch.randn(1, 4, 252, 9, requires_grad=True)
    whole = dilated(x)
    thirds = torch.stack([dense(x[:, :, third::3]) for third in range(3)], dim=3).reshape(1, 2, 252, 9)
    assert torch.allclose(whole, thirds, atol=1e-5)
    direction = torch.randn(1, 2, 252, 9)
    theirs, ours = (
        torch.autograd.grad(y, [x, *net.parameters()], direction) for y, net in ((whole, dilated), (thirds, dense))
    )
    for their, our in zip(theirs, ours, strict=True):
        assert torch.allclose(their, our, rtol=1e-5, atol=1e-5 * their.abs().max().item())


@pytest.mark.parametrize("options", [{"level": "louder"}, {"padding": "reflect"}])
def test_a_setting_without_meaning_is_refused(options):
    with pytest.raises(ValueError, match=r"level must be one of local, clip.* padding floor or zero"):
        Transcriber(**options)


def test_padding_is_the_lowest_of_the_clip_where_silence_has_no_value_of_its_own():
    net = Transcriber(**PAPER | {"padding": "floor"})
    picture = torch.randn(2, 288, 5, generator=torch.Generator().manual_seed(0))
    lowest = picture.amin(dim=(1, 2))
    stacked, zero = net.harmonics(picture), Transcriber(**PAPER).harmonics(picture)
    for channel, shift in enumerate(net.stack.shifts):
        row = 0 if shift < 0 else 251
        inside = 251 if shift < 0 else 0
        if shift:
            assert torch.allclose(stacked[:, channel, row], lowest[:, None].expand(2, 5), atol=1e-6)
            assert (zero[:, channel, row] == 0).all()
        assert torch.allclose(stacked[:, channel, inside], picture[:, inside + shift], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "size"),
    [({"level": level}, 18_978) for level in LEVELS]
    + [({"dilated": False, "context_pitches": 13}, 24_354), ({"learnable_cqt": True}, 39_066)],
)
def test_what_the_ablations_change_in_the_papers_network(options, size):
    net = Transcriber(**PAPER | options)
    assert sum(parameter.numel() for parameter in net.parameters()) == size
    for logit in net.eval()(noise(5000)).values():
        assert logit.shape == (1, 84, 20)
        assert torch.isfinite(logit).all()


def test_without_dilation_the_large_convolution_sees_39_neighbouring_bins():
    context = Transcriber(**PAPER | {"dilated": False, "context_pitches": 13}).trunk.context[0]
    impulse = torch.zeros(1, 16, 252, 3)
    impulse[:, :, 126, 1] = 1.0
    seen = (context(impulse) - context(torch.zeros_like(impulse))).abs().sum(dim=(0, 1, 3)) > 0
    assert torch.equal(torch.nonzero(seen)[:, 0], torch.arange(126 - 19, 126 + 20))


def test_learnable_kernels_start_as_the_constant_ones_and_move():
    constant, learnable = Transcriber(**PAPER), Transcriber(**PAPER | {"learnable_cqt": True})
    audio = noise(22050)
    energy = learnable.cqt(audio)
    assert torch.allclose(energy, constant.cqt(audio), rtol=1e-3, atol=1e-9)
    sum(logit.square().sum() for logit in learnable(audio).values()).backward()
    kernels = learnable.get_parameter("cqt.kernels")
    assert kernels.shape == (72, 1, 279)
    assert torch.isfinite(kernels.grad).all()
    assert kernels.grad.abs().sum() > 0
    assert "cqt.kernels" in learnable.state_dict()
    assert "cqt.kernels" not in constant.state_dict()


def test_level_at_the_ends_counts_only_what_is_there():
    net = Transcriber()
    energy = torch.ones(1, 288, 400)
    log_energy = net.level(energy)
    assert torch.allclose(log_energy, torch.full_like(log_energy, np.log(1 / 288 + 1e-7)), atol=1e-5)
