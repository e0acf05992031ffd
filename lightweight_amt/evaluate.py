"""How good a transcription is: thresholds chosen on validation clips, scores over the pieces of a corpus."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import audio as sound
from common import corpus as corpora
from common.evaluation.frames import frame_scores
from common.evaluation.notes import note_scores
from common.evaluation.pieces import identity, kinds, summary
from common.frames import FrameGrid
from common.notes import Notes, piano_roll
from lightweight_amt.decode import LOW, N_PITCHES, DecodeSettings, decode
from lightweight_amt.inference import Model, activations, load, transcribe
from lightweight_amt.targets import merge_unisons

SCORES = ("note_f1", "note_offset_f1", "frame_f1")  # that are reported
CANDIDATES = {
    "onset_threshold": np.arange(0.1, 0.85, 0.05),
    "frame_threshold": np.arange(0.1, 0.75, 0.05),
    "relative": np.arange(0.0, 0.75, 0.1),
    "unstruck_threshold": np.append(np.arange(0.3, 0.95, 0.1), 1.0),
    "unstruck_length": np.array([0.0, 0.1, 0.2, 0.3]),
    "offset_threshold": np.append(np.arange(0.2, 0.85, 0.1), 1.0),
}


@dataclass(frozen=True)
class Clip:
    """What a network said of a clip, each output (pitch, frame) in 0..1, and the notes that are in it."""

    activations: dict[str, np.ndarray]
    notes: Notes


def score(estimate: Notes, reference: Notes, grid: FrameGrid, n_frames: int) -> dict[str, float]:
    """Note scores (50 ms), with offsets, and frame scores, by name."""
    rolls = (piano_roll(notes, grid, n_frames, LOW, N_PITCHES) for notes in (reference, estimate))
    frames = {f"frame_{name}": value for name, value in frame_scores(*rolls).items()}
    return {**note_scores(reference, estimate), **frames}


def decode_clip(clip: Clip, settings: DecodeSettings, grid: FrameGrid) -> Notes:
    """The notes that are found in a clip with these thresholds."""
    maps = clip.activations
    return decode(maps["onset"], maps["frame"], maps.get("offset"), settings, grid)


def score_clip(clip: Clip, settings: DecodeSettings, grid: FrameGrid) -> dict[str, float]:
    return score(decode_clip(clip, settings, grid), clip.notes, grid, clip.activations["frame"].shape[1])


def score_clips(clips: list[Clip], settings: DecodeSettings, grid: FrameGrid) -> dict[str, float]:
    """Mean over the clips of every score."""
    rows = [score_clip(clip, settings, grid) for clip in clips]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def choose_settings(
    clips: list[Clip],
    grid: FrameGrid,
    start: DecodeSettings | None = None,
    by: Sequence[str] = ("note_f1", "note_offset_f1", "frame_f1"),
    names: Sequence[str] = tuple(CANDIDATES),
) -> DecodeSettings:
    """The thresholds `names` with the best sum of the scores `by`, found one after the other, twice round.

    Among equals the middle one is taken. Without a start, no note may lack an onset at first: what needs none would
    otherwise hide what the onset threshold does. For validation clips: the paper searches on its test sets, which only
    an `oracle` may do.
    """

    def goodness(settings: DecodeSettings) -> float:
        scores = score_clips(clips, settings, grid)
        return sum(scores[name] for name in by)

    best = start or DecodeSettings(unstruck_threshold=1.0)
    for _ in range(2):
        for name in names:
            choices = [replace(best, **{name: round(float(value), 3)}) for value in CANDIDATES[name]]
            scores = np.array([goodness(choice) for choice in choices])
            equals = np.flatnonzero(scores == scores.max())
            best = choices[equals[len(equals) // 2]]
    return best


def score_pieces(pieces: list[corpora.Piece], transcriber: Callable[[np.ndarray, int], Notes], grid: FrameGrid) -> list:
    """A row of scores for each whole piece: its mixture transcribed, against all its notes that have a pitch."""
    rows = []
    for piece in tqdm(pieces, unit="piece"):
        audio = piece.multitrack().mixture()
        estimate = transcriber(audio, piece.sample_rate)
        scores = score(estimate, merge_unisons(piece.notes), grid, grid.n_frames(len(audio)))
        rows.append(identity(piece) | scores)
    return rows


def listen(audio: np.ndarray, notes: Notes, model: Model, names: Sequence[str] = ()) -> Clip:
    """A whole recording as a clip, with the probabilities and with what else of the model has `names`.

    Args:
        audio: (time,) at the model's sample rate.
        notes: that are in it.
    """
    parts = list(activations(model, iter([audio])))
    # With 16 bits, to have many pieces in memory.
    maps = {
        name: np.concatenate([part[name] for part in parts], axis=-1, dtype=np.float16)
        for name in (*model.outputs, *names)
    }
    return Clip(maps, notes)


def hear(piece: corpora.Piece, model: Model) -> Clip:
    """A whole piece as a clip."""
    audio = sound.conform(piece.multitrack().mixture(), piece.sample_rate, model.grid.sample_rate)
    return listen(audio, merge_unisons(piece.notes), model)


def oracle(pieces: list[corpora.Piece], model: Model) -> dict[str, dict]:
    """Mean note F with the thresholds of the weights beside that with the best ones for these very pieces.

    "given" are those of the decoder alone, "learned" adds the rule for restrikes, which is what `transcribe` does;
    "oracle" are the best ones for all these pieces together, "per_clip" the best ones for each of them. Nobody knows
    the last two beforehand: `difference`, from given to oracle, is what is lost by choosing on other pieces.
    """
    clips = [hear(piece, model) for piece in tqdm(pieces, unit="piece")]
    settings = {"given": model.settings, "oracle": choose_settings(clips, model.grid, model.settings, by=["note_f1"])}

    def ways(clip: Clip) -> dict[str, Notes]:
        found = {name: decode_clip(clip, chosen, model.grid) for name, chosen in settings.items()}
        own = choose_settings([clip], model.grid, settings["oracle"], by=["note_f1"])
        learned = model.restrikes(found["given"]) if model.restrikes else found["given"]
        return found | {"learned": learned, "per_clip": decode_clip(clip, own, model.grid)}

    rows = [
        identity(piece) | {name: note_scores(clip.notes, found)["note_f1"] for name, found in ways(clip).items()}
        for piece, clip in zip(pieces, clips, strict=True)
    ]
    table = {}
    for kind, group in kinds(rows).items():
        means = {
            name: float(np.mean([row[name] for row in group])) for name in ("given", "learned", "oracle", "per_clip")
        }
        means["difference"] = means["oracle"] - means["given"]
        table[kind] = {name: round(mean, 4) for name, mean in means.items()}
    return {"thresholds": {name: asdict(chosen) for name, chosen in settings.items()}, "note_f1": table}


def build_parser(prog: str = "python -m lightweight_amt evaluate") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=score_pieces.__doc__)
    parser.add_argument("--model", default="base", help="a shipped one, or an exported file (default: base)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--corpus", default="small", choices=corpora.SIZES, help="size (default: small)")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files, as in training; may be repeated")
    parser.add_argument("--test-soundfont", help="another one for the test split")
    parser.add_argument("--oracle", action="store_true", help="also with the best thresholds for these very pieces")
    parser.add_argument("--out", type=Path, help="also write the scores of every piece as JSON")
    return parser


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line asks for: the data, the summary, the table of `oracle` if wanted, and a row per piece.

    Raises:
        ValueError: no such model, or a corpus that cannot be built.
    """
    model = load(options.model, options.device)
    corpus = corpora.build(options.corpus, soundfonts=options.soundfont, test_soundfont=options.test_soundfont)
    pieces = corpus.pieces(options.split)
    rows = score_pieces(pieces, lambda audio, rate: transcribe(audio, rate, model=model), model.grid)
    data = {
        "corpus": corpus.folder.name,
        "split": options.split,
        "first_seed": corpora.FIRST_SEED[options.split],
        "soundfonts": sorted({piece.soundfont for piece in pieces}),
    }
    results = {"data": data, "summary": summary(rows, SCORES)}
    if options.oracle:
        results["oracle"] = oracle(pieces, model)
    return results | {"pieces": rows}


def evaluate_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    try:
        results = evaluate(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    shown = results["summary"] | ({"oracle": results["oracle"]} if options.oracle else {})
    print(json.dumps(shown, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    return 0
