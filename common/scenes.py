"""Scenes: a few players of whom one or some are heard above all others, and it is known who and by how much.

A scene is composed, played and mixed from a seed; clips are cut from it. In each clip the levels of all players are
drawn relative to the predominant ones, and what happens to recordings happens to it: rooms, filters, dynamics, noise.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from common import effects, grooves
from common.composer import draw_song, play
from common.drafts import BASSES, COMPERS, PADS, Draft, draft_part, register
from common.ensembles import background
from common.grooves import Event
from common.instruments import HELD_OUT_PROGRAMS, IRMAS, RANGES, TRAIN_PROGRAMS
from common.notes import Notes
from common.phrases import BLOCKS, Song, accompany, line, strings, two_hands
from common.pieces import BLOCKS_PER_SECOND, FULL_SCALE, blocks, content_hash
from common.render import render
from common.scores import TOUCHES
from common.storage import replacing
from common.synth import synthesise

VERSION = 1  # raise it when this file, the composer or the renderer would make other scenes
ATTEMPTS = 20
MARGIN = 1.5  # seconds of a scene before its first clip and after its last
SLACK = 1.0  # seconds by which a clip may move
SOUNDS = 25.0  # dB below its loudest moment that a player is still heard
PEAK = 0.5  # of a mixture before the effects

# Organs are written for as reed organs are: nobody has listened for their ranges.
WRITTEN_AS: dict[int, int] = dict.fromkeys((16, 17, 18, 19), 20)
PLAYABLE = RANGES.keys() | WRITTEN_AS.keys()
LABEL = {program: name for name, programs in IRMAS.items() for program in programs if program in PLAYABLE}
PIANOS, GUITARS, ORGANS = IRMAS["pia"], IRMAS["gac"] + IRMAS["gel"], IRMAS["org"]
CLEAN_ELECTRIC = (26, 27, 28)
SINGING = 0.6  # of the voices, the others are choirs of the SoundFont

DISTRACTORS = (0.15, 0.3, 0.3, 0.25)  # how often there are none, one, two, three
DRUMS = 0.5  # how often there are any
DRUMS_BELOW = (3.0, 15.0)  # dB
LABELLED_WITHIN = 6.0  # dB of one another
BACKING = {"bass": 0.28, "comping": 0.22, "pad": 0.1, "labelled": 0.4}  # what a distractor is, how often


Form = Callable[[np.random.Generator, Song, int], list[tuple[float, float, int]]]


@dataclass(frozen=True)
class Kind:
    """What clips of a kind have in common."""

    below: tuple[float, float]  # dB by which a distractor is below the quietest predominant player
    presence: float  # share of a clip in which each predominant player sounds, at least


KINDS = {"clip": Kind((3.0, 15.0), 0.6), "excerpt": Kind((9.0, 18.0), 0.35)}


@dataclass(frozen=True)
class Player:
    """Who plays what: `label` is the class of the program, if it has one; singers have no SoundFont."""

    program: int
    role: str  # "lead" of the predominant players; bass, comping, pad, melody, drums
    label: str = ""
    sung: bool = False

    @property
    def is_drum(self) -> bool:
        return self.role == "drums"


@dataclass(frozen=True)
class SceneRecipe:
    """All that determines a scene to the bit, and where its SoundFont lies."""

    split: str
    kind: str  # one of KINDS
    seed: int
    labels: tuple[str, ...]  # of the predominant players
    clip_seconds: float
    n_clips: int
    unseen: bool  # predominant players have programs that training never hears, where their class has any
    sample_rate: int
    font_digest: str
    soundfont: Path

    @property
    def digest(self) -> str:
        return content_hash(VERSION, {name: value for name, value in asdict(self).items() if name != "soundfont"})

    @property
    def id(self) -> str:
        return f"{'-'.join(self.labels)}-{self.seed}-{self.digest[:12]}"

    @property
    def seconds(self) -> float:
        return self.n_clips * (self.clip_seconds + SLACK) + 2 * MARGIN


@dataclass(frozen=True, eq=False)
class Take:
    """A scene as it was played; the predominant players come first."""

    players: tuple[Player, ...]
    stems: np.ndarray  # float32 [track, time]
    starts: tuple[int, ...]  # of the clips, in blocks


def make_scene(recipe: SceneRecipe, folder: Path) -> Path:
    """Render a scene into `folder`: `ID.npy`, int16 [clip, time], and `ID.json`, which is written last."""
    path = folder / f"{recipe.id}.json"
    if path.exists():
        return path
    rng = np.random.default_rng(int(recipe.digest[:16], 16))
    take = record(recipe, rng)
    clips = [mix(rng, take, start, recipe) for start in take.starts]
    entry = {
        "id": recipe.id,
        "split": recipe.split,
        "kind": recipe.kind,
        "labels": recipe.labels,
        "drums": any(player.is_drum for player in take.players),
        "unseen": any(player.program in HELD_OUT_PROGRAMS for player in take.players if player.role == "lead"),
        "sample_rate": recipe.sample_rate,
        "soundfont": recipe.soundfont.name,
        "players": [asdict(player) for player in take.players],
        "levels_db": [levels for _, levels in clips],
    }
    with replacing(folder / f"{recipe.id}.npy") as temporary:
        np.save(temporary, np.stack([np.rint(audio * FULL_SCALE).astype(np.int16) for audio, _ in clips]))
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(entry))
    return path


def record(recipe: SceneRecipe, rng: np.random.Generator, form: Form | None = None) -> Take:
    """Compose and play until there are clips in which all predominant players are heard.

    Args:
        recipe: of the scene.
        rng: draws all of it.
        form: says who has the tune when; `turns` by default.
    """
    form = form or turns
    players = cast(rng, recipe.labels, recipe.unseen)
    for _ in range(ATTEMPTS):
        song = draw_song(rng, recipe.seconds)
        stems = perform(rng, song, players, form(rng, song, len(recipe.labels)), recipe)
        if starts := choose_starts(rng, stems[: len(recipe.labels)], recipe):
            return Take(players, stems, starts)
    raise RuntimeError(f"{recipe.id}: no clip with all of {', '.join(recipe.labels)} in {ATTEMPTS} attempts")


# Who plays.


def cast(rng: np.random.Generator, labels: Sequence[str], unseen: bool) -> tuple[Player, ...]:
    """The predominant players, perhaps drums, and up to three others of other classes or of none."""
    players = [_labelled(rng, label, "lead", unseen) for label in labels]
    if rng.random() < DRUMS:
        players.append(Player(_one_of(rng, grooves.KITS), "drums"))
    others = [label for label in IRMAS if label not in labels]
    for _ in range(rng.choice(len(DISTRACTORS), p=DISTRACTORS)):
        role = str(rng.choice(list(BACKING), p=list(BACKING.values())))
        if role == "bass" and any(player.role == "bass" for player in players):
            role = "labelled"
        players.append(_distractor(rng, role, others))
    return tuple(players)


def _labelled(rng: np.random.Generator, label: str, role: str, unseen: bool) -> Player:
    """A player of a class; in training never of a program that is held out."""
    programs = [program for program in IRMAS[label] if program in PLAYABLE]
    held_out = [program for program in programs if program in HELD_OUT_PROGRAMS]
    if unseen and held_out:
        return Player(_one_of(rng, held_out), role, label)
    program = _one_of(rng, [program for program in programs if program not in held_out])
    return Player(program, role, label, label == "voi" and rng.random() < SINGING)


def _distractor(rng: np.random.Generator, role: str, labels: Sequence[str]) -> Player:
    if role == "labelled":
        label = labels[int(rng.integers(len(labels)))]
        chordal = label in ("pia", "gac", "gel", "org")
        return _labelled(rng, label, "comping" if chordal and rng.random() < 0.7 else "melody", unseen=False)
    suits = {"bass": BASSES, "comping": COMPERS, "pad": PADS}[role]
    unlabelled = [program for program in TRAIN_PROGRAMS if program not in LABEL]
    return Player(draft_part(rng, unlabelled, suits, role).program, role)


def _one_of(rng: np.random.Generator, numbers: Sequence[int]) -> int:
    return int(numbers[int(rng.integers(len(numbers)))])


# What they play.


def all_at_once(rng: np.random.Generator, song: Song, n_leads: int) -> list[tuple[float, float, int]]:
    """As `turns`, but everybody has the tune throughout."""
    return [(0.0, song.end, lead) for lead in range(n_leads)]


def turns(rng: np.random.Generator, song: Song, n_leads: int) -> list[tuple[float, float, int]]:
    """Who has the tune when, in quarters: one after the other, for two to eight bars each."""
    bars = int(rng.integers(2, 9)) if n_leads > 1 else 10**6
    first = int(rng.integers(n_leads))
    sections = song.sections(0.0, song.end, bars)
    return [(start, end, (first + i) % n_leads) for i, (start, end) in enumerate(sections)]


def perform(
    rng: np.random.Generator,
    song: Song,
    players: Sequence[Player],
    form: Sequence[tuple[float, float, int]],
    recipe: SceneRecipe,
) -> np.ndarray:
    """Every player's sound, float32 [track, time], each through a filter and a room of its own now and then."""
    tuning = float(np.clip(rng.normal(0.0, 10.0), -30.0, 30.0))
    stems = []
    for index, player in enumerate(players):
        notes = _notes(rng, song, player, [span[:2] for span in form if span[2] == index])
        if player.sung:
            audio = synthesise(notes, recipe.sample_rate, rng, song.seconds, tuning)
        else:
            audio = render(notes, recipe.sample_rate, recipe.soundfont, tuning, song.seconds, rng)
        stems.append(_coloured(rng, audio, player, recipe.sample_rate))
    return np.stack(stems)


