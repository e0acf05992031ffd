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
CYMBALS = ("crash", "crash_2", "splash", "china")
TOMS = ("snare", "high_tom", "high_mid_tom", "low_mid_tom", "low_tom", "floor_tom", "low_floor_tom")


def groove(rng: np.random.Generator, start: float, end: float, bar: int, energy: np.ndarray) -> list[Event]:
    """Two grooves that alternate by sections of four bars, with fills at their ends and cymbals on their beginnings.

    Args:
        rng: draws grooves, fills and cymbals.
        start: first quarter; sections are counted from quarter 0.
        end: quarter at which it stops.
        bar: quarters in a bar.
        energy: 0..1 for each section; a quiet one is softer, and sometimes goes without the kick.
    """
    events: list[Event] = []
    names = [str(name) for name in rng.choice(list(GROOVES), 2)]
    length = 4 * bar
    for section in range(int(start // length), int(np.ceil(end / length))):
        first, last = max(section * length, start), min((section + 1) * length, end)
        fill = max(last - (0, 1, 1, 2)[rng.integers(4)], first)
        strength = energy[min(section, len(energy) - 1)]
        without = "kick" if strength < 0.6 and rng.random() < 0.5 else ""
        for name, steps in GROOVES[names[section % 2]].items():
            for step in range(4 * length):
                beat, mark = section * length + step / 4, steps[step % (4 * bar)]
                if mark != "." and first <= beat < fill and name != without:
                    events.append((beat, 0.25, DRUM_KEYS[name], int(STRENGTH[mark] * (0.7 + 0.3 * strength))))
        events += solo(rng, fill, last)
        if section * length > start and rng.random() < 0.7:
            events.append((first, 2.0, DRUM_KEYS[CYMBALS[rng.integers(len(CYMBALS))]], 96))
    return events


def solo(rng: np.random.Generator, start: float, end: float) -> list[Event]:
    """Snare and toms, mostly in sixteenths, wandering down the kit and around again: a fill, or at length a solo."""
    events: list[Event] = []
    beat, drum = start, 0
    while beat < end:
        length = (0.25, 0.25, 0.25, 0.5, 1 / 6, 0.125)[rng.integers(6)]
        drum = (drum + (0, 0, 0, 1, 1, 2)[rng.integers(6)]) % len(TOMS)
        events.append((beat, length, DRUM_KEYS[TOMS[drum]], int(rng.integers(70, 112))))
        if rng.random() < 0.2:
            events.append((beat, length, DRUM_KEYS["kick"], 90))
        beat += length
    return events
