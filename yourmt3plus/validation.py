"""Scores of what was written of excerpts."""

from collections.abc import Sequence

import numpy as np

from common.evaluation.multi import drum_scores, multi_f1_mt3, multi_f1_ymt3
from common.evaluation.notes import note_scores
from common.notes import Notes


def scores(reference: Notes, estimate: Notes) -> dict[str, float]:
    """Of one excerpt; NaN where it has nothing of the kind.

    Returns:
        onset_precision, onset_recall, onset_f1, onset_offset_f1: of all notes with a pitch, whatever the instruments;
        multi_f1_ymt3, multi_f1_mt3: with offset and instrument, drums included;
        drum_f1: onsets of kick, snare and hi-hat.
    """
    notes = note_scores(reference, estimate)
    drums = drum_scores(reference, estimate)
    nothing = float("nan")
    pitched = {f"onset_{name}": notes[f"note_{name}"] for name in ("precision", "recall", "f1")}
    pitched["onset_offset_f1"] = notes["note_offset_f1"]
    return {
        **{name: value if notes["n_reference"] else nothing for name, value in pitched.items()},
        "multi_f1_ymt3": multi_f1_ymt3(reference, estimate),
        "multi_f1_mt3": multi_f1_mt3(reference, estimate) if len(reference) else nothing,
        "drum_f1": drums["drum_f1"] if drums["n_reference"] else nothing,
    }


def mean_scores(pairs: Sequence[tuple[Notes, Notes]]) -> dict[str, float]:
    """Mean of every score over the excerpts that have it, 0 where none has.

    Args:
        pairs: notes that are played and notes that were found, of each excerpt.
    """
    rows = [scores(*pair) for pair in pairs]
    return {name: _mean(np.array([row[name] for row in rows])) for name in rows[0]}


def _mean(column: np.ndarray) -> float:
    there = column[np.isfinite(column)]
    return float(there.mean()) if len(there) else 0.0
