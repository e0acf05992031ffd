"""A piece as its instruments: one selection of stems carries audio, notes and labels, so they cannot disagree."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from common.notes import Notes


@dataclass(frozen=True, eq=False)
class Stem:
    """One instrument of a piece: what it sounds like, and everything that is known about it.

    `samples` may be a view of an int16 memory map; `scale` turns it into audio, and nothing is read before that.
    """

    samples: np.ndarray  # [time], float32 or int16
    program: int
    is_drum: bool
    name: str
    notes: Notes  # seconds from the first sample
    lead: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))  # (segment, 2), seconds in which it leads
    scale: float = 1.0

    @property
    def audio(self) -> np.ndarray:
        """float32 [time]."""
        return self.samples * np.float32(self.scale)


@dataclass(frozen=True, eq=False)
class Multitrack:
    """The stems of a piece, in an order that is part of the value: stem i is row i of all that follows from them."""

    stems: tuple[Stem, ...]
    sample_rate: int

    def __post_init__(self):
        object.__setattr__(self, "stems", tuple(self.stems))
        if len({len(stem.samples) for stem in self.stems}) > 1:
            raise ValueError("the stems of a Multitrack must be equally long; crop or pad them first")

    @property
    def n_samples(self) -> int:
        return len(self.stems[0].samples) if self.stems else 0

    @property
    def seconds(self) -> float:
        return self.n_samples / self.sample_rate

    @property
    def audio(self) -> np.ndarray:
        """float32 [track, time]."""
        return np.stack([stem.audio for stem in self.stems]) if self.stems else np.zeros((0, 0), np.float32)

    @property
    def notes(self) -> Notes:
        """Notes of all stems, sorted; `track` is the index of the stem."""
        return Notes.concatenate(stem.notes.replace(track=i) for i, stem in enumerate(self.stems)).sort()

    def mixture(self) -> np.ndarray:
        """float32 [time], by definition the sum of the finished stems, in their order."""
        mixture = np.zeros(self.n_samples, np.float32)
        for stem in self.stems:
            mixture += stem.audio
        return mixture

    def select(self, indices: Sequence[int] | np.ndarray, gains_db: Sequence[float] | np.ndarray | None = None):
        """These stems in this order (a subset, a permutation, or with repeats), each changed by its gain.

        Args:
            indices: (track,) int, or bool with one entry for each stem.
            gains_db: (track,) one for each chosen stem; none leaves the levels alone.
        """
        chosen = np.arange(len(self.stems))[np.asarray(indices, dtype=None if len(indices) else np.int64)]
        gains_db = np.zeros(len(chosen)) if gains_db is None else np.asarray(gains_db, np.float64)
        factors = 10.0 ** (gains_db / 20.0)
        stems = [self.stems[i] for i in chosen]
        scaled = [replace(stem, scale=stem.scale * float(factor)) for stem, factor in zip(stems, factors, strict=True)]
        return replace(self, stems=tuple(scaled))

    def drop(self, *indices: int) -> "Multitrack":
        """Without these stems."""
        return self.select(np.setdiff1d(np.arange(len(self.stems)), indices))

    def gain(self, gains_db: Sequence[float] | np.ndarray) -> "Multitrack":
        """Every stem changed by its gain."""
        return self.select(np.arange(len(self.stems)), gains_db)

    def crop(self, start: float, seconds: float) -> "Multitrack":
        """The excerpt of `seconds` from `start`, on a clock of its own; before and after the piece there is silence.

        `start` is moved to the nearest sample. Only the samples of the excerpt are ever read.
        """
        first, length = round(start * self.sample_rate), round(seconds * self.sample_rate)
        start, end = first / self.sample_rate, (first + length) / self.sample_rate
        inside = slice(max(first, 0), max(first + length, 0))

        def cut(stem: Stem) -> Stem:
            samples = stem.samples[inside]
            before = min(max(-first, 0), length)
            after = length - before - len(samples)
            if before or after:
                samples = np.pad(samples, (before, after))
            lead = np.clip(stem.lead, start, end) - start
            notes = stem.notes.crop(start, end).shift(-start)
            return replace(stem, samples=samples, notes=notes, lead=lead[lead[:, 1] > lead[:, 0]])

        return replace(self, stems=tuple(cut(stem) for stem in self.stems))

    def bleed(self, matrix: np.ndarray) -> "Multitrack":
        """Microphones that also hear the neighbours; who plays what stays as it was.

        Args:
            matrix: (track, track), linear; row i says how much of each stem microphone i hears. Open microphones on a
                stage hear their neighbours at -34 to -14 dB.
        """
        heard = np.asarray(matrix, np.float32) @ self.audio
        stems = (replace(stem, samples=row, scale=1.0) for stem, row in zip(self.stems, heard, strict=True))
        return replace(self, stems=tuple(stems))

    @staticmethod
    def pseudo_mix(multitracks: Sequence["Multitrack"]) -> "Multitrack":
        """The stems of all of them as one piece, cut to the shortest: music that nobody played together."""
        if len({multitrack.sample_rate for multitrack in multitracks}) != 1:
            raise ValueError("a pseudo-mix needs pieces of one sample rate; resample them first")
        seconds = min(multitrack.seconds for multitrack in multitracks)
        stems = (stem for multitrack in multitracks for stem in multitrack.crop(0.0, seconds).stems)
        return Multitrack(tuple(stems), multitracks[0].sample_rate)
