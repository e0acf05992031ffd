"""What is known of the cells of a note, a pitch in a frame each: gathered while the recording goes by."""

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW, STRIDE

SOUNDING = 0.1  # frame probability from which a cell counts


def sounding(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the cells of a (pitch, frame) map of probabilities that count."""
    pitch, time = np.nonzero(frame >= SOUNDING)
    return pitch, time


class Cells:
    """Keeps a row of values for each cell that sounds, a few for each frame, until the notes are known."""

    def __init__(self):
        self._next = 0  # frame
        self._keys, self._rows = [np.empty(0, np.int64)], []

    def push(self, pitch: np.ndarray, time: np.ndarray, rows: np.ndarray, n_frames: int) -> None:
        """Take the cells (cell,) of the next block of `n_frames` frames and their values (cell, value)."""
        self._keys.append(pitch * STRIDE + time + self._next)
        self._rows.append(rows)
        self._next += n_frames

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys in order of pitch and frame (cell,), which `spans` looks up, and values (cell, value)."""
        keys = np.concatenate(self._keys)
        order = np.argsort(keys)
        place = np.empty_like(order)
        place[order] = np.arange(len(keys))
        rows = np.empty((len(keys), self._rows[0].shape[1] if self._rows else 0), np.float32)
        first = 0
        for part in self._rows:  # not joined before, which would be a copy more
            rows[place[first : first + len(part)]] = part
            first += len(part)
        return keys[order], rows


def frames(keys: np.ndarray) -> np.ndarray:
    """The frames of cells."""
    return keys % STRIDE


def spans(keys: np.ndarray, notes: Notes, grid: FrameGrid, seconds: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """The rows start..stop of the table in which each note lies, or its first `seconds`; (note,) each."""
    first = (notes.pitch.astype(np.int64) - LOW) * STRIDE
    end = np.minimum(notes.offset, notes.onset + seconds)
    start, stop = (np.searchsorted(keys, first + grid.frames(time)) for time in (notes.onset, end))
    return start, np.maximum(start, stop)


def reduce(how: np.ufunc, rows: np.ndarray, start: np.ndarray, stop: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """`how` (np.add, np.maximum ...) over rows[start:stop] of each pair, (pair, value); `empty` where none is."""
    values = np.full((len(start), rows.shape[1]), empty, rows.dtype)
    some = np.flatnonzero(start < stop)
    # Between two pairs `reduceat` runs over what lies between them: in any other order, over the table again and again.
    inside = some[np.argsort(start[some], kind="stable")]
    inside = inside[stop[inside] < len(rows)]
    if len(inside):
        values[inside] = how.reduceat(rows, np.stack([start[inside], stop[inside]], axis=1).ravel(), axis=0)[::2]
    for i in some[stop[some] == len(rows)]:  # which `reduceat` cannot be told
        values[i] = how.reduce(rows[start[i] :], axis=0)
    return values
