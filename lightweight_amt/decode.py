"""Activations to notes, block by block: what is kept grows with the events, not with the frames.

Each pitch is read on its own. Where the frame map reaches its threshold there is a run; gaps shorter than `gap` between
runs are bridged. Peaks of the onset and of the offset map cut what is bridged into pieces. A piece that begins with an
onset is a note; another one is a note if it is strong enough to do without. Every piece ends with the last run that
belongs to it, so that a gap before an onset stays a rest.

A block is reduced to its events (peaks, starts and ends of runs) with the running sum of the frame map at each, from
which the mean over any note follows in one subtraction. The notes are put together from the events at the end.
"""

from dataclasses import dataclass, fields

import numpy as np

from common.frames import FrameGrid
from common.notes import Notes

LOW, N_PITCHES = 24, 84  # C1 .. B7

FAINT = 1e-3  # no frame is taken to be less sure than this
NEAR = 2  # frames: within this distance the larger peak counts, an onset starts a run, and an offset ends one
OUTSIDE = -1.0  # stands for the activations before the first frame and after the last
STRIDE = 1 << 40  # key of an event = row * STRIDE + frame: one sorted column holds all pitches
EVENT = np.dtype(
    [
        ("key", np.int64),
        ("shift", np.float64),  # frames from the event's frame to its exact place, -0.5..0.5
        ("onset", np.float32),  # onset map at the event's frame
        ("total", np.float64),  # sum of the pitch's frame map before the event's frame
    ]
)


@dataclass(frozen=True)
class DecodeSettings:
    """What counts as a note; to be chosen on validation data.

    Args:
        onset_threshold: probability from which a peak of the onset map starts a note.
        frame_threshold: probability from which a pitch sounds.
        relative: how far that probability is taken relative to the largest one of its frame, from 0, not at all, to
            below 1. What is unsure and alone, as real voices are, may then be a note that beside others were a ghost.
        offset_threshold: probability from which a peak of the offset map ends a note.
        unstruck_threshold: mean frame probability from which a note needs no onset; none: every note needs one.
        unstruck_length: seconds that such a note lasts at least, or the tails of others would be notes.
        min_length: seconds; shorter notes are dropped.
        gap: seconds; shorter gaps within a note are bridged.
    """

    onset_threshold: float = 0.5
    frame_threshold: float = 0.3
    relative: float = 0.0
    offset_threshold: float = 0.5
    unstruck_threshold: float | None = 0.5
    unstruck_length: float = 0.0
    min_length: float = 0.05
    gap: float = 0.05

    def __post_init__(self):
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if name.endswith("threshold"):
                if value is not None and not 0.0 < value <= 1.0:
                    raise ValueError(f"{name} is a probability above 0 and up to 1, not {value}")
            elif name == "relative":
                if not 0.0 <= value < 1.0:
                    raise ValueError(f"relative is from 0 to below 1, not {value}")
            elif not 0.0 <= value < np.inf:
                raise ValueError(f"{name} is a time in seconds, 0 or more, not {value}")


