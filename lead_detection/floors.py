"""What simple rules reach: who trains a network wants to know how much of its score the loudest track would have had.

The rules on levels are functions of arrays and serve any stems: activations of MedleyDB, or levels that were measured
in audio. `python -m lead_detection baseline` scores them on the authors' clips with no audio at all. Random, loudest
and the vocal rule are fair floors; ranking and intervals are what people said of the melody, and the constant is told
the truth, so that these show what labels are worth instead.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common.datasets import medleydb
from common.evaluation.labels import clip_scores, pooled_macro_f1, relabel
from common.storage import replacing
from lead_detection.annotations import (
    CLIP_FRAMES,
    LABEL_RATE,
    SPLITS,
    Annotation,
    clip_labels,
    clip_starts,
    plain_warnings,
    read_songs,
    statistics,
)
from lead_detection.taxonomy import RHYTHM, VOCAL, of_medleydb

ACTIVE = 0.5  # of MedleyDB's activations: the stem sounds
DRAWS = 20  # of the random rule, whose scores are means over them
SCORES = ("track_f1", "instrument_f1", "track_accuracy", "instrument_accuracy", "pooled_f1")


def loudest(levels: np.ndarray, silence: float = -np.inf) -> np.ndarray:
    """The loudest track leads.

    Args:
        levels: (track, frame), in any unit that grows with loudness.
        silence: nobody leads where no track is above it.

    Returns:
        (frame,) int64: 0 where nobody leads, 1 + i where track i does.
    """
    return np.where(levels.max(axis=0) > silence, 1 + levels.argmax(axis=0), 0)


def vocal_first(
    levels: np.ndarray, instruments: Sequence[int] | np.ndarray, active: float, silence: float = -np.inf
) -> np.ndarray:
    """The loudest voice leads while one sounds, else the loudest track that is not bass, drums or percussion.

    Args:
        levels: (track, frame), as in `loudest`.
        instruments: (track,) ids of `lead_detection.taxonomy`.
        active: a voice sounds above it.
        silence: as in `loudest`.

    Returns:
        (frame,) as `loudest`.
    """
    voice, rhythm = np.isin(instruments, VOCAL), np.isin(instruments, RHYTHM)
    sings = voice[:, None] & (levels > active)
    others = (~rhythm | rhythm.all())[:, None]
    return loudest(np.where(np.where(sings.any(axis=0), sings, others), levels, -np.inf), silence)


def best_ranked(levels: np.ndarray, ranking: Sequence[int], active: float) -> np.ndarray:
    """The first track of a ranking that sounds leads, else the loudest of all.

    Args:
        levels: (track, frame), as in `loudest`.
        ranking: indices of tracks, the best first; of those that are not in it only the level counts.
        active: a track sounds above it.

    Returns:
        (frame,) as `loudest`.
    """
    lead = loudest(levels)
    for track in reversed(ranking):
        lead[levels[track] > active] = 1 + track
    return lead


def told(intervals: Sequence[tuple[float, float, int]], times: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Who leads by intervals (start, end, track) in seconds, a later one overruling; `otherwise` outside of them.

    Args:
        intervals: [start, end) each.
        times: (frame,) seconds.
        otherwise: (frame,) labels.
    """
    lead = otherwise.copy()
    for start, end, track in intervals:
        lead[(times >= start) & (times < end)] = 1 + track
    return lead


@dataclass(frozen=True, eq=False)
class Case:
    """The clips of a song, and what the rules say of them; labels are 0 for nobody, 1 + the index of a stem."""

    split: str
    truth: np.ndarray  # (clip, frame)
    instruments: np.ndarray  # (stem,)
    estimates: dict[str, np.ndarray]  # rule -> (clip, frame)

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """(clip, frame): a stem for each clip."""
        stem = rng.integers(len(self.instruments), size=(len(self.truth), 1))
        return np.broadcast_to(1 + stem, self.truth.shape)


