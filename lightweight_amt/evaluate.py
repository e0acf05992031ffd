"""How good a transcription is: thresholds chosen on validation clips, scores over the pieces of a corpus."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from common import corpus as corpora
from common.evaluation.bootstrap import bootstrap_interval
from common.evaluation.frames import frame_scores
from common.evaluation.notes import note_scores
from common.frames import FrameGrid
from common.notes import Notes, piano_roll
from lightweight_amt.decode import LOW, N_PITCHES, DecodeSettings, decode
from lightweight_amt.inference import load, transcribe
from lightweight_amt.targets import merge_unisons

CANDIDATES = {
    "onset_threshold": np.arange(0.1, 0.85, 0.05),
    "frame_threshold": np.arange(0.1, 0.75, 0.05),
    "unstruck_threshold": np.append(np.arange(0.3, 0.95, 0.1), 1.0),
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


def score_clips(clips: list[Clip], settings: DecodeSettings, grid: FrameGrid) -> dict[str, float]:
    """Mean over the clips of every score."""
    rows = []
    for clip in clips:
        maps = clip.activations
        estimate = decode(maps["onset"], maps["frame"], maps.get("offset"), settings, grid)
        rows.append(score(estimate, clip.notes, grid, maps["frame"].shape[1]))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def choose_settings(clips: list[Clip], grid: FrameGrid, start: DecodeSettings | None = None) -> DecodeSettings:
    """The thresholds with the best sum of note F with and without offsets, found one after the other, twice round.

    Among equals the middle one is taken. Without a start, no note may lack an onset at first: what needs none would
    otherwise hide what the onset threshold does. Validation clips only: the paper searches on its test sets.
    """

    def goodness(settings: DecodeSettings) -> float:
        scores = score_clips(clips, settings, grid)
        return scores["note_f1"] + scores["note_offset_f1"]

    best = start or DecodeSettings(unstruck_threshold=1.0)
    for _ in range(2):
        for name, values in CANDIDATES.items():
            choices = [replace(best, **{name: round(float(value), 3)}) for value in values]
            scores = np.array([goodness(choice) for choice in choices])
            equals = np.flatnonzero(scores == scores.max())
            best = choices[equals[len(equals) // 2]]
    return best


def score_pieces(pieces: list[corpora.Piece], transcriber: Callable[[np.ndarray, int], Notes], grid: FrameGrid) -> list:
    """A row of scores for each whole piece: its mixture transcribed, against all its notes that have a pitch."""
    rows = []
    for piece in tqdm(pieces, unit="piece"):
        audio = piece.multitrack().mixture()
        scores = score(
            transcriber(audio, piece.sample_rate), merge_unisons(piece.notes), grid, grid.n_frames(len(audio))
        )
        rows.append({"id": piece.id, "title": piece.title, "unseen": piece.unseen, **scores})
    return rows


def summary(rows: list[dict]) -> dict[str, dict]:
    """Mean of the main scores with a 95 % bootstrap interval over pieces, for all and for each kind of piece."""
    kinds = {
        "all": rows,
        "composed": [row for row in rows if row["id"].startswith("composed")],
        "real works": [row for row in rows if not row["id"].startswith("composed")],
        "unseen instruments": [row for row in rows if row["unseen"]],
    }
    return {
        kind: {"pieces": len(chosen)}
        | {
            name: [round(value, 4) for value in bootstrap_interval([row[name] for row in chosen])]
            for name in ("note_f1", "note_offset_f1", "frame_f1")
        }
        for kind, chosen in kinds.items()
        if chosen
    }


def evaluate_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lightweight_amt evaluate", description=score_pieces.__doc__)
    parser.add_argument("--model", default="base", help="base, or an exported file (default: base)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--corpus", default="small", choices=corpora.SIZES, help="size (default: small)")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files, as in training; may be repeated")
    parser.add_argument("--test-soundfont", help="another one for the test split")
    parser.add_argument("--out", type=Path, help="also write the scores of every piece as JSON")
    options = parser.parse_args(args)
    try:
        model = load(options.model, options.device)
        corpus = corpora.build(options.corpus, soundfonts=options.soundfont, test_soundfont=options.test_soundfont)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rows = score_pieces(
        corpus.pieces(options.split), lambda audio, rate: transcribe(audio, rate, model=model), model.grid
    )
    print(json.dumps(summary(rows), indent=1))
    if options.out:
        options.out.write_text(json.dumps({"summary": summary(rows), "pieces": rows}, indent=1))
    return 0
