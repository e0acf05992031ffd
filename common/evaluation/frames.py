"""Frame scores from piano rolls on one grid; on such rolls equal to mir_eval.multipitch.metrics, with no difference."""

import numpy as np


def frame_scores(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """How well an estimated piano roll agrees with a reference, counted over all cells.

    Precision, recall, accuracy and the four errors are those of mir_eval.multipitch.metrics, as defined by G. E.
    Poliner and D. P. W. Ellis, "A discriminative model for polyphonic piano transcription", EURASIP JASP 2007.

    Args:
        reference: (pitch, frame) bool; mir_eval's window of half a semitone holds one pitch of a semitone grid.
        estimate: as the reference, on the same grid.

    Returns:
        precision, recall, f1, accuracy, substitution, miss, false_alarm and total (error); the errors per reference
        cell. A ratio that has nothing to divide by is 0.

    Raises:
        ValueError: for rolls that are not bool or differ in shape.
    """
    for roll in (reference, estimate):
        if roll.dtype != bool or roll.ndim != 2:
            raise ValueError(
                f"a roll must be (pitch, frame) bool, not {roll.dtype} {roll.shape}; apply a threshold first"
            )
    if reference.shape != estimate.shape:
        raise ValueError(f"rolls on one grid have one shape, not {reference.shape} and {estimate.shape}")
    sounding, found = _per_frame(reference), _per_frame(estimate)
    n_reference, n_estimate = int(sounding.sum()), int(found.sum())
    hits = int(np.count_nonzero(reference & estimate))
    errors = {
        "substitution": int(np.minimum(sounding, found).sum()) - hits,
        "miss": int(np.maximum(sounding - found, 0).sum()),
        "false_alarm": int(np.maximum(found - sounding, 0).sum()),
        "total": int(np.maximum(sounding, found).sum()) - hits,
    }
    return {
        "precision": _ratio(hits, n_estimate),
        "recall": _ratio(hits, n_reference),
        "f1": _ratio(2 * hits, n_reference + n_estimate),
        "accuracy": _ratio(hits, n_reference + n_estimate - hits),
        **{name: _ratio(count, n_reference) for name, count in errors.items()},
    }


def f1_curve(truth: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """F1 of `probabilities >= threshold` for every threshold, from one pass over the cells.

    The thresholds are given so that the curves of several pieces can be averaged before the best one is chosen.

    Args:
        truth: bool, any shape.
        probabilities: as the truth.
        thresholds: (threshold,) ascending.

    Returns:
        (threshold,) float64; 0 where nothing is found or nothing was there.

    Raises:
        ValueError: for arrays of different shape, NaN, and thresholds out of order.
    """
    _check_probabilities(truth, probabilities)
    if (np.diff(thresholds) < 0).any():
        raise ValueError("thresholds must ascend")
    # A cell at rank r of the thresholds passes the first r of them.
    rank = np.searchsorted(thresholds, probabilities.ravel(), side="right")
    n_found = _at_least(rank, len(thresholds))
    n_hits = _at_least(rank[truth.ravel()], len(thresholds))
    return 2 * n_hits / np.maximum(n_found + np.count_nonzero(truth), 1)


def average_precision(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the steps of precision over recall, all thresholds, equal values taken together; sklearn's definition.

    Args:
        truth: bool, any shape.
        probabilities: as the truth.

    Returns:
        0..1, and 0 where the truth is empty.

    Raises:
        ValueError: for arrays of different shape, and NaN.
    """
    _check_probabilities(truth, probabilities)
    if not truth.any():
        return 0.0
    order = np.argsort(-probabilities, axis=None)
    ranked, hits = probabilities.ravel()[order], np.cumsum(truth.ravel()[order])
    last = np.append(ranked[1:] != ranked[:-1], True)
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float(precision @ np.diff(hits[last], prepend=0) / hits[-1])


def _per_frame(roll: np.ndarray) -> np.ndarray:
    """(frame,) number of pitches that sound, signed so that it can be subtracted."""
    return roll.sum(axis=0, dtype=np.int64)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0


def _at_least(rank: np.ndarray, n: int) -> np.ndarray:
    """(n,) how many ranks are above 0, 1, ..., n - 1."""
    counts = np.bincount(rank, minlength=n + 1)
    return np.cumsum(counts[::-1])[::-1][1:]


def _check_probabilities(truth: np.ndarray, probabilities: np.ndarray) -> None:
    if truth.dtype != bool or truth.shape != probabilities.shape:
        raise ValueError(f"truth must be bool of shape {probabilities.shape}, not {truth.dtype} {truth.shape}")
    if np.isnan(probabilities).any():
        raise ValueError("probabilities contain NaN")
