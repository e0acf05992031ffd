"""The clock: one exact grid of frames, and the only place where a frame index becomes seconds."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class FrameGrid:
    """Frames every `hop_length` samples; frame i is centred on sample i * hop_length.

    The frame rate is a fraction and never rounded: 22,050 / 256 is not 86, and the difference drifts by 93 ms a minute.
    """

    sample_rate: int
    hop_length: int

    def __post_init__(self):
        if self.sample_rate < 1 or self.hop_length < 1:
            raise ValueError(f"sample_rate and hop_length must be positive, not {self.sample_rate}, {self.hop_length}")

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return Fraction(self.sample_rate, self.hop_length)

    def n_frames(self, n_samples: int) -> int:
        """Frames whose centre lies inside a signal of `n_samples`."""
        return -(-n_samples // self.hop_length)

    def times(self, frames: np.ndarray | float) -> np.ndarray:
        """Centres in seconds of (possibly fractional) frame indices."""
        return np.asarray(frames, np.float64) * self.hop_length / self.sample_rate

    def position(self, seconds: np.ndarray | float) -> np.ndarray:
        """Fractional frame index of a time in seconds; the inverse of `times`."""
        return np.asarray(seconds, np.float64) * self.sample_rate / self.hop_length

    def frames(self, seconds: np.ndarray | float) -> np.ndarray:
        """Index of the nearest frame (halves go up), int64, not clipped."""
        return np.floor(self.position(seconds) + 0.5).astype(np.int64)
