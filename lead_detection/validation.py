"""How good a network is on windows of songs while it is trained, and how sure of itself it should be.

These scores are of frames, each on its own; whole songs through the decoder are scored by `lead_detection.evaluate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.evaluation.labels import (
    IGNORE,
    accuracy,
    calibration_error,
    clip_scores,
    null_scores,
    pooled_macro_f1,
    relabel,
)
from common.evaluation.segments import from_frames
from common.frames import FrameGrid
from common.plots import timeline
from common.stems import Stem
from lead_detection.decode import NOBODY, DecodeSettings, decode, log_probabilities
from lead_detection.songs import Song, rasterise
from lead_detection.taxonomy import UNKNOWN, VOCABULARY

SOME_UNKNOWN = len(VOCABULARY)  # class of an estimate whose instrument nobody knows: never true
TEMPERATURES = np.geomspace(0.4, 4.0, 24).round(3)
NULL_BIASES = np.arange(-4.0, 4.25, 0.25)


@dataclass(frozen=True)
class Window:
    """What a network said of a window of a song, and what is true."""

    song: Song
    first: int  # frame of the song with which it begins
    logits: np.ndarray  # float32 (frame, class) of the classes that it has: nobody and its tracks, or instruments
    lead: np.ndarray  # int64 (frame,) 0, 1 + track, or IGNORE
    instrument: np.ndarray  # int64 (track,) ids, 0 = unknown


@dataclass(frozen=True)
class Labels:
    """Classes of the frames of many windows, (window, frame) int64; truth may be IGNORE."""

    truth: np.ndarray
    estimate: np.ndarray

    def of(self, chosen: np.ndarray) -> "Labels":
        return Labels(self.truth[chosen], self.estimate[chosen])


def told(logits: Any, batch: Any, classifies: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Logits, lead and instruments of each clip of a batch (`lead_detection.data.Batch`), see `Window`.

    Args:
        logits: tensor (batch, frame, class) of the network.
        batch: what it heard.
        classifies: "track", "instrument" or "segment".
    """
    n_tracks = np.bincount(batch["clip"].cpu().numpy(), minlength=len(logits))
    instruments = np.split(batch["instrument"].cpu().numpy(), n_tracks.cumsum()[:-1])
    rows = zip(logits.detach().float().cpu().numpy(), batch["lead"].cpu().numpy(), instruments, strict=True)
    if classifies != "track":
        return list(rows)
    # The paper's head has classes for tracks that are not there.
    return [(row[:, : 1 + len(instrument)], lead, instrument) for row, lead, instrument in rows]


def classes_of(window: Window, classifies: str) -> np.ndarray:
    """(frame,) true class of each frame, as the network names classes."""
    return window.lead if classifies == "track" else instrument_labels(window.lead, window.instrument)


def instrument_labels(lead: np.ndarray, instrument: np.ndarray) -> np.ndarray:
    """The instrument that leads; IGNORE where that is unknown."""
    return relabel(lead, np.concatenate([[0], np.where(instrument == UNKNOWN, IGNORE, instrument)]))


def label(windows: Sequence[Window], settings: DecodeSettings, classifies: str) -> dict[str, Labels]:
    """The likeliest class of each frame beside the true one, as "track" (where tracks are told apart) and "instrument".

    Where no instrument that leads is known there is nothing to say of instruments.
    """
    estimates = [log_probabilities(window.logits, None, settings).argmax(axis=1) for window in windows]
    named = np.stack([instrument_labels(window.lead, window.instrument) for window in windows])
    labels = {}
    if classifies == "track":
        labels["track"] = Labels(np.stack([window.lead for window in windows]), np.stack(estimates))
        estimates = [
            np.concatenate([[0], np.where(window.instrument == UNKNOWN, SOME_UNKNOWN, window.instrument)])[estimate]
            for window, estimate in zip(windows, estimates, strict=True)
        ]
    if (named > 0).any() or classifies == "instrument":
        labels["instrument"] = Labels(named, np.stack(estimates))
    return labels


