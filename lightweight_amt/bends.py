"""How the pitch of a note moves: where between the bins the energy of its cells peaks, smoothed over time."""

import numpy as np

from common.bends import BEND
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.cells import SOUNDING, Cells, frames, sounding, spans
from lightweight_amt.decode import LOW

CENTS_PER_BIN = 100.0 / 3.0
REACH = 3  # bins to either side of the pitch: a semitone
# A peak a semitone away must be 17 dB louder than one at the pitch, in between by the square of the distance: then a
# neighbour's note does not pull, and what leaks past the edge of a window does not win over a voice that bends.
FAR = 4.0  # natural logarithm of energy
QUICK = 66  # MIDI number from which the transform's windows are short enough to follow a vibrato
MOST_OCTAVES = 2  # to a partial above; the eighth is too often too weak
SMOOTH = 1.0  # frames; deviation of the Gaussian, which takes a tenth of a vibrato of 6 Hz
SMOOTH_REACH = 3  # frames


class NoteBends:
    """Collects the exact pitches of the cells of one recording, until the notes are known."""

    def __init__(self):
        self._cells = Cells()

    def push(self, frame: np.ndarray, log_energy: np.ndarray) -> None:
        """Take the next block: frame probabilities (pitch, frame), log energies (bin, frame)."""
        pitch, time = sounding(frame)
        # An octave up, or two, a partial moves by the same cents and is seen through a shorter window.
        octaves = np.clip(-((pitch + LOW - QUICK) // 12), 0, MOST_OCTAVES)
        alone = frame[pitch + 12 * octaves, time] < SOUNDING
        rows = peaks(log_energy, pitch + 12 * octaves * alone, time)
        self._cells.push(pitch, time, np.stack(rows, axis=1).astype(np.float32), frame.shape[1])

    def of(self, notes: Notes, grid: FrameGrid) -> np.ndarray:
        """(point,) BEND: for every note the deviation from its pitch, from its onset to before its offset."""
        keys, rows = self._cells.table()
        start, stop = spans(keys, notes, grid)
        count = stop - start
        note = np.repeat(np.arange(len(notes)), count)
        if not len(note):
            return np.empty(0, BEND)
        first = np.cumsum(count) - count  # index of each note's first point
        cell = np.arange(len(note)) + np.repeat(start - first, count)
        cents = smooth(note, frames(keys)[cell], *rows[cell].T)
        seconds = np.maximum(grid.times(frames(keys)[cell]), notes.onset[note])
        seconds[first[count > 0]] = notes.onset[count > 0]
        table = np.empty(len(note), BEND)
        table["note"], table["seconds"], table["cents"] = note, seconds, cents
        return table[seconds < notes.offset[note]]


def peaks(log_energy: np.ndarray, pitch: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The peak next to the pitch of each cell: cents from it, and energy; 0 energy where there is none.

    The logarithm of a Hann window's spectrum is a parabola to within a cent or two.

    Args:
        log_energy: (bin, frame), natural logarithms; bin 3 p + 1 is the centre of row p.
        pitch: (cell,) rows.
        time: (cell,) columns.
    """
    padded = np.pad(log_energy, ((REACH, REACH), (0, 0)), mode="edge")
    offsets = np.arange(-REACH - 1, REACH + 2)
    near = padded[3 * pitch + 1 + REACH + offsets[:, None], time]  # (offset, cell)
    highest = (near[1:-1] >= near[:-2]) & (near[1:-1] >= near[2:])
    worth = np.where(highest, near[1:-1] - FAR * np.square(offsets[1:-1, None] / REACH), -np.inf)
    best = worth.argmax(axis=0)
    before, peak, after = (near[best + step, np.arange(len(best))] for step in range(3))
    curvature = before - 2.0 * peak + after
    bent = highest.any(axis=0) & (curvature < 0.0)
    shift = np.zeros(len(best), np.float32)
    np.divide(0.5 * (before - after), curvature, out=shift, where=bent)
    return CENTS_PER_BIN * (best - REACH + shift), np.where(bent, np.exp(peak), 0.0)


def smooth(note: np.ndarray, frame: np.ndarray, cents: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Gaussian mean over the neighbouring cells of the same note, weighted by their energy; all (cell,), in order."""
    pad = (SMOOTH_REACH, SMOOTH_REACH)
    owner = np.pad(note, pad, constant_values=-1)
    place, value, weight = np.pad(frame, pad), np.pad(cents, pad), np.pad(energy, pad)
    total, mass = np.zeros(len(note)), np.full(len(note), 1e-30)
    for step in range(2 * SMOOTH_REACH + 1):
        other = slice(step, step + len(note))
        gain = np.where(owner[other] == note, np.exp(-0.5 * np.square((place[other] - frame) / SMOOTH)), 0.0)
        total += gain * weight[other] * value[other]
        mass += gain * weight[other]
    return total / mass
