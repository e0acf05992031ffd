"""Scores of sets of labels, as pure functions on arrays (clip, class); equal to scikit-learn's with zero_division=0."""

import numpy as np


def f_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """Micro- and macro-averaged precision, recall and F.

    The macro-F is the mean of the classes' F, not the F of the mean precision and recall.

    Args:
        truth: (clip, class) bool, or 0 and 1.
        estimate: as the truth.

    Returns:
        micro_precision, micro_recall, micro_f1, macro_precision, macro_recall, macro_f1; 0 with nothing to divide by.

    Raises:
        ValueError: arrays of other types, shapes or values.
    """
    hits, n_truth, n_estimate = _counts(truth, estimate)
    per_class = _f(hits, n_truth, n_estimate)
    pooled = _f(hits.sum(), n_truth.sum(), n_estimate.sum())
    return {f"micro_{name}": float(value) for name, value in pooled.items()} | {
        f"macro_{name}": float(value.mean()) if value.size else 0.0 for name, value in per_class.items()
    }


def class_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F of each class.

    Args:
        truth: as in `f_scores`.
        estimate: as the truth.

    Returns:
        "precision", "recall" and "f1", (class,) float64, 0 with nothing to divide by; "n_clips", int64, how many clips
        have the class.
    """
    hits, n_truth, n_estimate = _counts(truth, estimate)
    return {**_f(hits, n_truth, n_estimate), "n_clips": n_truth}


def ranking_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Label ranking average precision (LRAP): of the classes that rank no lower than a true one, how many are true.

    The mean over the true classes of a clip and then over clips; a clip with no or every class counts 1.

    Args:
        truth: (clip, class) bool, or 0 and 1.
        scores: (clip, class), higher is likelier; equal scores share the lower rank.

    Returns:
        0..1; 0 without clips.
    """
    truth = _labels(truth, "truth")
    _same_shape(truth, scores)
    if not truth.size:
        return 0.0
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked, found = np.take_along_axis(scores, order, 1), np.take_along_axis(truth, order, 1)
    last = _last_of_equals(ranked)
    true_above = np.take_along_axis(found.cumsum(1), last, 1)
    precision = np.where(found, true_above / (last + 1), 0.0).sum(1)
    n_true = truth.sum(1)
    trivial = (n_true == 0) | (n_true == truth.shape[1])
    return float(np.where(trivial, 1.0, precision / np.maximum(n_true, 1)).mean())


def class_average_precision(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under each class's curve of precision over recall, (class,) float64, as a sum of steps; 0 if never true.

    Args:
        truth: (clip, class) bool, or 0 and 1.
        scores: (clip, class), higher is likelier.
    """
    truth = _labels(truth, "truth").T
    _same_shape(truth.T, scores)
    order = np.argsort(-scores.T, axis=1, kind="stable")
    ranked, found = np.take_along_axis(scores.T, order, 1), np.take_along_axis(truth, order, 1)
    last = _last_of_equals(ranked)
    # Each true clip adds a step of recall at the precision that all clips of its score or a higher one have together.
    precision = np.take_along_axis(found.cumsum(1), last, 1) / (last + 1)
    return np.where(found, precision, 0.0).sum(1) / np.maximum(found.sum(1), 1)


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean of `class_average_precision` over all classes (mAP), 0 without any.

    Args:
        truth: (clip, class) bool, or 0 and 1.
        scores: (clip, class), higher is likelier.
    """
    precision = class_average_precision(truth, scores)
    return float(precision.mean()) if precision.size else 0.0


def ranking_scores(truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Both scores that need no threshold: "lrap" and "map".

    Args:
        truth: (clip, class) bool, or 0 and 1.
        scores: (clip, class), higher is likelier.
    """
    return {"lrap": ranking_precision(truth, scores), "map": mean_average_precision(truth, scores)}


def _labels(labels: np.ndarray, name: str) -> np.ndarray:
    """As bool."""
    if labels.ndim != 2 or not ((labels == 0) | (labels == 1)).all():
        raise ValueError(f"{name} must be bool, or 0 and 1, (clip, class), not {labels.dtype} {labels.shape}")
    return labels.astype(bool)


def _same_shape(truth: np.ndarray, other: np.ndarray) -> None:
    if truth.shape != other.shape:
        raise ValueError(f"truth and estimate are of one shape, not {truth.shape} and {other.shape}")
    if np.isnan(other).any():
        raise ValueError("NaN among the scores: nothing can be ranked by it")


def _counts(truth: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each class is right, true and estimated."""
    truth, estimate = _labels(truth, "truth"), _labels(estimate, "estimate")
    _same_shape(truth, estimate)
    return (truth & estimate).sum(0), truth.sum(0), estimate.sum(0)


def _f(hits: np.ndarray, n_truth: np.ndarray, n_estimate: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "precision": hits / np.maximum(n_estimate, 1),
        "recall": hits / np.maximum(n_truth, 1),
        "f1": 2 * hits / np.maximum(n_truth + n_estimate, 1),
    }


def _last_of_equals(ranked: np.ndarray) -> np.ndarray:
    """For each place of rows that descend, the last place of the same value."""
    n_rows, n_places = ranked.shape
    ends = np.concatenate([ranked[:, 1:] != ranked[:, :-1], np.ones((n_rows, min(n_places, 1)), bool)], 1)
    places = np.where(ends, np.arange(n_places), n_places)
    return np.minimum.accumulate(places[:, ::-1], 1)[:, ::-1]
