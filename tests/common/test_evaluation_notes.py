import warnings

import mir_eval
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from benchmarks.speed.metrics import random_case
from common.evaluation.notes import _close_onsets, match_notes, note_scores, precision_recall_f1_overlap, validate
from common.notes import Notes


def spans(*pairs):
    return np.array(pairs, np.float64).reshape(-1, 2)


def steady(n, interval, duration, delay=0.0):
    """n notes of one pitch, one every `interval` seconds."""
    onset = interval * np.arange(n) + delay
    return np.stack([onset, onset + duration], axis=1), np.full(n, 440.0)


@pytest.mark.parametrize("seed", range(8))
def test_equals_mir_eval_to_the_bit_on_random_cases(seed):
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mir_eval's, about empty sides
        for _ in range(60):
            notes, velocities, criteria = random_case(rng)
            ref, hz, est, est_hz = notes
            assert precision_recall_f1_overlap(
                *notes, **criteria
            ) == mir_eval.transcription.precision_recall_f1_overlap(*notes, **criteria)
            matching = mir_eval.transcription.match_notes(*notes, **criteria)
            np.testing.assert_array_equal(match_notes(*notes, **criteria), np.reshape(matching, (-1, 2)))
            theirs = mir_eval.transcription_velocity.precision_recall_f1_overlap(
                ref, hz, velocities[0], est, est_hz, velocities[1], **criteria, velocity_tolerance=0.2, beta=0.5
            )
            ours = precision_recall_f1_overlap(
                *notes, **criteria, velocities=velocities, velocity_tolerance=0.2, beta=0.5
            )
            assert ours == theirs


def test_random_cases_are_hard_ones():
    """Most of the cases above must leave a choice between several matchings, or they would prove little."""
    rng = np.random.default_rng(0)
    contested = 0
    for _ in range(100):
        (ref, hz, est, est_hz), _, _ = random_case(rng)
        near = np.abs(ref[:, None, 0] - est[None, :, 0]) <= 0.05
        edges = near & (np.abs(np.log2(hz[:, None] / est_hz)) <= 50 / 1200)
        contested += bool((edges.sum(axis=0) > 1).any() and (edges.sum(axis=1) > 1).any())
    assert contested > 50


def test_hand_computed():
    reference = spans((0, 1), (1, 2), (2, 3)), np.array([220.0, 440.0, 880.0])
    estimate = spans((0.02, 0.98), (1, 1.5), (2.2, 3), (4, 5)), np.array([221.0, 440.0, 880.0, 880.0])
    # The first two start in time, the first one alone ends in time too.
    assert precision_recall_f1_overlap(*reference, *estimate, offset_ratio=None) == pytest.approx(
        (2 / 4, 2 / 3, 4 / 7, (0.96 + 0.5) / 2)
    )
    assert precision_recall_f1_overlap(*reference, *estimate) == pytest.approx((1 / 4, 1 / 3, 2 / 7, 0.96))


@pytest.mark.parametrize(
    ("onset", "strict", "matches"), [(1.05, False, 1), (1.05, True, 0), (1.04995, False, 1), (1.0502, False, 0)]
)
def test_tolerance_is_met_at_50_ms(onset, strict, matches):
    hz = np.array([440.0])
    assert len(match_notes(spans((1, 3)), hz, spans((onset, 3)), hz, strict=strict)) == matches


def test_gives_up_a_first_choice_for_a_larger_matching():
    """Estimate 0 fits both references, estimate 1 only the first."""
    reference = spans((1.00, 2), (1.08, 2)), np.full(2, 440.0)
    estimate = spans((1.04, 2), (0.96, 2)), np.full(2, 440.0)
    assert match_notes(*reference, *estimate).tolist() == [[0, 1], [1, 0]]


def test_long_chain_of_repeated_notes():
    """Each estimate fits two references; listed backwards, one path runs through the whole piece."""
    intervals, hz = steady(3000, interval=0.06, duration=0.05)
    scores = precision_recall_f1_overlap(intervals[::-1], hz, intervals + 0.03, hz, offset_ratio=None)
    assert scores == pytest.approx((1, 1, 1, 20 / 80))


def test_matching_is_maximum_where_all_notes_compete():
    rng = np.random.default_rng(0)
    onset, est_onset = rng.uniform(0, 30, 2000), rng.uniform(0, 30, 2000)
    hz = np.full(2000, 440.0)
    matching = match_notes(
        np.stack([onset, onset + 1], axis=1), hz, np.stack([est_onset, est_onset + 1], axis=1), hz, offset_ratio=None
    )
    edges = np.around(np.abs(onset[:, None] - est_onset), 4) <= 0.05
    assert edges[tuple(matching.T)].all()
    assert len(np.unique(matching[:, 0])) == len(np.unique(matching[:, 1])) == len(matching)
    assert len(matching) == (maximum_bipartite_matching(coo_array(edges).tocsr()) >= 0).sum()


