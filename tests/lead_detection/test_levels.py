import math

import pytest
import torch

from common.frames import FrameGrid
from lead_detection.levels import levels

GRID = FrameGrid(24_000, 960)
N_FRAMES = 250


def square(*gains_db: float) -> torch.Tensor:
    """(track, time) rows whose every sample has that level."""
    sign = torch.where(torch.arange(N_FRAMES * 960) % 48 < 24, 1.0, -1.0)
    return torch.stack([10 ** (gain_db / 20) * sign for gain_db in gains_db])


def test_levels_by_hand():
    audio = square(-20, -30, -12)
    clip = torch.tensor([0, 0, 1])
    result = levels(audio, clip, square(-14, -12), GRID, N_FRAMES) * 20
    assert result.shape == (3, N_FRAMES, 3)
    expected = torch.tensor([[-6.0, 0.0, -6.0], [-16.0, 0.0, -16.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(result, expected[:, None].expand(-1, N_FRAMES, -1), atol=1e-3)


def test_a_frame_is_its_own_samples():
    audio = torch.zeros(1, N_FRAMES * 960)
    audio[0, 960 * 7 : 960 * 8] = square(-10)[0, :960]
    loud = levels(audio, torch.tensor([0]), square(0), GRID, N_FRAMES)[0, :, 0] > -1.0
    assert loud.nonzero().flatten().tolist() == [7]


def test_the_mixture_around_a_frame_is_the_measure():
    mixture = square(0)
    mixture[:, : 960 * 125] *= 0.1
    result = levels(mixture, torch.tensor([0]), mixture, GRID, N_FRAMES)[0, :, 1] * 20
    # Three seconds of one level around the first and the last frame.
    assert result[[0, -1]].tolist() == pytest.approx([0.0, 0.0], abs=1e-3)
    # Around the last soft frame: it and 75 more of them, and 75 loud ones.
    assert result[124].item() == pytest.approx(-20 - 10 * math.log10((76 * 0.01 + 75) / 151), abs=1e-2)


@pytest.mark.parametrize("gain_db", [-30, 12])
def test_the_gain_of_the_song_changes_nothing(gain_db):
    gain = 10 ** (gain_db / 20)
    audio, mixture, clip = square(-20, -35), square(-18), torch.tensor([0, 0])
    louder = levels(gain * audio, clip, gain * mixture, GRID, N_FRAMES)
    assert torch.allclose(louder, levels(audio, clip, mixture, GRID, N_FRAMES), atol=1e-4)


def test_silence_is_finite_and_far_below():
    audio = torch.cat([square(-20), torch.zeros(1, N_FRAMES * 960)])
    clip = torch.tensor([0, 1])
    result = levels(audio, clip, audio, GRID, N_FRAMES) * 20
    assert torch.allclose(result[0], torch.zeros(3), atol=1e-3)
    assert torch.allclose(result[1], torch.tensor([-30.0, -30.0, 0.0]), atol=1e-3)
    silent_track = levels(0 * audio[:1], clip[:1], audio[:1], GRID, N_FRAMES) * 20
    assert torch.allclose(silent_track[0, 0], torch.tensor([-60.0, 0.0, -60.0]), atol=1e-3)


def test_frames_are_as_many_as_asked_for():
    longer = torch.cat([square(-20), torch.ones(1, 320)], dim=1)
    assert levels(longer, torch.tensor([0]), longer, GRID, 9).shape == (1, 9, 3)