def make_case(annotation: Annotation, song: medleydb.Song) -> Case:
    """The clips of a song; a song without activations has but the constant.

    Args:
        annotation: with labels, see `Annotation.resolve`.
        song: what MedleyDB has of it.
    """
    truth = clip_labels(annotation.leads)
    instruments = np.array([of_medleydb(stem.instruments) for stem in song.stems])
    constant = 1 + np.bincount(truth[truth > 0] - 1).argmax() if truth.any() else 0
    estimates = {"constant": np.full_like(truth, constant)}
    if song.has_activations():
        times = (clip_starts(annotation.leads)[:, None] / 1_000 + np.arange(CLIP_FRAMES) / LABEL_RATE).ravel()
        starts, confidence = song.activations()
        levels = confidence[:, np.maximum(np.searchsorted(starts, times, side="right") - 1, 0)]
        ranked = best_ranked(levels, song.ranking(), ACTIVE)
        rules = {
            "loudest": loudest(levels),
            "vocal": vocal_first(levels, instruments, ACTIVE),
            "ranking": ranked,
            "intervals": told(song.intervals(), times, ranked),
        }
        estimates |= {name: lead.reshape(truth.shape) for name, lead in rules.items()}
    return Case(annotation.split, truth, instruments, estimates)


def score(cases: Sequence[Case], estimates: Sequence[np.ndarray]) -> dict[str, float]:
    """The paper's scores per clip, means over all clips, and the F over all frames; all in percent.

    Args:
        cases: the songs.
        estimates: labels for each, (clip, frame).
    """
    truth = np.concatenate([case.truth for case in cases])
    estimate = np.concatenate(estimates)
    tables = [np.append(0, case.instruments) for case in cases]
    played = np.concatenate([relabel(case.truth, table) for case, table in zip(cases, tables, strict=True)])
    heard = np.concatenate([relabel(labels, table) for labels, table in zip(estimates, tables, strict=True)])
    track, instrument = clip_scores(truth, estimate), clip_scores(played, heard)
    values = (
        track["macro_f1"].mean(),
        instrument["macro_f1"].mean(),
        track["accuracy"].mean(),
        instrument["accuracy"].mean(),
        pooled_macro_f1(played, heard),
    )
    return {name: 100.0 * float(value) for name, value in zip(SCORES, values, strict=True)}


def score_rules(cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Scores of each rule on these songs, the random one first; rules that a song lacks are left out."""
    draws = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        draws.append(score(cases, [case.random(rng) for case in cases]))
    rows = {"random": {name: float(np.mean([row[name] for row in draws])) for name in SCORES}}
    for rule in max((case.estimates for case in cases), key=len):
        if all(rule in case.estimates for case in cases):
            rows[rule] = score(cases, [case.estimates[rule] for case in cases])
    return rows


def evaluate(annotations: Path, clone: Path) -> dict[str, Any]:
    """The scores of all rules on every split.

    Args:
        annotations: what `read_annotations` takes.
        clone: what `medleydb.songs` takes.

    Returns:
        "data": see `statistics`; "scores": {split: {rule: {score: percent}}}.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    songs = read_songs(annotations, clone)
    cases = [make_case(annotation, song) for annotation, song in tqdm(songs, unit="song")]
    by_split = {split: [case for case in cases if case.split == split] for split in SPLITS}
    return {
        "data": statistics(songs),
        "scores": {split: score_rules(chosen) for split, chosen in by_split.items() if chosen},
    }


def show(results: dict[str, Any]) -> str:
    """The scores as text."""
    data = results["data"]
    lines = [f"{data['songs']} songs, {data['leads']} leads, {data['hours']:.2f} h; percent, means over clips of 5 s"]
    for split, rules in results["scores"].items():
        title = f"{split}, {data['clips'][split]} clips"
        lines += ["", f"{title:24}" + "".join(f"{name.replace('_', ' '):>21}" for name in SCORES)]
        lines += [f"{rule:24}" + "".join(f"{row[name]:21.1f}" for name in SCORES) for rule, row in rules.items()]
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lead_detection baseline",
        description="Score simple rules on the authors' clips of MedleyDB, from text files alone.",
    )
    parser.add_argument(
        "--annotations",
        required=True,
        type=Path,
        help="a clone of Sonata165/LeadInstrumentDetection",
    )
    parser.add_argument("--medleydb", required=True, type=Path, help="a clone of marl/medleydb")
    parser.add_argument("--out", type=Path, help="also write the scores as JSON")
    return parser


def baseline_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    try:
        with plain_warnings():
            results = evaluate(options.annotations, options.medleydb)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(show(results))
    if options.out:
        with replacing(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1))
    return 0
