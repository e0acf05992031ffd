"""Notes in groups of near ones: k-means by cosine, and the affinity of groups. What clustering and counting share."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 8192  # notes whose affinity to all groups is in memory at once
SAMPLE = 2048  # notes on which k-means tries its beginnings


class Groups(NamedTuple):
    """Notes in groups; a note by itself is a group."""

    mean: np.ndarray  # (group, dim) mean vectors, shorter than 1 where the members differ
    mass: np.ndarray  # (group,) sum of the weights
    alone: np.ndarray  # (group,) sum of the squared weights over mass**2: 1 for a single note


def spherical_kmeans(
    vectors: np.ndarray, k: int, weights: np.ndarray | None = None, seed: int = 0, restarts: int = 8
) -> np.ndarray:
    """k-means by cosine from k-means++ beginnings, O(note k dim).

    Args:
        vectors: (note, dim) of unit length.
        k: number of clusters, at least 1.
        weights: (note,) >= 0.
        seed: of the beginnings, and of the 2,048 notes on which they compete if there are more.
        restarts: number of beginnings; the one that ends closest to its notes wins.

    Returns:
        (note,) int64 labels in order of first appearance.
    """
    vectors, weights = checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    centres = find_centres(vectors, weights, k, np.random.default_rng(seed), restarts)
    return in_order_of_appearance(nearest(vectors, centres))


def grouped(vectors: np.ndarray, weights: np.ndarray, n_groups: int, rng: np.random.Generator) -> Groups:
    """At most n_groups groups of near notes: two rounds of k-means from random notes."""
    labels = np.arange(len(vectors))
    if len(vectors) > n_groups:
        labels = nearest(vectors, vectors[np.sort(rng.choice(len(vectors), n_groups, replace=False))])
        labels = nearest(vectors, unit(_sums(vectors, weights, labels)))
    mass = np.bincount(labels, weights)
    kept = mass > 0
    mean = _sums(vectors, weights, labels)[kept] / mass[kept, None]
    return Groups(mean, mass[kept], np.bincount(labels, weights.astype(np.float64) ** 2)[kept] / mass[kept] ** 2)


def normalised_affinity(groups: Groups, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """The normalised affinity D^-1/2 W D^-1/2 of the groups, and what extends its eigenvectors to single notes.

    The mean cosine of the pairs between two groups is the product of their mean vectors. Within a group it is found by
    taking the pairs of a note with itself away; a group of one has no pair left.
    """
    mean, mass, alone = groups
    cosine = mean @ mean.T
    pairs = np.where(alone < 1 - 1e-6, 1 - alone, 0)
    within = (np.diag(cosine) - alone) / np.maximum(pairs, 1e-6)
    affinity = np.exp((cosine - 1) / temperature)
    np.fill_diagonal(affinity, pairs * np.exp((np.clip(within, -1, 1) - 1) / temperature))
    scale = np.sqrt(mass / np.maximum(affinity @ mass, 1e-300))
    return affinity * scale[:, None] * scale, scale


def find_centres(
    vectors: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator, restarts: int = 8
) -> np.ndarray:
    """(at most k, dim) unit centres of the best of several runs of k-means on a sample, refined on all vectors."""
    sample = np.arange(len(vectors))
    if len(sample) > SAMPLE:
        sample = np.sort(rng.choice(sample, SAMPLE, replace=False))
    few, mass = vectors[sample], weights[sample]
    runs = [_refined(few, mass, _beginning(few, mass, k, rng)) for _ in range(restarts)]
    best = max(runs, key=lambda centres: float(mass @ (few @ centres.T).max(axis=1)))
    return best if len(few) == len(vectors) else _refined(vectors, weights, best)


def _beginning(vectors: np.ndarray, weights: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k-means++: each new centre is drawn by its distance to the nearest one; of four draws, the best."""
    chosen = [int(rng.choice(len(vectors), p=weights / weights.sum()))]
    distance = 1 - vectors @ vectors[chosen[0]]
    while len(chosen) < k:
        odds = weights * np.maximum(distance, 1e-6) * (distance > 1e-6)
        if not odds.any():
            break  # every note sits on a centre
        draws = rng.choice(len(vectors), 4, p=odds / odds.sum())
        distances = np.minimum(distance, 1 - vectors[draws] @ vectors.T)
        best = int(np.argmin(distances @ weights))
        chosen.append(int(draws[best]))
        distance = distances[best]
    return vectors[chosen]


def _refined(vectors: np.ndarray, weights: np.ndarray, centres: np.ndarray, rounds: int = 50) -> np.ndarray:
    """Centres after Lloyd's iteration; one that has lost its notes stays where it is."""
    labels = np.full(len(vectors), -1)
    for _ in range(rounds):
        previous, labels = labels, nearest(vectors, centres)
        if np.array_equal(labels, previous):
            break
        sums = _sums(vectors, weights, labels, len(centres))
        centres = np.where(np.any(sums, axis=1, keepdims=True), unit(sums), centres)
    return centres


def nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.concatenate([(part @ centres.T).argmax(axis=1) for part in blocks(vectors)])


def _sums(vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray, n: int = 0) -> np.ndarray:
    """(label, dim) weighted sums of the vectors with the same label."""
    return np.stack([np.bincount(labels, weights * column, n) for column in vectors.T], axis=1).astype(vectors.dtype)


def blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def in_order_of_appearance(labels: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def checked(vectors: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Float32 vectors, and weights whose mean is 1 and none quite 0; weights that are all 0 count as none."""
    vectors = np.asarray(vectors, np.float32)
    weights = np.ones(len(vectors), np.float32) if weights is None else np.asarray(weights, np.float32)
    if vectors.ndim != 2 or weights.shape != vectors.shape[:1]:
        raise ValueError(f"vectors {vectors.shape} and weights {weights.shape} must be (note, dim) and (note,)")
    if not np.isfinite(vectors).all() or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("vectors and weights must be finite, and weights 0 or more")
    if not weights.any():
        return vectors, np.ones_like(weights)
    return vectors, np.maximum(weights / weights.mean(), 1e-6)
