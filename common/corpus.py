"""The embedded corpus: pieces whose every note, player and leader is known, rendered once and read as memory maps.

A corpus is one folder: for each piece `ID.npy` (int16 [track, sample]), `ID.notes.npy` (dtype NOTE) and `ID.json`, and
`index.json` with all of the latter. See docs/corpus.md.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from common.compositions import CompositionError, compositions
from common.jobs import KilledError, in_processes
from common.pieces import VERSION, Piece, Recipe, content_hash, make_piece, without_style
from common.render import RenderError, default_soundfont
from common.storage import replacing, sweep

FIRST_SEED = {"train": 0, "validation": 1_000_000, "test": 2_000_000}  # seeds of a split count from here
UNSEEN_EVERY = 3  # of the test pieces one in three has only instruments that training never hears
BYTES_PER_SECOND = 2 * 6  # and Hz: int16, about six tracks at most on average


class Planned(Protocol):
    """A recipe: its name and how long it sounds."""

    @property
    def id(self) -> str: ...
    @property
    def seconds(self) -> float: ...


Make = Callable[[Any, Path], Path]
Built = TypeVar("Built")


class CorpusError(ValueError):
    """A corpus that is not there, or cannot be built."""


@dataclass(frozen=True)
class Size:
    """Seconds of a piece, and for each split how many our composer makes and how many are excerpts of real works.

    `style` is that of what our composer makes, one of `common.composer.STYLES`; without it the seed draws one.
    """

    seconds: float
    composed: dict[str, int]
    works: dict[str, int]
    style: str = ""


SIZES = {
    "tiny": Size(6.0, {"train": 4, "validation": 2, "test": 3}, {}),
    "small": Size(40.0, {"train": 36, "validation": 6, "test": 12}, {"train": 12, "validation": 3, "test": 6}),
    "full": Size(60.0, {"train": 300, "validation": 16, "test": 36}, {"train": 150, "validation": 8, "test": 28}),
    "band": Size(60.0, {"train": 150, "validation": 10, "test": 21}, {}, "ensemble"),
    "lead-tiny": Size(10.0, {"train": 4, "validation": 2, "test": 3}, {}, "ensemble"),
    "lead": Size(60.0, {"train": 450, "validation": 12, "test": 24}, {}, "ensemble"),
}


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


@lru_cache(maxsize=16)
def font_digest(soundfont: Path) -> str:
    """SHA-256 of a file."""
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
                seed, seconds, digest = FIRST_SEED[split] + i, SIZES[size].seconds, font_digest(soundfont)
                how = (sample_rate, digest, soundfont, SIZES[size].style)
                recipes.append(Recipe(split, seed, work, seconds, unseen, *how))
    return recipes


def _works(split: str, count: int) -> list[str]:
    """Real works of a split, one of each composer in turn; where there are too few, they come again."""
    if not count:
        return []
    by_composer: dict[str, list[str]] = {}
    for work in np.random.default_rng(0).permutation(compositions(split)).tolist():
        by_composer.setdefault(work.split("/")[0], []).append(work)
    turns = [work for turn in zip_longest(*by_composer.values()) for work in turn if work]
    return list(islice(cycle(turns), count))


def folder_name(size: str, sample_rate: int, font_digests: Sequence[str], has_test_font: bool) -> str:
    """Of a corpus; ends in a hash of what its plan depends on."""
    content = content_hash(VERSION, without_style(asdict(SIZES[size])), list(font_digests), has_test_font)
    return f"{size}-{sample_rate}-{content[:8]}"


def _in_processes(make: Make, recipes: Sequence[Planned], folder: Path, jobs: int) -> Iterator[Path]:
    """`make` for each recipe, in the order in which they are finished."""
    if jobs == 1:
        yield from (make(recipe, folder) for recipe in recipes)
        return
    try:
        for _, path in in_processes([partial(make, recipe, folder) for recipe in recipes], jobs):
            yield path
    except KilledError as error:
        raise CorpusError(str(error)) from error


def build(
    size: str,
    sample_rate: int = 22050,
    root: str | Path | None = None,
    soundfonts: Sequence[str | Path] = (),
    test_soundfont: str | Path | None = None,
    jobs: int | None = 1,
    progress: bool = True,
) -> Corpus:
    """Render a corpus, or open it if it is there; an interrupted build goes on where it ended.

    Args:
        size: one of SIZES.
        sample_rate: of the stems.
        root: folder for data; none means $TUTTI_DATA, or `data`.
        soundfonts: SF2 or SF3 files that the pieces take in turn; none means the default one.
        test_soundfont: another one for the test split, which training then never hears.
        jobs: processes; none means one for each CPU. A script that asks for several needs `if __name__ == "__main__":`.
        progress: show a bar.

    Raises:
        CorpusError: unknown size or unusual rate, unreadable SoundFont, too little space or memory.
        RenderError: a SoundFont without General MIDI's presets.
        CompositionError: music21, which has the real works, is not installed.
    """
    if size not in SIZES:
        raise CorpusError(f"no corpus of size {size!r}; there are {', '.join(SIZES)}")
    if not 8000 <= sample_rate <= 48000:
        raise CorpusError(f"a corpus of {sample_rate} Hz cannot be made; take a sample rate from 8000 to 48000")
    fonts, test_font, digests = resolve_fonts(soundfonts, test_soundfont)
    name = folder_name(size, sample_rate, digests, bool(test_font))
    folder = Path(root or os.environ.get("TUTTI_DATA", "data")) / "corpus" / name
    if (folder / "index.json").exists():
        return Corpus(folder)
    recipes = plan(size, sample_rate, fonts, test_font)
    render_all(
        make_piece, recipes, folder, sample_rate * BYTES_PER_SECOND, jobs, f"corpus {size}" if progress else None
    )
    return close(folder, [recipe.id for recipe in recipes], size, sample_rate)


def close(folder: Path, ids: Iterable[str], size: str, sample_rate: int) -> Corpus:
    """Make a corpus of the pieces in a folder that have these names."""
    entries = [json.loads((folder / f"{id}.json").read_text()) for id in ids]
    index = {"version": VERSION, "size": size, "sample_rate": sample_rate, "pieces": entries}
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1))
    return Corpus(folder)


def resolve_fonts(
    soundfonts: Sequence[str | Path], test_soundfont: str | Path | None
) -> tuple[list[Path], Path | None, list[str]]:
    """The SoundFonts of a corpus, the default one if none is given, that of its test, and the digests of all."""
    fonts = [Path(font).resolve() for font in soundfonts] or [default_soundfont()]
    test_font = Path(test_soundfont).resolve() if test_soundfont else None
    return fonts, test_font, [font_digest(font) for font in (*fonts, *([test_font] if test_font else []))]


def render_all(
    make: Make, recipes: Sequence[Planned], folder: Path, bytes_per_second: int, jobs: int | None, title: str | None
) -> None:
    """Make what is missing of the recipes in a folder.

    Args:
        make: renders a recipe into the folder and writes its `ID.json` last; other processes import it by its name.
        recipes: all of them.
        folder: made if it is not there.
        bytes_per_second: of what is rendered, for the question whether the disk has room.
        jobs: processes; none means one for each CPU.
        title: of a bar; None for no bar.

    Raises:
        CorpusError: too little space or memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    missing = [recipe for recipe in recipes if not (folder / f"{recipe.id}.json").exists()]
    needed = sum(recipe.seconds for recipe in missing) * bytes_per_second
    if needed > (free := shutil.disk_usage(folder).free):
        raise CorpusError(
            f"{folder}: the corpus wants {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "set TUTTI_DATA to a folder on another disk, or take a smaller size"
        )
    jobs = max(min(jobs or os.cpu_count() or 1, len(missing)), 1)
    with tqdm(total=len(missing), desc=title, unit="piece", disable=title is None) as bar:
        for _ in _in_processes(make, missing, folder, jobs):
            bar.update()


