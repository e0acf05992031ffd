"""Scores of one label per frame, as pure functions on integer arrays; equal to scikit-learn's, many clips at once.

Class 0 is the null class ("nobody"); frames whose truth is IGNORE are no part of any score.
"""

from collections.abc import Sequence

import numpy as np

IGNORE = -100


def clip_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro-F of every clip on its own.

    The macro-F is the mean over the classes that are in the truth or in the estimate of the clip, as
    `sklearn.metrics.f1_score(average="macro")` has it. In a clip of one class a single wrong frame therefore halves it:
    a mean over clips is close to the share of clips without any fault.

    Args:
        truth: (clip, frame) class of each frame, 0 or more, or IGNORE.
        estimate: (clip, frame) classes, 0 or more; any value where the truth is IGNORE.

    Returns:
        "accuracy" and "macro_f1", each (clip,) float64; NaN for a clip in which every frame is IGNORE.

    Raises:
        ValueError: arrays of other types or shapes, or a class below 0.
    """
    _check(truth, estimate, n_dims=2)
    n_clips = len(truth)
    known = truth != IGNORE
    clip, _ = np.nonzero(known)
    hits, n_truth, n_estimate = _counts(truth[known], estimate[known], clip, n_clips)
    present = n_truth + n_estimate
    with np.errstate(invalid="ignore"):  # 0 / 0 in a clip without truth
        return {
            "accuracy": hits.sum(axis=1) / n_truth.sum(axis=1),
            "macro_f1": _ratio(2 * hits, present).sum(axis=1) / np.count_nonzero(present, axis=1),
        }


def class_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F of each class over all frames together.

    Args:
        truth: any shape, as in `clip_scores`.
        estimate: as the truth.

    Returns:
        "precision", "recall" and "f1", each (class,) float64, 0 where there is nothing to divide by; "n_frames", int64,
        how often the class is true. The last class is the largest that occurs.
    """
    _check(truth, estimate)
    known = truth != IGNORE
    hits, n_truth, n_estimate = (row[0] for row in _counts(truth[known], estimate[known], 0, 1))
    return {
        "precision": _ratio(hits, n_estimate),
        "recall": _ratio(hits, n_truth),
        "f1": _ratio(2 * hits, n_truth + n_estimate),
        "n_frames": n_truth,
    }


def pooled_macro_f1(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Mean F over the classes of the truth, each from all frames together; 0 without any truth.

    Args:
        truth: any shape, as in `clip_scores`.
        estimate: as the truth.
    """
    scores = class_scores(truth, estimate)
    true = scores["n_frames"] > 0
    return float(scores["f1"][true].mean()) if true.any() else 0.0


def accuracy(truth: np.ndarray, estimate: np.ndarray) -> float:
    """Share of the frames with a truth that are right, over all together; NaN without any.

    Args:
        truth: any shape, as in `clip_scores`.
        estimate: as the truth.
    """
    return float(clip_scores(truth.reshape(1, -1), estimate.reshape(1, -1))["accuracy"][0])


def null_scores(truth: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """How well frames of class 0 are found: null_precision, null_recall and null_f1, 0 with nothing to divide by.

    Args:
        truth: any shape, as in `clip_scores`.
        estimate: as the truth.
    """
    scores = class_scores(truth, estimate)
    return {f"null_{name}": float(scores[name][0]) for name in ("precision", "recall", "f1")}


def leave_out(truth: np.ndarray, classes: Sequence[int] | np.ndarray) -> np.ndarray:
    """The truth with IGNORE in place of these classes: what the scores of the others are taken from."""
    return np.where(np.isin(truth, classes), IGNORE, truth)


def relabel(labels: np.ndarray, table: Sequence[int] | np.ndarray) -> np.ndarray:
    """Each class replaced by its entry in a table, (class,) -> other class; IGNORE stays."""
    known = labels != IGNORE
    return np.where(known, np.asarray(table, np.int64)[np.where(known, labels, 0)], IGNORE)


def calibration_error(confidence: np.ndarray, correct: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error: how far the share of right answers is from what their confidence promises.

    Bins of equal width, lower end included; the mean over bins weighted by their counts (C. Guo et al., "On calibration
    of modern neural networks", ICML 2017).

    Args:
        confidence: (answer,) probability of the chosen class.
        correct: (answer,) bool.
        n_bins: over 0..1.

    Returns:
        0..1, and 0 without answers.

    Raises:
        ValueError: arrays of other shapes, or a confidence that is NaN or outside 0..1.
    """
    if confidence.shape != correct.shape or correct.dtype != bool:
        raise ValueError(f"each confidence needs one bool, not {correct.dtype} {correct.shape} to {confidence.shape}")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("a confidence is a probability from 0 to 1; NaN or another value is among them")
    inner = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
    bins = np.searchsorted(inner, confidence.ravel(), side="right")
    surplus = np.bincount(bins, confidence.ravel().astype(np.float64) - correct.ravel(), n_bins)
    return float(np.abs(surplus).sum() / max(confidence.size, 1))


def _check(truth: np.ndarray, estimate: np.ndarray, n_dims: int | None = None) -> None:
    for labels in (truth, estimate):
        if labels.dtype.kind not in "iu" or n_dims not in (None, labels.ndim):
            raise ValueError(f"labels must be integers, (clip, frame) by clip, not {labels.dtype} {labels.shape}")
    if truth.shape != estimate.shape:
        raise ValueError(f"truth and estimate are of one shape, not {truth.shape} and {estimate.shape}")
    known = truth != IGNORE
    if min(truth.min(initial=0, where=known), estimate.min(initial=0, where=known)) < 0:
        raise ValueError(f"a class is 0 or more; only in the truth {IGNORE} says that a frame does not count")


def _counts(truth: np.ndarray, estimate: np.ndarray, group: np.ndarray | int, n_groups: int):
    """How often each class is right, true and estimated in each group of frames; three arrays (group, class)."""
    n_classes = int(max(truth.max(initial=0), estimate.max(initial=0))) + 1
    groups = np.broadcast_to(group, truth.shape)
    hit = truth == estimate

    def count(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return np.bincount(groups * n_classes + labels, minlength=n_groups * n_classes).reshape(n_groups, n_classes)

    return count(truth[hit], groups[hit]), count(truth, groups), count(estimate, groups)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """0 where there is nothing to divide by."""
    return numerator / np.maximum(denominator, 1)