def _notes(rng: np.random.Generator, song: Song, player: Player, led: Sequence[tuple[float, float]]) -> Notes:
    """A player's notes in seconds: the tune in the spans that it leads, accompaniment at all other times."""
    written = WRITTEN_AS.get(player.program, player.program)
    role = "melody" if player.role == "lead" else player.role
    draft = Draft(written, role, TOUCHES[int(rng.integers(len(TOUCHES)))])
    edges = [0.0, *(edge for span in led for edge in span), song.end]
    for start, end in led:
        draft.events += tune(rng, song, player.program, start, end)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end > start:
            draft.events += background(rng, song, draft, start, end)
    parts = play(rng, song, "", [draft]).parts
    return parts[0].notes.replace(program=player.program) if parts else Notes.concatenate([])


def tune(rng: np.random.Generator, song: Song, program: int, start: float, end: float) -> list[Event]:
    """What is in the foreground, as the instrument likes to play it: one voice, two hands, six strings."""
    low, high = RANGES[WRITTEN_AS.get(program, program)]
    manner = rng.random()
    if program in PIANOS and manner < 0.6:
        return two_hands(rng, song, start, end, 33, 100)
    if program in GUITARS and manner < 0.5:
        return strings(rng, song, start, end, low, high, int(rng.integers(3, 6)))
    bottom, top = register(rng, WRITTEN_AS.get(program, program))
    if program in PIANOS + GUITARS + ORGANS:
        bottom = max(bottom, min(52, top - 19))  # their tunes are not played in the deep
    pace = float(np.exp(rng.uniform(np.log(0.15), np.log(0.8))))
    events = line(rng, song, start, end, bottom, top, rng.uniform(0.02, 0.12), pace)
    if program in PIANOS + GUITARS + ORGANS and manner > 0.75:
        events += accompany(rng, song, BLOCKS, start, end, max(low, 48), high, 3)
    return events


