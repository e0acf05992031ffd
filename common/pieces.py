"""One piece of the embedded corpus: the recipe that makes it, the files that hold it, how they are read."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from common.composer import compose
from common.compositions import load_composition
from common.instruments import HELD_OUT_PROGRAMS, TRAIN_PROGRAMS
from common.notes import Notes
from common.render import heard, render
from common.scores import Part, Score
from common.stems import Multitrack, Stem
from common.storage import replacing
from common.synth import SUNG, synthesise

VERSION = 8  # raise it when the composer, the renderer or this file would make other pieces
LOUDNESS = (-26.0, 3.5)  # dBFS of a stem while it plays, mean and deviation; a lead is not louder than others
FULL_SCALE = 32767
BLOCKS_PER_SECOND = 10  # in which it is seen whether a stem plays
SYNTHESISED, SYNTHESISED_VOICES = 0.3, 0.8  # of the pitched parts and of voices, outside the test split


@dataclass(frozen=True)
class Track:
    """One instrument of a piece; `scale` turns its int16 samples into audio."""

    name: str
    program: int
    is_drum: bool
    role: str
    synthesised: bool  # by common.synth, not by the SoundFont
    scale: float
    unknown: tuple[int, ...] = ()  # kinds (common.stems) that it may sound and of which its notes do not tell


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of the corpus: plain data; its audio and notes are mapped from the disk when they are asked for."""

    id: str
    folder: Path
    split: str
    title: str
    composer: str
    seconds: float
    sample_rate: int
    soundfont: str
    tuning_cents: float
    unseen: bool  # only instruments that are not in the training split
    lead: tuple[tuple[float, float, int], ...]  # seconds, seconds, index of the track
    parts: tuple[Track, ...]

    @classmethod
    def from_json(cls, folder: Path, entry: dict) -> "Piece":
        lead = tuple((start, end, track) for start, end, track in entry["lead"])
        parts = tuple(Track(**{**part, "unknown": tuple(part.get("unknown", ()))}) for part in entry["parts"])
        return cls(**{**entry, "folder": folder, "lead": lead, "parts": parts})

    @property
    def audio(self) -> np.ndarray:
        """int16 [track, sample], mapped read-only; track i becomes audio when multiplied by `parts[i].scale`."""
        return np.asarray(np.load(self.folder / f"{self.id}.npy", mmap_mode="r", allow_pickle=False))

    @property
    def notes(self) -> Notes:
        """All notes, sorted; `track` is the index of the part."""
        return Notes(np.load(self.folder / f"{self.id}.notes.npy", allow_pickle=False))

    def multitrack(self) -> Multitrack:
        """The piece as stems; no sample is read yet."""
        return _open(self)


# An open map holds a file descriptor, of which a process has 1,024 by default.
@lru_cache(maxsize=256)
def _open(piece: Piece) -> Multitrack:
    notes = piece.notes
    stems = (
        Stem(
            samples,
            part.program,
            part.is_drum,
            part.name,
            notes[notes.track == i],
            tuple((start, end) for start, end, track in piece.lead if track == i),
            part.scale,
            unknown=frozenset(part.unknown),
        )
        for i, (part, samples) in enumerate(zip(piece.parts, piece.audio, strict=True))
    )
    return Multitrack(tuple(stems), piece.sample_rate)


