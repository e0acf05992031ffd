"""The predominance set of the embedded corpus: who is heard above all others, in the eleven classes of IRMAS.

As in IRMAS, training clips last 3 s and have one label, test excerpts last 5 to 20 s and have one to three. A set is
one folder with the files of its scenes (`common.scenes`) and `index.json`. See docs/corpus.md.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.corpus import (
    FIRST_SEED,
    UNSEEN_EVERY,
    CorpusError,
    add_arguments,
    font_digest,
    render_all,
    resolve_fonts,
    run,
)
from common.instruments import IRMAS
from common.pieces import BLOCKS_PER_SECOND, FULL_SCALE, content_hash
from common.render import default_soundfont
from common.scenes import VERSION, SceneRecipe, all_at_once, make_scene, mix, record
from common.storage import replacing

CLASSES = tuple(IRMAS)
CLIP_SECONDS = 3.0
EXCERPT_SECONDS = (5.0, 20.0)
SWITCHING_SEED = 3_000_000
FADE = 0.05  # seconds
LABEL_COUNTS = (0.43, 0.44, 0.13)  # share of the test excerpts with one, two, three labels, as in IRMAS


@dataclass(frozen=True)
class Size:
    """How many scenes there are: of clips for each class, of excerpts in all."""

    clips: dict[str, int]  # split -> scenes of each class
    clips_per_scene: int
    excerpts: dict[str, int]  # split -> excerpts, each of a scene of its own


SIZES = {
    "predominance-tiny": Size({"train": 1, "validation": 1}, 2, {"validation": 3, "test": 7}),
    "predominance": Size({"train": 90, "validation": 9}, 2, {"validation": 66, "test": 231}),
}


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A clip or an excerpt: plain data; its audio is mapped from the disk when it is asked for."""

    id: str
    group: str  # the scene that it was cut from
    folder: Path
    row: int
    split: str
    kind: str  # "clip" or "excerpt"
    labels: tuple[str, ...]
    drums: bool
    unseen: bool  # somebody predominant has a program that training never hears
    sample_rate: int
    soundfont: str
    programs: tuple[int, ...]  # of all players, the predominant first
    levels_db: tuple[float, ...]  # of all players, against the loudest predominant one

    @property
    def audio(self) -> np.ndarray:
        """float32 [time]."""
        clips = np.load(self.folder / f"{self.group}.npy", mmap_mode="r", allow_pickle=False)
        return clips[self.row].astype(np.float32) / FULL_SCALE


