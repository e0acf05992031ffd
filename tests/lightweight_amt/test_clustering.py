import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import SpectralClustering
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score

from benchmarks.embeddings import crowd, mixture
from lightweight_amt import clustering
from lightweight_amt.clustering import (
    METHODS,
    cluster,
    estimate_k,
    fit_stop_rule,
    landmark,
    spectral,
    spherical_kmeans,
)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def blobs(counts, scatter=0.15, dim=16, seed=0):
    """Vectors around orthogonal centres, shuffled, and which centre each belongs to."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return unit(np.eye(dim)[truth] + scatter * rng.normal(size=(len(truth), dim))), truth


def same_partition(a, b):
    return adjusted_rand_score(a, b) == 1.0


# --- k-means ---


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_finds_the_best_of_all_partitions(seed):
    rng = np.random.default_rng(seed)
    vectors, weights = unit(rng.normal(size=(8, 3))), rng.integers(1, 4, 8)

    def value(labels):
        return sum(np.linalg.norm((weights[labels == c, None] * vectors[labels == c]).sum(0)) for c in range(3))

    best = max(value(np.array(labels)) for labels in itertools.product(range(3), repeat=8))
    found = spherical_kmeans(vectors, 3, weights, restarts=20)
    assert value(found) == pytest.approx(best, rel=1e-6)


def test_weight_counts_as_repetition_in_kmeans():
    rng = np.random.default_rng(0)
    vectors, weights = unit(rng.normal(size=(30, 4))), rng.integers(1, 4, 30)
    weighted = spherical_kmeans(vectors, 3, weights, restarts=20)
    repeated = spherical_kmeans(np.repeat(vectors, weights, axis=0), 3, restarts=20)
    assert same_partition(weighted, repeated[np.r_[0, np.cumsum(weights)[:-1]]])


def test_a_sample_of_many_notes_is_enough_for_kmeans():
    vectors, truth = blobs([9000, 2000, 1000], scatter=0.2)
    assert adjusted_rand_score(truth, spherical_kmeans(vectors, 3)) > 0.98


# --- spectral forms ---


@pytest.mark.parametrize("temperature", [0.15, 1.0])
def test_spectral_equals_sklearn(temperature):
    """On instruments that differ: scikit-learn's form takes another way from the eigenvectors to the labels."""
    vectors, truth = blobs([120, 60, 30], scatter=0.2)
    affinity = np.exp(vectors @ vectors.T / temperature)
    theirs = SpectralClustering(3, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
    ours = spectral(vectors, 3, temperature)
    assert same_partition(ours, theirs.fit_predict(affinity))
    assert same_partition(ours, truth)


def arcs(n, rng):
    """Two instruments whose timbre goes half round the sphere with the register, one a little above the other."""
    truth = rng.integers(0, 2, n)
    angle = rng.uniform(0, np.pi, n)
    plane = np.stack([np.cos(angle), np.sin(angle), np.where(truth, 0.5, -0.5)], axis=1)
    return unit(plane + 0.03 * rng.normal(size=(n, 3))), truth


@pytest.mark.parametrize("n", [200, 3000])
def test_spectral_forms_follow_a_timbre_that_drifts(n):
    vectors, truth = arcs(n, np.random.default_rng(0))
    assert adjusted_rand_score(truth, spherical_kmeans(vectors, 2)) < 0.5
    assert adjusted_rand_score(truth, landmark(vectors, 2, temperature=0.02)) > 0.98
    if n < 1000:
        assert adjusted_rand_score(truth, spectral(vectors, 2, temperature=0.02)) > 0.98


@pytest.mark.parametrize("seed", range(4))
def test_landmark_agrees_with_the_dense_form_on_hard_crowds(seed):
    vectors, _, truth, _ = crowd(seed, 2 + seed % 3, 1500)
    k = truth.max() + 1
    dense, fast = (adjusted_rand_score(truth, form(vectors, k)) for form in (spectral, landmark))
    assert fast > dense - 0.03


def test_landmark_is_the_dense_form_where_every_note_is_a_landmark():
    vectors, weights, truth, _ = mixture(0, 3)
    k = truth.max() + 1
    few = slice(0, 200)
    assert np.array_equal(
        landmark(vectors[few], k, weights=weights[few]), spectral(vectors[few], k, weights=weights[few])
    )


def test_affinity_of_groups_is_made_of_the_pairs_of_their_notes():
    rng = np.random.default_rng(0)
    vectors, weights = unit(rng.normal(size=(30, 4)) + 2), rng.uniform(0.5, 2, 30)
    labels = np.repeat(np.arange(6), 5)
    mass = np.bincount(labels, weights)
    mean = np.stack([weights[labels == g] @ vectors[labels == g] / mass[g] for g in range(6)])
    groups = clustering.Groups(mean, mass, np.bincount(labels, weights**2) / mass**2)
    matrix, scale = clustering._affinity(groups, temperature=10.0)
    # A high temperature makes exp nearly linear, so that the mean over pairs may be taken before or after it.
    pairs = np.exp((vectors @ vectors.T - 1) / 10) * np.outer(weights, weights)
    np.fill_diagonal(pairs, 0)
    member = labels[:, None] == np.arange(6)
    assert (matrix / np.outer(scale, scale)) == pytest.approx(
        member.T @ pairs @ member / np.outer(mass, mass), rel=1e-3
    )


def test_outliers_get_no_track_of_their_own():
    vectors, truth = blobs([2500, 1500], scatter=0.2)
    outlier = np.arange(4000) % 40 == 0
    vectors[outlier] = unit(np.random.default_rng(1).normal(size=(100, 16)))
    for method in ("landmark", "kmeans"):
        labels = cluster(vectors, 2, method=method)
        assert adjusted_rand_score(truth[~outlier], labels[~outlier]) > 0.95


# --- cluster ---


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    k=st.none() | st.integers(1, 6),
    method=st.sampled_from(list(METHODS)),
    copies=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_order_of_the_notes_changes_only_the_numbering(n, k, method, copies, seed):
    rng = np.random.default_rng(seed)
    vectors = np.repeat(unit(rng.normal(size=(n, 12))), copies, axis=0)
    weights = rng.integers(0, 3, len(vectors)).astype(float)
    order = rng.permutation(len(vectors))

    labels = cluster(vectors, k, weights, method=method)
    moved = cluster(vectors[order], k, weights[order], method=method)

    assert labels.dtype == np.int64
    assert labels.shape == (len(vectors),)
    first = np.unique(labels, return_index=True)[1]
    assert np.array_equal(np.unique(labels), np.arange(len(first)))  # no number is left out
    assert np.all(np.diff(first) > 0)  # in order of first appearance
    assert len(first) <= (k or 8)
    assert same_partition(labels[order], moved)


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_labels(method):
    vectors, weights, _, _ = crowd(1, 3, 1000)
    assert np.array_equal(cluster(vectors, 3, weights, 5, method), cluster(vectors, 3, weights, 5, method))


@pytest.mark.parametrize("method", METHODS)
def test_few_and_equal_notes(method):
    one = unit(np.ones((1, 12)))
    for k in (None, 1, 3):
        assert cluster(one[:0], k, method=method).tolist() == []
        assert cluster(one, k, method=method).tolist() == [0]
        assert len(np.unique(cluster(np.repeat(one, 500, axis=0), k, method=method))) == 1
    three = np.eye(12, dtype=np.float32)[:3]
    assert cluster(three, 8, method=method).tolist() == [0, 1, 2]
    assert cluster(three, 1, method=method).tolist() == [0, 0, 0]


def test_notes_of_which_nothing_is_known():
    """A zero vector of weight 0, as a note gets that no frame belongs to, goes anywhere and moves nothing."""
    vectors, truth = blobs([60, 40])
    known = np.arange(100) % 10 > 0
    weights = known.astype(np.float32)
    for method in METHODS:
        labels = cluster(np.where(known[:, None], vectors, 0), 2, weights, method=method)
        assert same_partition(labels[known], truth[known])
    assert cluster(np.zeros((5, 12)), None, np.zeros(5)).tolist() == [0] * 5


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ({"vectors": np.ones(5)}, "(note, dim)"),
        ({"weights": np.ones(4)}, "(note,)"),
        ({"weights": -np.ones(5)}, "0 or more"),
        ({"vectors": np.full((5, 3), np.nan)}, "finite"),
        ({"k": 0}, "at least 1"),
        ({"method": "dbscan"}, "landmark, kmeans, spectral"),
    ],
)
def test_bad_input_is_told(arguments, remedy):
    with pytest.raises(ValueError, match=remedy.replace("(", r"\(").replace(")", r"\)")):
        cluster(**{"vectors": np.ones((5, 3)), **arguments})