def content_hash(*content) -> str:
    """SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def without_style(content: dict) -> dict:
    """Content to be hashed, without a style where it names none: so it was before styles could be named."""
    return {name: value for name, value in content.items() if name != "style" or value}


@dataclass(frozen=True)
class Recipe:
    """All that determines a piece to the bit, and where its SoundFont lies."""

    split: str
    seed: int
    work: str  # the real composition that it is an excerpt of; none if our composer makes it
    seconds: float
    unseen: bool
    sample_rate: int
    font_digest: str
    soundfont: Path
    style: str = ""  # of our composer; none leaves it to the seed

    @property
    def digest(self) -> str:
        content = {name: value for name, value in asdict(self).items() if name != "soundfont"}
        return content_hash(VERSION, without_style(content))

    @property
    def id(self) -> str:
        return f"{self.work.replace('/', '-') or 'composed'}-{self.seed}-{self.digest[:12]}"

    def score(self, rng: np.random.Generator) -> Score:
        programs = HELD_OUT_PROGRAMS if self.unseen else TRAIN_PROGRAMS
        if self.work:
            return load_composition(self.work, rng, programs=programs, seconds=self.seconds)
        return compose(self.seed, self.style or None, seconds=self.seconds, programs=programs)

    def synthesised(self, parts: Sequence[Part], rng: np.random.Generator) -> np.ndarray:
        """Which parts are played without the SoundFont, bool (part,). In the test split none: other engines judge."""
        chance = [SYNTHESISED_VOICES if part.program in SUNG else SYNTHESISED for part in parts]
        pitched = np.array([not part.is_drum for part in parts], bool)
        return (rng.random(len(parts)) < chance) & pitched & (self.split != "test")


def blocks(stems: np.ndarray, sample_rate: int, depth_db: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """Power [track, block] in tenths of a second, and where a stem plays: within so many dB of its loudest block."""
    hop = sample_rate // BLOCKS_PER_SECOND
    cut = stems[:, : stems.shape[1] // hop * hop].reshape(len(stems), -1, hop)
    power = np.mean(np.square(cut), axis=2)
    return power, power > 10.0 ** (-depth_db / 10.0) * power.max(axis=1, keepdims=True)


def levels(stems: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Factors [track] that bring each stem to a drawn loudness while it plays, and the sum of all below full scale."""
    power, plays = blocks(stems, sample_rate)
    rms = np.sqrt(np.sum(power * plays, axis=1) / np.maximum(plays.sum(axis=1), 1))
    wanted = rng.normal(*LOUDNESS, len(stems))
    factors = np.where(rms > 0.0, 10.0 ** (wanted / 20.0) / np.maximum(rms, 1e-9), 1.0)
    return factors / max(float(np.abs(factors @ stems).max(initial=0.0)), 1.0)


def full_scales(stems: np.ndarray) -> np.ndarray:
    """Factors [track] that turn int16 samples over their full range into the stems."""
    return np.maximum(np.abs(stems).max(axis=1), 1e-9) / FULL_SCALE


def _play(
    recipe: Recipe, score: Score, synthesised: np.ndarray, tuning: float, rng: np.random.Generator
) -> tuple[np.ndarray, Notes]:
    """The sound of all parts, float32 [part, time], and their notes as they are heard."""
    stems, notes = [np.zeros((0, round(score.seconds * recipe.sample_rate)), np.float32)], []
    for part, free in zip(score.parts, synthesised.tolist(), strict=True):
        if free:
            audio = synthesise(part.notes, recipe.sample_rate, rng, score.seconds, tuning)
        else:
            audio = render(part.notes, recipe.sample_rate, recipe.soundfont, tuning, score.seconds, rng)
        stems.append(audio[None])
        notes.append(part.notes if free else heard(part.notes, recipe.soundfont))
    return np.concatenate(stems), Notes.concatenate(notes).sort()


def make_piece(recipe: Recipe, folder: Path) -> Path:
    """Render one piece into `folder`, unless it is there; returns its JSON, which is written last."""
    path = folder / f"{recipe.id}.json"
    if path.exists():
        return path
    rng = np.random.default_rng(int(recipe.digest[:16], 16))
    score = recipe.score(rng)
    tuning = float(np.clip(rng.normal(0.0, 10.0), -30.0, 30.0))
    synthesised = recipe.synthesised(score.parts, rng)
    stems, notes = _play(recipe, score, synthesised, tuning, rng)
    stems *= levels(stems, recipe.sample_rate, rng)[:, None].astype(np.float32)
    scales = full_scales(stems)
    tracks = [
        Track(part.name, part.program, part.is_drum, part.role, bool(free), float(scale))
        for part, free, scale in zip(score.parts, synthesised, scales, strict=True)
    ]
    entry = {
        "id": recipe.id,
        "split": recipe.split,
        "title": score.title,
        "composer": score.composer,
        "seconds": stems.shape[1] / recipe.sample_rate,
        "sample_rate": recipe.sample_rate,
        "soundfont": recipe.soundfont.name,
        "tuning_cents": tuning,
        "unseen": recipe.unseen,
        "lead": score.lead,
        "parts": [asdict(track) for track in tracks],
    }
    return write_piece(folder, entry, stems, scales, notes)


def write_piece(folder: Path, entry: dict[str, Any], stems: np.ndarray, scales: np.ndarray, notes: Notes) -> Path:
    """Write the three files of a piece; returns its JSON, which is written last.

    Args:
        folder: of the corpus.
        entry: the piece without its folder, as JSON.
        stems: float32 [track, time].
        scales: [track], which the entry names too.
        notes: sorted, of all tracks.
    """
    path = folder / f"{entry['id']}.json"
    with replacing(folder / f"{entry['id']}.npy") as temporary:
        np.save(temporary, np.rint(stems / scales[:, None].astype(np.float32)).astype(np.int16))
    with replacing(folder / f"{entry['id']}.notes.npy") as temporary:
        np.save(temporary, notes.table)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(entry))
    return path
