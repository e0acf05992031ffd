"""A piece as its instruments: one selection of stems carries audio, notes and labels, so they cannot disagree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.instruments import YOURMT3_CHANNELS
from common.notes import NOTE, Notes

DRUMS = 128  # the kind of what drums play; that of other notes is their program
N_KINDS = 129


def kinds(notes: Notes) -> np.ndarray:
    """(note,) int64 program of each note, DRUMS for a hit."""
    return np.where(notes.is_drum, DRUMS, notes.program)


def kinds_of(channels: Iterable[str]) -> frozenset[int]:
    """Programs, and DRUMS, of these of YOURMT3_CHANNELS."""
    return frozenset(k for name in channels for k in (YOURMT3_CHANNELS[name] or (DRUMS,)))


def all_but(*channels: str) -> frozenset[int]:
    """The kinds that none of these of YOURMT3_CHANNELS has: what is unknown where nothing else is annotated."""
    return frozenset(range(N_KINDS)) - kinds_of(channels)


@dataclass(frozen=True, eq=False)
class Stem:
    """One instrument of a piece, or an excerpt of it: what it sounds like, and everything that is known about it.

    Notes and lead are those of the whole piece on its clock; ask the Multitrack for those of an excerpt. `samples` may
    be a view of an int16 memory map, of which nothing is read before it is asked for.
    """

    samples: np.ndarray  # [time], float32 or int16
    program: int
    is_drum: bool
    name: str
    notes: Notes
    lead: tuple[tuple[float, float], ...] = ()  # seconds from and to which it leads
    scale: float = 1.0  # what turns samples into audio
    start: float = 0.0  # seconds into the piece at which the samples start
    unknown: frozenset[int] = frozenset()  # kinds that it may sound and of which its notes do not tell

    @property
    def audio(self) -> np.ndarray:
        """float32 [time]."""
        return self.samples * np.float32(self.scale)

    @property
    def kinds(self) -> frozenset[int]:
        """Programs, and DRUMS, that it plays in the piece: those of its notes, and without any its own."""
        if not len(self.notes):
            return frozenset() if self.unknown else frozenset({DRUMS if self.is_drum else self.program})
        return frozenset(np.unique(kinds(self.notes)).tolist())


@dataclass(frozen=True, eq=False)
class Multitrack:
    """The stems of a piece, in an order that is part of the value: stem i is row i of all that follows from them."""

    stems: tuple[Stem, ...]
    sample_rate: int

    def __post_init__(self):
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
    def uncut_notes(self) -> Notes:
        """All notes of the stems, seconds from the start of the excerpt; `track` is the index of the stem."""
        counts = np.array([len(stem.notes) for stem in self.stems], np.int64)
        start = np.repeat([stem.start for stem in self.stems], counts)
        table = np.concatenate([np.empty(0, NOTE), *(stem.notes.table for stem in self.stems)])
        table["onset"] -= start
        table["offset"] -= start
        table["track"] = np.repeat(np.arange(len(self.stems)), counts)
        return Notes(table)

    @property
    def notes(self) -> Notes:
        """What the stems play in the excerpt, cut to it and sorted, otherwise as `uncut_notes`."""
        return self.uncut_notes.crop(0.0, self.seconds).sort()

    @property
    def unknown(self) -> frozenset[int]:
        """Kinds that may sound without a note that says so."""
        return frozenset().union(*(stem.unknown for stem in self.stems))

    @property
    def lead(self) -> tuple[tuple[float, float, int], ...]:
        """Who leads when in the excerpt: (start, end, index of the stem), seconds from its start, in order of time."""
        moved = (
            (max(start - stem.start, 0.0), min(end - stem.start, self.seconds), i)
            for i, stem in enumerate(self.stems)
            for start, end in stem.lead
        )
        return tuple(sorted(segment for segment in moved if segment[0] < segment[1]))

    def mixture(self) -> np.ndarray:
        """float32 [time], by definition the sum of the finished stems, in their order."""
        mixture, audio = np.zeros(self.n_samples, np.float32), np.empty(self.n_samples, np.float32)
        for stem in self.stems:
            audio[:] = stem.samples
            audio *= np.float32(stem.scale)
            mixture += audio
        return mixture

    def select(
        self, indices: Sequence[int] | np.ndarray, gains_db: Sequence[float] | np.ndarray | None = None
    ) -> "Multitrack":
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
        inside = slice(max(first, 0), max(first + length, 0))

        def cut(stem: Stem) -> Stem:
            samples = stem.samples[inside]
            if len(samples) < length:
                before = min(max(-first, 0), length)
                samples = np.pad(samples, (before, length - before - len(samples)))
            return replace(stem, samples=samples, start=stem.start + first / self.sample_rate)

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
        cut = (piece if piece.seconds == seconds else piece.crop(0.0, seconds) for piece in multitracks)
        return Multitrack(tuple(stem for piece in cut for stem in piece.stems), multitracks[0].sample_rate)
