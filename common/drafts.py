"""A part while our composer writes it, and the instruments that may play it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from common.grooves import Event
from common.instruments import FAMILY_OF_PROGRAM, PITCHED_PROGRAMS, RANGES
from common.phrases import BLOCKS, BROKEN, Song, accompany, strings
from common.scores import TOUCHES, VOICES

# Who may play what. A program named twice is drawn twice as often.
BASSES = (*range(32, 40), 43, 58)
COMPERS = (*range(8), 11, 12, 15, *range(20, 31), 45, 46, 61, 62, 63, 107)
PADS = (20, 21, 44, *range(48, 55), 61, *range(88, 96))
KEYBOARDS = (*range(8), *range(4), 10, 11, 12, 20, 21, 23, 46)
PLUCKED = (*range(24, 31), 24, 25, 15, 46, 104, 105, 106)
MELODIES = tuple(p for p in PITCHED_PROGRAMS if FAMILY_OF_PROGRAM[p] not in ("Bass", "Synth Pad"))

Span = tuple[float, float, int]  # from, until (quarters), index of the part that leads


@dataclass
class Draft:
    """A part while it is written; events in quarters."""

    program: int
    role: str
    touch: tuple[float, float] = (0.9, 1.0)
    events: list[Event] = field(default_factory=list)


def draft_part(
    rng: np.random.Generator,
    pool: Sequence[int],
    suits: Sequence[int],
    role: str,
    touch: tuple[float, float] | None = None,
) -> Draft:
    """An empty part for a program of the pool that suits, or for any of the pool."""
    candidates = [program for program in suits if program in pool] or list(pool)
    program = int(candidates[rng.integers(len(candidates))])
    role = "voice" if role == "melody" and program in VOICES else role
    return Draft(program, role, touch or TOUCHES[rng.integers(len(TOUCHES))])


def register(rng: np.random.Generator, program: int) -> tuple[int, int]:
    """The whole range of an instrument, or two octaves somewhere in it."""
    low, high = RANGES[program]
    if high - low <= 24 or rng.random() < 0.3:
        return low, high
    floor = int(rng.integers(low, high - 23))
    return floor, floor + 24


def chords(
    rng: np.random.Generator, song: Song, draft: Draft, start: float, end: float, middle: int, size: int
) -> list[Event]:
    """Chords of `size` tones: a pad holds them, plucked strings strum or pick, others have figures from `middle` up."""
    low, high = RANGES[draft.program]
    if draft.role == "pad":
        return accompany(rng, song, BLOCKS[:1], start, end, middle, high, size)
    if draft.program in PLUCKED:
        return strings(rng, song, start, end, low, high, size)
    return accompany(rng, song, BLOCKS + BROKEN[:4], start, end, middle, high, size)
