"""The table of notes and its piano roll, against note-by-note and cell-by-cell forms."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.frames import FrameGrid
from common.notes import COLUMNS, NOTE, Notes, notes_from_roll, piano_roll

GRID = FrameGrid(22050, 256)
property_test = settings(deadline=None, max_examples=50)
TWO = Notes.build([1.0, 0.5], [2.0, 3.0], [60, 64], velocity=[1, 127], program=[40, 0], is_drum=[False, True], track=3)
MOMENTS = st.one_of(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), st.floats(-2.0, 4.0))


@st.composite
def tables(draw) -> Notes:
    """Few pitches and moments, so that notes overlap, repeat and coincide; some lie before 0 s or have no length."""
    rows = st.tuples(MOMENTS, MOMENTS, st.integers(60, 61), st.integers(1, 127), st.booleans(), st.integers(0, 1))
    onset, offset, pitch, velocity, is_drum, track = np.reshape(draw(st.lists(rows, max_size=12)), (-1, 6)).T
    return Notes.build(onset, offset, pitch, velocity=velocity, is_drum=is_drum, track=track)


def lasting(notes: Notes) -> Notes:
    return notes[notes.offset > notes.onset]


# The table


def test_columns_are_attributes_with_the_types_of_the_table():
    assert TWO.onset.tolist() == [1.0, 0.5]
    assert TWO.track.tolist() == [3, 3]
    assert TWO.confidence.tolist() == [1.0, 1.0]
    assert [getattr(TWO, name).dtype for name in COLUMNS] == [NOTE[name] for name in COLUMNS]
    with pytest.raises(AttributeError, match="loudness"):
        TWO.loudness  # noqa: B018


def test_build_takes_one_note_and_defaults():
    note = Notes.build(0, 1, 60)
    assert note.table.tolist() == [(0.0, 1.0, 60, 100, 0, False, 0, 1.0)]


def test_build_refuses_columns_that_do_not_fit():
    with pytest.raises(ValueError, match="broadcast"):
        Notes.build([0, 1], [1, 2], [60, 61, 62])


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), NOTE), np.zeros((), NOTE)])
def test_only_a_column_of_notes_is_a_table(array):
    with pytest.raises(ValueError, match="dtype NOTE"):
        Notes(array)


def test_rows_are_taken_by_mask_slice_index_and_number():
    assert TWO[TWO.pitch == 64] == TWO[1:] == TWO[[1]] == TWO[1]
    assert TWO[[1, 0]][[1, 0]] == TWO
    assert len(TWO[TWO.pitch > 100]) == 0


def test_equality_looks_at_every_column():
    assert TWO != "notes"
    assert Notes.empty() == Notes.empty() != TWO
    for name in COLUMNS:
        assert TWO.replace(**{name: 0}) != TWO


def test_copies_and_pickles_are_equal():
    assert copy.deepcopy(TWO) == pickle.loads(pickle.dumps(TWO)) == TWO


def test_concatenation_keeps_order_and_starts_from_nothing():
    assert Notes.concatenate([]) == Notes.empty()
    assert Notes.concatenate([TWO[:1], Notes.empty(), TWO[1:]]) == TWO


def test_end_intervals_and_hz():
    assert TWO.end == 3.0
    assert Notes.empty().end == 0.0
    assert TWO.intervals.tolist() == [[1.0, 2.0], [0.5, 3.0]]
    assert Notes.empty().intervals.shape == (0, 2)
    np.testing.assert_allclose(Notes.build([0, 0, 0, 0], 1, [57, 60, 69, 70]).hz, [220, 261.625565, 440, 466.163762])


def test_tuned_leaves_drums_out():
    assert TWO.tuned() == TWO[:1]


def test_the_length_and_end_are_shown():
    assert repr(TWO) == "Notes(2 notes, 3.00 s)"


@property_test
@given(tables(), st.floats(-5, 5))
def test_no_method_changes_the_table_it_is_called_on(notes, seconds):
    before = notes.table.copy()
    notes.replace(pitch=3), notes.sort(), notes.shift(seconds), notes.crop(0.1, 1), notes.without_overlaps()
    piano_roll(notes, GRID, 50)
    np.testing.assert_array_equal(notes.table, before)


@property_test
@given(tables())
def test_sorting_orders_by_onset_pitch_track_offset(notes):
    rows = notes.sort().table
    keys = [(row["onset"], row["pitch"], row["track"], row["offset"]) for row in rows]
    assert keys == sorted(keys)
    assert sorted(rows.tolist()) == sorted(notes.table.tolist())


@property_test
@given(tables(), st.floats(-100, 100))
def test_shifting_moves_both_ends_and_nothing_else(notes, seconds):
    shifted = notes.shift(seconds)
    np.testing.assert_array_equal(shifted.intervals, notes.intervals + seconds)
    assert shifted.replace(onset=notes.onset, offset=notes.offset) == notes


@property_test
@given(tables(), MOMENTS, MOMENTS)
def test_cropping_keeps_what_sounds_inside_and_cuts_it(notes, start, end):
    start, end = sorted([start, end])
    assume(start < end)
    expected = []
    for onset, offset, *rest in lasting(notes).table.tolist():
        cut = max(onset, start), min(offset, end)
        if cut[0] < cut[1]:
            expected.append((*cut, *rest))
    assert lasting(notes).crop(start, end).table.tolist() == expected


def test_adjacent_crops_part_the_sound_without_loss():
    notes = Notes.build([0.0, 1.0, 1.5], [2.0, 1.5, 3.0], 60)
    pieces = Notes.concatenate([notes.crop(0.0, 1.5), notes.crop(1.5, 9.0)])
    assert np.diff(pieces.intervals).sum() == np.diff(notes.intervals).sum()


# Overlaps


@property_test
@given(tables())
def test_without_overlaps_is_each_longest_note_until_its_pitch_starts_again(notes):
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in lasting(notes).table.tolist()]
    expected = []
    for index, row in enumerate(rows):
        same = [other for other in rows if all(other[k] == row[k] for k in ("pitch", "is_drum", "track"))]
        together = [other for other in same if other["onset"] == row["onset"]]
        longest = max(other["offset"] for other in together)
        # Of equal notes the last of the table is kept.
        later = [other for other in rows[index + 1 :] if other in same and other["onset"] == row["onset"]]
        if row["offset"] == longest and all(other["offset"] < longest for other in later):
            following = [other["onset"] for other in same if other["onset"] > row["onset"]]
            expected.append(tuple({**row, "offset": min([row["offset"], *following])}.values()))
    assert sorted(notes.without_overlaps().table.tolist()) == sorted(expected)


@property_test
@given(tables())
def test_without_overlaps_is_sorted_and_the_same_when_done_again(notes):
    once = notes.without_overlaps()
    assert once == once.sort() == once.without_overlaps()


@pytest.mark.parametrize("other", [{"pitch": 61}, {"track": 1}, {"is_drum": True}], ids=str)
def test_what_differs_in_pitch_track_or_kind_does_not_cut(other):
    notes = Notes.concatenate([Notes.build(0, 3, 60), Notes.build(1, 2, 60).replace(**other)])
    assert notes.without_overlaps() == notes


def test_of_notes_that_start_together_the_longest_is_kept():
    notes = Notes.build(0.0, 1.0, 60)
    assert Notes.concatenate([notes, notes.replace(offset=2.0), notes]).without_overlaps() == notes.replace(offset=2.0)


def test_a_note_without_length_is_dropped_and_cuts_no_other():
    notes = Notes.build([0.0, 1.0, 1.5], [2.0, 1.0, 1.2], 60)
    assert notes.without_overlaps() == notes[:1]


# Piano roll


GRIDS = st.sampled_from([GRID, FrameGrid(16000, 160), FrameGrid(44100, 441), FrameGrid(8, 1)])


def brute_roll(notes, grid, n_frames, low, n_pitches):
    """The roll cell by cell."""
    roll = np.zeros((n_pitches, n_frames), bool)
    for note in notes.table:
        start, stop = grid.frames(note["onset"]), grid.frames(note["offset"])
        for frame in range(max(start, 0), min(max(stop, start + 1), n_frames)):
            if not note["is_drum"] and low <= note["pitch"] < low + n_pitches:
                roll[note["pitch"] - low, frame] = True
    return roll


@property_test
@given(tables(), GRIDS, st.integers(0, 300), st.integers(58, 62), st.integers(1, 4))
def test_the_roll_is_that_of_every_cell_by_itself(notes, grid, n_frames, low, n_pitches):
    roll = piano_roll(notes, grid, n_frames, low, n_pitches)
    assert roll.dtype == bool
    np.testing.assert_array_equal(roll, brute_roll(notes, grid, n_frames, low, n_pitches))


def test_a_roll_by_hand():
    # Frames of 0.5 s: 0.24 rounds to frame 0, 0.25 to frame 1.
    notes = Notes.build([0.24, 0.25, 1.0, 1.0], [1.0, 0.3, 1.0, 9.0], [60, 61, 62, 63], is_drum=[0, 0, 0, 1])
    assert piano_roll(notes, FrameGrid(2, 1), 4, low=60, n_pitches=4).astype(int).tolist() == [
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]


def test_the_roll_of_no_notes_is_silent():
    assert piano_roll(Notes.empty(), GRID, 7).shape == (128, 7)
    assert not piano_roll(Notes.empty(), GRID, 7).any()


@property_test
@given(
    st.lists(st.lists(st.booleans(), min_size=12, max_size=12), min_size=1, max_size=4),
    st.sampled_from([GRID, FrameGrid(16000, 160), FrameGrid(44100, 441)]),
)
def test_a_roll_comes_back_from_its_notes(cells, grid):
    roll = np.array(cells)
    notes = notes_from_roll(roll, grid, low=60)
    np.testing.assert_array_equal(piano_roll(notes, grid, 12, low=60, n_pitches=len(roll)), roll)
    assert notes == notes.sort() == notes.without_overlaps()
    assert len(notes) == sum(len("".join(" #"[cell] for cell in row).split()) for row in cells)


@property_test
@given(tables(), GRIDS)
def test_notes_come_back_from_their_roll_to_the_frame(notes, grid):
    # A rest of a frame after each note, lest two join in one run.
    order = np.arange(len(notes))
    start, stop = 5 * order, 5 * order + 1 + notes.velocity % 4
    notes = Notes.build(grid.times(start), grid.times(stop), notes.pitch)
    assert notes_from_roll(piano_roll(notes, grid, 200), grid) == notes


def test_notes_keep_their_frame_for_an_hour():
    frames = np.arange(0, 310_000, 1001)
    notes = Notes.build(GRID.times(frames), GRID.times(frames + 1), 60)
    np.testing.assert_array_equal(np.flatnonzero(piano_roll(notes, GRID, 310_000, 60, 1)), frames)
    assert notes.onset[-1] == pytest.approx(309_309 * 256 / 22050, abs=1e-9)