class PredominanceSet:
    """A built set.

    Args:
        folder: what `build` made.

    Raises:
        CorpusError: there is no whole set in the folder.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / "index.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise CorpusError(
                f"{self.folder}: no predominance set here; run `python -m common.predominance build predominance`"
            ) from error
        self.sample_rate: int = index["sample_rate"]
        self._excerpts = [excerpt for scene in index["scenes"] for excerpt in _excerpts(self.folder, scene)]

    def excerpts(self, split: str | None = None) -> list[Excerpt]:
        """Clips and excerpts of "train", "validation" or "test", or all of them."""
        if split not in (None, *FIRST_SEED):
            raise CorpusError(f"a predominance set is split into {', '.join(FIRST_SEED)}, not {split!r}")
        return [excerpt for excerpt in self._excerpts if split in (None, excerpt.split)]


def _excerpts(folder: Path, scene: dict) -> list[Excerpt]:
    shared = {name: scene[name] for name in ("split", "kind", "drums", "unseen", "sample_rate", "soundfont")}
    programs = tuple(player["program"] for player in scene["players"])
    return [
        Excerpt(
            id=f"{scene['id']}__{row + 1}",
            group=scene["id"],
            folder=folder,
            row=row,
            labels=tuple(scene["labels"]),
            programs=programs,
            levels_db=tuple(levels),
            **shared,
        )
        for row, levels in enumerate(scene["levels_db"])
    ]


def plan(
    size: str, sample_rate: int, soundfonts: Sequence[Path], test_soundfont: Path | None = None
) -> list[SceneRecipe]:
    """The recipes of a set. Each class takes the SoundFonts in turn, excerpts too, those of the test the given one."""
    recipes = []
    for split, first_seed in FIRST_SEED.items():
        rng = np.random.default_rng(first_seed)
        per_class = SIZES[size].clips.get(split, 0)
        scenes = [("clip", (label,), CLIP_SECONDS, i) for i in range(per_class) for label in CLASSES]
        sets = label_sets(rng, SIZES[size].excerpts.get(split, 0))
        scenes += [("excerpt", labels, round(rng.uniform(*EXCERPT_SECONDS), 1), i) for i, labels in enumerate(sets)]
        for number, (kind, labels, seconds, turn) in enumerate(scenes):
            font = test_soundfont if test_soundfont and split == "test" else soundfonts[turn % len(soundfonts)]
            recipes.append(
                SceneRecipe(
                    split=split,
                    kind=kind,
                    seed=first_seed + number,
                    labels=labels,
                    clip_seconds=seconds,
                    n_clips=SIZES[size].clips_per_scene if kind == "clip" else 1,
                    unseen=split == "test" and number % UNSEEN_EVERY == UNSEEN_EVERY - 1,
                    sample_rate=sample_rate,
                    font_digest=font_digest(font),
                    soundfont=font,
                )
            )
    return recipes


def label_sets(rng: np.random.Generator, count: int) -> list[tuple[str, ...]]:
    """Labels of so many excerpts, in the order of the classes: sizes as in LABEL_COUNTS, every class as often."""
    edges = np.rint(count * np.cumsum(LABEL_COUNTS)).astype(int)
    sizes = rng.permutation(1 + np.searchsorted(edges, np.arange(count), side="right"))
    used, sets = np.zeros(len(CLASSES), int), []
    for n_labels in sizes.tolist():
        chosen = np.lexsort((rng.random(len(CLASSES)), used))[
            :n_labels
        ]  # the least used, drawn where there are several
        used[chosen] += 1
        sets.append(tuple(CLASSES[i] for i in np.sort(chosen)))
    return sets


def switching_clip(
    first: str,
    second: str,
    seed: int,
    seconds: float = 7.0,
    sample_rate: int = 22050,
    soundfont: str | Path | None = None,
) -> np.ndarray:
    """float32 [time]: until the middle one class is predominant, from there on another; whoever else plays goes on.

    Args:
        first: class of the first half.
        second: of the second half, another one.
        seed: of the clip; none of the sets has it.
        seconds: length.
        sample_rate: of the clip.
        soundfont: SF2 or SF3 file; none means the default one.
    """
    font = Path(soundfont or default_soundfont()).resolve()
    recipe = SceneRecipe(
        "test", "excerpt", seed, (first, second), seconds, 1, False, sample_rate, font_digest(font), font
    )
    rng = np.random.default_rng((SWITCHING_SEED, seed))
    take = record(recipe, rng, all_at_once)
    (start,) = take.starts
    time = np.arange(take.stems.shape[1]) / sample_rate - start / BLOCKS_PER_SECOND
    later = np.clip((time - seconds / 2.0) / FADE + 0.5, 0.0, 1.0).astype(np.float32)
    take.stems[0] *= 1.0 - later
    take.stems[1] *= later
    return mix(rng, take, start, recipe)[0]


def build(
    size: str,
    sample_rate: int = 22050,
    root: str | Path | None = None,
    soundfonts: Sequence[str | Path] = (),
    test_soundfont: str | Path | None = None,
    jobs: int | None = 1,
    progress: bool = True,
) -> PredominanceSet:
    """Render a set, or open it if it is there; an interrupted build goes on where it ended.

    Arguments and errors are those of `common.corpus.build`.
    """
    if size not in SIZES:
        raise CorpusError(f"no predominance set of size {size!r}; there are {', '.join(SIZES)}")
    if not 8000 <= sample_rate <= 48000:
        raise CorpusError(f"a set of {sample_rate} Hz cannot be made; take a sample rate from 8000 to 48000")
    fonts, test_font, digests = resolve_fonts(soundfonts, test_soundfont)
    content = content_hash(VERSION, asdict(SIZES[size]), digests, bool(test_font))
    folder = Path(root or os.environ.get("TUTTI_DATA", "data")) / "predominance" / f"{size}-{sample_rate}-{content[:8]}"
    if (folder / "index.json").exists():
        return PredominanceSet(folder)
    recipes = plan(size, sample_rate, fonts, test_font)
    # By SoundFont, because a process keeps few of them open.
    by_font = sorted(recipes, key=lambda recipe: str(recipe.soundfont))
    render_all(make_scene, by_font, folder, 2 * sample_rate, jobs, size if progress else None)
    scenes = [json.loads((folder / f"{recipe.id}.json").read_text()) for recipe in recipes]
    index = {"version": VERSION, "size": size, "sample_rate": sample_rate, "scenes": scenes}
    with replacing(folder / "index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=1))
    return PredominanceSet(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m common.predominance build SIZE`."""
    parser = argparse.ArgumentParser(
        prog="python -m common.predominance", description="Render the predominance set of the embedded corpus."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    add_arguments(verbs.add_parser("build", help="render a set; what is already there is kept"), SIZES)
    built = run(build, parser.parse_args(argv))
    if isinstance(built, int):
        return built
    counts = {split: len(built.excerpts(split)) for split in FIRST_SEED}
    print(f"{built.folder}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
