"""Scores of who plays what: tracks matched with instruments as well as can be, whatever they are called.

The matching is the Hungarian algorithm's: K! orders need not be tried. Instruments without notes are left out.
"""

from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from common.evaluation.notes import precision_recall_f1_overlap
from common.frames import FrameGrid
from common.notes import Notes, piano_roll


def track_assignment(benefit: np.ndarray) -> np.ndarray:
    """Which track is taken for which instrument so that the sum of the benefits is largest.

    Args:
        benefit: (instrument, track), as many of one as of the other or not.

    Returns:
        (instrument,) int64, the track of each; -1 for those that have to go without one.
    """
    assignment = np.full(len(benefit), -1, np.int64)
    instrument, track = linear_sum_assignment(benefit, maximize=True)
    assignment[instrument] = track
    return assignment


def track_scores(
    reference: Notes, estimate: Notes, grid: FrameGrid | None = None, match_by: Literal["note", "roll"] = "note"
) -> dict[str, float]:
    """Note scores (onsets within 50 ms, pitches within 50 cents) of each instrument against its track, and their mean.

    An instrument for which no track is left scores 0. Tracks that are left over cost nothing of their own: their notes
    are missing elsewhere.

    Args:
        reference: notes whose `track` is the instrument; drums are left out.
        estimate: notes whose `track` is what was found, by any numbers.
        grid: clock of the piano rolls, needed to match by them.
        match_by: "note" for the matching with the best mean F; "roll" for the one with the least squared error between
            piano rolls, as in the evaluation of timbreAMT.

    Returns:
        track_precision, track_recall, track_f1: means over the instruments of the reference, 0 if there are none;
        n_instruments, n_tracks.
    """
    instruments, tracks = split_tracks(reference), split_tracks(estimate)
    scores = note_score_table(instruments, tracks)
    if match_by == "note":
        benefit = scores[..., 2]
    elif grid is not None:
        benefit = roll_overlap(instruments, tracks, grid)
    else:
        raise ValueError("to match by piano rolls, give the grid of their frames")
    assignment = track_assignment(benefit)
    served = assignment >= 0
    total = scores[np.flatnonzero(served), assignment[served]].sum(axis=0)
    precision, recall, f1 = (total / max(len(instruments), 1)).tolist()
    return {
        "track_precision": precision,
        "track_recall": recall,
        "track_f1": f1,
        "n_instruments": len(instruments),
        "n_tracks": len(tracks),
    }


def split_tracks(notes: Notes) -> list[Notes]:
    """The notes of each track that has some, drums left out, by the number of the track."""
    pitched = notes.tuned()
    return [pitched[pitched.track == track] for track in np.unique(pitched.track)]


def note_score_table(instruments: list[Notes], tracks: list[Notes]) -> np.ndarray:
    """(instrument, track, 3) precision, recall and F of every track as a transcription of every instrument."""
    table = np.zeros((len(instruments), len(tracks), 3))
    for i, instrument in enumerate(instruments):
        for j, track in enumerate(tracks):
            table[i, j] = precision_recall_f1_overlap(
                instrument.intervals, instrument.hz, track.intervals, track.hz, offset_ratio=None
            )[:3]
    return table


def roll_overlap(instruments: list[Notes], tracks: list[Notes], grid: FrameGrid) -> np.ndarray:
    """(instrument, track) number of cells that sound in both piano rolls.

    The squared error between two rolls is the cells of the one and of the other less twice what they share. The sum
    over a matching, with an empty roll for whom nothing is left, is therefore least where the shared cells are most.
    """
    end = max((notes.end for notes in (*instruments, *tracks)), default=0.0)
    n_frames = int(grid.frames(end)) + 1
    shape = (-1, 128 * n_frames)
    rolls = (
        np.array([piano_roll(notes, grid, n_frames) for notes in group], np.float32).reshape(shape)
        for group in (instruments, tracks)
    )
    first, second = rolls
    return first @ second.T


def purity(labels: np.ndarray, truth: np.ndarray, matched: bool = True) -> float:
    """The share of the notes that lie in the right track.

    Args:
        labels: (note,) the track each note was put into, any integers.
        truth: (note,) the instrument that plays it, any integers.
        matched: a track stands for one instrument and an instrument has one track, matched as well as can be; else
            every track stands for the instrument it has most of, which rewards more tracks.

    Returns:
        0..1, and 0 without notes.
    """
    if labels.shape != truth.shape or labels.ndim != 1:
        raise ValueError(f"labels and truth are one for each note, not of shapes {labels.shape} and {truth.shape}")
    if not len(labels):
        return 0.0
    tracks, row = np.unique(labels, return_inverse=True)
    instruments, column = np.unique(truth, return_inverse=True)
    counts = np.zeros((len(tracks), len(instruments)), np.int64)
    np.add.at(counts, (row, column), 1)
    if not matched:
        return float(counts.max(axis=1).sum() / len(labels))
    assignment = track_assignment(counts)
    right = counts[np.flatnonzero(assignment >= 0), assignment[assignment >= 0]].sum()
    return float(right / len(labels))
