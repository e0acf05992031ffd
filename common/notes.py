"""Notes as one table: a structured array with a column for each property, never a list of mutable events."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from common.frames import FrameGrid

NOTE = np.dtype(
    [
        ("onset", np.float64),  # seconds
        ("offset", np.float64),  # seconds
        ("pitch", np.int16),  # MIDI number; for drums the General MIDI key
        ("velocity", np.uint8),  # 1..127
        ("program", np.uint8),  # General MIDI, 0..127
        ("is_drum", np.bool_),
        ("track", np.int16),  # index of the instrument within a piece
        ("confidence", np.float32),  # 0..1, 1 for a known truth
    ]
)
COLUMNS = NOTE.names or ()


@dataclass(frozen=True, eq=False)
class Notes:
    """A table of notes, shape (note,), dtype NOTE. Columns are attributes: `notes.onset` is an array in seconds.

    Every method returns a new table; the array of a Notes is not written to after it is made.
    """

    table: np.ndarray

    def __post_init__(self):
        if self.table.dtype != NOTE or self.table.ndim != 1:
            raise ValueError(f"Notes wants a one-dimensional array of dtype NOTE, not {self.table.dtype}")

    def __getattr__(self, name: str) -> np.ndarray:
        if name in COLUMNS:
            return self.table[name]
        raise AttributeError(name)

    @classmethod
    def build(
        cls,
        onset: ArrayLike,
        offset: ArrayLike,
        pitch: ArrayLike,
        velocity: ArrayLike = 100,
        program: ArrayLike = 0,
        is_drum: ArrayLike = False,
        track: ArrayLike = 0,
        confidence: ArrayLike = 1.0,
    ) -> "Notes":
        """A table from columns; a scalar serves the whole column."""
        onset = np.atleast_1d(np.asarray(onset, np.float64))
        table = np.empty(len(onset), NOTE)
        columns = (onset, offset, pitch, velocity, program, is_drum, track, confidence)
        for name, column in zip(COLUMNS, columns, strict=True):
            table[name] = column
        return cls(table)

    @classmethod
    def empty(cls) -> "Notes":
        return cls(np.empty(0, NOTE))

    @classmethod
    def concatenate(cls, tables: Iterable["Notes"]) -> "Notes":
        return cls(np.concatenate([np.empty(0, NOTE), *(notes.table for notes in tables)]))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, rows) -> "Notes":
        """The rows of a mask, slice or index array."""
        return Notes(np.atleast_1d(self.table[rows]))

    def __eq__(self, other) -> bool:
        return isinstance(other, Notes) and np.array_equal(self.table, other.table)

    def __repr__(self) -> str:
        return f"Notes({len(self)} notes, {self.end:.2f} s)"

    @property
    def end(self) -> float:
        """Seconds at which the last note ends; 0 without notes."""
        return float(self.offset.max(initial=0.0))

    @property
    def intervals(self) -> np.ndarray:
        """(note, 2) onsets and offsets in seconds, as mir_eval takes them."""
        return np.stack([self.onset, self.offset], axis=1)

    @property
    def hz(self) -> np.ndarray:
        """Fundamental frequencies, equal temperament, A4 = 440 Hz."""
        return 440.0 * 2.0 ** ((self.pitch.astype(np.float64) - 69.0) / 12.0)

    def replace(self, **columns) -> "Notes":
        """A copy in which the named columns have new values."""
        table = self.table.copy()
        for name, column in columns.items():
            table[name] = column
        return Notes(table)

    def sort(self) -> "Notes":
        """In order of onset, then pitch, then track, then offset."""
        return self[np.lexsort((self.offset, self.track, self.pitch, self.onset))]

    def shift(self, seconds: float) -> "Notes":
        return self.replace(onset=self.onset + seconds, offset=self.offset + seconds)

    def crop(self, start: float, end: float) -> "Notes":
        """Notes that sound in [start, end), cut to it, in the original clock."""
        kept = self[(self.offset > start) & (self.onset < end)]
        return kept.replace(onset=np.maximum(kept.onset, start), offset=np.minimum(kept.offset, end))

    def tuned(self) -> "Notes":
        """Without drums: the notes that have a pitch."""
        return self[~self.is_drum]

    def without_overlaps(self) -> "Notes":
        """Sorted, each note cut where its pitch starts again in its track; notes without length are dropped.

        What a MIDI channel can express, and what a piano roll with onsets can hold.
        """
        order = np.lexsort((self.offset, self.onset, self.pitch, self.is_drum, self.track))
        order = order[self.offset[order] > self.onset[order]]  # nothing to hear, so nothing that cuts another note
        table = self.table[order]
        same = np.ones(max(len(table) - 1, 0), bool)
        for name in ("pitch", "is_drum", "track"):
            same &= table[name][1:] == table[name][:-1]
        following = np.full(len(table), np.inf)
        following[:-1][same] = table["onset"][1:][same]
        table["offset"] = np.minimum(table["offset"], following)
        return Notes(table[table["offset"] > table["onset"]]).sort()


def piano_roll(notes: Notes, grid: FrameGrid, n_frames: int, low: int = 0, n_pitches: int = 128) -> np.ndarray:
    """Which pitch sounds in which frame, drums left out.

    Args:
        notes: onsets and offsets in seconds from frame 0.
        grid: clock of the frames. A note fills the frames from its onset to before its offset, both rounded to the
            nearest frame, and at least one.
        n_frames: length of the roll; what lies outside is cut.
        low: MIDI number of row 0.
        n_pitches: number of rows; pitches outside are left out.

    Returns:
        (pitch, frame) bool.
    """
    pitched = notes.tuned()
    row = pitched.pitch.astype(np.int64) - low
    start, stop = grid.frames(pitched.onset), grid.frames(pitched.offset)
    stop = np.maximum(stop, start + 1)
    inside = (row >= 0) & (row < n_pitches) & (stop > 0) & (start < n_frames)
    # +1 where a note starts and -1 where it ends; the running sum counts the notes that sound.
    edges = np.zeros((n_pitches, n_frames + 1), np.int32)
    np.add.at(edges, (row[inside], np.clip(start[inside], 0, n_frames)), 1)
    np.add.at(edges, (row[inside], np.clip(stop[inside], 0, n_frames)), -1)
    return np.cumsum(edges, axis=1)[:, :n_frames] > 0


def notes_from_roll(roll: np.ndarray, grid: FrameGrid, low: int = 0) -> Notes:
    """The runs of a (pitch, frame) bool roll as notes; the inverse of `piano_roll` where no pitch repeats at once."""
    edges = np.diff(np.pad(roll.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    row, start = np.nonzero(edges == 1)
    _, stop = np.nonzero(edges == -1)
    return Notes.build(grid.times(start), grid.times(stop), row + low).sort()