def add_arguments(parser: argparse.ArgumentParser, sizes: Iterable[str]) -> None:
    """What a command that builds asks for; see `build`."""
    parser.add_argument("size", choices=list(sizes))
    parser.add_argument("--sample-rate", type=int, default=22050, help="Hz (default: %(default)s)")
    parser.add_argument("--root", help="folder for data (default: $TUTTI_DATA, or data)")
    parser.add_argument("--soundfont", action="append", default=[], metavar="FILE", help="SF2 or SF3; may be repeated")
    parser.add_argument("--test-soundfont", metavar="FILE", help="another one for the test split")
    parser.add_argument("--jobs", type=int, help="processes (default: one per CPU)")


def run(build: Callable[..., Built], options: argparse.Namespace) -> Built | int:
    """What `build` makes of the options of `add_arguments`; otherwise an exit status, and the reason was printed."""
    given = (options.size, options.sample_rate, options.root, options.soundfont, options.test_soundfont, options.jobs)
    try:
        return build(*given)
    except (CorpusError, CompositionError, RenderError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m common.corpus build SIZE`."""
    parser = argparse.ArgumentParser(prog="python -m common.corpus", description="Render the embedded corpus.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("build", help="render a corpus; what is already there is kept")
    add_arguments(verb, SIZES)
    corpus = run(build, parser.parse_args(argv))
    if isinstance(corpus, int):
        return corpus
    hours = sum(piece.seconds for piece in corpus.pieces()) / 3600
    print(f"{corpus.folder}: {len(corpus.pieces())} pieces, {hours:.2f} h")
    return 0


if __name__ == "__main__":
    sys.exit(main())
