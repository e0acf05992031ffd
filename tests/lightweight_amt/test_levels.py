import numpy as np
import pytest
import torch

from lightweight_amt.levels import EPS, RMSLevel
from lightweight_amt.model import LEVELS, Transcriber

ENERGY = np.array([[0.1, 0.4, 0.0], [0.3, 0.2, 0.1]])  # (bin, frame); frames of 0.4, 0.6 and 0.1
TENSOR = torch.from_numpy(ENERGY).float()[None]
SPREAD = np.std([0.4, 0.6, 0.1], ddof=1)
LOGARITHMS = np.log(ENERGY + EPS)


def energies(seed: int = 0, n_frames: int = 40) -> torch.Tensor:
    return torch.rand(2, 288, n_frames, generator=torch.Generator().manual_seed(seed)) ** 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip", LOGARITHMS - np.log(SPREAD)),
        ("linear", ENERGY / SPREAD),
        ("layer", (LOGARITHMS - LOGARITHMS.mean()) / LOGARITHMS.std()),
        ("rms", np.log(ENERGY * 0.1 / np.mean([0.4, 0.6, 0.1]) + EPS)),
        ("local", np.log(ENERGY / np.mean([0.4, 0.6, 0.1]) + 1e-7)),  # three frames are all within two seconds
        # Not having seen anything, the batch norm has mean 0 and variance 1.
        ("batch", (LOGARITHMS - LOGARITHMS.min()) / np.ptp(LOGARITHMS)),
    ],
)
def test_levels_are_what_their_formulas_say(name, expected):
    assert np.allclose(LEVELS[name]().eval()(TENSOR)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("n_frames", [1, 40])
def test_silence_and_single_frames_are_finite(name, n_frames):
    level = LEVELS[name]().eval()
    silence = level(torch.zeros(2, 288, n_frames))
    assert torch.isfinite(silence).all()
    assert torch.isfinite(level(energies(n_frames=n_frames))).all()
    assert silence.std() < 0.1  # no noise pulled up
    if level.log_floor is not None:
        assert torch.allclose(silence, torch.full_like(silence, level.log_floor))


def test_the_batch_norm_makes_what_it_has_seen_standard():
    level = LEVELS["batch"]()
    for seed in range(200):
        level(energies(seed))
    level.eval()
    seen = torch.stack([level(energies(seed)) for seed in range(20)])
    assert seen.mean().item() == pytest.approx(0.0, abs=0.05)
    assert seen.std().item() == pytest.approx(1.0, abs=0.05)
    assert not list(level.parameters())  # its affine half is the network's


@pytest.mark.parametrize(("name", "hears"), [("local", False), ("rms", False), ("linear", False), ("clip", True)])
def test_who_hears_the_gain(name, hears):
    level = LEVELS[name]()
    change = (level(energies() * 1e-4) - level(energies())).abs().max()
    assert (change > 0.1) == hears


def test_fixed_rms_is_that_of_the_signal():
    """Bins sum to the mean square: a chord at any level reads as one of -10 dBFS."""
    n_samples = 22050 * 2
    seconds = torch.arange(n_samples) / 22050
    chord = 0.01 * sum(torch.sin(2 * torch.pi * hz * seconds) for hz in (220.0, 277.2, 330.0, 1234.0))
    net = Transcriber(level="rms", window="blackmanharris")
    steady = net.cqt(chord[None])[:, :, 60:-60]
    assert torch.exp(RMSLevel()(steady)).sum(dim=1).mean().item() == pytest.approx(0.1, rel=1e-3)
    assert steady.sum(dim=1).mean().item() == pytest.approx(chord.square().mean().item(), rel=0.02)
