"""The paper's evaluation on public data: whole pieces, stems and mixes, for each the mean of the scores per take.

Bach10 is played as the released mixtures ("tutti"), as stems, and as all 60 pairs, 40 triples and 10 quartets of its
parts, plainly summed; PHENICX-Anechoic as the sum of all players; URMP as tutti, stems, and those of its pieces with
exactly two or three different instruments, equal ones merged. Of the data sets that the paper does not score, the test
split is played whole.

What differs from the paper: thresholds are those that came with the weights, chosen on validation clips; the best ones
for these very takes, which the paper uses, are reported beside as the oracle's. Frame F is that of the notes, not of a
map with a threshold of its own.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.datasets import catalogue
from common.datasets.recording import Recording
from common.evaluation.multitrack import split_tracks, track_scores
from common.frames import FrameGrid
from common.notes import Notes
from common.stems import Multitrack
from lightweight_amt.evaluate import choose_settings, listen, score, score_clips
from lightweight_amt.inference import Model, load, transcribe
from lightweight_amt.targets import merge_unisons

Transcriber = Callable[[np.ndarray, int], Notes]  # audio (time,) and its rate
Separator = Callable[[np.ndarray, int, int], Notes]  # and the number of instruments; `track` says which plays a note

SCORES = ("note_f1", "frame_f1", "track_f1")

# What the paper's sheet has: "ours" trained on MusicNet-EM, 18,978 parameters, thresholds chosen on the test set; track
# F with note-level clustering and the number of instruments given.
PAPER = {
    "bach10": {
        "tutti": {"note_f1": 0.794, "frame_f1": 0.848},
        "stems": {"note_f1": 0.867, "frame_f1": 0.884},
        "2-mix": {"track_f1": 0.846},
        "3-mix": {"track_f1": 0.801},
        "4-mix": {"track_f1": 0.727},
    },
    "phenicx": {"tutti": {"note_f1": 0.556, "frame_f1": 0.697}},
    "urmp": {
        "tutti": {"note_f1": 0.774, "frame_f1": 0.797},
        "stems": {"note_f1": 0.844, "frame_f1": 0.823},
        "2-mix": {"track_f1": 0.668},
        "3-mix": {"track_f1": 0.600},
    },
}


@dataclass(frozen=True, eq=False)
class Take:
    """What is played to a transcriber: audio (time,), and the notes in it, whose `track` is the instrument."""

    id: str
    kind: str  # "tutti", "stems", "2-mix" ...
    audio: np.ndarray
    notes: Notes


def all_mixes(id: str, band: Multitrack) -> Iterator[Take]:
    """Every choice of two, three and four parts."""
    for size in (2, 3, 4):
        for chosen in combinations(range(len(band.stems)), size):
            mix = band.select(chosen)
            name = "+".join(str(i + 1) for i in chosen)
            yield Take(f"{id}/{name}", f"{size}-mix", mix.mixture(), mix.notes)


def whole_mixes(id: str, band: Multitrack) -> Iterator[Take]:
    """All parts, if they are of two or three different instruments; equal instruments are one."""
    programs = list(dict.fromkeys(stem.program for stem in band.stems))
    if len(programs) in (2, 3):
        instrument = np.array([programs.index(stem.program) for stem in band.stems])
        notes = band.notes
        yield Take(id, f"{len(programs)}-mix", band.mixture(), notes.replace(track=instrument[notes.track]))


@dataclass(frozen=True)
class Plan:
    """What is played of a data set: the recordings of splits (none: all) whole, their stems, and which mixes."""

    splits: tuple[str, ...] = ()
    stems: bool = False
    mixes: Callable[[str, Multitrack], Iterator[Take]] | None = None

    def takes(self, recording: Recording, sample_rate: int) -> Iterator[Take]:
        """What is played of a recording."""
        yield Take(recording.id, "tutti", recording.mixture(sample_rate)[0], recording.notes)
        if not self.stems and self.mixes is None:
            return
        band = recording.multitrack(sample_rate)
        for i, stem in enumerate(band.stems if self.stems else ()):
            yield Take(f"{recording.id}/{i + 1}", "stems", stem.audio, band.select([i]).notes)
        if self.mixes is not None:
            yield from self.mixes(recording.id, band)


TEST = Plan(("test",))
PLANS = {
    "bach10": Plan(stems=True, mixes=all_mixes),
    "phenicx": Plan(),
    "urmp": Plan(stems=True, mixes=whole_mixes),
    **dict.fromkeys(("musicnet", "musicnet-em", "slakh", "maestro", "maps", "guitarset"), TEST),
}


def score_take(take: Take, grid: FrameGrid, transcriber: Transcriber, separator: Separator | None = None) -> dict:
    """Scores of a take by name: those of `evaluate.score`, and for a mix, given a separator, those of its tracks."""
    instruments = [merge_unisons(notes) for notes in split_tracks(take.notes)]
    separated = {}
    if separator is not None and take.kind.endswith("-mix"):
        estimate = separator(take.audio, grid.sample_rate, len(instruments))
        truth = Notes.concatenate(notes.replace(track=i) for i, notes in enumerate(instruments))
        separated = track_scores(truth, estimate, grid, match_by="roll")
        estimate = merge_unisons(estimate)
    else:
        estimate = transcriber(take.audio, grid.sample_rate)
    n_frames = grid.n_frames(len(take.audio))
    scores = score(estimate, merge_unisons(take.notes), grid, n_frames)
    return {"id": take.id, "kind": take.kind, **scores, **separated}


def score_recordings(
    recordings: list[Recording],
    plan: Plan,
    grid: FrameGrid,
    transcriber: Transcriber,
    separator: Separator | None = None,
) -> list[dict]:
    """The scores of all takes, of one recording after the other."""
    return [
        score_take(take, grid, transcriber, separator)
        for recording in tqdm(recordings, unit="piece")
        for take in plan.takes(recording, grid.sample_rate)
    ]


def summary(rows: list[dict]) -> dict[str, dict]:
    """Number and mean scores of the takes of each kind."""
    kinds = {kind: [row for row in rows if row["kind"] == kind] for kind in dict.fromkeys(row["kind"] for row in rows)}
    return {
        kind: {"takes": len(chosen)}
        | {name: round(float(np.mean([row[name] for row in chosen])), 4) for name in SCORES if name in chosen[0]}
        for kind, chosen in kinds.items()
    }


def oracle(takes: Iterable[Take], model: Model) -> dict[str, float]:
    """The best mean note F and the best mean frame F that thresholds can reach on these very takes, each its own."""
    clips = [listen(take.audio, merge_unisons(take.notes), model) for take in takes]
    best = {}
    for name in ("note_f1", "frame_f1"):
        settings = choose_settings(clips, model.grid, model.settings, by=[name])
        best[name] = round(score_clips(clips, settings, model.grid)[name], 4)
    return best


def evaluate_dataset(
    dataset: str, root: Path, model: Model, separator: Separator | None = None, with_oracle: bool = True
) -> dict[str, Any]:
    """The rows of a data set.

    Args:
        dataset: a key of `PLANS`.
        root: its folder.
        model: what transcribes, with its thresholds.
        separator: what also tells the instruments apart, given their number; none: no track scores.
        with_oracle: whether to search the best thresholds too; the takes are read once more for each kind.

    Returns:
        "summary": {kind: {takes, note_f1, frame_f1, track_f1, oracle: {...}, paper: {...}}}; "takes": all scores of
        each.

    Raises:
        ValueError: the data set or one of its files is missing or damaged.
    """
    plan, grid = PLANS[dataset], model.grid
    recordings = catalogue.recordings(dataset, root, *plan.splits)
    rows = score_recordings(recordings, plan, grid, partial(transcribe, model=model), separator)
    table = summary(rows)
    for kind, row in table.items():
        if with_oracle:
            every = (take for recording in recordings for take in plan.takes(recording, grid.sample_rate))
            row["oracle"] = oracle((take for take in every if take.kind == kind), model)
        row["paper"] = PAPER.get(dataset, {}).get(kind, {})
    return {"dataset": dataset, "model": model.name, "pieces": len(recordings), "summary": table, "takes": rows}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightweight_amt evaluate", description="Score exported weights on a public data set."
    )
    parser.add_argument("--dataset", required=True, choices=PLANS)
    parser.add_argument("--root", required=True, type=Path, help="the folder that its archive unpacks to")
    parser.add_argument("--model", default="base", help="a shipped one, or an exported file (default: base)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-oracle", action="store_true", help="do not search the best thresholds for these takes")
    parser.add_argument("--out", type=Path, help="also write the scores of every take as JSON")
    return parser


def _separate(audio: np.ndarray, sample_rate: int, n_instruments: int, model: Model) -> Notes:
    return transcribe(audio, sample_rate, model=model, instruments=n_instruments)


def protocol_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    try:
        model = load(options.model, options.device, timbre=True)
        separator = partial(_separate, model=model)
        results = evaluate_dataset(options.dataset, options.root, model, separator, not options.no_oracle)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(results["summary"], indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    return 0
