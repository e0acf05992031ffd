"""Tokens to notes: what each row says, and notes put together over segments.

Nothing that a network can write is refused. What cannot be true is repaired, and every repair is counted.
"""

from dataclasses import astuple, dataclass

import numpy as np

from common.notes import Notes
from yourmt3plus.tokenizer import (
    EOS,
    IDS,
    PAD,
    TICKS_PER_SECOND,
    VALUES,
    latest,
    tie_rows,
)

VELOCITY_HEARD = 100  # MIDI velocity of every note; the tokens do not say how loud one is
TIED, END, START, HIT = range(4)  # kinds of events
EVENT = np.dtype(
    [
        ("segment", np.int64),
        ("channel", np.int64),
        ("tick", np.int64),  # from the start of the segment; 0 for what is tied
        ("kind", np.int8),
        ("program", np.int64),
        ("pitch", np.int64),  # of a hit the key
    ]
)


@dataclass(frozen=True)
class Repairs:
    """What was wrong in the rows, in numbers. All are 0 for the rows of a whole piece that `encode` wrote.

    Attributes:
        unended_rows: rows without EOS.
        untied_rows: rows without `tie` before the first shift, velocity or hit; what stands before that is tied.
        stray_tokens: tokens that mean nothing where they stand: notes without program or velocity, ends of hits, a
            late or second tie, UNK, and shifts back, in whose place time stands still.
        late_events: events after the end of the segment, which belong to the next; left out.
        unstarted_ties: tied notes that the segment before does not leave open; left out.
        unstarted_ends: ends of notes that do not sound; left out.
        empty_notes: notes that end, or start again, in the tick in which they start; left out.
        untied_notes: notes that are open at the end of a segment and not tied in the next; they end there.
    """

    unended_rows: int = 0
    untied_rows: int = 0
    stray_tokens: int = 0
    late_events: int = 0
    unstarted_ties: int = 0
    unstarted_ends: int = 0
    empty_notes: int = 0
    untied_notes: int = 0

    def __add__(self, other: "Repairs") -> "Repairs":
        return Repairs(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def decode(tokens: np.ndarray, n_ticks: int, start_tick: int = 0) -> tuple[Notes, Repairs]:
    """The notes of segments that follow one another; the inverse of `tokenizer.encode`.

    Args:
        tokens: (segment, channel, token) ids of rows, each up to its EOS; what follows is left out.
        n_ticks: ticks of a segment.
        start_tick: where the first segment starts.

    Returns:
        the notes in seconds, sorted, one `track` for each program and for the drums; what was repaired.
    """
    events, found = read(tokens, n_ticks)
    notes, mended = stitch(events, n_ticks, len(tokens), start_tick)
    return notes, found + mended


def read(tokens: np.ndarray, n_ticks: int) -> tuple[np.ndarray, Repairs]:
    """What each row says on its own.

    Returns:
        (event,) EVENT in order of segment, channel and place in the row; what was repaired.
    """
    n_segments, n_channels, _ = tokens.shape
    ended = np.maximum.accumulate(tokens == EOS, axis=2)
    live = ~ended & (tokens != PAD)
    segment, channel, _ = np.nonzero(live)
    row, token = segment * n_channels + channel, tokens[live]
    value = VALUES[token]
    is_a = {name: (token >= ids.start) & (token < ids.stop) for name, ids in IDS.items()}

    row_start = np.searchsorted(row, row)
    place = np.arange(len(row))
    tie_at = _end_of_ties(is_a, row, n_segments * n_channels)
    before = place < tie_at[row]
    program_at, velocity_at = latest(is_a["program"]), latest(is_a["velocity"])
    has_program, has_velocity = program_at >= row_start, velocity_at >= row_start
    starts = value[velocity_at] == 1
    tick, back = _ticks(value, is_a["shift"], row)

    tied = is_a["pitch"] & before & has_program
    note = is_a["pitch"] & ~before & has_program & has_velocity
    hit = is_a["drum"] & has_velocity & starts
    wanted = tied | note | hit
    in_time = tick < n_ticks
    stray = (is_a["pitch"] | is_a["drum"]) & ~wanted
    stray |= is_a["UNK"] | back | (is_a["tie"] & (place != tie_at[row]))

    kept = wanted & in_time
    events = np.empty(np.count_nonzero(kept), EVENT)
    events["segment"], events["channel"] = segment[kept], channel[kept]
    events["tick"] = np.where(tied, 0, tick)[kept]
    events["kind"] = np.select([tied, hit, starts], [TIED, HIT, START], END)[kept]
    events["program"] = np.where(hit, 0, value[program_at])[kept]
    events["pitch"] = value[kept]
    return events, Repairs(
        unended_rows=int(n_segments * n_channels - ended.any(axis=2).sum()),
        untied_rows=n_segments * n_channels - int((is_a["tie"] & (place == tie_at[row])).sum()),
        stray_tokens=int(stray.sum()),
        late_events=int((wanted & ~in_time).sum()),
    )


def stitch(events: np.ndarray, n_ticks: int, n_segments: int, start_tick: int = 0) -> tuple[Notes, Repairs]:
    """Notes from the events of all segments.

    A note goes on into the next segment if it is tied there, and ends where that starts if it is not. One that is open
    at the end of the last segment ends there.

    Args:
        events: (event,) EVENT as `read` gives them.
        n_ticks: ticks of a segment.
        n_segments: how many there are.
        start_tick: where the first segment starts.
    """
    hits = events[events["kind"] == HIT]
    chain = _by_key(events[events["kind"] != HIT])
    kind, segment, key = chain["kind"], chain["segment"], _key(chain)
    clock = segment * n_ticks + chain["tick"]
    follows = key == _before(key, -1)
    in_same = follows & (segment == _before(segment, 0))
    in_next = follows & (segment == _before(segment, 0) + 1)

    # A run is the start of a note and the ties that carry it on, each in the segment after. Other events are runs of
    # their own, and ties that no start leads.
    linked = in_next & (kind == TIED) & (_before(kind, END) != END)
    head = np.flatnonzero(~linked)
    last = _after(head, len(chain)) - 1
    sounds = kind[head] == START
    carried = sounds[np.cumsum(~linked) - 1]  # (event,) whether it is part of a note

    # What comes next for the key in the segment of the last link ends it, else the end of that segment.
    cut = _after(in_same, False)[last]
    begin, end = clock[head], np.where(cut, _after(clock, 0)[last], (segment[last] + 1) * n_ticks)
    full = sounds & (end > begin)
    notes = _notes(chain[head[full]], hits, begin[full], end[full], n_ticks, start_tick)
    return notes, Repairs(
        unstarted_ties=int(((kind == TIED) & ~carried).sum()),
        unstarted_ends=int(((kind == END) & ~(in_same & _before(carried, False))).sum()),
        empty_notes=int((sounds & ~full).sum()),
        untied_notes=int((sounds & ~cut & (segment[last] + 1 < n_segments)).sum()),
    )


def contradicted(events: np.ndarray, n_segments: int, n_channels: int) -> np.ndarray:
    """(segment, channel) bool: does the row tie other notes than the one before leaves open?"""
    tied = events[events["kind"] == TIED]
    differing = np.setxor1d(_place(_left_open(events), n_channels), _place(tied, n_channels))
    row = differing >> 14
    n_rows = n_segments * n_channels
    return (np.bincount(row[row < n_rows], minlength=n_rows) > 0).reshape(n_segments, n_channels)


def prologues(events: np.ndarray, n_segments: int, n_channels: int, max_tokens: int) -> np.ndarray:
    """How each row would begin if it tied just what the row before leaves open, up to its tie.

    Returns:
        (segment, channel, token) int64, filled up with PAD.
    """
    place = np.unique(_place(_left_open(events), n_channels))
    place = place[place >> 14 < n_segments * n_channels]
    tokens = tie_rows(place >> 14, (place >> 7) & 127, place & 127, n_segments * n_channels, max_tokens)
    return tokens.reshape(n_segments, n_channels, -1)


def _end_of_ties(is_a: dict[str, np.ndarray], row: np.ndarray, n_rows: int) -> np.ndarray:
    """(row,) index of its tie token, or of what can only come after one, or beyond all tokens."""
    tie_at = np.full(n_rows, len(row))
    found = np.flatnonzero(is_a["tie"] | is_a["shift"] | is_a["velocity"] | is_a["drum"])[::-1]
    tie_at[row[found]] = found  # of several the last assignment stays: the first in the row
    return tie_at


def _ticks(value: np.ndarray, shift: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(token,) the tick that it stands at, never less than before in its row; (token,) bool shifts that go back."""
    reach = 1 << 8  # more than any tick, so that every row starts later than the one before ended
    so_far = np.maximum.accumulate(row * reach + np.where(shift, value, 0))
    tick = so_far - row * reach
    return tick, shift & (value < tick)


def _key(events: np.ndarray) -> np.ndarray:
    """(event,) channel, program and pitch in one number."""
    return (events["channel"] << 14) | (events["program"] << 7) | events["pitch"]


def _by_key(events: np.ndarray) -> np.ndarray:
    """In order of key, and as they were within one; a note that a segment ties twice is tied once."""
    chain = events[np.argsort(_key(events), kind="stable")]
    kind, segment, key = chain["kind"], chain["segment"], _key(chain)
    again = (key == _before(key, -1)) & (segment == _before(segment, 0)) & (kind == TIED) & (_before(kind, END) == TIED)
    return chain[~again]


def _left_open(events: np.ndarray) -> np.ndarray:
    """(note,) EVENT of the notes that are open when a segment starts, if the one before is believed, its ties too."""
    chain = _by_key(events[events["kind"] != HIT])
    segment, key = chain["segment"], _key(chain)
    last = (key != _after(key, -1)) | (segment != _after(segment, -1))
    left = chain[last & (chain["kind"] != END)]
    left["segment"] += 1
    return left


def _before(column: np.ndarray, first) -> np.ndarray:
    """The value of the row before, for each row."""
    return np.concatenate([np.array([first], column.dtype), column])[:-1]


def _after(column: np.ndarray, last) -> np.ndarray:
    """The value of the row after, for each row."""
    return np.concatenate([column, np.array([last], column.dtype)])[1:]


def _place(events: np.ndarray, n_channels: int) -> np.ndarray:
    """(event,) row, program and pitch in one number."""
    row = events["segment"] * n_channels + events["channel"]
    return (row << 14) | (events["program"] << 7) | events["pitch"]


def _notes(
    heads: np.ndarray, hits: np.ndarray, begin: np.ndarray, end: np.ndarray, n_ticks: int, start_tick: int
) -> Notes:
    """The table of notes that begin with these events, in ticks, and of hits, which last a tick."""
    hit = hits["segment"] * n_ticks + hits["tick"]
    program = np.concatenate([heads["program"], hits["program"]])
    is_drum = np.repeat([False, True], [len(heads), len(hits)])
    return Notes.build(
        (np.concatenate([begin, hit]) + start_tick) / TICKS_PER_SECOND,
        (np.concatenate([end, hit + 1]) + start_tick) / TICKS_PER_SECOND,
        np.concatenate([heads["pitch"], hits["pitch"]]),
        VELOCITY_HEARD,
        program,
        is_drum,
        np.unique(program + 128 * is_drum, return_inverse=True)[1],
    ).without_overlaps()
