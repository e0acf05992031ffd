import numpy as np
import pytest

from benchmarks import note_level
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW, N_PITCHES, DecodeSettings
from lightweight_amt.evaluate import Clip

GRID = FrameGrid(22050, 256)


@pytest.fixture
def clip() -> Clip:
    """Two notes of instrument 0 and two of instrument 1, which strikes one of them where the first one still sounds."""
    first, last = np.array([10, 60, 10, 80]), np.array([40, 100, 40, 100])
    rows, track = np.array([20, 21, 30, 21]), np.array([0, 0, 1, 1])
    truth = Notes.build(GRID.times(first), GRID.times(last), LOW + rows, track=track)
    maps = {name: np.zeros((N_PITCHES, 120), np.float32) for name in ("onset", "frame")}
    embedding = np.zeros((2, N_PITCHES, 120), np.float32)
    for row, start, stop, instrument in zip(rows[:3], first, last, track, strict=False):
        maps["onset"][row, start] = 0.9
        maps["frame"][row, start:stop] = 0.9
        embedding[instrument, row, start:stop] = 1.0
    maps["frame"][50, 10:40] = maps["onset"][50, 10] = 0.9  # a ghost
    embedding[1, 50] = 1.0
    return Clip(maps | {"embedding": embedding}, truth)


def test_notes_and_cells_know_who_truly_plays_them(clip):
    known = note_level.embed(clip, DecodeSettings(), GRID)
    assert sorted(zip(known.notes.argmax(axis=1), known.instrument, strict=True)) == [(0, 0), (0, 0), (1, 1)]
    assert np.array_equal(known.cells.argmax(axis=1), known.owner)
    # Neither the ghost's cells nor the twenty that both instruments play.
    assert np.bincount(known.owner).tolist() == [30 + 20, 30]


def test_a_mixture_that_is_easy_is_scored_so_and_drawn(clip, tmp_path, monkeypatch):
    scores = note_level.score(clip, DecodeSettings(), GRID, 2)
    assert scores["purity"] == scores["frame_purity"] == 1.0
    assert note_level.summary([scores, scores])["purity"] == [1.0, 1.0, 1.0]
    monkeypatch.setattr(note_level, "RESULTS", tmp_path)
    note_level.draw(clip, ["Flute", "Oboe"], DecodeSettings(), GRID)
    assert (tmp_path / "note-level.png").stat().st_size > 5000
