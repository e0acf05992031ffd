import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.targets import event_target, merge_unisons, targets

GRID = FrameGrid(22050, 256)


def seconds(frame: float) -> float:
    return float(GRID.times(frame))


def test_unisons_become_one_note_that_lasts_as_long_as_the_longest():
    notes = Notes.build([0.0, 0.03, 0.5, 0.0], [0.4, 0.6, 0.8, 1.0], [60, 60, 60, 64], track=[0, 1, 0, 1])
    merged = merge_unisons(notes)
    assert merged.pitch.tolist() == [60, 64, 60]
    assert merged.onset.tolist() == [0.0, 0.0, 0.5]
    # The first would sound until 0.6, but the pitch is struck again at 0.5.
    assert merged.offset.tolist() == [0.5, 1.0, 0.8]


def test_drums_are_no_notes():
    assert len(merge_unisons(Notes.build([0.0], [1.0], [38], is_drum=True))) == 0


def test_an_event_is_a_triangle_around_its_exact_place():
    target = event_target(np.array([5, 7]), np.array([seconds(10.25), seconds(0)]), GRID, 20)
    assert target[5, 8:14] == pytest.approx([0.25, 1.75 / 3, 2.75 / 3, 0.75, 1.25 / 3, 0.25 / 3], abs=1e-6)
    assert target[5, [7, 14]].max() == 0
    assert target[7, :4] == pytest.approx([1, 2 / 3, 1 / 3, 0], abs=1e-6)
    assert np.count_nonzero(target) == 6 + 3


def test_targets_of_a_small_score():
    notes = Notes.build([seconds(4), seconds(9), seconds(-2)], [seconds(9), seconds(12), seconds(3)], [60, 60, 62])
    maps = targets(notes, GRID, 16)
    row = 60 - 24
    assert np.flatnonzero(maps["frame"][row]).tolist() == list(range(4, 12))
    assert np.flatnonzero(maps["onset"][row] > 0.99).tolist() == [4, 9]
    # Struck again at once: there is no end before the second note's.
    assert np.flatnonzero(maps["offset"][row] > 0.99).tolist() == [12]
    # A note that came from before has no onset here, but its frames and its end.
    assert maps["onset"][row + 2].max() < 0.5
    assert np.flatnonzero(maps["frame"][row + 2]).tolist() == [0, 1, 2]
