"""Pitch bends beside a table of notes, and what of them a MIDI channel can hold: one wheel for all its keys."""

import numpy as np

BEND = np.dtype(
    [
        ("note", np.int64),  # index into the table of notes
        ("seconds", np.float64),  # on the clock of the notes; holds until the note's next point
        ("cents", np.float32),  # from the note's pitch
    ]
)
RANGE_SEMITONES = 2  # of the wheel to either side; what General MIDI starts with
CENTRE, LOWEST, HIGHEST = 0, -8192, 8191  # positions of the wheel


def wheel(tick: np.ndarray, cents: np.ndarray, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How the pitch wheel of a channel moves.

    The wheel would bend every note that sounds. So it follows the points only while one note sounds alone, and is back
    at the centre when another joins it and when it ends.

    Args:
        tick: (point,) integer times at which a note has a new bend.
        cents: (point,) the bends.
        start: (note,) ticks at which the notes of the channel start, all of them.
        end: (note,) ticks at which they end.

    Returns:
        ticks and positions of the wheel (move,), in order, only where it changes. Of two moves in one tick the first
        brings it back to the centre.
    """
    start, end = np.sort(start), np.sort(end)
    sounding = np.searchsorted(start, tick, "right") - np.searchsorted(end, tick, "right")
    alone = np.flatnonzero(sounding == 1)
    alone = alone[np.argsort(tick[alone], kind="stable")]
    alone = alone[np.diff(tick[alone], append=-1) != 0]  # the last word in each tick
    tick, cents = tick[alone], cents[alone]
    # To whole cents, or a note held still would keep the wheel busy.
    position = np.clip(np.rint(np.rint(cents) * (HIGHEST + 1) / (100 * RANGE_SEMITONES)), LOWEST, HIGHEST)
    edges = np.unique(np.concatenate([start, end]))
    back = np.unique(edges[np.searchsorted(edges, tick, "right")])  # the next time that a note starts or ends
    tick = np.concatenate([back, tick])
    position = np.concatenate([np.full(len(back), CENTRE), position]).astype(np.int64)
    order = np.argsort(tick, kind="stable")
    tick, position = tick[order], position[order]
    moves = np.diff(position, prepend=CENTRE) != 0
    return tick[moves], position[moves]
