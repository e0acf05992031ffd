"""Three to eight players of whom one at a time leads, or none, written so that everybody would agree on which.

What leads plays a melody, or a solo. All others stay below that: chords, figures that come again each bar, held notes,
or nothing. Melody instruments that do not lead go on playing, so that who plays, who could sing and who is loud does
not tell who leads; and for stretches the band plays with no melody at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from common import grooves
from common.drafts import BASSES, COMPERS, MELODIES, PADS, Draft, Span, chords, draft_part, register
from common.grooves import Event
from common.instruments import RANGES
from common.phrases import BLOCKS, Song, accompany, bass_line, figure, line
from common.scores import VOICES

SINGERS = 10  # times as often as any other program the first melody is a voice's
FEWEST = 3  # parts that play
SHORT = 30.0  # seconds, the longest passage of a leader: a piece that is shorter may be all one
PAUSE = 2.0  # seconds; a leader who is silent for longer does not lead
LIVELY = 1.8  # notes a second of a lead, at least
NOBODY = -1
ROOM = {  # who joins: how often, and how many at most
    "bass": (3.0, 1), "drums": (3.0, 1), "melody": (3.0, 4), "comping": (1.0, 2), "pad": (1.0, 1),
}  # fmt: skip
STABS = ("..a...a...a...a.", "....a.......a...", "..a.....a.......")
NOBODY_LEADS = {"vamp": 0.45, "rhythm": 0.15, "drums": 0.2, "tacet": 0.2}  # what goes on then, how often


@dataclass(frozen=True)
class Passage:
    """A stretch of the form: quarters from and to which one part leads, or NOBODY, and the others that play."""

    start: float
    end: float
    leader: int
    playing: frozenset[int]


def ensemble(rng: np.random.Generator, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    """The parts of a piece, and who leads when."""
    drafts, plan = _write(rng, song, pool)
    # Who rests throughout has no part in the score, and in one passage that may be nearly all.
    while song.seconds < SHORT and sum(bool(draft.events) for draft in drafts) < FEWEST:
        drafts, plan = _write(rng, song, pool)
    return drafts, plan


def _write(rng: np.random.Generator, song: Song, pool: Sequence[int]) -> tuple[list[Draft], list[Span]]:
    drafts = _cast(rng, pool)
    plan: list[Span] = []
    form = _form(rng, song, [draft.role for draft in drafts])
    for index, draft in enumerate(drafts):
        for start, end in _runs(form, index):
            draft.events += background(rng, song, draft, start, end)
    for passage in form:
        if passage.leader != NOBODY:
            events = _solo(rng, song, drafts[passage.leader], passage.start, passage.end)
            drafts[passage.leader].events += events
            plan += _led(events, passage, PAUSE * song.bpm / 60)
    return drafts, plan


def _cast(rng: np.random.Generator, pool: Sequence[int]) -> list[Draft]:
    """Three to eight parts, one of them at least a melody and one for chords."""
    suits = {"melody": MELODIES, "comping": COMPERS, "pad": PADS, "bass": BASSES}
    touches = {"bass": (0.7, 0.98), "pad": (0.95, 1.0)}
    chosen, size = ["melody", "comping"], int(rng.integers(3, 9))
    while len(chosen) < size:
        odds = np.array([odd * (chosen.count(role) < most) for role, (odd, most) in ROOM.items()])
        chosen.append(list(ROOM)[int(rng.choice(len(odds), p=odds / odds.sum()))])
    singers = MELODIES + tuple(voice for voice in VOICES for _ in range(SINGERS))
    drafts = [draft_part(rng, pool, singers, "melody")]
    for role in chosen[1:]:
        if role == "drums":
            drafts.append(draft_part(rng, grooves.KITS, grooves.KITS, "drums", (1.0, 1.0)))
        else:
            drafts.append(draft_part(rng, pool, suits[role], role, touches.get(role)))
    return drafts


def _form(rng: np.random.Generator, song: Song, roles: Sequence[str]) -> list[Passage]:
    """Passages without gaps from beginning to end; hand-overs fall on halves of even bars.

    Who leads does so for as long as in MedleyDB, a median of 10.8 s, but for 30 s at most, and never twice running.
    """
    melodies = [i for i, role in enumerate(roles) if role in ("melody", "voice")]
    others = [i for i, role in enumerate(roles) if role in ("comping", "bass", "drums")]
    soloists = others if rng.random() < 0.4 else []
    half = song.bar if song.bar % 2 else song.bar // 2
    beat, last = 0.0, NOBODY
    form: list[Passage] = []
    while beat < song.end:
        group = soloists if soloists and rng.random() < 0.4 else melodies
        players = [i for i in group if i != last]
        if (not form or last != NOBODY) and rng.random() < (0.4 if players else 0.7):
            seconds, playing = _without(rng, roles)
            players = [NOBODY]
        else:
            answered = group is melodies and len(players) > 1 and rng.random() < 0.25
            players = players or [i for i in melodies + others if i != last]
            players = rng.permutation(players).tolist()[: 1 + answered]
            seconds = float(np.clip(10.8 * np.exp(0.8 * rng.standard_normal()), 2.5, 30.0))
            playing = [i for i in range(len(roles)) if rng.random() < 0.9]
            if roles[players[0]] == "drums" and rng.random() < 0.5:
                playing = []
        end = beat + half * max(float(np.rint(seconds * song.bpm / 60 / half)), 1.0)
        end = end if end + 2 * half <= song.end else song.end
        turn = half * float(np.ceil(2.5 * song.bpm / 60 / half))  # of call and response
        edges = [beat, end] if len(players) == 1 else [*np.arange(beat, end - turn + 1e-9, turn).tolist(), end]
        for i, (start, stop) in enumerate(pairwise(edges if len(edges) > 1 else [beat, end])):
            last = players[i % len(players)]
            form.append(Passage(start, stop, last, frozenset(playing) - {last}))
        beat = end
    return form


def _without(rng: np.random.Generator, roles: Sequence[str]) -> tuple[float, list[int]]:
    """How many seconds nobody leads, and who plays then: all below the melody, the rhythm or the drums alone, none."""
    kind = str(rng.choice(list(NOBODY_LEADS), p=list(NOBODY_LEADS.values())))
    wanted = {"rhythm": ("bass", "drums"), "drums": ("drums",), "tacet": ()}.get(kind, tuple(roles))
    playing = [i for i, role in enumerate(roles) if role in wanted]
    if wanted and not playing:
        playing = list(range(len(roles)))
    longest = 16.0 if playing else 4.0
    return float(np.clip(6.5 * np.exp(0.6 * rng.standard_normal()), 1.5, longest)), playing


def _runs(form: Sequence[Passage], part: int) -> list[tuple[float, float]]:
    """The stretches in which a part plays and does not lead; what others do does not divide them."""
    runs: list[tuple[float, float]] = []
    for passage in form:
        if part in passage.playing and runs and runs[-1][1] == passage.start:
            runs[-1] = (runs[-1][0], passage.end)
        elif part in passage.playing:
            runs.append((passage.start, passage.end))
    return runs


def _led(events: Sequence[Event], passage: Passage, pause: float) -> list[Span]:
    """The passage of a leader without silences longer than `pause` quarters."""
    spans: list[Span] = []
    for onset, length, *_ in sorted(events):
        end = min(onset + length, passage.end)
        if spans and onset <= spans[-1][1] + pause:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end), passage.leader)
        else:
            spans.append((onset, end, passage.leader))
    if spans and passage.end <= spans[-1][1] + pause:
        spans[-1] = (spans[-1][0], passage.end, passage.leader)
    return spans


def _solo(rng: np.random.Generator, song: Song, draft: Draft, start: float, end: float) -> list[Event]:
    if draft.role == "drums":
        return grooves.solo(rng, start, end)
    low, high = register(rng, draft.program)
    if draft.role != "bass":
        low = max(low, min(55, high - 19))  # a tune is not played in the deep
    events: list[Event] = []
    for _ in range(8):  # a tune of long notes alone could be anybody's
        pace = float(np.exp(rng.uniform(np.log(0.17), np.log(0.4))))
        events = line(rng, song, start, end, low, high, 0.03, pace)
        if len(events) >= LIVELY * (end - start) * 60 / song.bpm:
            break
    return [(beat, length, pitch, velocity + 8) for beat, length, pitch, velocity in events]


def background(rng: np.random.Generator, song: Song, draft: Draft, start: float, end: float) -> list[Event]:
    """What a part plays while it does not lead; a melody instrument chooses anew every eight bars."""
    if draft.role == "drums":
        return grooves.groove(rng, start, end, song.bar, song.energy)
    low, high = RANGES[draft.program]
    middle = int(np.clip(rng.integers(48, 68), low, high - 12))
    if draft.role == "bass":
        return bass_line(rng, song, start, end, low, high, walking=0.0)
    if draft.role in ("pad", "comping"):
        return chords(rng, song, draft, start, end, middle, int(rng.integers(3, 5)))
    events: list[Event] = []
    for begin, stop in song.sections(start, end, 8):
        habit = rng.random()
        if habit < 0.4:  # one held tone of each chord
            events += accompany(rng, song, BLOCKS[:2], begin, stop, middle, high, 1)
        elif habit < 0.6:
            events += accompany(rng, song, STABS, begin, stop, middle, high, int(rng.integers(1, 3)))
        elif habit < 0.8:  # a riff of two or three notes, the same in each bar
            riff = np.full(16, ".")
            places = 2 * rng.choice(2 * song.bar, int(rng.integers(2, 4)), replace=False)
            riff[places] = rng.choice(list("bb1"), len(places))
            events += figure(rng, song, "".join(riff), begin, stop, lambda beat: song.voicing(beat, middle, high, 2))
    return events
