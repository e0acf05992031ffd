import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.cells import Cells, reduce, sounding, spans
from lightweight_amt.decode import LOW, N_PITCHES

GRID = FrameGrid(22_050, 256)


@pytest.fixture
def roll() -> np.ndarray:
    return np.random.default_rng(0).random((N_PITCHES, 300)).astype(np.float32) ** 8


def gathered(frame: np.ndarray, values: np.ndarray, cuts=()) -> tuple[np.ndarray, np.ndarray]:
    cells = Cells()
    for part, value in zip(np.split(frame, cuts, axis=1), np.split(values, cuts, axis=2), strict=True):
        pitch, time = sounding(part)
        cells.push(pitch, time, value[:, pitch, time].T, part.shape[1])
    return cells.table()


def some_notes(count: int = 40) -> Notes:
    rng = np.random.default_rng(1)
    onset = rng.uniform(0.0, 3.0, count)
    return Notes.build(onset, onset + rng.uniform(0.05, 0.6, count), rng.integers(LOW, LOW + N_PITCHES, count))


def test_a_note_has_the_cells_of_its_pitch_and_time(roll):
    values = np.random.default_rng(2).random((2, *roll.shape)).astype(np.float32)
    keys, rows = gathered(roll, values)
    notes = some_notes()
    for seconds in (np.inf, 0.2):
        start, stop = spans(keys, notes, GRID, seconds)
        highest = reduce(np.maximum, rows, start, stop, empty=-1.0)
        for i, (onset, offset) in enumerate(notes.intervals):
            end = min(offset, onset + seconds)
            columns = slice(int(GRID.frames(onset)), int(GRID.frames(end)))
            row = notes.pitch[i] - LOW
            inside = values[:, row, columns][:, roll[row, columns] >= 0.1]
            assert np.array_equal(rows[start[i] : stop[i]].T, inside)
            assert np.array_equal(highest[i], inside.max(axis=1, initial=-1.0))


class Counting:
    """np.add that counts the rows over which it runs."""

    def __init__(self):
        self.rows = 0

    def reduceat(self, rows, indices, axis):
        self.rows += np.maximum(np.diff(indices, append=len(rows)), 1).sum()
        return np.add.reduceat(rows, indices, axis=axis)

    def reduce(self, rows, axis):
        self.rows += len(rows)
        return np.add.reduce(rows, axis=axis)


def test_a_row_is_looked_at_once_however_many_notes_there_are():
    """Ten notes of each pitch, in order of onset as a transcription has them: from one to the next it is far."""
    cells = Cells()
    frame = np.ones((N_PITCHES, 100), np.float32)
    pitch, time = sounding(frame)
    cells.push(pitch, time, np.ones((len(pitch), 1), np.float32), 100)
    keys, rows = cells.table()
    onset = GRID.times(np.repeat(np.arange(0, 100, 10), N_PITCHES))
    notes = Notes.build(onset, onset + GRID.times(10), np.tile(np.arange(LOW, LOW + N_PITCHES), 10))
    how = Counting()
    assert np.array_equal(reduce(how, rows, *spans(keys, notes, GRID))[:, 0], np.full(len(notes), 10.0))
    assert how.rows < 2 * len(rows)


def test_pairs_may_overlap_be_empty_and_end_with_the_table():
    rows = np.random.default_rng(0).integers(0, 100, (50, 2)).astype(np.float32)
    start, stop = np.random.default_rng(1).integers(0, 51, (2, 300))
    stop[:3] = 50
    for how in (np.add, np.maximum):
        values = reduce(how, rows, start, stop, empty=-7.0)
        for value, first, last in zip(values, start, stop, strict=True):
            expected = how.reduce(rows[first:last], axis=0) if first < last else [-7.0, -7.0]
            assert np.array_equal(value, expected)
    assert reduce(np.add, np.empty((0, 2), np.float32), start * 0, stop * 0).shape == (300, 2)


def test_blocks_do_not_matter(roll):
    values = np.random.default_rng(2).random((3, *roll.shape)).astype(np.float32)
    for whole, cut in zip(gathered(roll, values), gathered(roll, values, (7, 7, 120)), strict=True):
        assert np.array_equal(whole, cut)


def test_nothing_pushed_and_no_notes(roll):
    keys, _ = Cells().table()
    assert not np.any(spans(keys, some_notes(), GRID))
    keys, rows = gathered(roll, roll[None])
    assert reduce(np.add, rows, *spans(keys, Notes.empty(), GRID)).shape == (0, 1)
