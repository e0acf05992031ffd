"""Other keys: audio and labels moved together.

A tape that runs faster is higher and shorter. The reference keeps the length with a phase vocoder, which smears every
onset; but labels are here for all that is heard, so they follow: notes move in pitch and in time, hits in time alone,
and a segment keeps its length because more of the tape is read. It also costs a fiftieth, see
benchmarks/speed/segments.py.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import signal

from common.notes import Notes

CLOSE_ENOUGH = 100  # largest denominator of a speed; a semitone is then 0.1 cents off
ZEROS = 16  # of the resampling kernel, on either side


@dataclass(frozen=True)
class PitchShift:
    """How far segments are moved.

    Args:
        most: semitones up or down, drawn evenly; 0 for none.
        labels: "dropped" leaves the pitches of the labels where they were, as the code released with YourMT3+ does; to
            compare.
    """

    most: int = 2
    labels: Literal["right", "dropped"] = "right"

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(-self.most, self.most + 1))


@lru_cache
def speed(semitones: int) -> Fraction:
    """Of the tape, near 2 ** (semitones / 12)."""
    return Fraction(2.0 ** (semitones / 12.0)).limit_denominator(CLOSE_ENOUGH)


def samples_to_read(n_samples: int, semitones: int) -> int:
    """Of the tape, so that `n_samples` come out."""
    return int(n_samples * speed(semitones)) + 1 if semitones else n_samples


def run_faster(audio: np.ndarray, semitones: int, n_samples: int) -> np.ndarray:
    """float32 (n_samples,) of an array of `samples_to_read`, so many semitones higher, or lower if negative."""
    if not semitones:
        return audio[:n_samples]
    ratio = speed(semitones)
    moved = signal.resample_poly(audio, ratio.denominator, ratio.numerator, window=_kernel(ratio))
    return moved[:n_samples].astype(np.float32, copy=False)


@lru_cache
def _kernel(ratio: Fraction) -> np.ndarray:
    """Low-pass filter that `resample_poly` would design anew each time."""
    longest = max(ratio.numerator, ratio.denominator)
    time = np.arange(-ZEROS * longest, ZEROS * longest + 1) / longest
    return (np.sinc(time) * np.kaiser(len(time), 6.0) / longest).astype(np.float32)


def move(notes: Notes, semitones: int, labels: Literal["right", "dropped"] = "right") -> tuple[Notes, int]:
    """The notes of a tape that runs faster.

    Returns:
        the notes, without those that leave 0..127, and how many those are.
    """
    ratio = float(speed(semitones))
    by = semitones if labels == "right" else 0
    pitch = notes.pitch + np.where(notes.is_drum, 0, by)
    inside = (pitch >= 0) & (pitch <= 127)
    moved = notes.replace(onset=notes.onset / ratio, offset=notes.offset / ratio, pitch=pitch)
    return moved[inside], int((~inside).sum())
