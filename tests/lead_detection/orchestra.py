"""A song whose stems can be told apart by ear: independent noises at known levels, with a lead that is known."""

from dataclasses import dataclass

import numpy as np

from common.notes import Notes
from common.stems import Multitrack, Stem

RATE = 8000
PEAKS = np.random.default_rng(1).permutation(np.linspace(4000, 30000, 27))
NOISE = np.rint(np.random.default_rng(0).uniform(-PEAKS[:, None], PEAKS[:, None], (27, 6 * RATE))).astype(np.int16)


@dataclass(frozen=True, eq=False)
class Orchestra:
    """See `lead_detection.songs.Song`; stem i has instrument 10 + i."""

    n_stems: int = 5
    seconds: float = 6.0
    lead: tuple[tuple[float, float, int], ...] = ((0.0, 2.0, 1), (3.0, 5.0, 0))
    annotated: tuple[tuple[float, float], ...] = ((0.0, 6.0),)
    mixture: Stem | None = None
    split: str = "train"
    id: str = "orchestra"

    @property
    def instruments(self) -> tuple[int, ...]:
        return tuple(range(10, 10 + self.n_stems))

    @property
    def samples(self) -> np.ndarray:
        return NOISE[: self.n_stems]

    def multitrack(self) -> Multitrack:
        stems = [Stem(row, 0, False, "", Notes.empty(), scale=0.5 / 32767) for row in self.samples]
        return Multitrack(tuple(stems), RATE)


class Unreadable:
    """A mixture whose file is gone: whoever asks for its samples learns it."""

    scale = 1.0

    @property
    def samples(self) -> np.ndarray:
        raise FileNotFoundError("the mixture was opened")


def shares(track: np.ndarray, stems: np.ndarray) -> np.ndarray:
    """(stem,) by how much of each stem a sound is made, by least squares."""
    return np.linalg.lstsq(stems.T.astype(np.float64), track.astype(np.float64), rcond=None)[0]