class NoteDecoder:
    """Collects the events of one recording; how it is cut into blocks does not change the notes by a bit.

    Args:
        settings: thresholds and times.
        grid: clock of the frames.
        low: MIDI number of row 0.
        n_pitches: number of rows.
    """

    def __init__(self, settings: DecodeSettings, grid: FrameGrid, low: int = LOW, n_pitches: int = N_PITCHES):
        self.settings = settings
        self.grid = grid
        self.low = low
        self.n_pitches = n_pitches
        self._reset()

    def _reset(self):
        self._next = 0  # first frame that is not decided yet
        # Onset, frame and offset map of up to NEAR frames on either side of the border before that frame.
        self._held = [np.full((self.n_pitches, NEAR), OUTSIDE, np.float32)] * 3
        self._total = np.zeros((self.n_pitches, 1))
        self._events = {"onset": [], "offset": [], "start": [], "end": []}

    def push(self, onset: np.ndarray, frame: np.ndarray, offset: np.ndarray | None = None):
        """Take the next block of probabilities, each (pitch, frame) float32; no offset map means that no peak is in it.

        Raises:
            ValueError: the shapes do not fit, or a value is NaN or outside 0..1.
        """
        shape = (self.n_pitches, frame.shape[-1])
        for name, values in {"onset": onset, "frame": frame, "offset": offset}.items():
            if values is None:
                continue
            if values.shape != shape:
                raise ValueError(f"the {name} map has shape {values.shape}, expected {shape}, (pitch, frame)")
            if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):  # NaN fails either comparison
                raise ValueError(f"the {name} map must hold probabilities from 0 to 1; NaN or another value is in it")
        lifted = lift(frame, self.settings.relative)
        self._advance([onset, lifted, np.full(shape, OUTSIDE, np.float32) if offset is None else offset])

    def finish(self) -> Notes:
        """The notes of everything that was pushed, sorted; the decoder is then ready for another recording."""
        self._advance([np.full((self.n_pitches, NEAR + 1), OUTSIDE, np.float32)] * 3)
        events = {kind: np.concatenate([np.empty(0, EVENT), *tables]) for kind, tables in self._events.items()}
        self._reset()
        events = {kind: table[np.argsort(table["key"])] for kind, table in events.items()}
        return _assemble(**events, settings=self.settings, grid=self.grid, low=self.low)

    def _advance(self, block: list[np.ndarray]):
        """Keep the events of all frames that have NEAR frames after them; hold back the rest."""
        maps = [np.concatenate(pair, axis=1, dtype=np.float32) for pair in zip(self._held, block, strict=True)]
        onset, frame, offset = maps
        width = onset.shape[1]
        n_decided = max(width - 2 * NEAR, 0)
        # One addition after the other, whatever the blocks are, or the sums would differ in their last bits.
        totals = np.cumsum(np.concatenate([self._total, frame[:, NEAR : NEAR + n_decided]], axis=1), axis=1)

        def keep(kind: str, cells: np.ndarray, shift: np.ndarray | float = 0.0):
            if not len(cells):
                return  # silence leaves nothing behind
            row, column = np.divmod(cells, width)
            table = np.empty(len(cells), EVENT)
            table["key"] = row * STRIDE + column + (self._next - NEAR)
            table["shift"] = shift
            table["onset"] = onset.ravel()[cells]
            table["total"] = totals[row, column - NEAR]
            self._events[kind].append(table)

        starts, ends = _edges(frame, self.settings.frame_threshold)
        keep("start", starts)
        keep("end", ends)
        keep("onset", *_peaks(onset, self.settings.onset_threshold))
        keep("offset", *_peaks(offset, self.settings.offset_threshold))
        self._next += n_decided
        self._total = totals[:, -1:].copy()
        self._held = [values[:, n_decided:].copy() for values in maps]


def lift(frame: np.ndarray, relative: float) -> np.ndarray:
    """Probabilities (pitch, frame), each divided by the `relative`-th power of the largest one of its frame."""
    if not relative:
        return frame
    frame = frame.astype(np.float32)
    return frame * np.maximum(frame.max(axis=0), FAINT) ** -relative


def decode(
    onset: np.ndarray,
    frame: np.ndarray,
    offset: np.ndarray | None,
    settings: DecodeSettings,
    grid: FrameGrid,
    low: int = LOW,
    block: int = 4096,
) -> Notes:
    """Notes of a whole recording: probabilities (pitch, frame) -> table; see `NoteDecoder`.

    Blocks of 4096 frames fit into the cache; any other number gives the same notes.
    """
    decoder = NoteDecoder(settings, grid, low, len(frame))
    for first in range(0, frame.shape[1], block):
        part = np.s_[:, first : first + block]
        decoder.push(onset[part], frame[part], None if offset is None else offset[part])
    return decoder.finish()


def velocity(onset: np.ndarray) -> np.ndarray:
    """MIDI velocity from the onset probability, 30 (no attack heard) to 120: where weights bring no `VelocityRule`."""
    return np.rint(30.0 + 90.0 * onset).astype(np.uint8)


def _inner(cells: np.ndarray, width: int) -> np.ndarray:
    """Those flat indices into (pitch, width) that have NEAR columns on either side."""
    column = cells % width
    return cells[(column >= NEAR) & (column < width - NEAR)]


