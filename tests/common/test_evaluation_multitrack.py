from itertools import permutations

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.cluster import contingency_matrix

from common.evaluation.multitrack import (
    note_score_table,
    purity,
    roll_overlap,
    split_tracks,
    track_assignment,
    track_scores,
)
from common.frames import FrameGrid
from common.notes import Notes, piano_roll

GRID = FrameGrid(22050, 256)


def tracks(seed: int, n_tracks: int, n_notes: int = 40) -> Notes:
    rng = np.random.default_rng(seed)
    onset = rng.uniform(0, 8, n_notes)
    track = rng.integers(0, max(n_tracks, 1), n_notes)
    notes = Notes.build(onset, onset + rng.uniform(0.05, 0.8, n_notes), rng.integers(60, 66, n_notes), track=track)
    return notes.sort() if n_tracks else Notes.empty()


def shaken(notes: Notes, seed: int, n_tracks: int) -> Notes:
    """An estimate: onsets moved, some notes missing, some put into another track."""
    rng = np.random.default_rng(seed)
    moved = notes.shift(1.0)
    moved = moved.replace(onset=moved.onset + rng.uniform(-0.04, 0.04, len(moved)))
    other = rng.random(len(moved)) < 0.3
    track = np.where(other, rng.integers(0, n_tracks, len(moved)), (moved.track + 1) % n_tracks)
    return moved.replace(track=track).shift(-1.0).crop(0.0, 100.0)[rng.random(len(moved)) < 0.9]


def all_orders(n_instruments: int, n_tracks: int) -> list[tuple[int, ...]]:
    """Every way to give each instrument a track of its own, or, where tracks are too few, none (-1)."""
    pool = [*range(n_tracks), *[-1] * max(n_instruments - n_tracks, 0)]
    return list(dict.fromkeys(permutations(pool, n_instruments)))


def note_f(reference: Notes, estimate: Notes) -> float:
    intervals = (reference.intervals, reference.hz, estimate.intervals, estimate.hz)
    return mir_eval.transcription.precision_recall_f1_overlap(*intervals, offset_ratio=None)[2]


