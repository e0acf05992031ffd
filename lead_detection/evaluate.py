"""How good the timelines of whole songs are beside those of simple rules, and which settings of the decoder serve."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from common import corpus as corpora
from common.evaluation.bootstrap import bootstrap_interval
from common.evaluation.labels import (
    IGNORE,
    accuracy,
    calibration_error,
    clip_scores,
    leave_out,
    null_scores,
    pooled_macro_f1,
    relabel,
)
from common.evaluation.segments import boundary_scores, to_frames
from common.frames import FrameGrid
from lead_detection import validation
from lead_detection.decode import NOBODY, DecodeSettings, decode
from lead_detection.floors import loudest, vocal_first
from lead_detection.inference import Model, hear, load
from lead_detection.prepare import open_cache
from lead_detection.songs import EmbeddedSong, Song, embedded_songs, rasterise
from lead_detection.streams import Source, Stems
from lead_detection.taxonomy import UNKNOWN, VOCAL
from lead_detection.validation import SOME_UNKNOWN, Window, instrument_labels

CLIP, CLIP_HOP = 5.0, 2.5  # seconds: the paper's clips
TOLERANCES = (0.5, 3.0)  # seconds, of boundaries
SILENCE, VOICE = -60.0, -40.0  # dB against the loudest frame of a song: nobody leads below, a voice sings above
FLOORS = ("loudest", "vocal", "random")
SWITCHES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
MIN_LENGTHS = (0.0, 0.25, 0.5, 1.0)
FEW = 5  # tracks, which training has at most


@dataclass(frozen=True, eq=False)
class Heard:
    """A song, and what a network said of it."""

    song: Song
    logits: np.ndarray  # float32 (frame, class)
    levels: np.ndarray  # float32 (frame, track) dBFS
    truth: np.ndarray  # int64 (frame,) 0, 1 + track, or IGNORE
    instruments: np.ndarray  # int64 (track,) ids, 0 = unknown
    grid: FrameGrid
    duration: float  # seconds


@dataclass(frozen=True, eq=False)
class Timeline:
    """Who leads at each frame of a song, and how sure that is."""

    labels: np.ndarray  # int64 (frame,) 0, 1 + track, or the id of an instrument where those are classified
    confidence: np.ndarray | None  # (frame,) 0..1; a rule has none


def hear_song(song: Song, model: Model, instruments: bool = True) -> Heard:
    """What a network says of a whole song.

    Args:
        song: of any source.
        model: see `inference.load`.
        instruments: whether the network is told those that are known.
    """
    multitrack, mixture = song.multitrack(), song.mixture
    tracks = [Source(stem.name, stem.audio, multitrack.sample_rate) for stem in multitrack.stems]
    stems = Stems.open(tracks, mixture and Source("mixture", mixture.audio, multitrack.sample_rate))
    ids = np.asarray(song.instruments, np.int64)
    logits, levels = hear(model, stems, ids.tolist() if instruments else [UNKNOWN] * len(ids))
    truth = rasterise(song.lead, model.grid.times(np.arange(len(logits)) + 0.5), song.annotated)
    return Heard(song, logits, levels, truth, ids, model.grid, stems.duration)


def decoded(heard: Heard, settings: DecodeSettings, classifies: str) -> Timeline:
    """The timeline that a user would get; a segment's confidence is that of its frames."""
    levels = heard.levels if classifies == "track" else None
    segments, _ = decode(heard.logits, levels, heard.grid, heard.duration, settings)
    edges = np.append(0.0, segments["end"])
    n_frames = len(heard.truth)
    labels = to_frames(edges, segments["track"].astype(np.int64) - NOBODY, heard.grid, n_frames)
    return Timeline(labels, np.clip(to_frames(edges, segments["confidence"], heard.grid, n_frames), 0.0, 1.0))


def floor(heard: Heard, rule: str) -> Timeline:
    """What a rule that hears nothing but levels says: "loudest", "vocal" or "random"."""
    levels = heard.levels.T
    top = float(levels.max())
    if rule == "loudest":
        return Timeline(loudest(levels, top + SILENCE), None)
    if rule == "vocal":
        return Timeline(vocal_first(levels, heard.instruments, top + VOICE, top + SILENCE), None)
    n_clips = int(np.ceil(heard.duration / CLIP))
    drawn = np.random.default_rng(0).integers(1, 1 + len(levels), n_clips)
    clip = heard.grid.times(np.arange(len(heard.truth))) // CLIP
    return Timeline(drawn[clip.astype(np.int64)], None)


