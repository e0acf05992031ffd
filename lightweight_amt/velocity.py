"""How hard a note was played, told from how loud it is.

The gain of a recording and the level of an instrument in it say nothing of a player's touch. So loudness counts
against the median note of the recording, and the weights are fitted to the differences between the notes of one
instrument (`calibrate`). Onset probability alone, without loudness, hardly knows the velocity: see the model card.
"""

from dataclasses import dataclass

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.cells import Cells, reduce, sounding, spans
from lightweight_amt.decode import N_PITCHES

BINS_PER_PITCH = 3
PARTIALS = (0, 12, 19, 24, 28, 31)  # semitones from a pitch to its first six
ATTACK = 0.2  # seconds from the onset within which a note is loudest
LEVEL_REACH = 1.0  # seconds to either side, as far as the network's own levels look
QUIETEST = 1e-10  # mean square, -100 dBFS


@dataclass(frozen=True)
class VelocityRule:
    """The velocity of a note: `centre` and a weight for each column of `evidence`."""

    centre: float
    confidence: float
    energy: float
    level: float

    def __call__(self, notes: Notes, loudness: np.ndarray) -> np.ndarray:
        """(note,) uint8, 1..127, of all notes of a recording, given what `Loudness.of` says of them."""
        velocity = self.centre + evidence(notes, loudness) @ [self.confidence, self.energy, self.level]
        return np.clip(np.rint(velocity), 1, 127).astype(np.uint8)


def evidence(notes: Notes, loudness: np.ndarray) -> np.ndarray:
    """What a rule weighs, (note, 3): confidence, and energy and level against their medians in the recording.

    A note of which no loudness is known is taken for a median one.
    """
    known = loudness[np.isfinite(loudness).all(axis=1)]
    median = np.median(known, axis=0) if len(known) else np.zeros(2)
    return np.column_stack([notes.confidence, np.nan_to_num(loudness - median)]).astype(np.float64)


class Loudness:
    """Collects how loud the cells of one recording are, until the notes are known."""

    def __init__(self):
        self._cells = Cells()

    def push(self, frame: np.ndarray, log_energy: np.ndarray, level: np.ndarray) -> None:
        """Take the next block: frame probabilities (pitch, frame), log energies (bin, frame), `local_level`."""
        pitch, time = sounding(frame)
        rows = np.stack([pitch_energy(log_energy)[pitch, time], level[0, time]], axis=1)
        self._cells.push(pitch, time, rows.astype(np.float32), frame.shape[1])

    def of(self, notes: Notes, grid: FrameGrid) -> np.ndarray:
        """(note, 2) natural logarithms: the energy of the note's attack against the level around it, and that level.

        NaN for a note of whose beginning nothing sounds.
        """
        keys, rows = self._cells.table()
        if not len(keys):
            return np.full((len(notes), 2), np.nan, np.float32)
        return reduce(np.maximum, rows, *spans(keys, notes, grid, ATTACK), empty=np.nan)


def pitch_energy(log_energy: np.ndarray) -> np.ndarray:
    """(bin, frame) natural logarithms -> (pitch, frame): of the summed energies of the first partials of each pitch."""
    semitones = np.exp(log_energy).reshape(-1, BINS_PER_PITCH, log_energy.shape[1]).max(axis=1)
    padded = np.pad(semitones, ((0, PARTIALS[-1]), (0, 0)))
    return np.log(np.sum([padded[partial : partial + N_PITCHES] for partial in PARTIALS], axis=0))


def local_level(audio: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """(time,) -> (1, frame) float32: natural logarithm of the mean square within LEVEL_REACH of each frame."""
    square = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    centre = np.arange(grid.n_frames(len(audio))) * grid.hop_length
    reach = round(LEVEL_REACH * grid.sample_rate)
    start, stop = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, len(audio))
    return np.log((square[stop] - square[start]) / (stop - start) + QUIETEST).astype(np.float32)[None]