def _coloured(rng: np.random.Generator, audio: np.ndarray, player: Player, sample_rate: int) -> np.ndarray:
    if player.program in CLEAN_ELECTRIC and rng.random() < 0.35:  # an amplifier and its cabinet
        audio = effects.drive(audio, rng.uniform(3.0, 18.0))
        audio = effects.band_limit(audio, sample_rate, rng.uniform(60.0, 120.0), rng.uniform(3500.0, 6000.0))
    if rng.random() < 0.6:
        audio = effects.random_eq(audio, sample_rate, rng)
    if rng.random() < 0.3:
        decay = np.exp(rng.uniform(np.log(0.15), np.log(1.2)))
        audio = effects.reverb(audio, effects.room(sample_rate, rng, decay, rng.uniform(-20.0, -6.0)))
    return audio


# How it is heard.


def choose_starts(rng: np.random.Generator, leads: np.ndarray, recipe: SceneRecipe) -> tuple[int, ...]:
    """Where clips begin, in blocks, so that all predominant stems [track, time] are heard in each; () if nowhere."""
    length = round(recipe.clip_seconds * BLOCKS_PER_SECOND)
    _, plays = blocks(leads, recipe.sample_rate, SOUNDS)
    heard = np.cumsum(np.pad(plays, ((0, 0), (1, 0))), axis=1)
    share = ((heard[:, length:] - heard[:, :-length]) / length).min(axis=0)  # (start,)
    slot = length + round(SLACK * BLOCKS_PER_SECOND)
    first = round(MARGIN * BLOCKS_PER_SECOND)
    starts = []
    for begin, end in pairwise(range(first, first + (recipe.n_clips + 1) * slot, slot)):
        fit = np.flatnonzero(share[begin : end - length + 1] >= KINDS[recipe.kind].presence)
        if not len(fit):
            return ()
        starts.append(begin + _one_of(rng, fit.tolist()))
    return tuple(starts)


