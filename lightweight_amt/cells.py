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
        return keys[order], np.concatenate(self._rows)[order] if self._rows else np.empty((0, 0), np.float32)


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
    padded = np.concatenate([rows, np.full_like(rows, empty, shape=(1, rows.shape[1]))])  # a stop may be the end
    pairs = np.stack([start, stop], axis=1).ravel()
    reduced = how.reduceat(padded, pairs, axis=0)[::2] if len(pairs) else padded[:0]
    return np.where((stop > start)[:, None], reduced, empty)
