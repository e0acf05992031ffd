"""Note scores equal to mir_eval.transcription and mir_eval.transcription_velocity to the last bit, in linear-log time.

mir_eval 0.8.2 tests every reference note against every estimate: 10,000 notes take seconds and 3 GB. Here only notes
that start close together become pairs. Everything after that follows mir_eval's definition, including which of the
many maximum matchings is returned, because the overlap ratio and the velocity score depend on it.
"""

import numpy as np

from common.notes import Notes

# mir_eval rounds time differences to this many decimals, so that 50 ms is within 50 ms.
_DECIMALS = 4


def validate(intervals: np.ndarray, hz: np.ndarray, velocity: np.ndarray | None = None, name: str = "notes") -> None:
    """Raise ValueError for what cannot be scored: wrong shapes, times below 0, no duration, no pitch, and NaN."""
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise ValueError(f"{name}: intervals must have the shape (note, 2), not {intervals.shape}")
    if hz.shape != intervals.shape[:1]:
        raise ValueError(f"{name}: {len(intervals)} intervals need as many pitches, not the shape {hz.shape}")
    # Asking for what must hold, instead of looking for what must not, catches NaN too.
    if not (intervals >= 0).all():
        raise ValueError(f"{name}: times must be 0 s or later; shift or drop the notes before")
    if not (intervals[:, 1] > intervals[:, 0]).all():
        raise ValueError(f"{name}: every offset must come after its onset; drop notes without duration")
    if not (hz > 0).all():
        raise ValueError(f"{name}: pitches must be positive frequencies in Hz")
    if velocity is not None and not (velocity.shape == hz.shape and (velocity >= 0).all()):
        raise ValueError(f"{name}: each note needs a velocity of 0 or more")


def match_notes(
    ref_intervals: np.ndarray,
    ref_hz: np.ndarray,
    est_intervals: np.ndarray,
    est_hz: np.ndarray,
    onset_tolerance: float = 0.05,
    pitch_tolerance: float = 50.0,
    offset_ratio: float | None = 0.2,
    offset_min_tolerance: float = 0.05,
    strict: bool = False,
) -> np.ndarray:
    """A largest set of pairs of reference and estimated notes, each note in at most one; mir_eval's choice among them.

    Costs O((N + pairs) log N) for N notes and the pairs whose onsets are close, plus at worst O(pairs * sqrt(N))
    where notes compete for each other.

    Args:
        ref_intervals: (note, 2) onsets and offsets in seconds.
        ref_hz: (note,) pitches in Hz.
        est_intervals: as the reference.
        est_hz: as the reference.
        onset_tolerance: seconds.
        pitch_tolerance: cents.
        offset_ratio: tolerance of the offset as a part of the reference's duration; None ignores offsets.
        offset_min_tolerance: seconds; the offset's tolerance is never less.
        strict: whether a difference equal to its tolerance is too large.

    Returns:
        (match, 2) int64, indices of reference and estimate, in order of the reference.
    """
    within = np.less if strict else np.less_equal
    (ref_onset, ref_offset), (est_onset, est_offset) = ref_intervals.T, est_intervals.T
    ref, est = _close_onsets(ref_onset, est_onset, onset_tolerance)
    hits = within(np.around(np.abs(ref_onset[ref] - est_onset[est]), _DECIMALS), onset_tolerance)
    hits &= within(np.abs(1200 * (np.log2(ref_hz)[ref] - np.log2(est_hz)[est])), pitch_tolerance)
    if offset_ratio is not None:
        tolerance = np.maximum(offset_ratio * (ref_offset - ref_onset), offset_min_tolerance)
        hits &= within(np.around(np.abs(ref_offset[ref] - est_offset[est]), _DECIMALS), tolerance[ref])
    return _maximum_matching(ref[hits], est[hits])


