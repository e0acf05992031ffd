"""Our own composer: any number of pieces in seven styles, each from a seed, for any pool of General MIDI programs."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from common import grooves
from common.drafts import (
    BASSES,
    COMPERS,
    KEYBOARDS,
    MELODIES,
    PADS,
    PLUCKED,
    Draft,
    Span,
    chords,
    draft_part,
    register,
)
from common.ensembles import ensemble
from common.grooves import Event
from common.instruments import PITCHED_PROGRAMS, PROGRAM_NAMES, RANGES
from common.notes import Notes
from common.phrases import BLOCKS, Song, accompany, bass_line, figure, line, strings, two_hands
from common.scores import Part, Score, clock, into_range, perform

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
LOOPS = (  # chords as scale degrees, the tonic is 0
    (0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (1, 4, 0, 0), (0, 6, 3, 0), (0, 2, 3, 4), (3, 4, 2, 5),
    (0, 0, 3, 4), (0, 3, 6, 2, 5, 1, 4, 0),
)  # fmt: skip


def compose(
    seed: int, style: str | None = None, seconds: float = 30.0, programs: Sequence[int] = PITCHED_PROGRAMS
) -> Score:
    """A new piece; the same arguments give the same piece, to the bit.

    Args:
        seed: number of the piece.
        style: one of STYLES; None draws it from the seed.
        seconds: duration of the piece, at least 2.
        programs: General MIDI programs to write for. Where none suits a role, any of them takes it.

    Raises:
        ValueError: unknown style, too short, no programs or one without a range in `common.instruments`.
    """
    if style not in (None, *STYLES) or seconds < 2 or not programs or not set(programs) <= set(PITCHED_PROGRAMS):
        raise ValueError(
            f"compose wants one of the styles {', '.join(STYLES)}, at least 2 seconds, and programs that have a range "
            f"in common.instruments; it got {style!r}, {seconds}, {tuple(programs)}"
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    style = style or str(rng.choice(list(STYLES), p=[weight for _, weight in STYLES.values()]))
    song = draw_song(rng, seconds)
    drafts, plan = STYLES[style][0](rng, song, tuple(programs))
    return play(rng, song, f"{style} {seed}", drafts, plan)


def draw_song(rng: np.random.Generator, seconds: float) -> Song:
    """Key, chords, tempo and form of a piece."""
    bpm, bar = float(rng.uniform(60, 180)), (4, 4, 4, 4, 3)[rng.integers(5)]
    swing = rng.uniform(0.58, 0.67) if rng.random() < 0.25 else 0.5
    to_seconds = clock(rng, bpm, seconds, rng.uniform(0.05, 0.6), rng.uniform(0, 0.03), swing)
    end = float(np.searchsorted(to_seconds(np.arange(seconds * bpm / 50)), seconds - 0.5))
    return Song(
        seconds=seconds,
        bpm=bpm,
        bar=bar,
        key=int(rng.integers(12)),
        scale=list(SCALES.values())[rng.integers(len(SCALES))],
        loop=LOOPS[rng.integers(len(LOOPS))],
        chord_length=bar * (1, 1, 2)[rng.integers(3)],
        chord_size=(3, 3, 4)[rng.integers(3)],
        energy=np.clip(rng.normal(0.75, 0.2, int(end // (4 * bar)) + 1), 0.3, 1.0),
        to_seconds=to_seconds,
        end=end,
    )


def play(rng: np.random.Generator, song: Song, title: str, drafts: Sequence[Draft], plan: Sequence[Span] = ()) -> Score:
    """Perform what was written; parts that were given no note are left out."""
    parts: list[Part] = []
    number: dict[int, int] = {}  # of the draft -> of the part
    for index, draft in enumerate(drafts):
        drums = draft.role == "drums"
        onset, length, pitch, velocity = np.array(draft.events, float).reshape(-1, 4).T
        section = np.minimum(onset // (4 * song.bar), len(song.energy) - 1).astype(int)
        velocity = velocity + rng.normal(0, 6) + 30 * (song.energy[section] - 0.75)
        notes = Notes.build(onset, onset + length, pitch, velocity.clip(1, 127), draft.program, drums, len(parts))
        notes = perform(rng, notes, song.to_seconds, song.seconds, draft.touch, rng.uniform(0.002, 0.009))
        if len(notes):
            number[index] = len(parts)
            name = "Drums" if drums else PROGRAM_NAMES[draft.program]
            parts.append(Part(name, draft.program, drums, draft.role, notes))
    lead = []
    for start, end, index in plan:
        start, end = song.to_seconds(np.array([start, end])).clip(0, song.seconds).tolist()
        if index in number and len(parts[number[index]].notes.crop(start, end)):
            lead.append((start, end, number[index]))
    return Score(title, tuple(parts), song.seconds, tuple(lead))


# Styles: each writes the drafts and says who leads when.


def _band(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """Drums, bass, chords and pads behind one to three melodies that hand the lead on."""
    n_melodies = int(rng.integers(1, 4))
    drafts = [draft_part(rng, pool, MELODIES, "melody") for _ in range(n_melodies)]
    drafts += [draft_part(rng, pool, COMPERS, "comping") for _ in range((1, 1, 2)[rng.integers(3)])]
    if rng.random() < 0.85:
        drafts.append(draft_part(rng, pool, BASSES, "bass", (0.7, 0.98)))
    if rng.random() < 0.4:
        drafts.append(draft_part(rng, pool, PADS, "pad", (0.95, 1.0)))
    if rng.random() < 0.75:
        drafts.append(draft_part(rng, grooves.KITS, grooves.KITS, "drums", (1.0, 1.0)))
    backing = [index for index, draft in enumerate(drafts) if draft.role in ("comping", "bass", "drums")]
    plan = _lead_plan(rng, song, n_melodies, backing if rng.random() < 0.15 else [])
    for index, draft in enumerate(drafts):
        led = [(start, end) for start, end, leader in plan if leader == index]
        edges = [0.0, *(edge for span in led for edge in span), song.end]
        for start, end in led:
            draft.events += _solo(rng, song, draft, start, end)
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            draft.events += _background(rng, song, draft, start, end)
    return drafts, plan


def _lead_plan(rng, song: Song, n_melodies: int, soloists: Sequence[int]) -> list[Span]:
    """Who leads when: never the same twice running, some calls and answers, now and then nobody.

    Lengths are those of the lead labels of MedleyDB: median 10.8 s, log-normal, cut to 2.5 .. 60 s.
    """
    plan: list[Span] = []
    beat, last = 0.0, -1
    half = song.bar if song.bar % 2 else song.bar // 2  # hand-overs fall on halves of even bars
    shortest = half * float(np.ceil(2.5 * song.bpm / 60 / half))
    while beat < song.end:
        seconds = np.clip(10.8 * np.exp(1.1 * rng.standard_normal()), 2.5, 60)
        end = beat + max(half * float(np.rint(seconds * song.bpm / 60 / half)), shortest)
        end = end if end + shortest <= song.end else song.end
        solo = bool(soloists) and rng.random() < 0.4
        candidates = [index for index in (soloists if solo else range(n_melodies)) if index != last]
        last = -1
        if candidates and rng.random() > 0.1:
            leader = candidates[rng.integers(len(candidates))]
            partners = [index for index in range(n_melodies) if index != leader]
            turns, players = [beat, end], [leader]
            if partners and not solo and rng.random() < 0.15:
                turns = [*np.arange(beat, end - shortest + 1e-9, max(2 * song.bar, shortest)).tolist(), end]
                players = [leader, partners[rng.integers(len(partners))]]
            for turn, (start, stop) in enumerate(pairwise(turns)):
                last = players[turn % len(players)]
                plan.append((start, stop, last))
        beat = end
    return plan


def _solo(rng, song: Song, draft: Draft, start: float, end: float) -> list[Event]:
    if draft.role == "drums":
        return grooves.solo(rng, start, end)
    low, high = register(rng, draft.program)
    return [(beat, length, pitch, v + 8) for beat, length, pitch, v in line(rng, song, start, end, low, high)]


def _background(rng, song: Song, draft: Draft, start: float, end: float) -> list[Event]:
    """What a part plays while it does not lead."""
    if draft.role == "drums":
        return grooves.groove(rng, start, end, song.bar, song.energy)
    low, high = RANGES[draft.program]
    middle, size = int(np.clip(rng.integers(48, 68), low, high - 12)), int(rng.integers(3, 5))
    if draft.role == "bass":
        return bass_line(rng, song, start, end, low, high)
    if draft.role in ("pad", "comping"):
        return chords(rng, song, draft, start, end, middle, size)
    habit = rng.random()  # a melody instrument: rests, holds, repeats a riff, fills the gaps, plays loosely on
    if habit < 0.3:
        return []
    if habit < 0.55:
        return accompany(rng, song, BLOCKS[:2], start, end, middle, high, 1)
    if habit < 0.75:
        riff = "".join(rng.choice(list("....b123"), 16))
        return figure(rng, song, riff, start, end, lambda beat: song.voicing(beat, middle, high, 4))
    if habit < 0.9:
        gaps = [(stop - song.bar, stop) for begin, stop in song.sections(start, end) if stop - begin > song.bar]
        return [event for a, b in gaps for event in line(rng, song, a, b, middle, high, 0.05, 0.2)]
    return line(rng, song, start, end, low, high, 0.45, 0.8)


def _alone(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """One instrument, one voice, another register and pace every four bars."""
    draft = draft_part(rng, pool, MELODIES + BASSES, "melody")
    for start, end in song.sections(0.0, song.end):
        draft.events += line(rng, song, start, end, *register(rng, draft.program), rests=rng.uniform(0.05, 0.25))
    return [draft], []


def _keys(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """Two hands on one keyboard."""
    draft = draft_part(rng, pool, KEYBOARDS, "melody")
    draft.events += two_hands(rng, song, 0.0, song.end, *RANGES[draft.program])
    return [draft], []


def _strum(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """A guitar or its kin: chords strummed and picked, sometimes a melody on top."""
    draft = draft_part(rng, pool, PLUCKED, "comping", (0.8, 1.0))
    low, high = RANGES[draft.program]
    draft.events += strings(rng, song, 0.0, song.end, low, high, int(rng.integers(3, 6)))
    if rng.random() < 0.5:
        draft.events += line(rng, song, 0.0, song.end, max(high - 24, low), high, 0.3)
    return [draft], []


def _chamber(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """Two to five melodic parts from high to low: by section imitation, block harmony or an accompanied tune."""
    drafts = [draft_part(rng, pool, MELODIES, "melody") for _ in range(rng.integers(2, 6))]
    drafts.sort(key=lambda draft: -sum(RANGES[draft.program]))
    for start, end in song.sections(0.0, song.end, 8):
        texture, pace = rng.integers(3), rng.uniform(0.25, 0.8)
        subject = line(rng, song, start, min(start + 2 * song.bar, end), 60, 84, 0.05, pace)
        rhythm = [(beat, length) for beat, length, *_ in line(rng, song, start, end, 60, 84, 0.05, pace)]
        for rank, draft in enumerate(drafts):
            low, high = RANGES[draft.program]
            floor = int(np.clip(72 - 7 * rank + rng.integers(-5, 6), low, max(high - 18, low)))
            top = min(floor + 22, high)
            if texture == 0:  # one after the other enters with the same subject, by turns a fifth higher
                entry = min(start + rank * song.bar, end)
                for beat, length, pitch, velocity in subject:
                    if beat - start < end - entry:
                        answer = int(into_range(pitch + 7 * (rank % 2), floor, top))
                        draft.events.append((beat - start + entry, length, answer, velocity))
                draft.events += line(rng, song, min(entry + 2 * song.bar, end), end, floor, top, 0.15, pace)
            elif texture == 1:
                for beat, length in rhythm:
                    tones = song.voicing(beat, floor, high, 2)
                    draft.events.append((beat, length, tones[rng.integers(len(tones))], 72))
            elif rank == 0:
                draft.events += line(rng, song, start, end, max(low, floor - 5), high, 0.08)
            else:
                draft.events += accompany(rng, song, BLOCKS[:5], start, end, floor, high, 1)
    return drafts, []


def _texture(rng, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """Up to eight voices without key or metre, so that nothing but the sound can tell a note.

    In the spirit of the generator behind lightweight_amt: pitches over the whole range, and voices that move by the
    intervals that are hardest to tell apart, thirds, fourths, fifths and octaves.
    """
    drafts = []
    voices = int(rng.integers(1, 9))
    for share in np.array_split(np.arange(voices), min(voices, rng.integers(1, 3))):
        draft = draft_part(rng, pool, pool, "melody")
        low, high = RANGES[draft.program]
        typical = np.exp(rng.uniform(np.log(0.15), np.log(1.5))) * song.bpm / 60
        for _ in share:
            count = int(2 * song.end / typical) + 1
            length = np.clip(typical * np.exp(0.6 * rng.standard_normal(count)), 0.12, 12)
            gap = np.where(rng.random(count) < 0.4, 0, length * rng.exponential(0.6, count))
            onset = np.cumsum(length + gap) - length
            leap = np.cumsum(rng.choice((-12, -7, -5, -4, 4, 5, 7, 12), count))
            step = rng.integers(0, high - low + 1, count) if rng.random() < 0.5 else leap % (high - low + 1)
            table = np.stack([onset, length, low + step, rng.integers(45, 100, count)], axis=1)
            draft.events += map(tuple, table[onset < song.end].tolist())
        drafts.append(draft)
    return drafts, []


STYLES = {  # how they are written, how often they are drawn
    "band": (_band, 0.3),
    "solo": (_alone, 0.2),
    "keys": (_keys, 0.16),
    "strum": (_strum, 0.08),
    "chamber": (_chamber, 0.16),
    "texture": (_texture, 0.1),
    "ensemble": (ensemble, 0.0),  # of the lead corpus, which asks for it by name
}
