"""Which decoder channel writes a note, and as which program of its class."""

from dataclasses import dataclass

import numpy as np

from common.instruments import DRUM_GROUPS, MT3_CLASSES, YOURMT3_CHANNELS, first_of_group
from common.notes import Notes

# Sung notes have the programs 100 and 101, which General MIDI gives to effects: whoever reads General MIDI files leaves
# those out before, or they count as sung.
MELODY, CHORUS = 100, 101

WRITTEN_PROGRAM = np.array(first_of_group(MT3_CLASSES, others_stay=True))  # (128,) by program
WRITTEN_DRUM = np.array(first_of_group(DRUM_GROUPS, others_stay=True))  # (128,) by key


@dataclass(frozen=True, eq=False)
class Channels:
    """The rows that a segment is written to: for every program the one that it belongs to, -1 where none does."""

    names: tuple[str, ...]
    of_program: np.ndarray  # (128,) int64
    drums: int

    def __len__(self) -> int:
        return len(self.names)

    def of(self, notes: Notes) -> np.ndarray:
        """(note,) int64 channel of each note, -1 for one that has none."""
        return np.where(notes.is_drum, self.drums, self.of_program[notes.program])

    def programs(self, channel: int) -> np.ndarray:
        """The programs that this channel writes, one for each of its classes, ascending."""
        return np.unique(WRITTEN_PROGRAM[self.of_program == channel])


def written(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """(note,) int64 program of each note's class and pitch, 0 and the key of the group for a hit.

    Programs and keys that belong to no class or group stay as they are.
    """
    program = np.where(notes.is_drum, 0, WRITTEN_PROGRAM[notes.program])
    return program, np.where(notes.is_drum, WRITTEN_DRUM[notes.pitch], notes.pitch)


def with_tracks(notes: Notes) -> Notes:
    """A track for each program, and one for the drums."""
    return notes.replace(track=np.unique(notes.program + 128 * notes.is_drum, return_inverse=True)[1])


def _thirteen() -> Channels:
    of_program = np.full(128, -1)
    for channel, members in enumerate(YOURMT3_CHANNELS.values()):
        of_program[list(members)] = channel
    names = tuple(YOURMT3_CHANNELS)
    return Channels(names, of_program, names.index("Drums"))


MULTI = _thirteen()
SINGLE = Channels(("Everything",), np.zeros(128, np.int64), 0)
