"""What the tests of detection share: songs in which the loudest track leads, and a network that hears just that."""

import numpy as np
import torch
from torch import nn

from common.evaluation.segments import to_frames
from common.frames import FrameGrid

RATE = 24_000
HZ = (110.0, 440.0, 277.2, 659.3, 174.6, 98.0, 523.3, 880.0)


class Loudest(nn.Module):
    """Scores tracks by their level, a point for each decibel; nobody leads below -50 dBFS.

    Args:
        hop_length: samples of a frame.
        tail: samples that a window has beyond its frames, as the encoders with convolutions want them.
        classes: of the output beyond those of the tracks, as the paper's head has.
    """

    classifies = "track"

    def __init__(self, hop_length: int = 960, tail: int = 0, classes: int = 0):
        super().__init__()
        self.grid = FrameGrid(RATE, hop_length)
        self.tail = tail
        self.classes = classes
        self.calls: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def n_samples(self, n_frames: int) -> int:
        return n_frames * self.grid.hop_length + self.tail

    def forward(self, audio, clip, instrument, mixture):
        self.calls.append(tuple(tensor.numpy().copy() for tensor in (audio, clip, instrument, mixture)))
        n_frames = (audio.shape[1] - self.tail) // self.grid.hop_length
        frames = audio[:, : n_frames * self.grid.hop_length].unflatten(1, (n_frames, -1))
        level = 10 * torch.log10(frames.square().mean(2).clamp(min=1e-10))
        level = level.unflatten(0, (len(mixture), -1)).mT  # (batch, frame, track)
        nobody = torch.full_like(level[..., :1], -50.0)
        others = torch.full_like(level[..., :1], 99.0).expand(-1, -1, self.classes)
        return torch.cat([nobody, level, others], dim=-1)


def make_song(edges, leaders, n_tracks: int = 3, rate: int = RATE) -> np.ndarray:
    """(track, time) float32: tones, of which the leader is 12 dB louder; -1 silences all, which then nobody leads."""
    t = np.arange(round(edges[-1] * rate)) / rate
    leading = np.asarray(leaders)[np.searchsorted(np.asarray(edges)[1:-1], t, side="right")]
    gain = np.where(leading == np.arange(n_tracks)[:, None], 0.2, 0.05) * (leading >= 0)
    return (gain * np.sin(2 * np.pi * np.array(HZ)[:n_tracks, None] * t)).astype(np.float32)


def agreement(segments: np.ndarray, edges, leaders, grid: FrameGrid) -> float:
    """Share of the frames in which a timeline has the leaders that a song was made with."""
    n_frames = grid.n_frames(round(edges[-1] * grid.sample_rate))
    truth = to_frames(np.asarray(edges), np.asarray(leaders), grid, n_frames)
    found = to_frames(np.append(0.0, segments["end"]), segments["track"], grid, n_frames)
    return float(np.mean(truth == found))
