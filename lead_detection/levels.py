"""How loud each track is in each frame: encoders normalise it away, and who leads can be a matter of it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from common.frames import FrameGrid

N_LEVELS = 3
SILENCE_DB = -100.0  # of digital silence
QUIETEST_DB = -70.0  # a song that is quieter counts as being so loud, so that its noise is not music
RANGE_DB = (-60.0, 30.0)
REACH = 3.0  # seconds on either side whose mixture is what levels are relative to


def levels(audio: Tensor, clip: Tensor, mixture: Tensor, grid: FrameGrid, n_frames: int) -> Tensor:
    """Levels of the track and of the mixture, both relative to the mixture around the frame, and of one to the other.

    The gain of a whole song changes none of them.

    Args:
        audio: (track, time), tracks of all clips.
        clip: (track,) which clip a track belongs to.
        mixture: (batch, time).
        grid: frame i is the samples [i * hop, (i + 1) * hop).
        n_frames: of them.

    Returns:
        (track, frame, N_LEVELS), float32, in units of 20 dB.
    """
    track, whole = energy(audio, grid, n_frames), energy(mixture, grid, n_frames)
    reach = round(REACH * grid.rate)
    around = F.avg_pool1d(whole[:, None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)[:, 0]
    reference = decibel(around).clamp(min=QUIETEST_DB)[clip]
    track, whole = decibel(track), decibel(whole)[clip]
    return torch.stack([track - reference, whole - reference, track - whole], dim=-1).clamp(*RANGE_DB) / 20.0


def energy(audio: Tensor, grid: FrameGrid, n_frames: int) -> Tensor:
    """Mean square of each frame, (row, time) -> (row, frame)."""
    samples = audio[:, : n_frames * grid.hop_length].float()
    return samples.unflatten(1, (n_frames, grid.hop_length)).square().mean(2)


def decibel(energy: Tensor) -> Tensor:
    return 10.0 * torch.log10(energy.clamp(min=10.0 ** (SILENCE_DB / 10.0)))
