"""Notes to tokens: the 596 ids of YourMT3+, and the rows of ids that say what sounds in each segment of a recording.

The clock counts ticks of 10 ms, and a segment starts at a tick. A row, of one channel of one segment, is

    [program pitch ...] tie  [shift] [program] [velocity] pitch|drum ...  EOS

First the notes that sound when the segment starts, by program; then the events in order of time. `shift` is the tick
since the start of the segment and stands where it changes, and so do `program`, which what precedes the tie already
sets, and `velocity`: 1 starts a note, 0 ends it. A hit only starts. A silent channel is tie, EOS.

A segment owns the events of its ticks, start included, end not: each event is in one segment. A note that starts before
a segment and ends in it or later, if only at its very start, is tied in it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.notes import Notes
from yourmt3plus.programs import Channels, written

TICKS_PER_SECOND = 100

IDS = {  # what an id means -> the ids, in order of its values
    "PAD": range(0, 1),
    "EOS": range(1, 2),
    "UNK": range(2, 3),
    "shift": range(3, 209),
    "pitch": range(209, 337),
    "velocity": range(337, 339),
    "tie": range(339, 340),
    "program": range(340, 468),
    "drum": range(468, 596),
}
N_TOKENS = 596
PAD, EOS, UNK, TIE = (IDS[name].start for name in ("PAD", "EOS", "UNK", "tie"))
SHIFT, PITCH, VELOCITY, PROGRAM, DRUM = (IDS[name].start for name in ("shift", "pitch", "velocity", "program", "drum"))
MAX_TICKS = len(IDS["shift"])  # of a segment
VALUES = np.concatenate([np.arange(len(ids)) for ids in IDS.values()])  # (596,) value of each id

# Fields of an event packed into one int64, highest bits first; what is left above them is the row. Sorted as numbers,
# packed events come in the order in which they are written. Stamp 0 is tied, tick t of the segment is stamp t + 1.
_BITS = {"stamp": 8, "drum": 1, "program": 7, "velocity": 1, "pitch": 7}


class TokenError(ValueError):
    """Something that has no token, or that cannot be cut as asked."""


class _Ticks(NamedTuple):
    """Notes in ticks, all (note,) int64; key is drum flag, written program and pitch in one number."""

    key: np.ndarray
    channel: np.ndarray
    on: np.ndarray
    off: np.ndarray


@dataclass(frozen=True, eq=False)
class TokenRows:
    """The rows of one or several segments.

    Attributes:
        tokens: (segment, channel, token) int64, each row filled up with PAD to the length of the longest.
        truncated: (segment, channel) int64, how many notes, starts and ends found no room in the row.
        dropped: (128,) int64, notes in these segments that no channel takes, by program.
        merged: notes that start in the tick in which their key starts already; of those, the longest is written.
    """

    tokens: np.ndarray
    truncated: np.ndarray
    dropped: np.ndarray
    merged: int


def token(name: str, value: int = 0) -> int:
    """The id of an event.

    Args:
        name: one of IDS.
        value: ticks, MIDI number, 1 for the start and 0 for the end of a note, program, or drum key.

    Raises:
        TokenError: the vocabulary has no such event.
    """
    if name not in IDS or not 0 <= value < len(IDS[name]):
        raise TokenError(
            f"no token for {name} {value}; there are {', '.join(f'{k} 0..{len(v) - 1}' for k, v in IDS.items())}"
        )
    return IDS[name][value]


def event(token: int) -> tuple[str, int]:
    """Name and value of an id; the inverse of `token`."""
    for name, ids in IDS.items():
        if token in ids:
            return name, ids.index(token)
    raise TokenError(f"no token {token}; there are 0..{N_TOKENS - 1}")


def whole_ticks(n_samples: int, sample_rate: int) -> int:
    """Ticks that a segment of so many samples has for its own; the next segment starts that many later.

    32,767 samples at 16 kHz hold 204 ticks and 127 samples of the next segment.
    """
    return n_samples * TICKS_PER_SECOND // sample_rate


def encode(
    notes: Notes, channels: Channels, n_ticks: int, n_segments: int = 1, start_tick: int = 0, max_tokens: int = 256
) -> TokenRows:
    """The rows of segments that follow one another.

    Times are rounded to the nearest tick, and a note lasts one at least. Notes of one written program and pitch cannot
    overlap: each ends where the next starts.

    Args:
        notes: seconds, as long as they really are: what started before the first segment is tied in it.
        channels: who writes what.
        n_ticks: ticks of a segment, see `whole_ticks`.
        n_segments: how many.
        start_tick: where the first one starts, also before 0.
        max_tokens: a row that would be longer loses its last notes as a whole and keeps its EOS.

    Raises:
        TokenError: notes that are not finite or have pitches outside 0..127, and sizes out of range.
    """
    _check(notes, n_ticks, n_segments, max_tokens)
    notes_in_ticks, dropped, merged = _on_grid(notes, channels, start_tick, start_tick + n_ticks * n_segments)
    packed = _events(notes_in_ticks, n_ticks, n_segments, len(channels))
    tokens, truncated = _write(packed, n_segments * len(channels), max_tokens)
    shape = n_segments, len(channels)
    return TokenRows(tokens.reshape(*shape, -1), truncated.reshape(shape), dropped, merged)


def encode_piece(notes: Notes, channels: Channels, n_ticks: int, max_tokens: int = 256) -> TokenRows:
    """The rows of all segments from 0 s to the end of the last note, at least of one; otherwise as `encode`."""
    n_segments = int(max(notes.end, 0.0) * TICKS_PER_SECOND + 0.5) // n_ticks + 1
    return encode(notes, channels, n_ticks, n_segments, max_tokens=max_tokens)


def tie_rows(row: np.ndarray, program: np.ndarray, pitch: np.ndarray, n_rows: int, max_tokens: int) -> np.ndarray:
    """The beginnings of rows that tie these notes, up to the tie: (row, token) int64, filled up with PAD."""
    tokens, _ = _write(np.sort(_pack(row, 0, 0, program, 0, pitch)), n_rows, max_tokens)
    return np.where(tokens == EOS, PAD, tokens)[:, :-1]


def _check(notes: Notes, n_ticks: int, n_segments: int, max_tokens: int) -> None:
    if not np.isfinite(notes.intervals).all():
        raise TokenError("a note has a time that is not finite; leave such notes out")
    if len(notes) and not (notes.pitch.min() >= 0 and notes.pitch.max() <= 127 and notes.program.max() <= 127):
        raise TokenError("a note has a pitch or a program outside 0..127; leave such notes out")
    if not (1 <= n_ticks <= MAX_TICKS and n_segments >= 1 and max_tokens >= 2):
        raise TokenError(
            f"segments have 1 to {MAX_TICKS} ticks, there is one at least, and a row has room for two tokens; "
            f"got {n_ticks}, {n_segments}, {max_tokens}"
        )


def _on_grid(notes: Notes, channels: Channels, start: int, end: int) -> tuple[_Ticks, np.ndarray, int]:
    """The notes that concern the ticks from start to before end, on a clock that begins there, without overlaps.

    Returns:
        the notes; (128,) those among them that no channel takes, by program, and how many start with another.
    """
    program, pitch = written(notes)
    key = (notes.is_drum.astype(np.int64) << 14) | (program << 7) | pitch
    on, off = np.floor(notes.intervals.T * TICKS_PER_SECOND + 0.5).astype(np.int64) - start
    off = np.maximum(off, on + 1)
    # Of what is over, only that counts which ends a note that would sound in the first tick.
    sounding = np.zeros(1 << 15, bool)
    sounding[key[(on < 0) & (off >= 0)]] = True
    near = np.flatnonzero((on < end - start) & ((off >= 0) | sounding[key]))
    near = near[np.lexsort((off[near], on[near], key[near]))]
    key, on, off = key[near], on[near], off[near]

    again = key[1:] == key[:-1]
    off[:-1][again] = np.minimum(off[:-1], on[1:])[again]
    here = np.where(notes.is_drum[near], on, off) >= 0
    channel = channels.of(notes[near])
    lost, merged = channel < 0, off <= on
    dropped = np.bincount(notes.program[near[here & lost]], minlength=128)
    kept = here & ~lost & ~merged
    return _Ticks(key[kept], channel[kept], on[kept], off[kept]), dropped, int((here & ~lost & merged).sum())


def _events(ticks: _Ticks, n_ticks: int, n_segments: int, n_channels: int) -> np.ndarray:
    """(event,) packed, in the order in which they are written: tied notes, starts and ends that lie in the segments."""
    drum, program, pitch = ticks.key >> 14, (ticks.key >> 7) & 127, ticks.key & 127
    first, last = ticks.on // n_ticks, ticks.off // n_ticks

    def pack(note: np.ndarray, segment: np.ndarray, stamp: np.ndarray | int, velocity: int) -> np.ndarray:
        row = segment * n_channels + ticks.channel[note]
        return _pack(row, stamp, drum[note], program[note], velocity, pitch[note])

    starts = np.flatnonzero(first >= 0)
    ends = np.flatnonzero((drum == 0) & (last < n_segments))
    # A run of segments for each note that is tied, laid end to end: a running index, moved per note.
    tied_from, tied_to = np.maximum(first + 1, 0), np.minimum(last, n_segments - 1)
    n_tied = np.where(drum == 1, 0, np.maximum(tied_to - tied_from + 1, 0))
    tied = np.repeat(np.arange(len(first)), n_tied)
    segment = np.arange(len(tied)) + np.repeat(tied_from - np.cumsum(n_tied) + n_tied, n_tied)
    packed = np.concatenate(
        [
            pack(tied, segment, 0, 0),
            pack(starts, first[starts], ticks.on[starts] % n_ticks + 1, 1),
            pack(ends, last[ends], ticks.off[ends] % n_ticks + 1, 0),
        ]
    )
    packed.sort()
    return packed


def _pack(row: np.ndarray, *fields: np.ndarray | int) -> np.ndarray:
    """(event,) int64 of its row and the fields of _BITS."""
    for bits, field in zip(_BITS.values(), fields, strict=True):
        row = (row << bits) | field
    return row


def _write(packed: np.ndarray, n_rows: int, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of sorted events.

    Returns:
        (row, token) int64 tokens; (row,) int64 number of events that were left out.
    """
    field = {}
    for name, bits in reversed(_BITS.items()):
        field[name], packed = packed & ((1 << bits) - 1), packed >> bits
    row, tied, is_drum = packed, field["stamp"] == 0, field["drum"] == 1
    row_start = np.searchsorted(row, row)

    # Which tokens an event needs before its pitch, and so how many it has.
    prefix = {
        "shift": (field["stamp"] > 1) & _changes(field["stamp"], ~tied, row_start),
        "program": _changes(field["program"], ~is_drum, row_start),
        "velocity": _changes(field["velocity"], ~tied, row_start),
    }
    n = 1 + np.sum(list(prefix.values()), axis=0)
    before = np.concatenate([[0], np.cumsum(n)[:-1]])
    at = before - before[row_start] + ~tied  # place of its first token in the row; the tie token stands before events
    fits = at + n + tied + 1 <= max_tokens
    length = np.bincount(row[fits], n[fits], n_rows).astype(np.int64) + 2
    tie_at = np.bincount(row[fits & tied], n[fits & tied], n_rows).astype(np.int64)

    tokens = np.full((n_rows, length.max()), PAD, np.int64)
    tokens[np.arange(n_rows), tie_at] = TIE
    tokens[np.arange(n_rows), length - 1] = EOS
    ids = {
        "shift": SHIFT + field["stamp"] - 1,
        "program": PROGRAM + field["program"],
        "velocity": VELOCITY + field["velocity"],
    }
    for name, present in prefix.items():
        chosen = present & fits
        tokens[row[chosen], at[chosen]] = ids[name][chosen]
        at = at + present
    tokens[row[fits], at[fits]] = (np.where(is_drum, DRUM, PITCH) + field["pitch"])[fits]
    return tokens, np.bincount(row[~fits], minlength=n_rows)


def _changes(value: np.ndarray, has: np.ndarray, row_start: np.ndarray) -> np.ndarray:
    """(event,) bool: does it have a value, and a different one than the last event of its row that has one, if any?"""
    before = np.concatenate([[-1], latest(has)[:-1]])[: len(has)]
    return has & ((before < row_start) | (value[before] != value))


def latest(mask: np.ndarray) -> np.ndarray:
    """(place,) index of the last True at or before each place, -1 if there is none."""
    return np.maximum.accumulate(np.where(mask, np.arange(len(mask)), -1))
