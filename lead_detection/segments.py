"""The paper's Table V: does the guitar lead in a clip, told from the mixture alone?

The support vector machine is after Pati and Lerch (2017). The authors of the paper scale clips of the test by the
test's own mean and deviation; here those of training are used, as for any clip that comes alone. The network of the
table is trained by `lead_detection.segment_task`.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from common import checkpoint
from common import corpus as corpora
from common.audio import conform
from common.evaluation.labels import IGNORE, accuracy, class_scores, pooled_macro_f1
from common.storage import replacing
from lead_detection import clips
from lead_detection.descriptors import describe, find_structure
from lead_detection.model import LeadDetector
from lead_detection.prepare import open_cache
from lead_detection.songs import Song, embedded_songs, rasterise
from lead_detection.taxonomy import VOCABULARY
from lead_detection.validation import instrument_labels

SECONDS, HOP = 5.0, 2.5  # of a clip, and from one to the next
LABEL_RATE = 75  # Hz
GUITARS = ("acoustic_guitar", "electric_guitar")
DESCRIPTION = """Tell from the mixture alone in which clips of 5 s the guitar leads, the paper's Table V. Fits and
scores a support vector machine, or scores a network."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Clip:
    """A stretch of the mixture of a song."""

    audio: np.ndarray  # float32 (time,)
    sample_rate: int
    start: float  # seconds into the song
    leads: int  # 1 if an instrument asked for leads for more than half of it


@dataclass(frozen=True, eq=False)
class Segments:
    """Clips, as numbers and as what is to be told of them."""

    features: np.ndarray  # float64 (clip, 42)
    leads: np.ndarray  # int64 (clip,)


def leads_in(lead: np.ndarray, instruments: np.ndarray, wanted: Sequence[int]) -> int:
    """1 if one of the instruments leads for more than half of a clip.

    Args:
        lead: (frame,) 0 nobody, 1 + i track i, IGNORE.
        instruments: (track,) ids.
        wanted: ids.
    """
    return int(2 * np.isin(instrument_labels(lead, instruments), wanted).sum() > len(lead))


def mixture_of(song: Song) -> np.ndarray:
    """(time,) all of it, with the peak that the paper gives every mixture."""
    multitrack = song.multitrack()
    everything = clips.everything(len(multitrack.stems))
    rng = np.random.default_rng(0)  # draws nothing: there are no effects
    return clips.render(song, 0, multitrack.n_samples, everything, rng, norm="stem_peak")[1]


def song_clips(song: Song, mixture: np.ndarray, wanted: Sequence[int]) -> Iterator[Clip]:
    """The annotated clips of a song."""
    rate = song.multitrack().sample_rate
    times = (np.arange(round(SECONDS * LABEL_RATE)) + 0.5) / LABEL_RATE
    for start in np.arange(0.0, len(mixture) / rate - SECONDS + 1e-6, HOP):
        lead = rasterise(song.lead, start + times, song.annotated)
        if (lead != IGNORE).all():
            first = round(start * rate)
            leads = leads_in(lead, np.asarray(song.instruments), wanted)
            yield Clip(mixture[first : first + round(SECONDS * rate)], rate, start, leads)


def describe_songs(songs: Sequence[Song], wanted: Sequence[int]) -> Segments:
    """All clips of some songs; one mixture at a time is in memory.

    Raises:
        ValueError: there is none.
    """
    features, leads = [], []
    for song in tqdm(songs, unit="song"):
        mixture = mixture_of(song)
        structure = find_structure(mixture, song.multitrack().sample_rate)
        for clip in song_clips(song, mixture, wanted):
            features.append(describe(clip.audio, clip.sample_rate, clip.start, structure))
            leads.append(clip.leads)
    if not leads:
        raise ValueError(f"no annotated clip of {SECONDS:.0f} s in a split: give a corpus or a cache that has some")
    return Segments(np.stack(features), np.array(leads))


def fit(train: Segments) -> Pipeline:
    """scikit-learn's SVC as it comes, on features that have mean 0 and deviation 1 in training.

    Raises:
        ValueError: every clip has the same label.
    """
    if len(np.unique(train.leads)) < 2:
        raise ValueError("the instruments asked for lead in all training clips or in none: choose others with --lead")
    return make_pipeline(StandardScaler(), SVC()).fit(train.features, train.leads)


