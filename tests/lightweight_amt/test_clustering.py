import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from benchmarks.embeddings import crowd, mixture
from lightweight_amt.clustering import (
    METHODS,
    cluster,
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
