"""How well a sung melody is followed from frame to frame, equal to mir_eval.melody on the contours of notes."""

import numpy as np

from common.frames import FrameGrid
from common.instruments import YOURMT3_CHANNELS
from common.notes import Notes

TEN_MS = FrameGrid(100, 1)
SILENT = np.nan
TOLERANCE = 0.5  # semitones; a difference of just so much is a miss


def contour(notes: Notes, n_frames: int, grid: FrameGrid = TEN_MS) -> np.ndarray:
    """(frame,) MIDI number of what is sung, NaN where nothing is; of notes at one time that which began last.

    Args:
        notes: programs 100 and 101 count, all others are left out.
        n_frames: length of the contour; what lies after it is cut.
        grid: clock of the frames.
    """
    sung = notes[~notes.is_drum & np.isin(notes.program, YOURMT3_CHANNELS["Singing"])].sort()
    pitch = np.full(n_frames, SILENT)
    starts, stops = (np.clip(grid.frames(times), 0, n_frames) for times in (sung.onset, sung.offset))
    for start, stop, number in zip(starts.tolist(), stops.tolist(), sung.pitch.tolist(), strict=True):
        pitch[start:stop] = number
    return pitch


def melody_scores(reference: Notes, estimate: Notes, seconds: float | None = None) -> dict[str, float]:
    """Scores of sung notes as a melody, in frames of 10 ms, as G. E. Poliner et al. (IEEE TASLP 2007) have them.

    Args:
        reference: what is sung; see `contour`.
        estimate: what was found.
        seconds: length of the recording, of which the overall accuracy also counts the silence; none means the end of
            the last note of either.

    Returns:
        melody_rpa, melody_rca (raw pitch and raw chroma accuracy: of the frames that are sung, those within half a
        semitone, for chroma in any octave), melody_oa (overall accuracy: of all frames, those that are so, or silent on
        both sides), voicing_recall, voicing_false_alarm and n_frames, the number of frames that are sung. Where none
        is, all but the false alarms are 0.
    """
    end = max(reference.end, estimate.end) if seconds is None else seconds
    n_frames = int(TEN_MS.frames(np.array([end]))[0])
    truth, found = (contour(notes, n_frames) for notes in (reference, estimate))
    sung, heard = ~np.isnan(truth), ~np.isnan(found)
    both = sung & heard
    off = np.abs(found[both] - truth[both])
    right = int((off < TOLERANCE).sum())
    in_any_octave = int((np.abs(off - 12 * np.round(off / 12)) < TOLERANCE).sum())
    n_sung = int(sung.sum())
    return {
        "melody_rpa": _ratio(right, n_sung),
        "melody_rca": _ratio(in_any_octave, n_sung),
        "melody_oa": _ratio(right + int((~sung & ~heard).sum()), n_frames),
        "voicing_recall": _ratio(int(both.sum()), n_sung) if n_sung else float(n_frames > 0),
        "voicing_false_alarm": _ratio(int((heard & ~sung).sum()), n_frames - n_sung),
        "n_frames": n_sung,
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