def test_candidate_pairs_are_complete_and_grow_with_the_number_of_notes():
    rng = np.random.default_rng(0)
    counts = []
    for n in (500, 5000):
        ref, est = rng.uniform(0, n / 10, n), rng.uniform(0, n / 10, n)
        pairs = np.stack(_close_onsets(ref, est, 0.05), axis=1)
        counts.append(len(pairs))
        near = np.argwhere(np.abs(ref[:, None] - est) <= 0.0505)
        assert {*map(tuple, near.tolist())} <= {*map(tuple, pairs.tolist())}
    # Ten notes a second, 102 ms wide: about one candidate each, at any length.
    assert counts[1] < 1.2 * 5000
    assert counts[1] < 12 * counts[0]


def test_empty_sides_score_0_without_a_warning():
    some, none = (spans((0, 1)), np.array([440.0])), (np.empty((0, 2)), np.empty(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for ref, est in ((some, none), (none, some), (none, none)):
            assert precision_recall_f1_overlap(*ref, *est) == (0, 0, 0, 0)
            assert match_notes(*ref, *est).shape == (0, 2)
    scores = note_scores(Notes.empty(), Notes.empty())
    assert set(scores.values()) == {0}


@pytest.mark.parametrize(
    ("intervals", "hz", "velocity", "message"),
    [
        (np.zeros(4), np.ones(4), None, "shape"),
        (np.ones((2, 3)), np.ones(2), None, "shape"),
        (spans((0, 1), (1, 2)), np.ones(3), None, "2 intervals"),
        (spans((-0.1, 1)), np.ones(1), None, "0 s or later"),
        (spans((np.nan, 1)), np.ones(1), None, "0 s or later"),
        (spans((1, 1)), np.ones(1), None, "after its onset"),
        (spans((2, 1)), np.ones(1), None, "after its onset"),
        (spans((0, 1)), np.zeros(1), None, "positive"),
        (spans((0, 1)), np.full(1, np.nan), None, "positive"),
        (spans((0, 1)), np.ones(1), np.full(1, -1), "velocity"),
        (spans((0, 1)), np.ones(1), np.ones(2), "velocity"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(intervals, hz, velocity, message):
    with pytest.raises(ValueError, match=message):
        validate(intervals, hz, velocity)
    good, velocities = (spans((0, 1)), np.ones(1)), None if velocity is None else (np.ones(1), velocity)
    with pytest.raises(ValueError, match=r"^estimate: "):
        precision_recall_f1_overlap(*good, intervals, hz, velocities=velocities)


def test_note_scores_of_a_table():
    reference = Notes.build([0, 1, 2, 3], [1, 2, 3, 4], [60, 62, 64, 65], velocity=[40, 60, 80, 100])
    drums = Notes.build([0, 1], [0.1, 1.1], [36, 38], is_drum=True)
    # Late, too short, and as loud as the second: half as loud otherwise, which a line corrects.
    estimate = Notes.build([0, 1, 2, 3.1], [1, 2, 2.5, 4], [60, 62, 64, 65], velocity=[20, 30, 40, 50], track=3)
    scores = note_scores(Notes.concatenate([reference, drums]), estimate)
    assert scores == pytest.approx(
        {
            "note_precision": 3 / 4,
            "note_recall": 3 / 4,
            "note_f1": 3 / 4,
            "note_offset_f1": 2 / 4,
            "note_offset_velocity_f1": 2 / 4,
            "n_reference": 4,
            "n_estimate": 4,
        }
    )


def test_velocities_out_of_line_do_not_count():
    onset = np.arange(5.0)
    reference = Notes.build(onset, onset + 1, 60, velocity=[20, 40, 60, 80, 100])
    estimate = Notes.build(onset, onset + 1, 60, velocity=[20, 40, 100, 80, 100])
    # Least squares by hand: velocities x from the mean 68 are -48 -28 32 12 32, targets y -0.5 -0.25 0 0.25 0.5, so the
    # slope is 50 / 5280 and the errors are 0.045, -0.015, 0.303, -0.136, -0.197: the first two are within 0.1.
    assert note_scores(reference, estimate)["note_offset_velocity_f1"] == pytest.approx(2 / 5)
