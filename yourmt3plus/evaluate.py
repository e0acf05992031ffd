"""How good transcriptions are: scores of whole pieces of the embedded corpus, or of a public data set."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from common import corpus as corpora
from common.datasets import catalogue
from common.evaluation.frames import frame_scores
from common.evaluation.multi import (
    class_scores,
    drum_scores,
    instrument_scores,
    leakage_ratio,
    singing_scores,
    wrong_instrument_share,
)
from common.evaluation.pieces import identity, interval, summary
from common.frames import FrameGrid
from common.instruments import DRUM_GROUPS
from common.notes import Notes, piano_roll
from common.stems import kinds
from yourmt3plus.inference import MapModel, Model, load, transcribe
from yourmt3plus.sources import Source
from yourmt3plus.tokenizer import TICKS_PER_SECOND
from yourmt3plus.validation import scores as written_scores

SCORES = (
    "onset_f1", "onset_offset_f1", "frame_f1", "multi_f1_mt3", "multi_f1_ymt3", "drum_f1", "drum_f1_gm",
    "singing_f1", "singing_offset_f1", "instrument_f1", "leakage_ratio", "wrong_instrument_share",
)  # fmt: skip
LEAKS = ("leakage_ratio", "wrong_instrument_share", "onset_f1", "multi_f1_mt3")  # what a second pass may change
FRAMES = FrameGrid(16_000, 16_000 // TICKS_PER_SECOND)  # ticks


class Take(NamedTuple):
    """What is played to a network."""

    row: dict[str, Any]  # what is told of it beside the scores
    audio: np.ndarray  # (time,)
    sample_rate: int
    notes: Notes  # that are in it
    unknown: frozenset[int] = frozenset()  # kinds (`common.stems`) of which the notes do not tell


def score(reference: Notes, estimate: Notes, seconds: float) -> dict[str, float]:
    """Scores of a piece by name; NaN where it has nothing of the kind.

    Those of `validation.scores`, and
        frame_f1: of all pitches in ticks of 10 ms, whatever the instruments;
        drum_f1_gm: of the nineteen groups of drums;
        singing_f1, singing_offset_f1: of sung notes alone;
        instrument_f1: which instruments are found, however much they play;
        leakage_ratio: how many are found for each that plays;
        wrong_instrument_share: of the notes found in onset and pitch, those given to another instrument.
    """
    nothing = float("nan")
    n_frames = FRAMES.n_frames(round(seconds * FRAMES.sample_rate))
    rolls = (piano_roll(notes, FRAMES, n_frames) for notes in (reference, estimate))
    sung, hits = singing_scores(reference, estimate), drum_scores(reference, estimate, DRUM_GROUPS)
    return {
        **written_scores(reference, estimate),
        "frame_f1": frame_scores(*rolls)["f1"] if len(reference.tuned()) else nothing,
        "drum_f1_gm": hits["drum_f1"] if hits["n_reference"] else nothing,
        "singing_f1": sung["singing_f1"] if sung["n_reference"] else nothing,
        "singing_offset_f1": sung["singing_offset_f1"] if sung["n_reference"] else nothing,
        "instrument_f1": instrument_scores(reference, estimate)["instrument_f1"] if len(reference) else nothing,
        "leakage_ratio": leakage_ratio(reference, estimate),
        "wrong_instrument_share": wrong_instrument_share(reference, estimate),
    }


def of_classes(reference: Notes, estimate: Notes) -> dict[str, float]:
    """Onset F of each class of instruments that plays."""
    found = class_scores(reference, estimate)
    return {name: values["note_f1"] for name, values in found.items() if values["n_reference"]}


def score_takes(takes: Iterable[Take], transcriber: Callable[[np.ndarray, int, bool], Notes]) -> list[dict]:
    """A row for each take: its scores, "classes", and what is in LEAKS of one pass alone under "one_pass".

    Args:
        takes: what is played.
        transcriber: takes audio, its rate, and whether to write again what contradicts what came before.
    """
    rows = []
    for take in takes:
        seconds = len(take.audio) / take.sample_rate
        reference = _known(take.notes, take.unknown)
        twice, once = (
            _known(transcriber(take.audio, take.sample_rate, again), take.unknown) for again in (True, False)
        )
        values = score(reference, twice, seconds)
        before = score(reference, once, seconds)
        rows.append(
            take.row
            | {name: values[name] for name in SCORES}
            | {"classes": of_classes(reference, twice), "one_pass": {name: before[name] for name in LEAKS}}
        )
    return rows


def _known(notes: Notes, unknown: frozenset[int]) -> Notes:
    """Without the kinds of which nothing is known."""
    return notes[~np.isin(kinds(notes), sorted(unknown))]


def tables(rows: list[dict]) -> dict[str, dict]:
    """Means with 95 % bootstrap intervals over pieces.

    Returns:
        "summary": {kind of piece: {"pieces", score: [mean, low, high]}}; "classes": {class: {"pieces", "onset_f1"}};
        "one_pass": {score: [mean, low, high]}, to be compared with that of all pieces.
    """
    classes = list(dict.fromkeys(name for row in rows for name in row["classes"]))
    return {
        "summary": summary(rows, SCORES),
        "classes": {
            name: {
                "pieces": sum(name in row["classes"] for row in rows),
                "onset_f1": interval([row["classes"] for row in rows], name),
            }
            for name in classes
        },
        "one_pass": {name: interval([row["one_pass"] for row in rows], name) for name in LEAKS},
    }


def pieces(options: argparse.Namespace, sample_rate: int) -> Iterator[Take]:
    """What a command line names, one take after the other; a corpus is rendered at the sample rate.

    Raises:
        ValueError: a corpus that cannot be built, or a data set that is missing or damaged.
    """
    if options.dataset:
        for recording in tqdm(catalogue.scored(options.dataset, options.root)[: options.limit], unit="piece"):
            row = {"id": recording.id, "title": recording.title, "unseen": False}
            yield Take(row, *recording.mixture(), recording.notes, recording.unknown)
        return
    fonts = {"soundfonts": options.soundfont, "test_soundfont": options.test_soundfont}
    corpus = corpora.build(options.corpus, sample_rate, **fonts, jobs=os.cpu_count())
    for piece in tqdm(corpus.pieces(options.split)[: options.limit], unit="piece"):
        band = Source(piece).multitrack()
        yield Take(identity(piece), band.mixture(), band.sample_rate, band.notes)


def build_parser(prog: str = "python -m yourmt3plus evaluate") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("--model", default="maps", help="a shipped one, or an exported file (default: maps)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", help="default: float32 on a CPU, bfloat16 on a GPU")
    parser.add_argument("--corpus", default="band", choices=corpora.SIZES, help="size (default: band)")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files, as in training; may be repeated")
    parser.add_argument("--test-soundfont", help="another one for the test split")
    parser.add_argument("--dataset", choices=catalogue.DATASETS, help="a public one instead, its test split")
    parser.add_argument("--root", type=Path, help="the folder that its archive unpacks to")
    parser.add_argument("--limit", type=int, help="only so many pieces")
    parser.add_argument("--out", type=Path, help="also write the scores of every piece as JSON")
    return parser


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line asks for: the data, `tables`, and a row per piece.

    Raises:
        ValueError: no such model, or what `pieces` raises.
    """
    if bool(options.dataset) != bool(options.root):
        raise ValueError("--dataset and --root: give both, or neither")
    model = load(options.model, options.device, options.precision)
    rows = score_takes(pieces(options, model.sample_rate), with_model(model))
    data = {"dataset": options.dataset} if options.dataset else {"corpus": options.corpus, "split": options.split}
    results = {"model": model.name, "data": data, **tables(rows), "pieces": rows}
    if isinstance(model, MapModel):  # which has no second pass
        del results["one_pass"]
    return results


def with_model(model: Model | MapModel) -> Callable[[np.ndarray, int, bool], Notes]:
    """The transcriber of a model."""
    return lambda audio, sample_rate, again: transcribe(audio, sample_rate, model=model, two_pass=again)


def evaluate_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    try:
        results = evaluate(options)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({name: table for name, table in results.items() if name != "pieces"}, indent=1))
    if options.out:
        options.out.write_text(json.dumps(plain(results), indent=1, allow_nan=False))
    return 0


def plain(value: Any) -> Any:
    """The same with null in place of NaN, for which JSON has no word."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
