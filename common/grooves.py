"""Drums for the composer: grooves, fills and solos as tables of sixteenth notes."""

import numpy as np

from common.instruments import DRUM_KEYS

Event = tuple[float, float, int, int]  # quarter note, length in quarters, MIDI number, velocity

KITS = (0, 8, 16, 24, 25, 32, 40)  # General MIDI 2: standard, room, power, electronic, TR-808, jazz, brush
STRENGTH = {"g": 42, "o": 68, "x": 84, "X": 104}  # ghost, soft, plain, accent

# One bar of sixteenths for each piece of the kit; a bar of three quarters takes the first twelve.
GROOVES = {
    "rock": {
        "kick": "X.......X.x.....", "snare": "....X.......X...", "closed_hat": "x.o.x.o.x.o.x.o.",
    },
    "straight": {
        "kick": "X.....x.X.......", "snare": "....X.......X..g", "closed_hat": "x.x.x.x.x.x.x.x.",
    },
    "disco": {
        "kick": "X...X...X...X...", "snare": "....X.......X...", "open_hat": "..x...x...x...x.",
        "clap": "....x.......x...",
    },
    "funk": {
        "kick": "X..x..x...x..x..", "snare": "....X..g.g..X..g", "closed_hat": "xoxoxoxoxoxoxoxo",
    },
    "half-time": {
        "kick": "X.....x...x.....", "snare": "........X.......", "ride": "x...x.o.x...x.o.",
    },
    "ballad": {
        "kick": "x.......x.......", "side_stick": "....x.......x...", "closed_hat": "o.g.o.g.o.g.o.g.",
    },
    "bossa": {
        "kick": "x..xx..xx..xx..x", "side_stick": "x..x..x...x..x..", "closed_hat": "oooooooooooooooo",
    },
    "swing": {
        "ride": "X...x.o.X...x.o.", "pedal_hat": "....x.......x...", "kick": "g...g...g...g...",
        "snare": "......g.......g.",
    },
    "train": {
        "kick": "X...x...X...x...", "snare": "ggXgggXgggXgggXg",
    },
    "latin": {
        "kick": "X..x..x.X..x..x.", "high_bongo": "x.ox.ox.x.ox.xo.", "low_bongo": "..x...x....x..x.",
        "maracas": "xoxoxoxoxoxoxoxo", "cowbell": "x...x...x...x...",
    },
    "march": {
        "kick": "X.......X.......", "snare": "x..gx.ggx..gxxgg", "crash": "x...............",
    },
    "toms": {
        "kick": "X..X..X.X..X..X.", "floor_tom": "x.o.x.o.x.o.x.o.", "low_tom": "...x..x....x..x.",
        "snare": "............X...",
    },
}  # fmt: skip
FILLS = ("snare", "high_tom", "high_mid_tom", "low_mid_tom", "low_tom", "floor_tom", "low_floor_tom")


def groove(rng: np.random.Generator, start: float, end: float, bar: int, energy: np.ndarray) -> list[Event]:
    """Drums from quarter `start` to `end`: one groove per section of four bars, a fill into the next, a crash on it.

    Args:
        rng: draws grooves and fills.
        start: first quarter, on a bar line.
        end: the quarter to stop at.
        bar: quarters in a bar.
        energy: 0..1 for each section of four bars; a quiet section is softer and sometimes thinner.
    """
    events: list[Event] = []
    names = [str(name) for name in rng.choice(list(GROOVES), 2)]
    for index, section in enumerate(np.arange(start, end, 4 * bar)):
        strength = energy[min(int(section // (4 * bar)), len(energy) - 1)]
        pattern = GROOVES[names[index % 2]]
        if strength < 0.6 and rng.random() < 0.5:
            pattern = {name: steps for name, steps in pattern.items() if name != "kick"} or pattern
        fill = section + 4 * bar - rng.choice((0.0, 1.0, 2.0), p=(0.2, 0.5, 0.3))
        for name, steps in pattern.items():
            for step in range(16 * bar):
                beat, mark = section + step / 4, steps[step % (4 * bar)]
                if mark != "." and beat < min(fill, end):
                    events.append((beat, 0.25, DRUM_KEYS[name], int(STRENGTH[mark] * (0.7 + 0.3 * strength))))
        events += solo(rng, fill, min(section + 4 * bar, end))
        if section > start and rng.random() < 0.7:
            events.append((section, 2.0, DRUM_KEYS[rng.choice(("crash", "crash_2", "splash", "china"))], 96))
    return events


def solo(rng: np.random.Generator, start: float, end: float) -> list[Event]:
    """Dense snares and toms that wander down the kit: a fill, or when it is long a solo."""
    events: list[Event] = []
    beat, drum = start, 0
    while beat < end:
        length = rng.choice((0.25, 1 / 6, 0.5, 0.125), p=(0.6, 0.15, 0.2, 0.05))
        drum = (drum + rng.choice((0, 1, 2), p=(0.6, 0.3, 0.1))) % len(FILLS)
        events.append((beat, length, DRUM_KEYS[FILLS[drum]], int(rng.integers(70, 112))))
        if rng.random() < 0.2:
            events.append((beat, length, DRUM_KEYS["kick"], 90))
        beat += length
    return events
