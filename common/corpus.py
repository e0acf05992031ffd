"""The embedded corpus: pieces whose every note, player and leader is known, rendered once and read as memory maps.

A corpus is one folder: for each piece `ID.npy` (int16 [track, sample]), `ID.notes.npy` (dtype NOTE) and `ID.json`, and
`index.json` with all of the latter. See docs/corpus.md.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common.composer import compose
from common.compositions import CompositionError, compositions, load_composition
from common.instruments import HELD_OUT_PROGRAMS, TRAIN_PROGRAMS
from common.notes import Notes
from common.render import RenderError, default_soundfont, heard, render_score
from common.scores import Score
from common.stems import Multitrack, Stem
from common.storage import replacing

VERSION = 3  # of the pieces: raise it when the composer, the renderer or this file would make other ones
FIRST_SEED = {"train": 0, "validation": 1_000_000, "test": 2_000_000}  # the composer's seeds, a range for each split
UNSEEN_EVERY = 3  # of the test pieces one in three has only instruments that training never hears
LOUDNESS = (
    -26.0,
    3.5,
)  # dBFS of a stem while it plays: mean and deviation (MedleyDB; data study, sections 1.4 and 1.5)
MELODY_DB = 1.5  # melodies are this much louder, so that a lead lies about 1 dB over the median
FULL_SCALE = 32767
BYTES_PER_SECOND = 2 * 6  # int16, about six tracks


class CorpusError(ValueError):
    """A corpus that is not there, or cannot be built."""


@dataclass(frozen=True)
class Size:
    """Seconds of a piece, and for each split how many our composer makes and how many are excerpts of real works."""

    seconds: float
    composed: dict[str, int]
    works: dict[str, int]


SIZES = {
    "tiny": Size(6.0, {"train": 4, "validation": 2, "test": 3}, {}),
    "small": Size(40.0, {"train": 36, "validation": 6, "test": 12}, {"train": 12, "validation": 3, "test": 6}),
    "full": Size(60.0, {"train": 300, "validation": 16, "test": 36}, {"train": 150, "validation": 8, "test": 28}),
}


@dataclass(frozen=True)
class Track:
    """One instrument of a piece; `scale` turns its int16 samples into audio."""

    name: str
    program: int
    is_drum: bool
    role: str
    scale: float


@dataclass(frozen=True)
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
        parts = tuple(Track(**part) for part in entry["parts"])
        return cls(**{**entry, "folder": folder, "lead": lead, "parts": parts})

    @property
    def audio(self) -> np.ndarray:
        """int16 [track, sample], mapped read-only; track i becomes audio when multiplied by `parts[i].scale`."""
        return _open_audio(self.folder / f"{self.id}.npy")

    @property
    def notes(self) -> Notes:
        """All notes, sorted; `track` is the index of the part."""
        return Notes.concatenate(self._notes_of_tracks()).sort()

    def _notes_of_tracks(self) -> tuple[Notes, ...]:
        return _open_notes(self.folder / f"{self.id}.notes.npy", len(self.parts))

    def multitrack(self) -> Multitrack:
        """The piece as stems; no sample is read yet."""
        lead = np.array(self.lead, np.float64).reshape(-1, 3)
        rows = zip(self.parts, self.audio, self._notes_of_tracks(), strict=True)
        stems = (
            Stem(samples, part.program, part.is_drum, part.name, notes, lead[lead[:, 2] == i, :2], part.scale)
            for i, (part, samples, notes) in enumerate(rows)
        )
        return Multitrack(tuple(stems), self.sample_rate)


# An open map holds a file descriptor, of which a process has 1,024 by default.
@lru_cache(maxsize=256)
def _open_audio(path: Path) -> np.ndarray:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@lru_cache(maxsize=4096)
def _open_notes(path: Path, n_tracks: int) -> tuple[Notes, ...]:
    notes = Notes(np.load(path, allow_pickle=False))
    return tuple(notes[notes.track == track] for track in range(n_tracks))


class Corpus:
    """The pieces of a built corpus.

    Args:
        folder: what `build` made.

    Raises:
        CorpusError: there is no whole corpus in the folder.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise CorpusError(f"{self.folder}: no corpus here; run `make corpus SIZE=small`") from error
        self.sample_rate: int = index["sample_rate"]
        self._pieces = [Piece.from_json(self.folder, entry) for entry in index["pieces"]]

    def pieces(self, split: str | None = None) -> list[Piece]:
        """The pieces of "train", "validation" or "test", or all of them."""
        if split not in (None, *FIRST_SEED):
            raise CorpusError(f"a corpus is split into {', '.join(FIRST_SEED)}, not {split!r}")
        return [piece for piece in self._pieces if split in (None, piece.split)]


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

    @property
    def digest(self) -> str:
        content = {name: value for name, value in asdict(self).items() if name != "soundfont"}
        return _hash(VERSION, content)

    @property
    def id(self) -> str:
        return f"{self.work.replace('/', '-') or 'composed'}-{self.seed}-{self.digest[:12]}"

    def score(self, rng: np.random.Generator) -> Score:
        programs = HELD_OUT_PROGRAMS if self.unseen else TRAIN_PROGRAMS
        if self.work:
            return load_composition(self.work, rng, programs=programs, seconds=self.seconds)
        return compose(self.seed, seconds=self.seconds, programs=programs)


