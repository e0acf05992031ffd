import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from benchmarks.embeddings import crowd, mixture
from common.notes import Notes
from lightweight_amt.clustering import cluster
from lightweight_amt.count import company, estimate_k, evidence, fit_stop_rule, sounding_together

KS = (1, 2, 3, 4)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def blobs(counts, scatter=0.12, dim=16, seed=0):
    """Vectors around orthogonal centres, shuffled."""
    rng = np.random.default_rng(seed)
    centre = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return unit(np.eye(dim)[centre] + scatter * rng.normal(size=(len(centre), dim)))


def random_notes(n, rng, seconds=10.0):
    onset = rng.uniform(0, seconds, n).round(1)
    return Notes.build(onset, onset + rng.uniform(0.1, 1.0, n), rng.integers(40, 80, n), 90)


def chords(seed, k, n_chords=40):
    """Chords of three notes; with k = 1 a chord is one player's and heard alike, with k = 3 each note has its player.

    Vector by vector the two are hardly different: three directions, each as frequent as the others.
    """
    rng = np.random.default_rng(seed)
    direction = np.tile(np.arange(3), (n_chords, 1)) if k == 3 else rng.integers(0, 3, (n_chords, 1)).repeat(3, axis=1)
    onset = np.arange(n_chords).repeat(3) * 0.5
    pitch = (rng.integers(50, 70, (n_chords, 1)) + np.array([0, 4, 7])).ravel()
    vectors = unit(np.eye(8)[direction.ravel()] + 0.1 * rng.normal(size=(3 * n_chords, 8)))
    return vectors, Notes.build(onset, onset + 0.5, pitch, 90)


# --- evidence ---


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_sound_together(seed):
    notes = random_notes(40, np.random.default_rng(seed), seconds=20.0)
    expected = set()
    for i in range(40):
        for j in range(i):
            overlap = min(notes.offset[i], notes.offset[j]) - max(notes.onset[i], notes.onset[j])
            shorter = min(notes.offset[i] - notes.onset[i], notes.offset[j] - notes.onset[j])
            if overlap >= 0.5 * shorter and (int(notes.pitch[i]) - int(notes.pitch[j])) % 12:
                expected.add(frozenset((i, j)))
    pairs = np.concatenate([np.stack(pair, axis=1) for pair in sounding_together(notes)])
    found = [frozenset(pair) for pair in pairs.tolist()]
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_company_of_three_notes():
    """Two at once and one alone: counted by hand, in one cluster and in two."""
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
    notes = Notes.build([0.0, 0.0, 2.0], [1.0, 1.0, 3.0], [60, 64, 67], 90)
    mean = vectors.mean(axis=0)
    together, apart = company(vectors, notes, iter([np.array([0, 0, 0]), np.array([0, 1, 1])]))
    assert together == pytest.approx((0.6 + 0.3 * mean @ mean) / 1.3)
    half = vectors[1:].mean(axis=0)
    assert apart == pytest.approx((1 + 2 * half @ half) / 3)  # nothing sounds together in a cluster
    assert company(vectors, None, iter([np.array([0, 1, 1])])) == pytest.approx([apart])


def test_steps_end_with_the_different_notes():
    vectors = unit(np.random.default_rng(0).normal(size=(3, 5))).repeat(4, axis=0)
    assert evidence(vectors, None, 8).shape == (2, 5)
    assert evidence(vectors[:4], None, 8).shape == (0, 5)


# --- estimate ---


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_clear_cases_are_counted(k):
    for seed in range(5):
        vectors = blobs([40, 60, 30, 50, 45][:k], seed=seed)
        assert estimate_k(vectors) == k
        assert len(np.unique(cluster(vectors))) == k


def test_bounds_of_the_estimate():
    vectors = blobs([30] * 6, scatter=0.1)
    assert [estimate_k(vectors[:n]) for n in (0, 1)] == [0, 1]
    assert estimate_k(vectors, most=3) == 3
    assert estimate_k(vectors, most=1) == 1
    assert estimate_k(vectors[:2]) <= 2


def test_notes_of_which_nothing_is_known_do_not_count():
    vectors = blobs([30, 20])
    silent = np.concatenate([vectors, np.zeros((9, 16), np.float32)])
    assert estimate_k(silent) == estimate_k(vectors) == 2
    assert estimate_k(np.zeros((9, 16))) == 1


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_order_of_the_notes_decides_nothing(n, seed):
    rng = np.random.default_rng(seed)
    vectors, order = unit(rng.normal(size=(n, 6))), rng.permutation(n)
    onset = np.arange(n) * 0.3
    notes = Notes.build(onset, onset + rng.uniform(0.1, 1.0, n), rng.integers(40, 80, n), 90)
    moved = evidence(vectors[order], notes[order], 8)
    assert moved == pytest.approx(evidence(vectors, notes, 8), abs=1e-4)


def test_pairs_do_not_grow_with_the_square_of_the_notes():
    notes = crowd(0, 3, 20_000).notes
    assert sum(len(i) for i, _ in sounding_together(notes)) <= 12 * len(notes)


def test_vectors_and_notes_must_belong_together():
    with pytest.raises(ValueError, match="3 vectors and 2 notes"):
        estimate_k(np.eye(3), random_notes(2, np.random.default_rng(0)))


# --- rule ---


@pytest.fixture(scope="module")
def training_sets():
    sets = [mixture(seed, k) for seed in range(40) for k in KS]
    return [(item.vectors, None, int(item.truth.max()) + 1) for item in sets]


def test_rule_equals_logistic_regression(training_sets):
    rule = fit_stop_rule(training_sets, ridge=0.5, solo=1.0)
    rows = [(evidence(v, notes, 4)[:k], np.arange(1, 4)[:k] < k) for v, notes, k in training_sets]
    x, y = (np.concatenate(part) for part in zip(*rows, strict=True))
    theirs = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-8, max_iter=5000).fit(x, y)
    assert list(vars(rule).values()) == pytest.approx(theirs.coef_[0], abs=1e-3)


def test_fitted_rule_counts_held_out_mixtures(training_sets):
    held_out = [mixture(seed, k) for seed in range(1000, 1025) for k in KS]
    error = {}
    for solo in (1.0, 4.0):
        rule = fit_stop_rule(training_sets, solo=solo)
        estimates = np.array([estimate_k(item.vectors, rule=rule) for item in held_out])
        error[solo] = estimates.reshape(25, 4) - KS
    assert np.mean(error[1.0] == 0) > 0.5
    assert np.mean(abs(error[1.0]) <= 1) > 0.85
    assert np.mean(error[4.0][:, 0] == 0) > max(0.8, np.mean(error[1.0][:, 0] == 0))  # K = 1


def test_a_piano_in_chords_is_no_trio(training_sets):
    """What sounds together decides where the vectors alone cannot."""
    sets = [(*chords(seed, k), k) for seed in range(10) for k in (1, 3)]
    rule = fit_stop_rule(training_sets + sets)
    for seed in range(100, 110):
        solo, trio = chords(seed, 1), chords(seed, 3)
        assert (estimate_k(*solo, rule=rule), estimate_k(*trio, rule=rule)) == (1, 3)
        assert estimate_k(solo[0], rule=rule) > 1


def test_rule_wants_solos_and_bands(training_sets):
    for known in ({2, 3, 4}, {1, 2}):
        with pytest.raises(ValueError, match="stop rule wants"):
            fit_stop_rule([item for item in training_sets if item[2] in known])