@pytest.mark.parametrize(
    ("n_instruments", "n_tracks"), [(1, 1), (2, 2), (3, 3), (4, 4), (3, 2), (2, 4), (4, 1), (1, 3)]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_matching_by_note_f_equals_all_orders_with_mir_eval(seed, n_instruments, n_tracks):
    reference = tracks(seed, n_instruments)
    estimate = shaken(reference, seed + 100, n_tracks)
    instruments, found = split_tracks(reference), split_tracks(estimate)
    best = max(
        np.mean([note_f(instruments[i], found[j]) if j >= 0 else 0.0 for i, j in enumerate(order)])
        for order in all_orders(len(instruments), len(found))
    )
    scores = track_scores(reference, estimate)
    assert scores["track_f1"] == pytest.approx(best)
    assert (scores["n_instruments"], scores["n_tracks"]) == (len(instruments), len(found))


@pytest.mark.parametrize(("n_instruments", "n_tracks"), [(2, 2), (3, 3), (4, 4), (4, 2), (2, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_the_matching_by_rolls_has_the_least_squared_error_of_all_orders(seed, n_instruments, n_tracks):
    reference = tracks(seed, n_instruments)
    estimate = shaken(reference, seed + 200, n_tracks)
    instruments, found = split_tracks(reference), split_tracks(estimate)
    rolls, estimates = ([piano_roll(n, GRID, 900).astype(int) for n in group] for group in (instruments, found))

    def error(order) -> int:
        """All rolls count, those that are left over against an empty one."""
        nothing = np.zeros_like(rolls[0])
        matched = sum(((rolls[i] - (estimates[j] if j >= 0 else nothing)) ** 2).sum() for i, j in enumerate(order))
        return matched + sum(estimates[j].sum() for j in range(len(found)) if j not in order)

    orders = all_orders(len(instruments), len(found))
    assignment = track_assignment(roll_overlap(instruments, found, GRID))
    assert error(assignment.tolist()) == min(map(error, orders))
    expected = np.mean([note_f(instruments[i], found[j]) if j >= 0 else 0.0 for i, j in enumerate(assignment)])
    assert track_scores(reference, estimate, GRID, "roll")["track_f1"] == pytest.approx(expected)


def test_the_names_of_the_tracks_and_the_order_of_the_notes_do_not_matter():
    reference = tracks(0, 4)
    renamed = reference.replace(track=np.array([7, 3, 30, 11])[reference.track])
    shuffled = renamed[np.random.default_rng(0).permutation(len(renamed))]
    for match_by in ("note", "roll"):
        scores = track_scores(reference, shuffled, GRID, match_by)
        assert scores == {
            "track_precision": 1.0, "track_recall": 1.0, "track_f1": 1.0, "n_instruments": 4, "n_tracks": 4
        }  # fmt: skip


def test_one_track_for_all_and_a_track_for_each_note_cost():
    reference = tracks(1, 2)
    together = track_scores(reference, reference.replace(track=0))
    assert together["track_f1"] < 0.5  # the other instrument has none
    scattered = track_scores(reference, reference.replace(track=np.arange(len(reference))))
    assert scattered["track_f1"] < 0.2


@pytest.mark.parametrize("match_by", ["note", "roll"])
def test_empty_references_and_estimates_score_0(match_by):
    notes, nothing = tracks(0, 2), Notes.empty()
    for reference, estimate in ((nothing, nothing), (nothing, notes), (notes, nothing)):
        scores = track_scores(reference, estimate, GRID, match_by)
        assert [scores[f"track_{name}"] for name in ("precision", "recall", "f1")] == [0.0, 0.0, 0.0]


def test_drums_are_no_instrument():
    reference = tracks(0, 3)
    drums = reference.replace(is_drum=reference.track == 2)
    assert track_scores(drums, drums)["n_instruments"] == 2
    assert track_scores(drums, drums)["track_f1"] == 1.0


def test_rolls_need_a_grid():
    with pytest.raises(ValueError, match="give the grid"):
        track_scores(tracks(0, 2), tracks(0, 2), match_by="roll")


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10_000))
def test_assignment_equals_all_orders(n_instruments, n_tracks, seed):
    benefit = np.random.default_rng(seed).integers(0, 5, (n_instruments, n_tracks))
    assignment = track_assignment(benefit)
    given = assignment[assignment >= 0]
    assert len(set(given.tolist())) == len(given) == min(n_instruments, n_tracks)

    def total(order):
        return sum(benefit[i, j] for i, j in enumerate(order) if j >= 0)

    assert total(assignment) == max(map(total, all_orders(n_instruments, n_tracks)))


def test_the_table_of_scores_has_a_row_for_each_instrument():
    table = note_score_table(split_tracks(tracks(0, 3)), split_tracks(tracks(1, 2)))
    assert table.shape == (3, 2, 3)


labellings = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(-2, 3), min_size=n, max_size=n)] * 2)
)


@settings(deadline=None)
@given(labellings)
def test_purity_equals_all_orders_and_the_contingency_matrix(pair):
    labels, truth = map(np.array, pair)
    counts = contingency_matrix(labels, truth)
    best = max(sum(counts[i, j] for i, j in enumerate(order) if j >= 0) for order in all_orders(*counts.shape))
    assert purity(labels, truth) == pytest.approx(best / len(labels))
    assert purity(labels, truth, matched=False) == pytest.approx(counts.max(axis=1).sum() / len(labels))
    assert purity(labels, truth) <= purity(labels, truth, matched=False)


def test_purity_by_hand_and_without_notes():
    truth = np.array([0, 0, 0, 1, 1, 2])
    assert purity(truth + 5, truth) == 1.0
    assert purity(np.zeros(6, int), truth) == 0.5
    assert purity(np.arange(6), truth) == 0.5
    assert purity(np.arange(6), truth, matched=False) == 1.0
    assert purity(np.array([1, 1, 0, 0, 0, 0]), truth) == pytest.approx(4 / 6)
    assert purity(np.array([], int), np.array([], int)) == 0.0
    with pytest.raises(ValueError, match="one for each note"):
        purity(np.zeros(3, int), truth)