def _hash(*content) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@lru_cache(maxsize=16)
def _digest(soundfont: Path) -> str:
    try:
        with open(soundfont, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{soundfont}: cannot read this SoundFont ({error.strerror}); name an SF2 file") from error


def plan(size: str, sample_rate: int, soundfonts: Sequence[Path], test_soundfont: Path | None = None) -> list[Recipe]:
    """The recipes of a corpus; pieces take the SoundFonts in turn, those of the test the given one if there is one."""
    recipes = []
    for split in FIRST_SEED:
        composed = [""] * SIZES[size].composed.get(split, 0)
        for group in (composed, _works(split, SIZES[size].works.get(split, 0))):
            for i, work in enumerate(group):
                soundfont = test_soundfont if test_soundfont and split == "test" else soundfonts[i % len(soundfonts)]
                unseen = split == "test" and i % UNSEEN_EVERY == UNSEEN_EVERY - 1
                seed, seconds, font_digest = FIRST_SEED[split] + i, SIZES[size].seconds, _digest(soundfont)
                recipes.append(Recipe(split, seed, work, seconds, unseen, sample_rate, font_digest, soundfont))
    return recipes


def _works(split: str, count: int) -> list[str]:
    """Real works of a split, one of each composer in turn; where there are too few, they come again."""
    if not count:
        return []
    works = np.random.default_rng(0).permutation(compositions(split)).tolist()
    composers = [work.split("/")[0] for work in works]
    rank = [composers[:i].count(composer) for i, composer in enumerate(composers)]
    turns = [work for _, _, work in sorted(zip(rank, composers, works, strict=True))]
    return [turns[i % len(turns)] for i in range(count)]


def levels(stems: np.ndarray, roles: Sequence[str], sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Factors [track] that bring each stem to a drawn loudness while it plays, and the sum of all below full scale."""
    hop = sample_rate // 10
    blocks = stems[:, : stems.shape[1] // hop * hop].reshape(len(stems), -1, hop)
    power = np.mean(np.square(blocks), axis=2)
    playing = power > 1e-4 * power.max(axis=1, keepdims=True)
    rms = np.sqrt(np.sum(power * playing, axis=1) / np.maximum(playing.sum(axis=1), 1))
    wanted = rng.normal(*LOUDNESS, len(stems)) + MELODY_DB * np.array([role == "melody" for role in roles])
    factors = np.where(rms > 0.0, 10.0 ** (wanted / 20.0) / np.maximum(rms, 1e-9), 1.0)
    return factors / max(float(np.abs(factors @ stems).max(initial=0.0)), 1.0)


def make_piece(recipe: Recipe, folder: Path) -> Path:
    """Render one piece into `folder`, unless it is there; returns its JSON, which is written last."""
    path = folder / f"{recipe.id}.json"
    if path.exists():
        return path
    rng = np.random.default_rng(int(recipe.digest[:16], 16))
    score = recipe.score(rng)
    tuning = float(np.clip(rng.normal(0.0, 10.0), -30.0, 30.0))
    stems = render_score(score, recipe.sample_rate, recipe.soundfont, tuning, rng)
    stems *= levels(stems, [part.role for part in score.parts], recipe.sample_rate, rng)[:, None].astype(np.float32)
    scales = np.maximum(np.abs(stems).max(axis=1), 1e-9) / FULL_SCALE
    tracks = [
        Track(part.name, part.program, part.is_drum, part.role, float(scale))
        for part, scale in zip(score.parts, scales, strict=True)
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
    with replacing(folder / f"{recipe.id}.npy") as temporary:
        np.save(temporary, np.rint(stems / scales[:, None].astype(np.float32)).astype(np.int16))
    with replacing(folder / f"{recipe.id}.notes.npy") as temporary:
        np.save(temporary, heard(score.notes, recipe.soundfont).sort().table)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(entry))
    return path


def _in_processes(recipes: list[Recipe], folder: Path, jobs: int) -> Iterable[Path]:
    """`make_piece` for each recipe, in the order in which they are finished."""
    if jobs == 1:
        yield from (make_piece(recipe, folder) for recipe in recipes)
        return
    # Spawned, because the caller may have threads (torch, soundfile) that a fork would leave in an undefined state.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(make_piece, recipe, folder) for recipe in recipes]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def build(
    size: str,
    sample_rate: int = 22050,
    root: str | Path | None = None,
    soundfonts: Sequence[str | Path] = (),
    test_soundfont: str | Path | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Render a corpus, or open it if it is there; an interrupted build goes on where it ended.

    Args:
        size: one of SIZES.
        sample_rate: of the stems.
        root: folder for data; none means $TUTTI_DATA, or `data`.
        soundfonts: SF2 or SF3 files that the pieces take in turn; none means the default one.
        test_soundfont: another one for the test split, which training then never hears.
        jobs: processes; none means one for each CPU.
        progress: show a bar.

    Raises:
        CorpusError: unknown size, unreadable SoundFont, or too little space.
        RenderError: a SoundFont without General MIDI's presets.
        CompositionError: music21, which has the real works, is not installed.
    """
    if size not in SIZES:
        raise CorpusError(f"no corpus of size {size!r}; there are {', '.join(SIZES)}")
    fonts = [Path(font).resolve() for font in soundfonts] or [default_soundfont()]
    test_font = Path(test_soundfont).resolve() if test_soundfont else None
    digests = [_digest(font) for font in (*fonts, *([test_font] if test_font else []))]
    name = f"{size}-{sample_rate}-{_hash(VERSION, asdict(SIZES[size]), digests, bool(test_font))[:8]}"
    folder = Path(root or os.environ.get("TUTTI_DATA", "data")) / "corpus" / name
    if (folder / "index.json").exists():
        return Corpus(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipes = plan(size, sample_rate, fonts, test_font)
    missing = [recipe for recipe in recipes if not (folder / f"{recipe.id}.json").exists()]
    needed = sum(recipe.seconds for recipe in missing) * sample_rate * BYTES_PER_SECOND
    if needed > (free := shutil.disk_usage(folder).free):
        raise CorpusError(
            f"{folder}: the corpus wants {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "set TUTTI_DATA to a folder on another disk, or take a smaller size"
        )
    jobs = min(jobs or os.cpu_count() or 1, max(len(missing), 1))
    with tqdm(total=len(missing), desc=f"corpus {size}", unit="piece", disable=not progress) as bar:
        for _ in _in_processes(missing, folder, jobs):
            bar.update()
    entries = [json.loads((folder / f"{recipe.id}.json").read_text()) for recipe in recipes]
    index = {"version": VERSION, "size": size, "sample_rate": sample_rate, "pieces": entries}
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1))
    return Corpus(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m common.corpus build SIZE`."""
    parser = argparse.ArgumentParser(prog="python -m common.corpus", description="Render the embedded corpus.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("build", help="render a corpus; what is already there is kept")
    verb.add_argument("size", choices=SIZES)
    verb.add_argument("--sample-rate", type=int, default=22050, help="Hz (default: %(default)s)")
    verb.add_argument("--root", help="folder for data (default: $TUTTI_DATA, or data)")
    verb.add_argument("--soundfont", action="append", default=[], metavar="FILE", help="SF2 or SF3; may be repeated")
    verb.add_argument("--test-soundfont", metavar="FILE", help="another one for the test split")
    verb.add_argument("--jobs", type=int, help="processes (default: one per CPU)")
    options = parser.parse_args(argv)
    try:
        corpus = build(
            options.size, options.sample_rate, options.root, options.soundfont, options.test_soundfont, options.jobs
        )
    except (CorpusError, CompositionError, RenderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    hours = sum(piece.seconds for piece in corpus.pieces()) / 3600
    print(f"{corpus.folder}: {len(corpus.pieces())} pieces, {hours:.2f} h")
    return 0


if __name__ == "__main__":
    sys.exit(main())
