"""How well activations are decoded: thresholds chosen on validation clips, scores averaged over clips."""

from dataclasses import dataclass, replace

import numpy as np

from common.evaluation.frames import frame_scores
from common.evaluation.notes import note_scores
from common.frames import FrameGrid
from common.notes import Notes, piano_roll
from lightweight_amt.decode import LOW, N_PITCHES, DecodeSettings, decode

CANDIDATES = {
    "onset_threshold": np.arange(0.1, 0.85, 0.05),
    "frame_threshold": np.arange(0.1, 0.75, 0.05),
    "unstruck_threshold": np.append(np.arange(0.3, 0.95, 0.1), 1.0),
    "offset_threshold": np.append(np.arange(0.2, 0.85, 0.1), 1.0),
}


@dataclass(frozen=True)
class Clip:
    """What a network said of a clip, each output (pitch, frame) in 0..1, and the notes that are in it."""

    activations: dict[str, np.ndarray]
    notes: Notes


def score(estimate: Notes, reference: Notes, grid: FrameGrid, n_frames: int) -> dict[str, float]:
    """Note scores (50 ms), with offsets, and frame scores, by name."""
    rolls = (piano_roll(notes, grid, n_frames, LOW, N_PITCHES) for notes in (reference, estimate))
    frames = {f"frame_{name}": value for name, value in frame_scores(*rolls).items()}
    return {**note_scores(reference, estimate), **frames}


def score_clips(clips: list[Clip], settings: DecodeSettings, grid: FrameGrid) -> dict[str, float]:
    """Mean over the clips of every score."""
    rows = []
    for clip in clips:
        maps = clip.activations
        estimate = decode(maps["onset"], maps["frame"], maps.get("offset"), settings, grid)
        rows.append(score(estimate, clip.notes, grid, maps["frame"].shape[1]))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def choose_settings(clips: list[Clip], grid: FrameGrid, start: DecodeSettings | None = None) -> DecodeSettings:
    """The thresholds with the best sum of note F with and without offsets, found one after the other, twice round.

    Validation clips only: the paper searches on its test sets.
    """

    def goodness(settings: DecodeSettings) -> float:
        scores = score_clips(clips, settings, grid)
        return scores["note_f1"] + scores["note_offset_f1"]

    best = start or DecodeSettings()
    for _ in range(2):
        for name, values in CANDIDATES.items():
            best = max((replace(best, **{name: round(float(value), 3)}) for value in values), key=goodness)
    return best
