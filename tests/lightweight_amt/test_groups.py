import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from lightweight_amt.groups import Groups, normalised_affinity, spherical_kmeans


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


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
    assert adjusted_rand_score(weighted, repeated[np.r_[0, np.cumsum(weights)[:-1]]]) == 1.0


def test_a_sample_of_many_notes_is_enough_for_kmeans():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat(np.arange(3), [9000, 2000, 1000]))
    vectors = unit(np.eye(16)[truth] + 0.2 * rng.normal(size=(len(truth), 16)))
    assert adjusted_rand_score(truth, spherical_kmeans(vectors, 3)) > 0.98


def test_affinity_of_groups_is_made_of_the_pairs_of_their_notes():
    rng = np.random.default_rng(0)
    vectors, weights = unit(rng.normal(size=(30, 4)) + 2), rng.uniform(0.5, 2, 30)
    labels = np.repeat(np.arange(6), 5)
    mass = np.bincount(labels, weights)
    mean = np.stack([weights[labels == g] @ vectors[labels == g] / mass[g] for g in range(6)])
    groups = Groups(mean, mass, np.bincount(labels, weights**2) / mass**2)
    matrix, scale = normalised_affinity(groups, temperature=10.0)
    # A high temperature makes exp nearly linear, so that the mean over pairs may be taken before or after it.
    pairs = np.exp((vectors @ vectors.T - 1) / 10) * np.outer(weights, weights)
    np.fill_diagonal(pairs, 0)
    member = labels[:, None] == np.arange(6)
    assert (matrix / np.outer(scale, scale)) == pytest.approx(
        member.T @ pairs @ member / np.outer(mass, mass), rel=1e-3
    )