def score(truth: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """The columns of Table V: accuracy, F of the clips that are led, and the mean of both classes' F, 0 to 1."""
    f1 = class_scores(truth, estimate)["f1"]
    return {
        "accuracy": accuracy(truth, estimate),
        "lead_f1": float(f1[1]) if len(f1) > 1 else 0.0,
        "macro_f1": pooled_macro_f1(truth, estimate),
    }


def predict(machine: Pipeline, songs: Sequence[Song], wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and what a support vector machine says, (clip,) each."""
    segments = describe_songs(songs, wanted)
    return segments.leads, machine.predict(segments.features)


def classify(net: LeadDetector, songs: Sequence[Song], wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Truth and what a network with a `SegmentHead` says, (clip,) each."""
    truth, estimate = [], []
    n_samples = net.n_samples(round(SECONDS * net.grid.rate))
    unknown = torch.zeros(1, dtype=torch.int64)
    for song in tqdm(songs, unit="song"):
        for clip in song_clips(song, mixture_of(song), wanted):
            audio = np.zeros(n_samples, np.float32)
            samples = conform(clip.audio, clip.sample_rate, net.grid.sample_rate)[:n_samples]
            audio[: len(samples)] = samples
            mixture = torch.from_numpy(audio)[None]
            with torch.inference_mode():
                # The head hears no tracks: the mixture stands for the one that a clip must have.
                logits = net(mixture, unknown, unknown, mixture)
            truth.append(clip.leads)
            estimate.append(int(logits.argmax()))
    return np.array(truth), np.array(estimate)


def evaluate(
    songs: dict[str, Sequence[Song]], wanted: Sequence[int], net: LeadDetector | None = None
) -> dict[str, dict[str, float]]:
    """Scores on validation and test, beside those of always saying no.

    Args:
        songs: by split.
        wanted: ids of instruments.
        net: what is scored; by default the support vector machine, fitted to the training songs.
    """
    judge = partial(classify, net) if net else partial(predict, fit(describe_songs(songs["train"], wanted)))
    results = {}
    for name in SPLITS[1:]:
        truth, estimate = judge(songs[name], wanted)
        results[name] = score(truth, estimate)
        results[f"{name}, always no"] = score(truth, np.zeros_like(truth))
    return results


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lead_detection segments", description=DESCRIPTION)
    parser.add_argument("--corpus", default="lead", help="size of the embedded corpus (default: lead)")
    parser.add_argument("--cache", type=Path, nargs="+", help="folders of prepared data sets, instead of the corpus")
    parser.add_argument("--root", help="folder of the corpora")
    parser.add_argument(
        "--lead", nargs="+", default=GUITARS, choices=VOCABULARY.names, metavar="CLASS", help="what is to lead"
    )
    parser.add_argument(
        "--network",
        type=Path,
        help="score this .safetensors, of `export` or `import`, instead of a support vector machine",
    )
    parser.add_argument("--out", type=Path, help="also write the scores as JSON")
    return parser


def segments_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    wanted = [VOCABULARY.id(name) for name in options.lead]
    try:
        # Before the songs: a corpus that is not there yet takes a while.
        net = checkpoint.load(LeadDetector, options.network)[0] if options.network else None
        if net and net.classifies != "segment":
            raise ValueError(
                f"{options.network}: it classifies {net.classifies}s; give one that was trained on segments"
            )
        if options.cache:
            cached = [song for folder in options.cache for song in open_cache(folder)]
            songs: dict[str, Sequence[Song]] = {
                split: [song for song in cached if song.split == split] for split in SPLITS
            }
        else:
            corpus = corpora.build(options.corpus, 24_000, options.root, jobs=os.cpu_count())
            songs = {split: embedded_songs(corpus, split) for split in SPLITS}
        results = evaluate(songs, wanted, net)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for name, scores in results.items():
        print(f"{name:24}" + "  ".join(f"{key} {100 * value:5.1f}" for key, value in scores.items()))
    if options.out:
        with replacing(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1))
    return 0