def precision_recall_f1_overlap(
    ref_intervals: np.ndarray,
    ref_hz: np.ndarray,
    est_intervals: np.ndarray,
    est_hz: np.ndarray,
    onset_tolerance: float = 0.05,
    pitch_tolerance: float = 50.0,
    offset_ratio: float | None = 0.2,
    offset_min_tolerance: float = 0.05,
    strict: bool = False,
    beta: float = 1.0,
    velocities: tuple[np.ndarray, np.ndarray] | None = None,
    velocity_tolerance: float = 0.1,
) -> tuple[float, float, float, float]:
    """Precision, recall, F-measure and average overlap ratio of a transcription.

    Equal to the function of the same name in mir_eval.transcription and, with velocities, in
    mir_eval.transcription_velocity.

    Args:
        ref_intervals: and the arguments after it as in `match_notes`.
        beta: weight of recall against precision in the F-measure.
        velocities: (note,) MIDI velocities of the reference and of the estimate; None leaves them out of account.
        velocity_tolerance: largest error of a velocity, as a part of the reference's range of velocities, after the
            line that fits the estimate best to the reference has been taken out.

    Raises:
        ValueError: for notes that `validate` refuses.
    """
    ref_velocity, est_velocity = velocities or (None, None)
    validate(ref_intervals, ref_hz, ref_velocity, "reference")
    validate(est_intervals, est_hz, est_velocity, "estimate")
    if len(ref_hz) == 0 or len(est_hz) == 0:
        return 0.0, 0.0, 0.0, 0.0
    criteria = (onset_tolerance, pitch_tolerance, offset_ratio, offset_min_tolerance, strict)
    ref, est = match_notes(ref_intervals, ref_hz, est_intervals, est_hz, *criteria).T
    if velocities is not None:
        alike = _alike_in_velocity(*velocities, ref, est, velocity_tolerance)
        ref, est = ref[alike], est[alike]
    if len(ref) == 0:
        return 0.0, 0.0, 0.0, 0.0
    precision, recall = len(est) / len(est_hz), len(ref) / len(ref_hz)
    f_measure = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
    (onset, offset), (est_onset, est_offset) = ref_intervals[ref].T, est_intervals[est].T
    shared = np.minimum(offset, est_offset) - np.maximum(onset, est_onset)
    spanned = np.maximum(offset, est_offset) - np.minimum(onset, est_onset)
    return precision, recall, f_measure, float(np.mean(shared / spanned))


def note_scores(reference: Notes, estimate: Notes) -> dict[str, float]:
    """The scores of a transcription without its drums, whatever the instruments and tracks.

    Returns:
        note_precision, note_recall, note_f1: onsets within 50 ms, pitches within 50 cents;
        note_offset_f1: offsets too, within 20 % of the duration or 50 ms;
        note_offset_velocity_f1: velocities too, within 10 %, up to a linear map;
        n_reference, n_estimate: numbers of notes. All scores are 0 where one of them is.
    """
    reference, estimate = reference.tuned(), estimate.tuned()
    notes = (reference.intervals, reference.hz, estimate.intervals, estimate.hz)
    velocities = (reference.velocity, estimate.velocity)
    precision, recall, f1, _ = precision_recall_f1_overlap(*notes, offset_ratio=None)
    return {
        "note_precision": precision,
        "note_recall": recall,
        "note_f1": f1,
        "note_offset_f1": precision_recall_f1_overlap(*notes)[2],
        "note_offset_velocity_f1": precision_recall_f1_overlap(*notes, velocities=velocities)[2],
        "n_reference": len(reference),
        "n_estimate": len(estimate),
    }


