"""Notes to tracks: what the timbre branch says of the cells of a note, gathered while the recording goes by."""

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW, STRIDE

SOUNDING = 0.1  # frame probability from which a cell counts


class NoteVectors:
    """Collects the embeddings of the cells that sound, a few for each frame, until the notes are known.

    All notes of a recording are told apart at once at its end, so a track is the same instrument throughout.
    """

    def __init__(self):
        self._next = 0  # frame
        self._keys, self._cells, self._weights = [], [], []

    def push(self, frame: np.ndarray, embedding: np.ndarray) -> None:
        """Take the next block: frame probabilities (pitch, frame), embeddings (dim, pitch, frame)."""
        pitch, time = np.nonzero(frame >= SOUNDING)
        self._keys.append(pitch * STRIDE + time + self._next)
        self._cells.append(embedding[:, pitch, time].T)
        self._weights.append(frame[pitch, time])
        self._next += frame.shape[1]

    def vectors(self, notes: Notes, grid: FrameGrid) -> tuple[np.ndarray, np.ndarray]:
        """The direction of each note and how surely it is known.

        Args:
            notes: of the frames that were pushed.
            grid: clock of the frames.

        Returns:
            (note, dim) float32 of unit length, or zero for a note of which nothing sounds, and (note,) the sum of the
            frame probabilities of its cells.
        """
        if not self._keys:
            return np.zeros((len(notes), 1), np.float32), np.zeros(len(notes), np.float32)
        keys = np.concatenate(self._keys)
        order = np.argsort(keys)
        keys, weights = keys[order], np.concatenate(self._weights)[order]
        cells = np.concatenate(self._cells)[order] * weights[:, None]  # (cell, dim)
        first = (notes.pitch.astype(np.int64) - LOW) * STRIDE
        start = np.searchsorted(keys, first + grid.frames(notes.onset))
        stop = np.searchsorted(keys, first + grid.frames(notes.offset))
        sums = _sums(np.concatenate([cells, weights[:, None]], axis=1), start, stop)
        length = np.linalg.norm(sums[:, :-1], axis=1, keepdims=True)
        return sums[:, :-1] / np.maximum(length, 1e-9), sums[:, -1]


def _sums(rows: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Sum of rows[start:stop] for each pair, zeros where it is empty."""
    padded = np.concatenate([rows, np.zeros_like(rows[:1])])  # so that a stop may be the end
    pairs = np.stack([start, np.maximum(stop, start)], axis=1).ravel()
    sums = np.add.reduceat(padded, pairs, axis=0)[::2] if len(pairs) else padded[:0]
    return np.where((stop > start)[:, None], sums, 0.0).astype(np.float32)
