"""What a part of our composer may play: melodies, bass lines, chords in all their figures, two hands, six strings."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common.grooves import Event
from common.scores import Clock

CELLS = (  # rhythms of melodies, in quarters
    (1,), (2,), (4,), (0.5, 0.5), (1.5, 0.5), (3, 1), (0.75, 0.25), (0.25,) * 4, (1 / 3,) * 3, (0.5, 0.25, 0.25),
    (0.25, 0.25, 0.5), (0.5, 1, 0.5), (2 / 3, 1 / 3), (1, 0.5, 0.5), (0.25, 0.5, 0.25),
)  # fmt: skip

# Figures of accompaniment: one bar of sixteenths (a bar of three quarters takes the first twelve) over the tones of a
# chord counted from the bottom: a digit is that tone, b the bottom, c the others, a all, u the others downwards.
BLOCKS = (
    "a...............", "a.......a.......", "a...a...a...a...", "a.a.a.a.a.a.a.a.", "..a...a...a...a.",
    "a.....a.........", "a..a..a...a.a...", "....a.......a...",
)  # fmt: skip
BROKEN = (
    "b.2.1.2.b.2.1.2.", "b.1.2.3.2.1.2.1.", "b123212bb123212b", "b...c...b...c...", "b...c...1...c...",
    "b.1.2.3.4.3.2.1.", "b1234321b1234321", "b..c..c.b..c..c.", "b.c.b.c.b.c.b.c.",
)  # fmt: skip
STRUMS = ("a...a.u...u.a.u.", "a.u.a.u.a.u.a.u.", "a.......a.a.u...", "a..ua.u...u.a.u.", "a...............")
PICKED = ("b.2.1.3.b.2.1.3.", "b.3.2.4.1.3.2.4.", "b.23.4.3b.23.4.3", "b...c.3.1...c.3.", "b234432bb234432b")
BASSES = (  # over root, fifth and octave
    "b.......b.......", "b.b.b.b.b.b.b.b.", "b.....b.1.......", "b..b..b.2..1.b..", "b...1...b...1...",
    "b.2.b.2.b.2.b.2.", "b...............", "b..b....b..b..1.", "b.bb..b.b.2...1.", "..b...b...b...b.",
)  # fmt: skip
UNDER_MELODY = ((12,), (3,), (5,), (4, 7), (5, 9, 12), (), ())  # semitones, brought into the scale


@dataclass(frozen=True)
class Song:
    """What all parts agree on. Times are quarters; pitches come from scale degrees, seven to the octave."""

    seconds: float
    bpm: float
    bar: int  # quarters
    key: int  # pitch class
    scale: tuple[int, ...]  # semitones of the seven degrees
    loop: tuple[int, ...]  # degrees of the chords
    chord_length: int  # quarters
    chord_size: int  # 3 or, with sevenths, 4
    energy: np.ndarray  # 0..1 for each section of four bars
    to_seconds: Clock
    end: float  # where composing stops

    def pitch(self, degree: int) -> int:
        return self.key + 12 * (degree // 7) + self.scale[degree % 7]

    def degree(self, pitch: float) -> int:
        """The degree at a MIDI number, or the next below."""
        octave, rest = divmod(int(pitch) - self.key, 12)
        return 7 * octave + sum(step <= rest for step in self.scale) - 1

    def chord(self, beat: float) -> int:
        """The degree of the root at a time."""
        return self.loop[int(beat // self.chord_length) % len(self.loop)]

    def voicing(self, beat: float, low: int, high: int, size: int) -> list[int]:
        """The lowest `size` chord tones in [low, high]: close position, the nearest inversion from chord to chord."""
        tones = {self.pitch(self.chord(beat) + step) % 12 for step in (0, 2, 4, 6)[: self.chord_size]}
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in tones][:size]

    def sections(self, start: float, end: float, bars: int = 4) -> Iterator[tuple[float, float]]:
        """[start, end) cut at every so many bars, counted from the beginning of the song."""
        length = bars * self.bar
        return pairwise([start, *np.arange(length * (start // length + 1), end, length).tolist(), end])


def line(
    rng: np.random.Generator, song: Song, start: float, end: float, low: int, high: int, rests=0.12, pace=None
) -> list[Event]:
    """A melody in one voice: a motif, repeated and varied, with runs, arpeggios, long and repeated notes, trills.

    Args:
        rng: draws everything.
        song: key, chords and tempo.
        start: quarter of the first note.
        end: quarter at which it stops.
        low: lowest MIDI number.
        high: highest MIDI number, at least an octave above `low`.
        rests: how often a gesture is a rest.
        pace: seconds per note, roughly; drawn if None.
    """
    quarter = 60 / song.bpm
    pace = pace or float(np.exp(rng.uniform(np.log(0.17), np.log(0.9))))
    distance = np.array([np.log(quarter * sum(cell) / len(cell) / pace) for cell in CELLS])
    playable = [min(cell) * quarter > 0.08 for cell in CELLS]
    cells = np.cumsum(np.exp(-((distance / 0.6) ** 2)) * playable + 1e-9)
    fast = min((f for f in (1, 0.5, 1 / 3, 0.25, 1 / 6, 0.125) if f * quarter >= max(0.09, 0.6 * pace)), default=1)
    trill = min((f for f in (0.25, 1 / 6, 0.125, 1 / 12) if f * quarter >= 0.065), default=0.25)
    habits = np.cumsum([*rng.dirichlet((8, 1.2, 0.8, 1.5, 0.6, 0.15, 0.3)) * (1 - rests), rests])

    def motif() -> list[tuple[float, int]]:
        lengths = [length for _ in range(rng.integers(1, 4)) for length in CELLS[_draw(rng, cells)]]
        return list(zip(lengths, rng.integers(-2, 3, len(lengths)).tolist(), strict=True))

    def gesture(kind: int) -> list[tuple[float, int]]:
        """Lengths of notes in quarters, and the step from each to the next in degrees."""
        sign, count = (-1, 1)[rng.integers(2)], int(rng.integers(3, 9))
        return (
            [(length, step * sign) for length, step in theme],
            [(fast, sign)] * count,  # run
            [(fast, 2 * sign)] * count,  # arpeggio
            [(float(np.clip(np.rint(rng.uniform(1, 4) / quarter), 1, 8)), sign)],  # long note
            [(max(fast, 0.25), 0)] * count,  # repeated notes
            [(trill, step) for _ in range(count) for step in (1, -1)] + [(1.0, -1)],
            [(trill, 1), (trill, -1), (1.0, 7 * sign), (1.0, -sign)],  # mordent and leap
        )[kind]

    events: list[Event] = []
    beat, degree, theme, kind = start, song.degree(rng.uniform(low + 4, high - 3)), motif(), 0
    while beat < end:
        if kind == 7:
            beat += (0.5, 1, 2, song.bar)[rng.integers(4)]
            degree = song.degree(rng.uniform(low, high)) if rng.random() < 0.4 else degree
        elif kind == 0 and rng.random() < 0.25:
            theme = motif()
        if rng.random() < 0.7:  # most gestures start on a chord tone
            degree += (0, -1, 0, -1, 0, -1, 1)[(degree - song.chord(beat)) % 7]
        for length, step in gesture(kind) if kind < 7 else ():
            while song.pitch(degree) > high:
                degree -= 7
            while song.pitch(degree) < low:
                degree += 7
            if beat >= end:
                break
            pitch = song.pitch(degree) + (int(rng.integers(-1, 2)) if rng.random() < 0.04 else 0)
            accent = 8 * (beat % 1 == 0) + 6 * (beat % song.bar == 0) + 4 * (length >= 1)
            events.append((beat, min(length, end - beat), min(max(pitch, low), high), 74 + accent))
            beat += length
            degree += step if low <= song.pitch(degree + step) <= high else -step
        kind = _draw(rng, habits)
    return events


def figure(
    rng: np.random.Generator,
    song: Song,
    pattern: str,
    start: float,
    end: float,
    tones: Callable[[float], list[int]],
    ring: bool = False,
    spread: float = 0.0,
) -> list[Event]:
    """A bar's figure, bar after bar.

    Args:
        rng: draws the looseness of spread chords.
        song: chords and tempo.
        pattern: see BLOCKS.
        start: first quarter.
        end: quarter at which it stops.
        tones: the tones of the chord at a quarter, upwards.
        ring: notes sound until the chord changes (pedal, open strings), not just until the next stroke.
        spread: seconds from string to string of a chord.
    """
    events: list[Event] = []
    steps = [step for step in range(4 * song.bar) if pattern[step] != "."]
    strokes = list(pairwise([*steps, 4 * song.bar + steps[0]])) if steps else []
    for bar in np.arange(start // song.bar * song.bar, end, song.bar).tolist():
        for step, following in strokes:
            beat = bar + step / 4
            chord = tones(beat)
            if not (start <= beat < end and chord):
                continue
            named = {"a": chord, "u": chord[:0:-1] or chord, "b": chord[:1], "c": chord[1:] or chord}
            mark = pattern[step]
            chosen = named[mark] if mark in named else [chord[int(mark) % len(chord)]]
            until = (beat // song.chord_length + 1) * song.chord_length if ring else bar + following / 4
            delay = spread * song.bpm / 60 * rng.uniform(0.5, 1.5) if spread else 0.0
            velocity = 68 + 10 * (step == 0) + 4 * (step % 4 == 0)
            for rank, pitch in enumerate(chosen):
                onset = beat + rank * delay
                events.append((onset, max(min(until, end) - onset, 0.1), pitch, velocity - 2 * (rank % 3)))
    return events


def accompany(
    rng: np.random.Generator,
    song: Song,
    patterns: Sequence[str],
    start: float,
    end: float,
    low: int,
    high: int,
    size: int,
) -> list[Event]:
    """Chords of `size` tones upwards from `low`, in one figure for eight bars and then another."""
    events: list[Event] = []
    for begin, stop in song.sections(start, end, 8):
        pattern, ring = _pattern(rng, song, patterns), rng.random() < 0.3
        events += figure(rng, song, pattern, begin, stop, lambda b: song.voicing(b, low, high, size), ring)
    return events


def bass_line(
    rng: np.random.Generator, song: Song, start: float, end: float, low: int, high: int, walking: float = 0.25
) -> list[Event]:
    """Root, fifth and octave in a figure, or with a probability of `walking` a walking bass."""
    if rng.random() < walking:
        return line(rng, song, start, end, low, min(low + 21, high), 0.03, 60 / song.bpm)

    def tones(beat: float) -> list[int]:
        root = low + (song.pitch(song.chord(beat)) - low) % 12
        return [pitch for pitch in (root, root + 7, root + 12) if pitch <= high]

    return figure(rng, song, _pattern(rng, song, BASSES), start, end, tones)


def two_hands(rng: np.random.Generator, song: Song, start: float, end: float, low: int, high: int) -> list[Event]:
    """A keyboard: a melody, often in octaves, thirds or chords, over a figure of the left hand."""
    events: list[Event] = []
    for begin, stop in song.sections(start, end):
        middle = int(np.clip(rng.integers(50, 72), low + 12, high - 18))
        below = UNDER_MELODY[rng.integers(len(UNDER_MELODY))]
        right = line(rng, song, begin, stop, middle, min(middle + int(rng.integers(18, 45)), high), 0.08)
        for beat, length, pitch, velocity in right:
            if length >= 0.5:
                tones = [song.pitch(song.degree(pitch - interval)) for interval in below]
                events += [(beat, length, tone, velocity - 8) for tone in tones if tone >= low]
        floor = int(rng.integers(low, max(middle - 17, low + 1)))
        size = int(rng.integers(3, 6))
        events += right + accompany(rng, song, BLOCKS + BROKEN, begin, stop, floor, max(middle, floor + 12), size)
    return events


def strings(
    rng: np.random.Generator, song: Song, start: float, end: float, low: int, high: int, size: int
) -> list[Event]:
    """Chords of `size` strings over a bass string: strummed across, or picked and left to ring."""
    events: list[Event] = []
    for begin, stop in song.sections(start, end, 8):
        picked, gap, lowest = rng.random() < 0.5, rng.uniform(0.004, 0.03), low + int(rng.integers(9))
        pattern, ring = _pattern(rng, song, PICKED if picked else STRUMS), picked or rng.random() < 0.4

        def tones(beat: float, lowest: int = lowest) -> list[int]:
            chord = song.voicing(beat, lowest, high, size + 2)
            return chord[:1] + chord[2:]  # the bass string stands apart

        events += figure(rng, song, pattern, begin, stop, tones, ring, gap)
    return events


def _pattern(rng: np.random.Generator, song: Song, patterns: Sequence[str]) -> str:
    """One of the figures; in a fast song none with sixteenths in a row."""
    calm = [pattern for pattern in patterns if not re.search(r"[^.]{2}", pattern)]
    patterns = patterns if song.bpm < 130 else calm
    return patterns[int(rng.integers(len(patterns)))]


def _draw(rng: np.random.Generator, cumulated: np.ndarray) -> int:
    """An index by cumulated odds; many times cheaper than Generator.choice."""
    return int(np.searchsorted(cumulated[:-1], rng.random() * cumulated[-1]))
