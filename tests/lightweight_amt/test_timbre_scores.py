import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW, N_PITCHES, DecodeSettings
from lightweight_amt.evaluate import Clip
from lightweight_amt.timbre_scores import by_frames, by_notes, purities, track_f1

GRID = FrameGrid(22050, 256)
SETTINGS = DecodeSettings()
DIRECTIONS = np.eye(3, dtype=np.float32)


def clip(wrong: slice = slice(0)) -> Clip:
    """Two instruments in turn, ten notes each; the frames `wrong` of every note of the first look like the second."""
    onset, number = 0.1 + 0.6 * np.arange(20), np.arange(20)
    notes = Notes.build(onset, onset + 0.5, LOW + 20 + number, track=number % 2)
    n_frames = GRID.n_frames(round(notes.end * 22050)) + 20
    onset, frame = np.zeros((N_PITCHES, n_frames), np.float32), np.zeros((N_PITCHES, n_frames), np.float32)
    embedding = np.zeros((3, N_PITCHES, n_frames), np.float32)
    embedding[2] = 1.0
    for i in range(len(notes)):
        row, start, stop = 20 + i, *GRID.frames(notes.intervals[i])
        onset[row, start], frame[row, start:stop] = 0.9, 0.9
        embedding[:, row, start:stop] = DIRECTIONS[i % 2, :, None]
        if i % 2 == 0:
            embedding[:, row, start:stop][:, wrong] = DIRECTIONS[1, :, None]
    return Clip({"onset": onset, "frame": frame, "embedding": embedding}, notes)


def test_instruments_that_differ_in_every_cell_come_apart_either_way():
    for way in (by_notes, by_frames):
        found = way(clip(), SETTINGS, GRID, 2)
        assert found.onset == pytest.approx(clip().notes.onset, abs=0.01)
        assert np.array_equal(found.track != found.track[0], clip().notes.track == 1)
    assert track_f1(clip(), SETTINGS, GRID, 2) == {"track_f1": 1.0, "frame_track_f1": 1.0}


def test_a_note_outvotes_its_wrong_cells_which_alone_break_it():
    """The beginning of the first instrument's notes goes to the second one: by frames it keeps none of their onsets."""
    scores = track_f1(clip(wrong=slice(10)), SETTINGS, GRID, 2)
    assert scores["track_f1"] == 1.0
    # The first instrument: rests of 0.38 s that begin 0.12 s late, none right. The second: 10 right of 20 found.
    assert scores["frame_track_f1"] == pytest.approx((0.0 + 2 / 3) / 2)


def test_purities_by_hand():
    vectors, cells = DIRECTIONS[[0, 0, 1, 1]], DIRECTIONS[[0, 0, 0, 1, 1, 1, 1, 1]]
    scores = purities(vectors, np.array([5, 5, 7, 7]), cells, np.array([5, 5, 7, 7, 7, 7, 7, 5]))
    assert scores == {"purity": 1.0, "frame_purity": 6 / 8}
