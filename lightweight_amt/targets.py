"""What a perfect network would say: notes as a listener could tell them apart, and as maps on the frame grid."""

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes, piano_roll
from lightweight_amt.decode import LOW, N_PITCHES

REACH = 3.0  # frames: an event is 1 in its own frame and falls to 0 over this distance
UNISON = 0.05  # seconds: two onsets of one pitch closer than this are heard, and scored, as one note


def merge_unisons(notes: Notes) -> Notes:
    """The notes a listener could tell apart without knowing the instruments: one for each pitch and moment.

    Onsets of a pitch within UNISON of one another become one note that lasts as long as the longest; a note that still
    sounds when its pitch starts anew ends there. Drums are left out.
    """
    notes = notes.tuned()
    notes = notes[np.lexsort((notes.onset, notes.pitch))]
    if not len(notes):
        return notes
    fresh = np.r_[True, (np.diff(notes.onset) >= UNISON) | (np.diff(notes.pitch) != 0)]
    first = np.flatnonzero(fresh)
    longest = np.maximum.reduceat(notes.offset, first)
    return notes[first].replace(offset=longest, track=0).without_overlaps()


def event_target(pitch: np.ndarray, seconds: np.ndarray, grid: FrameGrid, n_frames: int) -> np.ndarray:
    """(pitch, frame) float32 with a triangle of half-width REACH around each event, at its place between the frames.

    A label of one frame (the paper's) punishes an answer that is 6 ms late like one that is wrong.
    """
    target = np.zeros((N_PITCHES, n_frames), np.float32)
    position = grid.position(seconds)
    for step in range(-int(REACH), int(REACH) + 1):
        frame = np.floor(position).astype(np.int64) + step
        inside = (frame >= 0) & (frame < n_frames)
        height = np.maximum(1.0 - np.abs(frame - position) / REACH, 0.0)
        np.maximum.at(target, (pitch[inside], frame[inside]), height[inside].astype(np.float32))
    return target


def targets(notes: Notes, grid: FrameGrid, n_frames: int) -> dict[str, np.ndarray]:
    """Onset, frame and offset maps, (pitch, frame) float32, of notes whose clock starts at frame 0."""
    notes = merge_unisons(notes)
    notes = notes[(notes.pitch >= LOW) & (notes.pitch < LOW + N_PITCHES)]
    frame = piano_roll(notes, grid, n_frames, LOW, N_PITCHES)
    row = notes.pitch.astype(np.int64) - LOW
    # Where the pitch is struck again at once there is an onset but nothing that ends.
    end = np.clip(grid.frames(notes.offset), 0, n_frames - 1)
    ends = ~frame[row, end]
    return {
        "onset": event_target(row, notes.onset, grid, n_frames),
        "frame": frame.astype(np.float32),
        "offset": event_target(row[ends], notes.offset[ends], grid, n_frames),
    }