def _edges(frame: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the first cell of each run of cells from the threshold up, and of the first cell after it."""
    on = (frame >= threshold).ravel()
    cells = _inner(np.flatnonzero(on[1:] != on[:-1]) + 1, frame.shape[1])
    return cells[on[cells]], cells[~on[cells]]


def _peaks(values: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices of the peaks along time and the shift to their summits in frames.

    A peak is the first of the largest values within NEAR frames. The shift is exact for the triangles of any height and
    width that the network is trained on, and 0 at the first and the last frame.
    """
    flat = values.ravel()
    cells = _inner(np.flatnonzero(flat >= threshold), values.shape[1])
    for step in range(1, NEAR + 1):
        cells = cells[(flat[cells] > flat[cells - step]) & (flat[cells] >= flat[cells + step])]
    before, peak, after = (flat[cells + step].astype(np.float64) for step in (-1, 0, 1))
    lower = np.minimum(before, after)
    return cells, np.where(lower == OUTSIDE, 0.0, 0.5 * (after - before) / (peak - lower))


def _any_near(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether one of the sorted `others` lies within NEAR frames of each key."""
    return np.searchsorted(others, keys + NEAR, "right") > np.searchsorted(others, keys - NEAR, "left")


def _pieces(onset, offset, start, end, gap_frames: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First event of each piece, the event after its last frame, and whether an onset begins it.

    All tables are sorted by key; `start` and `end` hold the runs. Some pieces come out without length.
    """
    # An empty run before everything and one after it, so that every search below ends at a run.
    border = np.zeros(2, EVENT)
    border["key"] = -STRIDE, np.iinfo(np.int64).max // 2
    start, end = (np.concatenate([border[:1], runs, border[1:]]) for runs in (start, end))

    # An onset belongs to the last run that starts no later than NEAR frames after it, and counts if that has not ended;
    # mirrored in time for an offset. Next to an onset, an offset says nothing that the onset does not.
    run = np.searchsorted(start["key"], onset["key"] + NEAR, "right") - 1
    onset = onset[onset["key"] < end["key"][run]]
    run = np.searchsorted(end["key"], offset["key"] - NEAR, "left")
    offset = offset[offset["key"] > start["key"][run]]
    offset = offset[~_any_near(offset["key"], onset["key"])]
    fresh = start[np.r_[True, start["key"][1:] - end["key"][:-1] >= gap_frames]]
    fresh = fresh[~_any_near(fresh["key"], onset["key"])]

    cut = np.concatenate([offset, fresh, onset])
    order = np.argsort(cut["key"], kind="stable")
    cut, following = cut[order[:-1]], cut[order[1:]]
    released, struck = order < len(offset), order >= len(offset) + len(fresh)

    # A piece without an onset begins with its first run, which is not the one that an offset has just ended; a piece
    # without an offset stops with its last run, which is not the one that the next onset starts.
    first = start[np.searchsorted(end["key"], cut["key"] + NEAR * released[:-1], "right")]
    last = end[np.searchsorted(start["key"], following["key"] - NEAR * struck[1:], "left") - 1]
    begin = np.where(~struck[:-1] & (first["key"] > cut["key"]), first, cut)
    stop = np.where(~released[1:] & (last["key"] < following["key"]), last, following)
    return begin, stop, struck[:-1]


def _assemble(onset, offset, start, end, settings: DecodeSettings, grid: FrameGrid, low: int) -> Notes:
    """Notes from the tables of events, each sorted by key."""
    begin, stop, struck = _pieces(onset, offset, start, end, float(grid.position(settings.gap)))
    n_frames = stop["key"] - begin["key"]
    mean = (stop["total"] - begin["total"]) / np.maximum(n_frames, 1)
    since, until = (grid.times(event["key"] % STRIDE + event["shift"]) for event in (begin, stop))
    least = np.inf if settings.unstruck_threshold is None else settings.unstruck_threshold
    strong = struck | ((mean >= least) & (until - since >= settings.unstruck_length))
    kept = strong & (n_frames > 0) & (until - since >= settings.min_length)
    begin, mean = begin[kept], mean[kept]
    return Notes.build(
        since[kept],
        until[kept],
        low + begin["key"] // STRIDE,
        velocity=velocity(begin["onset"]),
        # It must be sure that the note starts here and that it sounds.
        confidence=np.sqrt(begin["onset"] * mean),
    ).sort()
