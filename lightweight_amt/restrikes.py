"""Whether a note that sounds was struck again: a threshold learned from validation pieces.

An onset in the middle of a held note cuts it in two. Of the notes that begin where the one before them in their pitch
ends, four in ten are such false halves; of all others one in ten is wrong. They need more evidence than a single
threshold for all onsets can ask: a rule says how likely they are real, and joins the halves of what was one note.
"""

from dataclasses import dataclass

import numpy as np

from common.notes import Notes

NO_GAP = 0.03  # seconds: a note that begins sooner than this after another one follows upon it


@dataclass(frozen=True)
class RestrikeRule:
    """The log odds that a note which follows upon another one is real: `bias` and a weight for each of `evidence`.

    `threshold` is the probability from which it is believed.
    """

    bias: float
    confidence: float
    pitch: float
    threshold: float

    def probability(self, notes: Notes) -> np.ndarray:
        """(note,) how likely each note is real, provided that it follows upon another one."""
        return 1.0 / (1.0 + np.exp(-(self.bias + evidence(notes) @ [self.confidence, self.pitch])))

    def __call__(self, notes: Notes) -> Notes:
        """The notes of a recording; those that follow and are not believed prolong the one they follow upon."""
        return join(notes, follows(notes) & (self.probability(notes) < self.threshold))


def evidence(notes: Notes) -> np.ndarray:
    """What a rule weighs, (note, 2): log odds of the confidence, and octaves above middle C."""
    confidence = np.clip(notes.confidence.astype(np.float64), 1e-3, 1.0 - 1e-3)
    return np.column_stack([np.log(confidence / (1.0 - confidence)), (notes.pitch.astype(np.float64) - 60.0) / 12.0])


def follows(notes: Notes) -> np.ndarray:
    """(note,) whether a note begins where the one before it in its pitch ends."""
    order = np.lexsort((notes.onset, notes.pitch))
    pitch, onset, offset = notes.pitch[order], notes.onset[order], notes.offset[order]
    result = np.zeros(len(notes), bool)
    result[order[1:]] = (pitch[1:] == pitch[:-1]) & (onset[1:] - offset[:-1] < NO_GAP)
    return result


def join(notes: Notes, halves: np.ndarray) -> Notes:
    """The notes without those marked (note,) bool, each of which prolongs the note before it in its pitch."""
    order = np.lexsort((notes.onset, notes.pitch))
    heads = np.flatnonzero(~halves[order])
    tails = np.append(heads, len(notes))[1:] - 1
    offset = notes.offset.copy()
    offset[order[heads]] = notes.offset[order[tails]]
    return notes.replace(offset=offset)[~halves]
