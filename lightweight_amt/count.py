"""How many instruments play: the number of clusters at which notes that sound together stop being strangers.

The vectors of one instrument scatter: with the register, with the loudness, and most of all with what else sounds. A
piano alone, in chords from bass to treble, scatters as widely as two winds. But it scatters from chord to chord: notes
that sound together, of one instrument, are heard alike. So the notes are clustered into k = 1, 2, 3 ... instruments,
and for each k it is asked how alike those notes are that sound together and share a cluster. Octaves are left out, for
their partials coincide. Where little sounds together, all pairs of a cluster speak instead.

Beside this `company` stands the spectrum of the affinity: with K instruments, K of its eigenvalues stand out. A
logistic rule of five numbers, fitted on mixtures of known K by `fit_stop_rule`, makes odds of both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from common.notes import Notes
from lightweight_amt.groups import checked, grouped, normalised_affinity, spherical_kmeans

N_GROUPS = 256  # of which the affinity is taken
NOISE = 0.01  # what is far below this share of the largest eigenvalue says nothing
FOLLOWING = 12  # notes after each, in order of onset, that may sound together with it
TOGETHER = 0.5  # of the shorter of two notes must overlap with the other
SPARSE = 0.1  # pairs for each note, as which all pairs of a cluster count


@dataclass(frozen=True)
class StopRule:
    """Log odds that there are more than k instruments: a weighted sum of the columns of `evidence`.

    An encoder wants a rule of its own, from `fit_stop_rule`.
    """

    bias: float
    only_one: float  # of k = 1
    log_k: float
    eigenvalue: float  # of the logarithm of eigenvalue k + 1
    company: float  # of the mean cosine of notes that sound together in one of k clusters


# Fitted by benchmarks/speed/cluster.py on synthetic vectors, without their notes.
STOP_RULE = StopRule(8.16, -0.54, 3.29, 3.92, -4.89)


def estimate_k(vectors: np.ndarray, notes: Notes | None = None, most: int = 8, rule: StopRule = STOP_RULE) -> int:
    """The number of instruments that is as likely too small as too large, 1 to `most`; 0 where there are no notes.

    Args:
        vectors: (note, dim) of unit length; zero for a note of which nothing is known.
        notes: when each of them sounds and at what pitch; none: nothing sounds together.
        most: the largest answer.
        rule: fitted on mixtures like these.

    Raises:
        ValueError: arrays that do not fit together, or NaN.
    """
    vectors, _ = checked(vectors, None)
    if notes is not None and len(notes) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors and {len(notes)} notes must be of the same notes")
    known = np.any(vectors, axis=1)
    if not known.any():
        return min(len(vectors), 1)
    columns = evidence(vectors[known], None if notes is None else notes[known], most)
    more = np.cumprod(1 / (1 + np.exp(-columns @ astuple(rule))))  # probability of more than 1, 2 ... instruments
    return int(np.argmax(np.append(more, 0.0) < 0.5)) + 1


def fit_stop_rule(
    sets: Sequence[tuple[np.ndarray, Notes | None, int]], ridge: float = 0.1, solo: float = 3.0
) -> StopRule:
    """The rule that makes the known numbers of instruments most probable: ridge logistic regression, deterministic.

    The steps from the largest K of the sets on are left out: that none of them goes further is a fact about the sets.

    Args:
        sets: (vectors, notes, true K) of mixtures as `estimate_k` takes them, with K = 1 and at least two larger ones.
        ridge: weight of the squared coefficients in units of sets.
        solo: how many sets each set with K = 1 stands for; more makes it likelier to be recognised, and K = 2 less so.

    Raises:
        ValueError: the sets hold fewer than three different K, or none with K = 1.
    """
    known = {true_k for *_, true_k in sets}
    if 1 not in known or len(known) < 3:
        raise ValueError(f"a stop rule wants sets of 1, 2, 3 ... instruments to learn from; these have {sorted(known)}")
    rows, outcomes, counts = [], [], []
    for vectors, notes, true_k in sets:
        columns = evidence(checked(vectors, None)[0], notes, min(true_k, max(known) - 1) + 1)
        rows.append(columns)
        outcomes.append(np.arange(1, len(columns) + 1) < true_k)
        counts.append(np.full(len(columns), solo if true_k == 1 else 1.0))
    x, y, count = (np.concatenate(part) for part in (rows, outcomes, counts))
    coefficients = np.zeros(x.shape[1])
    for _ in range(30):  # Newton's method: the objective is convex
        p = 1 / (1 + np.exp(-x @ coefficients))
        gradient = x.T @ (count * (p - y)) + ridge * coefficients
        curvature = (x.T * (count * p * (1 - p))) @ x + ridge * np.eye(x.shape[1])
        coefficients -= np.linalg.solve(curvature, gradient)
    return StopRule(*coefficients.tolist())


def evidence(vectors: np.ndarray, notes: Notes | None, most: int) -> np.ndarray:
    """What speaks for more than k instruments, k = 1 .. most - 1: (step, 5), the columns as the fields of StopRule.

    There are fewer steps where there are fewer different notes. The eigenvalues are those of the paper's affinity
    exp(cos). It hardly shows a gap, but as no note is counted with itself, what the notes scatter by themselves leaves
    its larger eigenvalues alone.
    """
    # Sorted, so that the same random numbers meet the same notes in whatever order they come, and each only once.
    different, which = np.unique(vectors, axis=0, return_inverse=True)
    k = np.arange(1, min(most, len(different)))
    times = np.bincount(which).astype(np.float32)
    groups = grouped(different, times, N_GROUPS, np.random.default_rng(0))
    eigenvalues = np.linalg.eigvalsh(normalised_affinity(groups, temperature=1.0)[0])[::-1]
    eigenvalue = np.log(np.maximum(eigenvalues[1 : len(k) + 1], 0) + NOISE)
    clusterings = (spherical_kmeans(different, n, times, restarts=4)[which] for n in k.tolist())
    columns = np.broadcast_arrays(1.0, k == 1, np.log(k), eigenvalue, company(vectors, notes, clusterings))
    return np.stack(columns, axis=1, dtype=np.float64)


def company(vectors: np.ndarray, notes: Notes | None, clusterings: Iterator[np.ndarray]) -> np.ndarray:
    """Mean cosine of the notes that sound together and share a cluster, for each clustering.

    To these pairs, SPARSE more for each note are added with the mean cosine of all pairs of a cluster, which is left
    where nothing sounds together.

    Args:
        vectors: (note, dim) of unit length.
        notes: when each of them sounds; none: nothing sounds together.
        clusterings: (note,) labels each.
    """
    pairs = [] if notes is None else list(sounding_together(notes))
    cosines = [np.einsum("nd,nd->n", vectors[i], vectors[j]) for i, j in pairs]
    values = []
    for labels in clusterings:
        size = np.bincount(labels)
        sums = np.stack([np.bincount(labels, column) for column in vectors.T], axis=1)
        anyone = (np.square(sums).sum(axis=1) / size).sum()  # over the notes: mean cosine to those of the same cluster
        shared = [labels[i] == labels[j] for i, j in pairs]
        total = sum(float(cosine[same].sum()) for cosine, same in zip(cosines, shared, strict=True))
        count = sum(int(same.sum()) for same in shared)
        values.append((total + SPARSE * anyone) / (count + SPARSE * len(labels)))
    return np.array(values)


def sounding_together(notes: Notes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of notes that overlap by half of the shorter one, octaves left out: indices of the earlier and the later.

    A note is compared with the FOLLOWING ones by onset, so that this takes linear time.
    """
    order = np.lexsort((notes.pitch, notes.onset))
    onset, offset, pitch = (column[order] for column in (notes.onset, notes.offset, notes.pitch))
    for step in range(1, min(FOLLOWING, len(order) - 1) + 1):
        overlap = np.minimum(offset[:-step], offset[step:]) - onset[step:]
        shorter = np.minimum((offset - onset)[:-step], (offset - onset)[step:])
        together = (overlap >= TOGETHER * shorter) & ((pitch[step:] - pitch[:-step]) % 12 != 0)
        yield order[:-step][together], order[step:][together]