def _close_onsets(ref: np.ndarray, est: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (reference, estimate) whose onsets may be within the tolerance, in order of the reference."""
    reach = tolerance + 1e-3  # wider than what rounding to 0.1 ms can let in
    order = np.argsort(est, kind="stable")
    ranked = est[order]
    start, stop = np.searchsorted(ranked, ref - reach, "left"), np.searchsorted(ranked, ref + reach, "right")
    n = stop - start
    # Each reference's run of ranks start..stop, laid end to end: a running index, moved per reference.
    rank = np.arange(n.sum()) + np.repeat(stop - np.cumsum(n), n)
    return np.repeat(np.arange(len(ref)), n), order[rank]


def _alike_in_velocity(ref_velocity, est_velocity, ref: np.ndarray, est: np.ndarray, tolerance: float) -> np.ndarray:
    """(match,) bool: is the estimate's velocity, mapped linearly as close as can be to the reference's, within it?"""
    low, high = ref_velocity.min(), ref_velocity.max()
    target = ((ref_velocity - low) / float(max(1, high - low)))[ref]
    heard = est_velocity[est]
    slope, intercept = np.linalg.lstsq(np.stack([heard, np.ones(len(heard))], axis=1), target, rcond=None)[0]
    return np.abs(slope * heard + intercept - target) < tolerance


def _maximum_matching(ref: np.ndarray, est: np.ndarray) -> np.ndarray:
    """(match, 2) the maximum matching of the edges (ref, est) that mir_eval returns, in order of the reference.

    Its Hopcroft-Karp works in each connected component as if that were alone: a phase ends at the same depth for a
    component, or before it changes anything there. So an edge whose ends have no other edge, which is nearly every
    edge in practice, can be taken out and matched at once.
    """
    if len(ref) == 0:
        return np.empty((0, 2), np.int64)
    alone = (np.bincount(ref)[ref] == 1) & (np.bincount(est)[est] == 1)
    ref_rest, est_rest = ref[~alone], est[~alone]
    # The order in which mir_eval meets the edges decides which maximum matching is found.
    order = np.lexsort((est_rest, ref_rest))
    neighbours: dict[int, list[int]] = {}
    for r, e in zip(ref_rest[order].tolist(), est_rest[order].tolist(), strict=True):
        neighbours.setdefault(e, []).append(r)
    rest = np.array(list(_hopcroft_karp(neighbours).items()), np.int64).reshape(-1, 2)
    matching = np.concatenate([np.stack([ref[alone], est[alone]], axis=1), rest])
    return matching[np.argsort(matching[:, 0])]


def _hopcroft_karp(neighbours: dict[int, list[int]]) -> dict[int, int]:
    """Maximum bipartite matching, right -> left, of a graph that maps each left vertex to its right ones.

    J. E. Hopcroft and R. M. Karp, SIAM J. Comput. 2(4), 1973: start greedily, then in each phase grow layers of
    alternating paths from the free left vertices until some end in free right ones, and flip disjoint paths.
    """
    partner: dict[int, int] = {}
    free = []
    for left, rights in neighbours.items():
        right = next((right for right in rights if right not in partner), None)
        if right is None:
            free.append(left)
        else:
            partner[right] = left
    while True:
        via, parents, ends = _layers(neighbours, partner, free)
        if not ends:
            return partner
        served = {_flip_path(end, partner, via, parents) for end in ends}
        free = [left for left in free if left not in served]


def _layers(neighbours: dict[int, list[int]], partner: dict[int, int], free: list[int]):
    """One phase's layers, breadth first.

    Returns:
        via: left -> the right vertex it is reached from, None for a free one;
        parents: right -> the left vertices of the layer before;
        ends: the free right vertices of the last layer, empty where no alternating path is left.
    """
    via: dict[int, int | None] = dict.fromkeys(free)
    parents: dict[int, list[int]] = {}
    ends, layer = [], free
    while layer and not ends:
        reached: dict[int, list[int]] = {}
        for left in layer:
            for right in neighbours[left]:
                if right not in parents:
                    reached.setdefault(right, []).append(left)
        parents |= reached
        ends = [right for right in reached if right not in partner]
        via |= {partner[right]: right for right in reached if right in partner}
        layer = [partner[right] for right in reached if right in partner]
    return via, parents, ends


def _flip_path(end: int, partner: dict[int, int], via: dict[int, int | None], parents: dict[int, list[int]]):
    """Search back from a free right vertex to a free left one, depth first; flip the path found and return its start.

    Uses up what it visits, so that the paths of one phase are disjoint. A stack instead of recursion: a run of
    repeated notes can make one path as long as the piece.
    """
    path = [(end, iter(parents.pop(end)))]
    chosen = {}
    while path:
        right, lefts = path[-1]
        left = next((left for left in lefts if left in via), None)
        if left is None:
            path.pop()
            continue
        chosen[right] = left
        before = via.pop(left)
        if before is None:
            partner.update((right, chosen[right]) for right, _ in path)
            return left
        if before in parents:
            path.append((before, iter(parents.pop(before))))
    return None
