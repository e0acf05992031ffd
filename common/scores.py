"""Scores: parts with their roles, and how written notes become a performance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.notes import Notes

ROLES = ("melody", "voice", "bass", "comping", "pad", "drums")
VOICES = (52, 53, 54)  # programs whose melodies count as sung
TOUCHES = ((0.92, 1.05), (0.85, 1.0), (0.65, 1.0), (0.4, 0.8), (0.5, 1.05))  # ranges of articulation, see `perform`
LONGEST_GAP = 0.3  # seconds; detached long notes are still long
SHORTEST = 0.03  # seconds; shorter notes are clicks, and half of them would vanish between two frames


@dataclass(frozen=True)
class Part:
    """What one player plays. `notes` are in seconds, their track is the index of the part in its score."""

    name: str
    program: int
    is_drum: bool
    role: str
    notes: Notes


@dataclass(frozen=True)
class Score:
    """A performed piece: all its notes lie in [0, seconds].

    `lead` says who leads when: disjoint (start, end, part index) in order of time, seconds; nobody leads in the gaps.
    It is empty where the question is not defined, as in a real composition.
    """

    title: str
    parts: tuple[Part, ...]
    seconds: float
    lead: tuple[tuple[float, float, int], ...] = ()
    composer: str = ""

    @property
    def notes(self) -> Notes:
        """The notes of all parts in order of time."""
        return Notes.concatenate(part.notes for part in self.parts).sort()


Clock = Callable[[np.ndarray], np.ndarray]


def clock(rng: np.random.Generator, bpm: float, seconds: float, start=0.0, rubato=0.03, swing=0.5) -> Clock:
    """A function from quarter notes to seconds that covers at least `seconds`.

    Args:
        rng: draws the tempo curve.
        bpm: quarter notes a minute, on average.
        seconds: how far the clock must run.
        start: seconds at which quarter note 0 falls.
        rubato: depth of the slow change of tempo; 0.03 lets it move by about 3 %.
        swing: where in the quarter the second eighth falls; 0.5 is straight, 2/3 is triplet swing.
    """
    beat = np.arange(int(np.ceil(seconds * bpm / 60 * (1 + 2 * rubato))) + 2)
    period, phase = rng.uniform(12, 48, 2), rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * beat[:, None] / period + phase).sum(1)
    length = 60 / bpm * (1 + rubato * waves)
    time = start + np.concatenate([[0.0], np.cumsum(length)])
    eighths = np.empty(2 * len(length) + 1)
    eighths[::2] = time
    eighths[1::2] = time[:-1] + swing * length
    return lambda quarters: np.interp(quarters, np.arange(len(eighths)) / 2, eighths)


def perform(
    rng: np.random.Generator,
    notes: Notes,
    to_seconds: Clock,
    end: float,
    touch: tuple[float, float] = (0.6, 1.05),
    jitter=0.005,
    swell=7.0,
) -> Notes:
    """Play written notes as a person would: not quite in time, not every note alike.

    Args:
        rng: draws the deviations.
        notes: a table whose clock counts quarter notes; velocities carry the accents.
        to_seconds: the clock of the piece.
        end: seconds; what lies outside [0, end] is cut.
        touch: least and greatest articulation (sounding over written length), drawn anew every two quarters; above 1
            neighbours overlap (legato), and no note gives up more than LONGEST_GAP.
        jitter: deviation of the onsets in seconds, cut at 10 ms.
        swell: depth of the dynamic phrases in velocity steps.

    Returns:
        The same notes in seconds, without same-pitch overlaps and without notes shorter than SHORTEST.
    """
    written = to_seconds(notes.onset)
    length = to_seconds(notes.offset) - written
    phrase = notes.onset.astype(np.int64) // 2
    articulation = rng.uniform(touch[0], touch[1], phrase.max(initial=0) + 1)[phrase]
    onset = written + np.clip(rng.normal(0, jitter, len(notes)), -0.01, 0.01)
    period, phase = rng.uniform(8, 40, 2), rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * notes.onset[:, None] / period + phase).sum(1)
    velocity = notes.velocity + swell * waves + rng.normal(0, 3, len(notes))
    gap = np.minimum(length * (1 - articulation * rng.uniform(0.95, 1.0, len(notes))), LONGEST_GAP)
    played = notes.replace(
        onset=onset,
        offset=onset + np.maximum(length - gap, 2 * SHORTEST),
        velocity=np.clip(np.rint(velocity), 20, 127),
    )
    played = played.crop(0.0, end).without_overlaps()
    return played[played.offset - played.onset >= SHORTEST]


def into_range(pitch: np.ndarray | int, low: int, high: int) -> np.ndarray:
    """Pitches moved by octaves into [low, high]; a range of at least an octave holds all."""
    pitch = np.asarray(pitch)
    up = np.maximum(-((pitch - low) // 12), 0)
    down = np.maximum(-((high - pitch) // 12), 0)
    return pitch + 12 * (up - down)
