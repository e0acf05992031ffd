"""What the timbre branch is trained on: mixtures of two to four instruments, and which note each cell belongs to."""

from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int

from common.frames import FrameGrid
from common.notes import Notes
from common.stems import Multitrack
from lightweight_amt.data import AMTData, AMTDataset
from lightweight_amt.decode import LOW, N_PITCHES
from lightweight_amt.separation import random_band

MOST_NOTES = 256  # of a clip; later ones are left out, so that all items of a batch have one shape
SHORTEST_FRAMES = 4  # a note with fewer cells of its own says little about its instrument


class TimbreBatch(TypedDict):
    """Crops of mixtures; `margin` frames of audio at either end have no labels."""

    audio: Float[torch.Tensor, " batch time"]
    note: Int[torch.Tensor, " batch pitch frame"]  # index of the note that the cell belongs to alone; -1 where none
    instrument: Int[torch.Tensor, " batch note"]  # of each note; -1 where there is no such note


def note_map(notes: Notes, grid: FrameGrid, n_frames: int) -> np.ndarray:
    """(pitch, frame) int64: which of the notes sounds there, -1 where none does or several do."""
    owner = np.full((N_PITCHES, n_frames), -1)
    players = np.zeros((N_PITCHES, n_frames), np.int64)
    rows = notes.pitch.astype(np.int64) - LOW
    starts, stops = (np.clip(grid.frames(times), 0, n_frames).tolist() for times in (notes.onset, notes.offset))
    for i, (row, start, stop) in enumerate(zip(rows.tolist(), starts, stops, strict=True)):
        if 0 <= row < N_PITCHES:
            owner[row, start:stop] = i
            players[row, start:stop] += 1
    return np.where(players == 1, owner, -1)


class TimbreDataset(AMTDataset):
    """Random bands: item (epoch, index) is always the same crop, whoever loads it."""

    def mixture(self, epoch: int, index: int) -> tuple[Multitrack, np.random.Generator]:
        rng = np.random.default_rng((self.seed, epoch, index))
        n_frames = self.crop_frames + 2 * self.margin
        return random_band(self.pieces, float(self.grid.times(n_frames)), rng), rng

    def reference(self, index: int) -> Notes:
        """The notes of the item of epoch 0; `track` is the instrument."""
        mixture, _ = self.mixture(0, index)
        return self.notes(mixture).tuned().crop(0.0, float(self.grid.times(self.crop_frames)))

    def __getitem__(self, key: tuple[int, int]) -> TimbreBatch:
        mixture, rng = self.mixture(*key)
        notes = self.notes(mixture).tuned()[:MOST_NOTES]
        note = note_map(notes, self.grid, self.crop_frames)
        cells = np.bincount(note[note >= 0], minlength=MOST_NOTES)
        instrument = np.full(MOST_NOTES, -1)
        instrument[: len(notes)] = notes.track
        instrument[cells < SHORTEST_FRAMES] = -1
        return {
            "audio": self.audio(mixture, rng),
            "note": torch.from_numpy(note),
            "instrument": torch.from_numpy(instrument),
        }


class TimbreData(AMTData):
    """The embedded corpus as crops of bands; the arguments are those of `AMTData`."""

    dataset_class = TimbreDataset
