"""Segments that tile a piece: from labels of frames and back, and scores of where one ends and the next begins."""

import numpy as np

from common.frames import FrameGrid

_DECIMALS = 5  # to which mir_eval rounds times, so that 0.5 s is within 0.5 s


def runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each run of equal labels (frame,), and the frame after its last."""
    start = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]][: len(labels)])
    return start, np.append(start[1:], len(labels))[: len(start)]


def from_frames(labels: np.ndarray, grid: FrameGrid, duration: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels of frames as segments without gaps; frame i lasts from i to i + 1 hops.

    Args:
        labels: (frame,) any integers.
        grid: their clock.
        duration: seconds; where the last frame is cut. Rounding may have put it up to a sample later.

    Returns:
        Edges (segment + 1,) in seconds, from 0 to the duration, and the label (segment,) of each segment, no two
        neighbours alike.

    Raises:
        ValueError: the duration does not end within the last frame.
    """
    if not grid.times(len(labels) - 1) < duration <= grid.times(len(labels)) + 1 / grid.sample_rate:
        raise ValueError(f"{len(labels)} frames are not those of {duration} s")
    start, _ = runs(labels)
    return np.append(grid.times(start), duration), labels[start]


def to_frames(edges: np.ndarray, labels: np.ndarray, grid: FrameGrid, n_frames: int) -> np.ndarray:
    """The label at the centre of each frame; the inverse of `from_frames`.

    Args:
        edges: (segment + 1,) seconds, ascending; what lies outside gets the nearest segment's label.
        labels: (segment,) one at least.
        grid: clock of the frames.
        n_frames: number of frames.
    """
    centres = grid.times(np.arange(n_frames) + 0.5)
    return labels[np.searchsorted(edges[1:-1], centres, side="right")]


def boundary_scores(
    reference: np.ndarray, estimate: np.ndarray, tolerance: float = 0.5, trim: bool = False
) -> dict[str, float]:
    """How well boundaries are found; equal to mir_eval.segment.detection of the segments between them.

    A boundary is found if an estimated one lies within the tolerance, each being good for one.

    Args:
        reference: (boundary,) seconds, the start and the end of the piece among them; in any order.
        estimate: as the reference.
        tolerance: seconds.
        trim: leave out the first and the last of either.

    Returns:
        precision, recall and f1; 0 where one side has none.

    Raises:
        ValueError: an array of another shape, or a time that is NaN, infinite or below 0.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance is a time above 0 s, not {tolerance}")
    reference, estimate = (_boundaries(times)[1:-1] if trim else _boundaries(times) for times in (reference, estimate))
    n_hits = _count_matches(reference, estimate, tolerance)
    precision, recall = n_hits / max(len(estimate), 1), n_hits / max(len(reference), 1)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if n_hits else 0.0,
    }


def _boundaries(times: np.ndarray) -> np.ndarray:
    """As mir_eval takes them: each once, ascending."""
    if times.ndim != 1 or not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError(f"boundaries are times (boundary,) of 0 s or later, not {times.dtype} {times.shape}: {times}")
    return np.unique(np.round(times, _DECIMALS))


def _count_matches(reference: np.ndarray, estimate: np.ndarray, tolerance: float) -> int:
    """Size of the largest matching of sorted times within the tolerance.

    The windows begin and end in the order of the estimates, so each may take the first free time of its own: who comes
    later could not have used an earlier one better.
    """
    first = np.searchsorted(reference, estimate - tolerance, side="left").tolist()
    last = np.searchsorted(reference, estimate + tolerance, side="right").tolist()
    n_matches = free = 0
    for low, high in zip(first, last, strict=True):
        free = max(free, low)
        if free < high:
            n_matches += 1
            free += 1
    return n_matches
