"""Note embeddings to tracks: how many instruments play, and which of them plays each note.

A note is one unit vector of 12 to 24 numbers, so that those of a whole file, however long, are clustered at once when
its last window has been heard. An instrument therefore keeps its number through the file, and nothing has to be carried
from one window to the next.

All methods look at cosines. `spectral` is the paper's form, quadratic in memory and cubic in time; with the temperature
of the training instead of the paper's 1 it is better by 0.02 in purity on rendered mixtures. `landmark` replaces the
notes by at most 256 groups of near ones, each with its mean vector, its mass and the affinity of its members to one
another, solves the same eigenproblem for the groups, and extends its solution to the notes. `spherical_kmeans` needs no
affinity at all.

The number of instruments is read off the spectrum of the affinity: with K instruments, K of its eigenvalues stand out.
How far, a logistic rule of six numbers says, fitted on mixtures of known K by `fit_stop_rule`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Literal, NamedTuple

import numpy as np

TEMPERATURE = 0.15  # of the affinity exp(cos / temperature): that of the contrastive training
N_GROUPS = 256  # of the landmark form
BLOCK = 8192  # notes whose affinity to all groups is in memory at once
SAMPLE = 2048  # notes on which k-means tries its beginnings
NOISE = 0.01  # what is far below this share of the largest eigenvalue says nothing

Method = Literal["landmark", "kmeans", "spectral"]


@dataclass(frozen=True)
class StopRule:
    """Log odds that there are more than k instruments: a weighted sum of the columns of `_evidence`.

    An encoder wants a rule of its own, from `fit_stop_rule`.
    """

    bias: float
    only_one: float  # of k = 1
    log_k: float
    eigenvalue: float  # of the logarithm of eigenvalue k + 1
    following: float  # of that of eigenvalue k + 2
    dispersion: float  # of that of 1 - |mean vector|


# Fitted by benchmarks/speed/cluster.py on synthetic mixtures.
STOP_RULE = StopRule(8.82, 1.08, 3.0, 4.06, 0.9, 0.99)


class Groups(NamedTuple):
    """Notes in groups; a note by itself is a group."""

    mean: np.ndarray  # (group, dim) mean vectors, shorter than 1 where the members differ
    mass: np.ndarray  # (group,) sum of the weights
    alone: np.ndarray  # (group,) sum of the squared weights over mass**2: 1 for a single note


def cluster(
    vectors: np.ndarray,
    k: int | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
    method: Method = "landmark",
    most: int = 8,
    rule: StopRule = STOP_RULE,
) -> np.ndarray:
    """Which instrument plays each note of a file; the order of the notes decides nothing but the numbering.

    Args:
        vectors: (note, dim) embeddings of unit length.
        k: number of instruments; None estimates it.
        weights: (note,) how certain each vector is, 0 or more; None takes all alike, and did best on rendered mixtures.
        seed: of the random beginnings.
        method: "landmark", "kmeans" or "spectral", the functions of this module.
        most: the largest estimate.
        rule: of the estimate.

    Returns:
        (note,) int64, at most k different labels, numbered from 0 in order of first appearance. Fewer than k where
        there are not as many different notes.

    Raises:
        ValueError: arrays that do not fit together, NaN, negative weights, k below 1 or an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {', '.join(METHODS)}")
    if k is not None and k < 1:
        raise ValueError(f"k is a number of instruments, at least 1, not {k}")
    vectors, weights = _checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    # Sorted, so that the same random numbers meet the same notes in whatever order they come, and each only once.
    vectors, which = np.unique(vectors, axis=0, return_inverse=True)
    weights = np.bincount(which, weights)
    k = k or estimate_k(vectors, weights, most, rule)
    return _in_order_of_appearance(METHODS[method](vectors, k, weights=weights, seed=seed)[which])


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
    vectors, weights = _checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    centres = _centres(vectors, weights, k, np.random.default_rng(seed), restarts)
    return _in_order_of_appearance(_nearest(vectors, centres))


