import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import LOW
from lightweight_amt.separation import FEWEST_NOTES, MOST_INSTRUMENTS, mixtures, random_band
from lightweight_amt.timbre_data import SHORTEST_FRAMES, TimbreDataset, note_map

GRID = FrameGrid(22050, 256)


@pytest.fixture(scope="module")
def dataset(tiny_corpus) -> TimbreDataset:
    return TimbreDataset(tiny_corpus.pieces("train"), GRID, 200, 20, size=8, seed=0, augment=0.5)


def test_a_cell_of_two_notes_belongs_to_neither():
    seconds = GRID.times(np.array([2.0, 6.0, 4.0, 9.0, 0.0, 3.0]))
    notes = Notes.build(seconds[[0, 2, 4]], seconds[[1, 3, 5]], [LOW + 1, LOW + 1, LOW + 5], 90)
    owner = note_map(notes, GRID, 10)
    assert owner[1].tolist() == [-1, -1, 0, 0, -1, -1, 1, 1, 1, -1]
    assert owner[5].tolist() == [2, 2, 2, -1, -1, -1, -1, -1, -1, -1]
    assert (np.delete(owner, [1, 5], axis=0) == -1).all()


def test_notes_beyond_the_pitches_or_the_crop_own_nothing():
    notes = Notes.build([0.0, 5.0, 0.0], [1.0, 6.0, 1.0], [LOW - 1, LOW, 120], 90)
    assert (note_map(notes, GRID, 40) == -1).all()


def test_a_band_is_of_different_pitched_programs(tiny_corpus):
    for seed in range(30):
        mixture = random_band(tiny_corpus.pieces("train"), 3.0, np.random.default_rng(seed))
        programs = [stem.program for stem in mixture.stems if not stem.is_drum]
        assert len(set(programs)) == len(programs) <= MOST_INSTRUMENTS
        assert sum(stem.is_drum for stem in mixture.stems) <= 1


def test_labels_are_the_stems_of_the_notes(dataset):
    for index in range(len(dataset)):
        item, again = dataset[(0, index)], dataset[(0, index)]
        mixture, _ = dataset.mixture(0, index)
        notes = dataset.notes(mixture).tuned()
        owner, instrument = item["note"].numpy(), item["instrument"].numpy()
        assert np.array_equal(owner, again["note"].numpy())
        assert item["audio"].equal(again["audio"])
        labelled = np.flatnonzero(instrument >= 0)
        assert np.array_equal(instrument[labelled], notes.track[labelled])
        assert not any(mixture.stems[i].is_drum for i in set(instrument[labelled].tolist()))
        cells = np.bincount(owner[owner >= 0], minlength=len(instrument))
        assert (cells[labelled] >= SHORTEST_FRAMES).all()
        rows = np.nonzero(owner >= 0)[0] + LOW
        assert np.array_equal(rows, notes.pitch[owner[owner >= 0]])


@pytest.mark.parametrize("k", [1, 2])
def test_test_mixtures_have_the_number_of_instruments_that_they_say(tiny_corpus, k):
    pieces = tiny_corpus.pieces("train")
    chosen = list(mixtures(pieces, k, 3))
    for mixture in chosen:
        assert len({stem.program for stem in mixture.stems}) == len(mixture.stems) == k
        assert np.bincount(mixture.notes.track, minlength=k).min() >= FEWEST_NOTES
    first = next(iter(mixtures(pieces, k, 1)))
    assert np.array_equal(first.mixture(), chosen[0].mixture())
