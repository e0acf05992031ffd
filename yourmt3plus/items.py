"""One or several segments that follow one another, as arrays: what is heard, what is to be written, what is known."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from common.notes import Notes
from common.stems import N_KINDS, kinds, kinds_of
from yourmt3plus.programs import Channels
from yourmt3plus.tokenizer import TICKS_PER_SECOND, encode

EVERYTHING = 0
TASKS = (frozenset(range(N_KINDS)), kinds_of(["Singing"]), kinds_of(["Drums"]))  # kinds that a single row is asked for
ASKED_FOR_LESS = 0.2  # of the segments of which all is known, where the decoder knows tasks


class Item(NamedTuple):
    """Segments that follow one another, of one mixture."""

    audio: np.ndarray  # float32 (segment, time)
    tokens: np.ndarray  # int64 (segment, channel, token)
    annotated: np.ndarray  # bool (segment, channel)
    task: int
    excerpt: int
    truncated: np.ndarray  # int64 (segment,)
    dropped: int


@dataclass(frozen=True, eq=False)
class Shape:
    """Segments as the network wants them.

    Args:
        sample_rate: in Hz.
        n_samples: of a segment.
        n_ticks: of 10 ms that a segment has for its own; the next one starts so much later.
        channels: who writes what.
        n_tasks: that the decoder knows.
    """

    sample_rate: int
    n_samples: int
    n_ticks: int
    channels: Channels
    n_tasks: int = 0

    @classmethod
    def of(cls, net: Any) -> "Shape":
        """That of a `yourmt3plus.model.YourMT3`."""
        return cls(net.sample_rate, net.n_samples, net.n_ticks, net.channels, net.n_tasks)

    def starts(self, n_segments: int) -> np.ndarray:
        """(segment,) int64 samples at which segments that follow one another start."""
        return np.arange(n_segments) * self.n_ticks * self.sample_rate // TICKS_PER_SECOND

    def cut(self, audio: np.ndarray, n_segments: int) -> np.ndarray:
        """(segment, time) of audio (time,), filled up with silence."""
        starts = self.starts(n_segments)
        audio = np.pad(audio, (0, max(int(starts[-1]) + self.n_samples - len(audio), 0)))
        return np.stack([audio[start : start + self.n_samples] for start in starts])

    def known(self, unknown: frozenset[int]) -> np.ndarray:
        """(channel,) bool: is all known that these channels write?"""
        of_kind = np.append(self.channels.of_program, self.channels.drums)
        known = np.ones(len(self.channels), bool)
        touched = of_kind[sorted(unknown)]
        known[touched[touched >= 0]] = False
        return known


def draw_task(unknown: frozenset[int], n_tasks: int, rng: np.random.Generator) -> int:
    """What a single row is asked for: something of which all is known, if there is such a task."""
    known = [task for task in range(1, min(n_tasks, len(TASKS))) if not unknown & TASKS[task]]
    if known and (unknown or rng.random() < ASKED_FOR_LESS):
        return known[rng.integers(len(known))]
    return EVERYTHING


def make_item(
    shape: Shape,
    audio: np.ndarray,
    notes: Notes,
    unknown: frozenset[int],
    *,
    max_tokens: int,
    excerpt: int,
    n_segments: int = 1,
    task: int = EVERYTHING,
    lost: int = 0,
) -> Item:
    """An item of a mixture.

    Args:
        shape: of the segments.
        audio: float32 (time,).
        notes: as long as they really are, also those that began before, so that they can be tied.
        unknown: kinds that may sound without a note that says so.
        max_tokens: of a row.
        excerpt: number of the item.
        n_segments: how many segments to make of it.
        task: index in TASKS.
        lost: notes that were dropped before.
    """
    if task != EVERYTHING:
        notes, unknown = notes[np.isin(kinds(notes), sorted(TASKS[task]))], unknown & TASKS[task]
    rows = encode(notes, shape.channels, shape.n_ticks, n_segments, max_tokens=max_tokens)
    annotated = np.tile(shape.known(unknown), (n_segments, 1))
    truncated = rows.truncated.sum(axis=1)
    dropped = lost + int(rows.dropped.sum())
    return Item(shape.cut(audio, n_segments), rows.tokens, annotated, task, excerpt, truncated, dropped)


def below_full_scale(audio: np.ndarray) -> np.ndarray:
    """Turned down if it is louder than a file can hold. The front-ends level each segment anyway."""
    return audio / max(float(np.abs(audio).max(initial=0.0)), 1.0)