def test_memory_does_not_grow_with_the_pairs():
    vectors = unit(np.random.default_rng(0).normal(size=(50_000, 16)))
    tracemalloc.start()
    cluster(vectors, weights=np.ones(len(vectors)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_numpy_is_enough():
    heavy = "{'torch', 'scipy', 'sklearn', 'lightning'}"
    code = f"import sys, lightweight_amt.clustering; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- number of instruments ---


@pytest.fixture(scope="module")
def training_sets():
    sets = [mixture(seed, k) for seed in range(40) for k in (1, 2, 3, 4)]
    return [(item.vectors, item.weights, int(item.truth.max()) + 1) for item in sets]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_clear_cases_are_counted(k):
    for seed in range(5):
        vectors, _ = blobs([40, 60, 30, 50, 45][:k], scatter=0.12, seed=seed)
        assert estimate_k(vectors) == k
        assert len(np.unique(cluster(vectors))) == k


def test_bounds_of_the_estimate():
    vectors, _ = blobs([30] * 6, scatter=0.1)
    assert [estimate_k(vectors[:n]) for n in (0, 1)] == [0, 1]
    assert estimate_k(vectors, most=3) == 3
    assert estimate_k(vectors[:2]) <= 2


def test_rule_equals_logistic_regression(training_sets):
    rule = fit_stop_rule(training_sets, ridge=0.5)
    rows = [
        (clustering._evidence(*clustering._checked(v, w), 4)[:k], np.arange(1, 4)[:k] < k) for v, w, k in training_sets
    ]
    x, y = (np.concatenate(part) for part in zip(*rows, strict=True))
    theirs = LogisticRegression(C=1 / 0.5, fit_intercept=False, tol=1e-8, max_iter=5000).fit(x, y)
    assert list(vars(rule).values()) == pytest.approx(theirs.coef_[0], abs=1e-3)


def test_fitted_rule_counts_held_out_mixtures(training_sets):
    held_out = [mixture(seed, k) for seed in range(1000, 1040) for k in (1, 2, 3, 4)]
    error = {}
    for solo in (1.0, 4.0):
        rule = fit_stop_rule(training_sets, solo=solo)
        estimates = np.array([estimate_k(item.vectors, item.weights, rule=rule) for item in held_out])
        error[solo] = estimates.reshape(40, 4) - (1, 2, 3, 4)
    assert np.mean(error[1.0] == 0) > 0.5
    assert np.mean(abs(error[1.0]) <= 1) > 0.85
    assert np.mean(error[4.0][:, 0] == 0) > max(0.8, np.mean(error[1.0][:, 0] == 0))  # K = 1


def test_rule_wants_solos_and_bands(training_sets):
    for known in ({2, 3, 4}, {1, 2}):
        with pytest.raises(ValueError, match="stop rule wants"):
            fit_stop_rule([item for item in training_sets if item[2] in known])