def told_apart(heard: Heard, timeline: Timeline, classifies: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Truth and estimate (frame,) of what is classified: "track" unless instruments are, and "instrument".

    Frames in which an unknown instrument leads do not count for instruments, nor do songs of which none is known.
    """
    named = instrument_labels(heard.truth, heard.instruments)
    if not (named > 0).any():
        named = np.full_like(named, IGNORE)
    if classifies == "instrument":
        return {"instrument": (named, timeline.labels)}
    table = np.concatenate([[0], np.where(heard.instruments == UNKNOWN, SOME_UNKNOWN, heard.instruments)])
    return {"track": (heard.truth, timeline.labels), "instrument": (named, relabel(timeline.labels, table))}


def song_scores(heard: Heard, timeline: Timeline, classifies: str = "track") -> dict[str, float]:
    """Scores of one song; NaN where there is nothing to score.

    "track_accuracy" and "instrument_accuracy" are shares of its frames, "non_vocal_accuracy" of those in which a track
    leads that is no voice. "boundary_f1_0.5" and "boundary_f1_3" are those of the changes of the lead, at 0.5 and 3 s.
    """
    both = told_apart(heard, timeline, classifies)
    scores = {f"{kind}_accuracy": accuracy(*pair) for kind, pair in both.items()}
    truth, estimate = both[classifies]
    if classifies == "track":
        voices = 1 + np.flatnonzero(heard.instruments == VOCAL)
        scores["non_vocal_accuracy"] = accuracy(leave_out(truth, np.append(0, voices)), estimate)
    theirs, ours = (changes(labels, truth, heard.grid) for labels in (truth, estimate))
    for tolerance in TOLERANCES:
        f1 = boundary_scores(theirs, ours, tolerance)["f1"] if len(theirs) or len(ours) else np.nan
        scores[f"boundary_f1_{tolerance:g}"] = f1
    return scores


def changes(labels: np.ndarray, truth: np.ndarray, grid: FrameGrid) -> np.ndarray:
    """Seconds at which labels change, where the truth is known on either side."""
    known = truth != IGNORE
    changed = (labels[1:] != labels[:-1]) & known[1:] & known[:-1]
    return grid.times(1 + np.flatnonzero(changed))


def pooled_scores(songs: Sequence[Heard], timelines: Sequence[Timeline], classifies: str = "track") -> dict[str, float]:
    """Scores of many songs together.

    Those that begin with "clip_" are the paper's: the mean, over clips of 5 s every 2.5 s, of the accuracy and of the
    macro-F of each clip. "instrument_f1" is the mean over the true classes, nobody among them, of the F of each from
    all frames. Null precision, recall and F are those of "nobody leads"; "calibration_error" tells how far confidences
    are from the share of frames that are right.
    """
    pairs = [told_apart(*pair, classifies) for pair in zip(songs, timelines, strict=True)]
    scores: dict[str, float] = {}
    for kind in pairs[0]:
        clips = [clip_scores(*in_clips(*pair[kind], song.grid)) for song, pair in zip(songs, pairs, strict=True)]
        for name, ours in (("accuracy", "accuracy"), ("macro_f1", "f1")):
            scores[f"clip_{kind}_{ours}"] = mean_of_known(np.concatenate([each[name] for each in clips]))

    def together(kind: str) -> Iterator[np.ndarray]:
        return (np.concatenate([pair[kind][i] for pair in pairs]) for i in range(2))

    scores["instrument_f1"] = pooled_macro_f1(*together("instrument"))
    truth, estimate = together(classifies)
    scores |= null_scores(truth, estimate)
    confidence = [timeline.confidence for timeline in timelines if timeline.confidence is not None]
    if len(confidence) == len(timelines):
        known = truth != IGNORE
        scores["calibration_error"] = calibration_error(np.concatenate(confidence)[known], (truth == estimate)[known])
    return scores


def in_clips(truth: np.ndarray, estimate: np.ndarray, grid: FrameGrid) -> tuple[np.ndarray, np.ndarray]:
    """Labels (frame,) cut into the paper's clips that lie in the song, (clip, frame)."""
    n_frames = int(grid.frames(CLIP))
    first = grid.frames(np.arange(0.0, float(grid.times(len(truth))), CLIP_HOP))
    frames = first[first <= len(truth) - n_frames, None] + np.arange(n_frames)
    return truth[frames], estimate[frames]


def mean_of_known(values: np.ndarray) -> float:
    """Mean of those that are not NaN; NaN without one."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def groups(songs: Sequence[Song]) -> dict[str, list[int]]:
    """Indices of all songs, and of those that are harder than what training had, where there are such."""
    unseen = [i for i, song in enumerate(songs) if isinstance(song, EmbeddedSong) and song.piece.unseen]
    many = [i for i, song in enumerate(songs) if len(song.instruments) > FEW]
    kinds = {"all": list(range(len(songs))), "unseen instruments": unseen, f"more than {FEW} tracks": many}
    return {kind: chosen for kind, chosen in kinds.items() if chosen}


def summary(songs: Sequence[Heard], timelines: Sequence[Timeline], classifies: str = "track") -> dict[str, dict]:
    """For each group of songs their number, means over songs with 95 % bootstrap intervals, and pooled scores.

    A song in which there is nothing to score is left out of a mean.
    """
    rows = [song_scores(*pair, classifies) for pair in zip(songs, timelines, strict=True)]
    table = {}
    for kind, chosen in groups([heard.song for heard in songs]).items():
        means = {name: [rows[i][name] for i in chosen if not np.isnan(rows[i][name])] for name in rows[0]}
        pooled = pooled_scores([songs[i] for i in chosen], [timelines[i] for i in chosen], classifies)
        table[kind] = (
            {"songs": len(chosen)}
            | {name: [round(v, 4) for v in bootstrap_interval(values)] for name, values in means.items() if values}
            | {name: round(value, 4) for name, value in pooled.items() if not np.isnan(value)}
        )
    return table


def choose_settings(songs: Sequence[Heard], start: DecodeSettings, classifies: str = "track") -> DecodeSettings:
    """The settings that suit songs best: for validation songs, never for those that are to be scored.

    Temperature and null bias are those that make the truth likeliest, frame by frame. With them, how often leads change
    and how short they may be are chosen for the largest sum of accuracy and boundary F at 0.5 s; what is no better than
    the start is left as it is.
    """
    windows = [
        Window(song=song.song, first=0, logits=song.logits, lead=song.truth, instrument=song.instruments)
        for song in songs
    ]
    calibrated = validation.choose_settings(windows, start, classifies)

    def goodness(settings: DecodeSettings) -> float:
        rows = [song_scores(song, decoded(song, settings, classifies), classifies) for song in songs]
        names = (f"{classifies}_accuracy", f"boundary_f1_{TOLERANCES[0]:g}")
        return float(np.nansum([mean_of_known(np.array([row[name] for row in rows])) for name in names]))

    choices = [
        replace(calibrated, switch_probability=switch, min_length=length)
        for switch, length in product(SWITCHES, MIN_LENGTHS)
    ]
    return max([calibrated, *choices], key=goodness)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lead_detection evaluate", description=(__doc__ or "").strip())
    parser.add_argument("--model", default="base", help="a shipped one, or an exported file (default: base)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--corpus", default="lead", choices=corpora.SIZES, help="size (default: lead)")
    parser.add_argument("--data", type=Path, help="folder of a prepared data set, instead of the embedded corpus")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files, as in training; may be repeated")
    parser.add_argument("--test-soundfont", help="another one for the test split")
    parser.add_argument("--unnamed", action="store_true", help="do not tell the network what the tracks play")
    parser.add_argument("--choose", type=Path, help="choose the decoder's settings on validation songs, into this JSON")
    parser.add_argument("--out", type=Path, help="also write the scores of every song as JSON")
    return parser


def open_songs(options: argparse.Namespace, split: str, sample_rate: int) -> list[Song]:
    """Those of the command line.

    Raises:
        ValueError: a corpus that cannot be built, a folder without data set, or one without this split.
    """
    songs: list[Any]
    if options.data:
        songs = [song for song in open_cache(options.data) if song.split == split]
    else:
        fonts = {"soundfonts": options.soundfont, "test_soundfont": options.test_soundfont}
        songs = embedded_songs(corpora.build(options.corpus, sample_rate, jobs=None, **fonts), split)
    if not songs:
        raise ValueError(
            f"{options.data or options.corpus}: no songs in the {split} split; choose another with --split"
        )
    return songs


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line asks for: the data, the settings, a summary for the model and each floor, a row per song.

    Raises:
        ValueError: no such model, or data that is not there.
    """
    model = load(options.model, options.device)

    def heard(split: str) -> list[Heard]:
        songs = open_songs(options, split, model.grid.sample_rate)
        return [hear_song(song, model, not options.unnamed) for song in tqdm(songs, unit="song")]

    settings = model.settings
    if options.choose:
        settings = choose_settings(heard("validation"), settings, model.classifies)
    songs = heard(options.split)
    found = [decoded(song, settings, model.classifies) for song in songs]
    table = {"model": summary(songs, found, model.classifies)}
    table |= {rule: summary(songs, [floor(song, rule) for song in songs]) for rule in FLOORS}
    rows = [
        {"id": song.song.id, "tracks": len(song.instruments)}
        | {name: round(value, 4) for name, value in scores.items() if not np.isnan(value)}
        for song, timeline in zip(songs, found, strict=True)
        for scores in [song_scores(song, timeline, model.classifies)]
    ]
    data = {"corpus": str(options.data or options.corpus), "split": options.split, "instruments": not options.unnamed}
    return {"model": model.name, "data": data, "decode": asdict(settings), "summary": table, "songs": rows}


def evaluate_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    try:
        results = evaluate(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(results["summary"], indent=1))
    for path, content in ((options.choose, results["decode"]), (options.out, results)):
        if path:
            path.write_text(json.dumps(content, indent=1))
    return 0
