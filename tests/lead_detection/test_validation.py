from dataclasses import dataclass

import numpy as np
import pytest
from sklearn.metrics import f1_score

from common.evaluation.labels import IGNORE
from common.frames import FrameGrid
from lead_detection.decode import DecodeSettings
from lead_detection.synthetic import SyntheticSettings, synthetic_songs
from lead_detection.validation import (
    SOME_UNKNOWN,
    Window,
    choose_settings,
    instrument_labels,
    label,
    picture,
    pooled,
    score,
    song_scores,
)

GRID = FrameGrid(24_000, 960)
PLAIN = DecodeSettings()


@dataclass(frozen=True)
class Named:
    id: str


def window(song: str, lead: list[int], said: list[int], instrument: list[int], n_classes: int = 0) -> Window:
    """A window of which the network is nearly sure."""
    logits = np.full((len(lead), n_classes or 1 + len(instrument)), -4.0, np.float32)
    logits[np.arange(len(said)), said] = 4.0
    return Window(Named(song), 0, logits, np.array(lead), np.array(instrument))


WINDOWS = [
    window("a", [1, 1, 2, 2], [1, 1, 2, 1], [5, 7]),
    window("a", [0, 0, IGNORE, 3], [0, 1, 0, 2], [5, 7, 7]),
    window("b", [2, 2, 1, 1], [2, 2, 2, 2], [5, 0]),
]


def test_scores_by_hand():
    labels = label(WINDOWS, PLAIN, "track")
    assert labels["instrument"].truth.tolist() == [[5, 5, 7, 7], [0, 0, IGNORE, 7], [IGNORE, IGNORE, 5, 5]]
    assert labels["instrument"].estimate.tolist() == [[5, 5, 7, 5], [0, 5, 0, 7], [SOME_UNKNOWN] * 4]
    scores = score(WINDOWS, labels, PLAIN, "track")
    # Song a: 4 of 7 frames; song b: 2 of 4.
    assert scores["track_accuracy"] == pytest.approx((4 / 7 + 2 / 4) / 2)
    # Another track of the same instrument is right here; an unknown one that leads is no part of it.
    assert scores["instrument_accuracy"] == pytest.approx((5 / 7 + 0) / 2)
    assert scores["clip_track_accuracy"] == pytest.approx((3 / 4 + 1 / 3 + 2 / 4) / 3)
    assert scores["null_precision"] == 1.0
    assert scores["null_recall"] == 0.5
    songs = song_scores(WINDOWS, labels)
    assert songs["track_accuracy"] == {"a": pytest.approx(4 / 7), "b": 0.5}


def test_clip_f1_is_scikit_learns_mean_over_clips():
    labels = label(WINDOWS, PLAIN, "track")
    expected = [
        f1_score([1, 1, 2, 2], [1, 1, 2, 1], average="macro"),
        f1_score([0, 0, 3], [0, 1, 2], average="macro", zero_division=0),
        f1_score([2, 2, 1, 1], [2, 2, 2, 2], average="macro", zero_division=0),
    ]
    assert score(WINDOWS, labels, PLAIN, "track")["clip_track_f1"] == pytest.approx(np.mean(expected))


def test_without_known_instruments_only_tracks_are_scored():
    windows = [window("a", [0, 1, 2], [0, 1, 1], [0, 0])]
    scores = score(windows, label(windows, PLAIN, "track"), PLAIN, "track")
    assert scores["track_accuracy"] == pytest.approx(2 / 3)
    assert not [name for name in scores if "instrument" in name]


def test_a_network_that_classifies_instruments_has_no_score_of_tracks():
    windows = [window("a", [1, 2, 0, 2], [5, 5, 0, 7], [5, 7], n_classes=9)]
    scores = score(windows, label(windows, PLAIN, "instrument"), PLAIN, "instrument")
    assert scores["instrument_accuracy"] == scores["clip_instrument_accuracy"] == 0.75
    assert not [name for name in scores if "track" in name]


def test_an_instrument_that_leads_unknown_does_not_count():
    lead = np.array([0, 1, 2, IGNORE])
    assert instrument_labels(lead, np.array([0, 4])).tolist() == [0, IGNORE, 4, IGNORE]


@pytest.mark.parametrize(("temperature", "bias"), [(0.5, 1.0), (1.0, 0.0), (2.5, -2.0)])
def test_the_settings_undo_what_was_done_to_calibrated_logits(temperature, bias):
    """Classes drawn from the softmax of logits; scaled and shifted logits want the inverse, to the candidates' step."""
    rng = np.random.default_rng(0)
    windows = []
    for _ in range(60):
        logits = rng.normal(0.0, 2.0, (400, 4)).astype(np.float32)
        probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        lead = (probability.cumsum(axis=1) < rng.random((400, 1))).sum(axis=1)
        logits[:, 0] -= bias
        windows.append(Window(Named("a"), 0, logits * np.float32(temperature), lead, np.array([1, 2, 3])))
    settings = choose_settings(windows, PLAIN, "track")
    assert settings.temperature == pytest.approx(temperature, rel=0.12)
    assert settings.null_bias == pytest.approx(bias, abs=0.26)


def test_windows_without_any_truth_leave_the_settings_alone():
    windows = [window("a", [IGNORE] * 3, [0, 1, 1], [5])]
    assert choose_settings(windows, PLAIN, "track") == PLAIN


def test_pooled_windows_have_no_class_that_a_clip_lacks():
    logits, truth = pooled(WINDOWS, "track")
    assert truth.tolist() == [1, 1, 2, 2, 0, 0, 3, 2, 2, 1, 1]
    assert np.isneginf(logits[:4, 3]).all()
    assert np.isfinite(logits[4:7]).all()


def test_the_picture_shows_found_and_true_timeline():
    song = synthetic_songs(SyntheticSettings(seconds=6.0, min_tracks=3, max_tracks=3), "test", 24_000)[0]
    n_frames = 50
    windows = [
        Window(song, first, np.eye(4, dtype=np.float32)[np.full(n_frames, 2)] * 9, np.zeros(n_frames, int), np.zeros(3))
        for first in (0, 50, 100, 125)  # the last reaches over the end
    ]
    figure = picture(windows, GRID, PLAIN, "step 7")
    above, below = figure.axes
    assert above.get_title(loc="left") == "step 7"
    assert [label.get_text() for label in above.get_yticklabels()] == ["Tone 1", "Tone 2", "Tone 3", "truth"]
    assert below.get_xlim()[1] == pytest.approx(6.0)