def score(
    windows: Sequence[Window], labels: dict[str, Labels], settings: DecodeSettings, classifies: str
) -> dict[str, float]:
    """Scores by name.

    "track_accuracy" and "instrument_accuracy" are means over songs of the share of frames that are right. Those that
    begin with "clip_" are the paper's: means over windows. "instrument_f1" is the mean over instruments of their F from
    all frames together.

    Args:
        windows: that were heard.
        labels: what `label` made of them.
        settings: temperature and null bias of it.
        classifies: "track" or "instrument".
    """
    scores = {name: float(np.mean(list(songs.values()))) for name, songs in song_scores(windows, labels).items()}
    for kind, both in labels.items():
        clips = clip_scores(both.truth, both.estimate)
        known = ~np.isnan(clips["accuracy"])
        scores[f"clip_{kind}_accuracy"] = float(clips["accuracy"][known].mean())
        scores[f"clip_{kind}_f1"] = float(clips["macro_f1"][known].mean())
    if "instrument" in labels:
        scores["instrument_f1"] = pooled_macro_f1(labels["instrument"].truth, labels["instrument"].estimate)
    told_apart = labels[classifies]
    scores |= null_scores(told_apart.truth, told_apart.estimate)
    return scores | {"calibration_error": overconfidence(windows, settings, classifies)}


def song_scores(windows: Sequence[Window], labels: dict[str, Labels]) -> dict[str, dict[str, float]]:
    """Score -> song -> share of its frames that are right, for the songs in which anything is annotated."""
    songs = np.array([window.song.id for window in windows])
    scores: dict[str, dict[str, float]] = {}
    for kind, both in labels.items():
        parts = {song: both.of(songs == song) for song in dict.fromkeys(songs.tolist())}
        scores[f"{kind}_accuracy"] = {
            song: accuracy(part.truth, part.estimate) for song, part in parts.items() if (part.truth != IGNORE).any()
        }
    return scores


def overconfidence(windows: Sequence[Window], settings: DecodeSettings, classifies: str) -> float:
    """Expected calibration error of the likeliest class of each frame."""
    logits, truth = pooled(windows, classifies)
    scores = log_probabilities(logits, None, settings)
    confidence = np.clip(np.exp(scores.max(axis=1)), 0.0, 1.0)
    return calibration_error(confidence, scores.argmax(axis=1) == truth)


def pooled(windows: Sequence[Window], classifies: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits (frame, class) and true classes (frame,) of all frames that have one; -inf for classes that are absent."""
    n_classes = max(window.logits.shape[1] for window in windows)
    logits, truth = [], []
    for window in windows:
        classes = classes_of(window, classifies)
        absent = n_classes - window.logits.shape[1]
        padded = np.pad(window.logits, ((0, 0), (0, absent)), constant_values=-np.inf)
        logits.append(padded[classes != IGNORE])
        truth.append(classes[classes != IGNORE])
    return np.concatenate(logits), np.concatenate(truth)


def choose_settings(windows: Sequence[Window], start: DecodeSettings, classifies: str) -> DecodeSettings:
    """The temperature and null bias that make the truth likeliest, found one after the other, three times round.

    The negative logarithm of its probability falls towards one place only in both, so that the order does not matter.
    Without a frame that is annotated, those to start from.
    """
    logits, truth = pooled(windows, classifies)
    if not len(truth):
        return start

    def surprise(settings: DecodeSettings) -> float:
        scores = log_probabilities(logits, None, settings)
        return -float(np.take_along_axis(scores, truth[:, None], axis=1).mean(dtype=np.float64))

    best = start
    for _ in range(3):
        for name, values in (("temperature", TEMPERATURES), ("null_bias", NULL_BIASES)):
            choices = [replace(best, **{name: float(value)}) for value in values]
            best = min(choices, key=surprise)
    return best


def picture(windows: Sequence[Window], grid: FrameGrid, settings: DecodeSettings, title: str) -> Figure:
    """The timeline of the song of the first window as the decoder finds it, and the true one."""
    song = windows[0].song
    stems = song.multitrack().stems
    n_samples = len(stems[0].samples)
    logits = np.full((grid.n_frames(n_samples), 1 + len(stems)), -np.inf, np.float32)
    logits[:, 0] = 0.0  # where no window is, nobody leads
    for window in windows:
        if window.song is song:
            place = logits[window.first : window.first + len(window.logits)]
            place[:] = window.logits[: len(place)]
    duration = n_samples / grid.sample_rate
    segments, _ = decode(logits, None, grid, duration, settings)
    truth = rasterise(song.lead, grid.times(np.arange(len(logits)) + 0.5))
    edges, classes = from_frames(truth, grid, duration)
    return timeline(
        np.stack([envelope(stem, grid) for stem in stems]),
        [stem.name for stem in stems],
        np.append(segments["start"], duration),
        segments["track"],
        segments["confidence"],
        (edges, classes + NOBODY),
        title,
    )


def envelope(stem: Stem, grid: FrameGrid) -> np.ndarray:
    """(frame,) greatest amplitude of each frame of a stem."""
    return np.maximum.reduceat(np.abs(stem.audio), np.arange(0, len(stem.samples), grid.hop_length))