def spectral(
    vectors: np.ndarray,
    k: int,
    temperature: float = TEMPERATURE,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Normalised spectral clustering with the affinity of every pair of notes: the yardstick, O(note^3).

    Affinity exp(cos / temperature), none of a note to itself; leading eigenvectors of D^-1/2 W D^-1/2; rows brought to
    unit length and clustered by k-means (Ng, Jordan and Weiss 2001). Study A8; the paper has temperature 1.

    Args:
        vectors: (note, dim) of unit length.
        k: number of clusters, at least 1.
        temperature: of the affinity.
        weights: (note,) >= 0, how much each note counts.
        seed: of the k-means.

    Returns:
        (note,) int64 labels in order of first appearance.
    """
    return landmark(vectors, k, temperature, weights, seed, n_groups=len(vectors))


def landmark(
    vectors: np.ndarray,
    k: int,
    temperature: float = TEMPERATURE,
    weights: np.ndarray | None = None,
    seed: int = 0,
    n_groups: int = N_GROUPS,
) -> np.ndarray:
    """`spectral` on groups of near notes, extended to the notes: O(note group dim), memory O(note).

    Args:
        vectors, k, temperature, weights, seed: see `spectral`.
        n_groups: most groups; equal to `spectral` where there are no more notes than that.

    Returns:
        (note,) int64 labels in order of first appearance.
    """
    vectors, weights = _checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    rng = np.random.default_rng(seed)
    groups = _grouped(vectors, weights, n_groups, rng)
    matrix, scale = _affinity(groups, temperature)
    leading = np.linalg.eigh(matrix)[1][:, -k:]
    rows = _unit(leading)
    centres = _centres(rows, groups.mass, k, rng)
    if len(vectors) <= n_groups:
        return _in_order_of_appearance(_nearest(rows, centres))
    means = groups.mean.astype(np.float32)
    extend = (scale[:, None] * leading @ centres.T).astype(np.float32)
    # The length of a row is the same for all centres and can stay as it is.
    labels = [(np.exp((part @ means.T - 1) / temperature) @ extend).argmax(1) for part in _blocks(vectors)]
    return _in_order_of_appearance(np.concatenate(labels))


METHODS: dict[Method, Callable[..., np.ndarray]] = {
    "landmark": landmark,
    "kmeans": spherical_kmeans,
    "spectral": spectral,
}


def estimate_k(
    vectors: np.ndarray, weights: np.ndarray | None = None, most: int = 8, rule: StopRule = STOP_RULE
) -> int:
    """The most probable number of instruments, 1 to `most`; 0 where there are no notes.

    Args:
        vectors: (note, dim) of unit length.
        weights: (note,) >= 0.
        most: the largest answer.
        rule: fitted on mixtures like these.
    """
    vectors, weights = _checked(vectors, weights)
    most = min(most, len(vectors))
    if most < 2:
        return most
    go_on = 1 / (1 + np.exp(-_evidence(vectors, weights, most) @ astuple(rule)))
    reached = np.cumprod(np.append(1.0, go_on))
    return int(np.argmax(reached * np.append(1 - go_on, 1.0))) + 1


def fit_stop_rule(
    sets: Sequence[tuple[np.ndarray, np.ndarray | None, int]], ridge: float = 0.1, solo: float = 1.0
) -> StopRule:
    """The rule that makes the known numbers of instruments most probable: ridge logistic regression, deterministic.

    The steps from the largest K of the sets on are left out: that none of them goes further is a fact about the sets.

    Args:
        sets: (vectors, weights, true K) of validation mixtures, with K = 1 and with at least two larger ones.
        ridge: weight of the squared coefficients in units of sets.
        solo: how many sets each set with K = 1 stands for; more makes it likelier to be recognised, and K = 2 less so.

    Raises:
        ValueError: the sets hold fewer than three different K, or none with K = 1.
    """
    known = {true_k for *_, true_k in sets}
    if 1 not in known or len(known) < 3:
        raise ValueError(f"a stop rule wants sets of 1, 2, 3 ... instruments to learn from; these have {sorted(known)}")
    rows, outcomes, counts = [], [], []
    for vectors, weights, true_k in sets:
        vectors, weights = _checked(vectors, weights)
        steps = min(true_k, max(known) - 1, len(vectors) - 1)
        if steps > 0:
            rows.append(_evidence(vectors, weights, steps + 1))
            outcomes.append(np.arange(1, steps + 1) < true_k)
            counts.append(np.full(steps, solo if true_k == 1 else 1.0))
    x, y, count = (np.concatenate(part) for part in (rows, outcomes, counts))
    coefficients = np.zeros(x.shape[1])
    for _ in range(30):  # Newton's method: the objective is convex
        p = 1 / (1 + np.exp(-x @ coefficients))
        gradient = x.T @ (count * (p - y)) + ridge * coefficients
        curvature = (x.T * (count * p * (1 - p))) @ x + ridge * np.eye(x.shape[1])
        coefficients -= np.linalg.solve(curvature, gradient)
    return StopRule(*coefficients.tolist())


def _evidence(vectors: np.ndarray, weights: np.ndarray, most: int) -> np.ndarray:
    """What speaks for more than k instruments, k = 1 .. most - 1: (step, 6), the columns as the fields of StopRule.

    The eigenvalues are those of the paper's affinity exp(cos). It hardly shows a gap, but as no note is counted with
    itself, what the notes scatter by themselves leaves its larger eigenvalues alone.
    """
    groups = _grouped(vectors, weights, N_GROUPS, np.random.default_rng(0))
    eigenvalues = np.zeros(max(most + 1, len(groups.mass)))
    eigenvalues[: len(groups.mass)] = np.linalg.eigvalsh(_affinity(groups, temperature=1.0)[0])[::-1]
    spectrum = np.log(np.maximum(eigenvalues[: most + 1], 0) + NOISE)
    dispersion = np.log(1 - np.linalg.norm(weights @ vectors) / weights.sum() + 1e-3)
    k = np.arange(1, most)
    columns = np.broadcast_arrays(1.0, k == 1, np.log(k), spectrum[1:-1], spectrum[2:], dispersion)
    return np.stack(columns, axis=1, dtype=np.float64)


def _affinity(groups: Groups, temperature: float) -> tuple[np.ndarray, np.ndarray]:
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


def _grouped(vectors: np.ndarray, weights: np.ndarray, n_groups: int, rng: np.random.Generator) -> Groups:
    """At most n_groups groups of near notes: two rounds of k-means from random notes."""
    labels = np.arange(len(vectors))
    if len(vectors) > n_groups:
        labels = _nearest(vectors, vectors[np.sort(rng.choice(len(vectors), n_groups, replace=False))])
        labels = _nearest(vectors, _unit(_sums(vectors, weights, labels)))
    mass = np.bincount(labels, weights)
    kept = mass > 0
    mean = _sums(vectors, weights, labels)[kept] / mass[kept, None]
    return Groups(mean, mass[kept], np.bincount(labels, weights.astype(np.float64) ** 2)[kept] / mass[kept] ** 2)


def _centres(
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
        previous, labels = labels, _nearest(vectors, centres)
        if np.array_equal(labels, previous):
            break
        sums = _sums(vectors, weights, labels, len(centres))
        centres = np.where(np.any(sums, axis=1, keepdims=True), _unit(sums), centres)
    return centres


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.concatenate([(part @ centres.T).argmax(axis=1) for part in _blocks(vectors)])


def _sums(vectors: np.ndarray, weights: np.ndarray, labels: np.ndarray, n: int = 0) -> np.ndarray:
    """(label, dim) weighted sums of the vectors with the same label."""
    return np.stack([np.bincount(labels, weights * column, n) for column in vectors.T], axis=1).astype(vectors.dtype)


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _in_order_of_appearance(labels: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _checked(vectors: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
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
