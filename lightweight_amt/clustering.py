"""Note embeddings to tracks: how many instruments play, and which of them plays each note.

A note is one unit vector of 12 to 24 numbers, so that those of a whole file, however long, are clustered at once when
its last window has been heard. An instrument therefore keeps its number through the file, and nothing has to be carried
from one window to the next.

All methods look at cosines. `spectral` is the paper's form, quadratic in memory and cubic in time; with the temperature
of the training instead of the paper's 1 it is better by 0.02 in purity on rendered mixtures. `landmark` replaces the
notes by at most 256 groups of near ones, each with its mean vector, its mass and the affinity of its members to one
another, solves the same eigenproblem for the groups, and extends its solution to the notes. `spherical_kmeans` needs no
affinity at all.

Where the number of instruments is not given, `lightweight_amt.count` estimates it.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from common.notes import Notes
from lightweight_amt.count import STOP_RULE, StopRule, estimate_k
from lightweight_amt.groups import (
    blocks,
    checked,
    find_centres,
    grouped,
    in_order_of_appearance,
    nearest,
    normalised_affinity,
    spherical_kmeans,
    unit,
)

TEMPERATURE = 0.15  # of the affinity exp(cos / temperature): that of the contrastive training
N_GROUPS = 256  # of the landmark form

Method = Literal["landmark", "kmeans", "spectral"]


def cluster(
    vectors: np.ndarray,
    k: int | None = None,
    weights: np.ndarray | None = None,
    seed: int = 0,
    method: Method = "landmark",
    most: int = 8,
    rule: StopRule = STOP_RULE,
    notes: Notes | None = None,
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
        notes: when each of them sounds, of use to the estimate alone.

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
    vectors, weights = checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    k = k or estimate_k(vectors, notes, most, rule)
    # Sorted, so that the same random numbers meet the same notes in whatever order they come, and each only once.
    vectors, which = np.unique(vectors, axis=0, return_inverse=True)
    weights = np.bincount(which, weights)
    return in_order_of_appearance(METHODS[method](vectors, k, weights=weights, seed=seed)[which])


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
    vectors, weights = checked(vectors, weights)
    if not len(vectors):
        return np.empty(0, np.int64)
    rng = np.random.default_rng(seed)
    groups = grouped(vectors, weights, n_groups, rng)
    matrix, scale = normalised_affinity(groups, temperature)
    leading = np.linalg.eigh(matrix)[1][:, -k:]
    rows = unit(leading)
    centres = find_centres(rows, groups.mass, k, rng)
    if len(vectors) <= n_groups:
        return in_order_of_appearance(nearest(rows, centres))
    means = groups.mean.astype(np.float32)
    extend = (scale[:, None] * leading @ centres.T).astype(np.float32)
    # The length of a row is the same for all centres and can stay as it is.
    labels = [(np.exp((part @ means.T - 1) / temperature) @ extend).argmax(1) for part in blocks(vectors)]
    return in_order_of_appearance(np.concatenate(labels))


METHODS: dict[Method, Callable[..., np.ndarray]] = {
    "landmark": landmark,
    "kmeans": spherical_kmeans,
    "spectral": spectral,
}