def draw_levels(rng: np.random.Generator, players: Sequence[Player], kind: Kind) -> np.ndarray:
    """dB below the loudest predominant player, (track,): others of them within 6 dB, all else below the quietest."""
    leads = sum(player.role == "lead" for player in players)
    below = np.array([rng.uniform(*(DRUMS_BELOW if player.is_drum else kind.below)) for player in players])
    below[:leads] = rng.uniform(0.0, LABELLED_WITHIN, leads)
    below[rng.integers(leads)] = 0.0
    below[leads:] += below[:leads].max()
    return 0.0 - below


def level_db(stems: np.ndarray, start: int, length: int, sample_rate: int) -> np.ndarray:
    """dB of each stem [track, time] while it plays in some blocks, (track,); of the whole if it hardly does there."""
    power, plays = blocks(stems, sample_rate, SOUNDS)
    inside = np.zeros_like(plays)
    inside[:, start : start + length] = plays[:, start : start + length]
    counted = np.where(inside.sum(axis=1, keepdims=True) >= 2, inside, plays)
    mean = np.sum(power * counted, axis=1) / np.maximum(counted.sum(axis=1), 1)
    return 10.0 * np.log10(np.maximum(mean, 1e-12))


def mix(rng: np.random.Generator, take: Take, start: int, recipe: SceneRecipe) -> tuple[np.ndarray, list[float]]:
    """A clip, float32 [time] within [-1, 1], and the level of each player in it, as `draw_levels` has it."""
    length = round(recipe.clip_seconds * BLOCKS_PER_SECOND)
    levels = draw_levels(rng, take.players, KINDS[recipe.kind])
    factors = 10.0 ** ((levels - level_db(take.stems, start, length, recipe.sample_rate)) / 20.0)
    first = round(start * recipe.sample_rate / BLOCKS_PER_SECOND)
    cut = take.stems[:, first : first + round(recipe.clip_seconds * recipe.sample_rate)]
    mixture = (factors @ cut).astype(np.float32)
    mixture *= PEAK / max(float(np.abs(mixture).max(initial=0.0)), 1e-9)
    return effects.random_chain(mixture, recipe.sample_rate, rng), [round(float(level), 2) for level in levels]
