"""Notes to tracks: what the timbre branch says of the cells of a note, gathered while the recording goes by."""

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.cells import Cells, reduce, sounding, spans


class NoteVectors:
    """Collects the embeddings of the cells that sound, until the notes are known.

    All notes of a recording are told apart at once at its end, so a track is the same instrument throughout.
    """

    def __init__(self):
        self._cells = Cells()

    def push(self, frame: np.ndarray, embedding: np.ndarray) -> None:
        """Take the next block: frame probabilities (pitch, frame), embeddings (dim, pitch, frame)."""
        pitch, time = sounding(frame)
        weight = frame[pitch, time]
        rows = np.concatenate([embedding[:, pitch, time] * weight, weight[None]])
        self._cells.push(pitch, time, rows.T, frame.shape[1])

    def vectors(self, notes: Notes, grid: FrameGrid) -> tuple[np.ndarray, np.ndarray]:
        """The direction of each note and how surely it is known.

        Args:
            notes: of the frames that were pushed.
            grid: clock of the frames.

        Returns:
            (note, dim) float32 of unit length, or zero for a note of which nothing sounds, and (note,) the sum of the
            frame probabilities of its cells.
        """
        keys, rows = self._cells.table()
        if not len(keys):
            return np.zeros((len(notes), 1), np.float32), np.zeros(len(notes), np.float32)
        sums = reduce(np.add, rows, *spans(keys, notes, grid))
        length = np.linalg.norm(sums[:, :-1], axis=1, keepdims=True)
        return sums[:, :-1] / np.maximum(length, 1e-9), sums[:, -1]
