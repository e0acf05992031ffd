import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from common.frames import FrameGrid
from common.notes import Notes
from common.stems import Multitrack, Stem
from lead_detection import evaluate
from lead_detection.decode import NOBODY, DecodeSettings
from lead_detection.evaluate import (
    Heard,
    Timeline,
    changes,
    choose_settings,
    decoded,
    evaluate_command,
    floor,
    hear_song,
    in_clips,
    pooled_scores,
    song_scores,
    summary,
)
from lead_detection.inference import Model
from lead_detection.songs import IGNORE, EmbeddedSong
from lead_detection.taxonomy import VOCABULARY
from tests.lead_detection.loudest import RATE, Loudest, make_song

VOCAL, ORGAN, BASS = map(VOCABULARY.id, ("vocal", "organ", "electric_bass"))
GRID = FrameGrid(10, 1)


@dataclass(frozen=True, eq=False)
class ToySong:
    """A song in which the loudest of three tracks leads."""

    id: str = "toy"
    split: str = "test"
    edges: tuple[float, ...] = (0.0, 4.3, 9.81, 13.0, 20.0)
    leaders: tuple[int, ...] = (0, 2, NOBODY, 1)
    instruments: tuple[int, ...] = (VOCAL, ORGAN, 0)
    annotated: tuple[tuple[float, float], ...] = ((0.0, 20.0),)
    mixture: Stem | None = None

    @property
    def seconds(self) -> float:
        return self.edges[-1]

    @property
    def lead(self) -> list[tuple[float, float, int]]:
        tiles = zip(self.edges, self.edges[1:], self.leaders, strict=False)
        return [(start, end, leader) for start, end, leader in tiles if leader != NOBODY]

    def multitrack(self) -> Multitrack:
        audio = make_song(self.edges, self.leaders, len(self.instruments))
        return Multitrack(tuple(Stem(row, 0, False, f"{i}", Notes.empty()) for i, row in enumerate(audio)), RATE)


@pytest.fixture
def model() -> Model:
    return Model(Loudest(), "loudest", norm="none")


def toy(truth, instruments=(VOCAL, ORGAN), logits=None, levels=None, song=None) -> Heard:
    """A song of which only the labels matter, ten frames a second."""
    truth = np.asarray(truth)
    n_tracks = len(instruments)
    logits = np.zeros((len(truth), n_tracks + 1), np.float32) if logits is None else logits
    levels = np.full((len(truth), n_tracks), -20.0, np.float32) if levels is None else levels
    song = song or SimpleNamespace(id="toy", instruments=instruments)
    return Heard(song, logits, levels, truth, np.array(instruments), GRID, len(truth) / 10)


def test_a_song_is_heard_and_scored_as_a_user_would_get_it(model):
    heard = hear_song(ToySong(), model)
    timeline = decoded(heard, model.settings, "track")
    scores = song_scores(heard, timeline)
    assert scores["track_accuracy"] > 0.99
    assert scores["instrument_accuracy"] > 0.99
    assert scores["boundary_f1_0.5"] == scores["boundary_f1_3"] == 1.0
    assert timeline.confidence is not None
    assert timeline.confidence.min() > 0.9
    np.testing.assert_array_equal(model.net.calls[0][2][:3], [VOCAL, ORGAN, 0])
    model.net.calls.clear()
    hear_song(ToySong(), model, instruments=False)
    assert not model.net.calls[0][2].any()


def test_a_songs_own_mixture_is_heard(model):
    mixture = Stem(np.full(20 * RATE, 0.25, np.float32), 0, False, "mix", Notes.empty())
    hear_song(ToySong(mixture=mixture), model)
    assert (model.net.calls[0][3] == 0.25).all()


def test_what_is_not_annotated_does_not_count(model):
    heard = hear_song(ToySong(annotated=((0.0, 4.0), (10.0, 12.0))), model)
    assert (heard.truth == IGNORE).mean() == pytest.approx(0.7)
    wrong = np.where(heard.truth == IGNORE, 3, heard.truth)
    scores = song_scores(heard, Timeline(wrong, None))
    assert scores["track_accuracy"] == scores["instrument_accuracy"] == 1.0
    assert np.isnan(scores["boundary_f1_3"])  # no change of the lead lies in a stretch that is known


def test_scores_by_hand():
    heard = toy([1] * 10 + [2] * 10 + [0] * 10)
    timeline = Timeline(np.array([1] * 14 + [2] * 6 + [0] * 5 + [1] * 5), None)
    assert song_scores(heard, timeline) == pytest.approx(
        {
            "track_accuracy": 21 / 30,
            "instrument_accuracy": 21 / 30,
            "non_vocal_accuracy": 6 / 10,
            # Changes at 1 and 2 s; found at 1.4, 2 and 2.5 s.
            "boundary_f1_0.5": 2 * (2 / 3) / (5 / 3),
            "boundary_f1_3": 2 * (2 / 3) / (5 / 3),
        }
    )


def test_another_track_of_the_same_instrument_is_right_by_instrument():
    heard = toy([1] * 10, (VOCAL, VOCAL, 0))
    scores = song_scores(heard, Timeline(np.repeat([1, 2, 3], [2, 3, 5]), None))
    assert (scores["track_accuracy"], scores["instrument_accuracy"]) == (0.2, 0.5)
    assert np.isnan(scores["non_vocal_accuracy"])


def test_unknown_instruments_are_no_instrument():
    # Where an unknown one leads, instruments are not asked; where it is found instead of another, that is wrong.
    scores = song_scores(toy([1] * 5 + [2] * 5, (VOCAL, 0)), Timeline(np.array([2] * 10), None))
    assert (scores["track_accuracy"], scores["instrument_accuracy"]) == (0.5, 0.0)
    assert np.isnan(song_scores(toy([0, 1, 2], (0, 0)), Timeline(np.array([0, 1, 2]), None))["instrument_accuracy"])


def test_a_network_that_names_instruments():
    heard = toy([1] * 5 + [2] * 5 + [0] * 5)
    timeline = Timeline(np.repeat([VOCAL, BASS, 0], 5), None)
    scores = song_scores(heard, timeline, "instrument")
    assert set(scores) == {"instrument_accuracy", "boundary_f1_0.5", "boundary_f1_3"}
    assert scores["instrument_accuracy"] == pytest.approx(2 / 3)
    pooled = pooled_scores([heard], [timeline], "instrument")
    assert pooled["instrument_f1"] == pytest.approx(2 / 3)
    assert pooled["null_f1"] == 1.0


def test_changes_beside_unknown_frames_are_none():
    truth = np.array([1, 1, 2, 2, IGNORE, IGNORE, 1, 0])
    np.testing.assert_allclose(changes(truth, truth, GRID), [0.2, 0.7])


def test_clips_are_the_papers():
    labels = np.arange(1000)
    clips, _ = in_clips(labels, labels, FrameGrid(24_000, 320))
    # 13.33 s hold 5 s from 0, 2.5, 5 and 7.5 s on; 2.5 s are 187.5 frames.
    np.testing.assert_array_equal(clips[:, 0], [0, 188, 375, 563])
    assert clips.shape == (4, 375)


def test_pooled_scores_are_those_of_sklearn():
    rng = np.random.default_rng(0)
    songs, timelines = [], []
    for n_frames in (200, 130, 20):
        songs.append(toy(rng.integers(0, 3, n_frames)))
        found = np.where(rng.random(n_frames) < 0.3, rng.integers(0, 3, n_frames), songs[-1].truth)
        timelines.append(Timeline(found, rng.random(n_frames)))
    pooled = pooled_scores(songs, timelines)
    truth, found = (np.concatenate([each.truth for each in songs]), np.concatenate([each.labels for each in timelines]))
    assert pooled["instrument_f1"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert pooled["null_f1"] == pytest.approx(f1_score(truth == 0, found == 0))
    clips = [
        f1_score(song.truth[i : i + 50], timeline.labels[i : i + 50], average="macro")
        for song, timeline in zip(songs, timelines, strict=True)
        for i in range(0, len(song.truth) - 49, 25)
    ]
    assert pooled["clip_track_f1"] == pooled["clip_instrument_f1"] == pytest.approx(np.mean(clips))
    assert 0 < pooled["calibration_error"] < 1


def test_the_summary_has_intervals_and_groups():
    embedded = EmbeddedSong(SimpleNamespace(unseen=True, id="x", parts=()))
    many = SimpleNamespace(id="many", instruments=(VOCAL,) * 6)
    songs = [toy([1] * 60), toy([1] * 30, song=many, instruments=(VOCAL,) * 6)]
    songs.append(toy([2] * 40, song=embedded))
    timelines = [Timeline(song.truth, None) for song in songs]
    timelines[1] = Timeline(np.zeros(30, int), None)
    table = summary(songs, timelines)
    assert {kind: row["songs"] for kind, row in table.items()} == {
        "all": 3,
        "unseen instruments": 1,
        "more than 5 tracks": 1,
    }
    mean, low, high = table["all"]["track_accuracy"]
    assert (mean, low, high) == (pytest.approx(2 / 3, abs=1e-4), 0.0, 1.0)
    assert table["all"]["non_vocal_accuracy"][0] == 1.0  # of one song
    assert "boundary_f1_3" not in table["all"]
    assert "calibration_error" not in table["all"]


def test_floors():
    levels = np.full((100, 3), -30.0, np.float32)
    levels[:50, 2] = -10.0
    levels[50:70, 0] = levels[50:70, 2] = -100.0
    levels[70:] = -95.0
    heard = toy([1] * 100, (VOCAL, ORGAN, BASS), levels=levels)
    np.testing.assert_array_equal(floor(heard, "loudest").labels, np.repeat([3, 2, 0], [50, 20, 30]))
    np.testing.assert_array_equal(floor(heard, "vocal").labels, np.repeat([1, 2, 0], [50, 20, 30]))
    drawn = floor(heard, "random").labels
    np.testing.assert_array_equal(drawn, floor(heard, "random").labels)
    assert len(set(drawn[:50])) == 1
    assert set(drawn) <= {1, 2, 3}


@pytest.fixture(scope="module")
def noisy() -> list[Heard]:
    """Songs whose logits are three times too sure of noise, and see nobody too often."""
    songs = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = np.repeat(rng.integers(0, 4, 12), 50)
        own = rng.normal(size=(len(truth), 4)) + 1.5 * (truth[:, None] == np.arange(4))
        logits = 3.0 * (1.5 * own + [2.0, 0, 0, 0]).astype(np.float32)
        songs.append(toy(truth, (VOCAL, ORGAN, BASS), logits.astype(np.float32)))
    return songs


def test_settings_are_found(noisy):
    start = DecodeSettings(switch_probability=1.0, min_length=0.0)
    chosen = choose_settings(noisy, start)
    # The logits are log-odds once they are divided by 3 and freed of what was added.
    assert chosen.temperature == pytest.approx(3.0, abs=0.4)
    assert chosen.temperature * chosen.null_bias == pytest.approx(-6.0, abs=1.5)
    assert chosen.switch_probability < 1.0

    def accuracy(settings: DecodeSettings) -> float:
        return float(np.mean([song_scores(song, decoded(song, settings, "track"))["track_accuracy"] for song in noisy]))

    assert accuracy(chosen) > accuracy(start) + 0.2
    assert accuracy(chosen) > 0.95
    assert choose_settings(noisy, chosen) == chosen


@pytest.fixture
def command(monkeypatch, model):
    """The command with songs of our own in place of a corpus."""
    asked = []

    def open_songs(options, split, sample_rate):
        asked.append(split)
        return [ToySong(f"{split} {i}", leaders=(i, 2, NOBODY, 1)) for i in range(2)]

    monkeypatch.setattr(evaluate, "open_songs", open_songs)
    monkeypatch.setattr(evaluate, "load", lambda name, device: model)
    return asked


def test_the_command_scores_model_and_floors(command, tmp_path, capsys):
    assert evaluate_command(["--out", str(tmp_path / "scores.json")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown) == ["model", "loudest", "vocal", "random"]
    results = json.loads((tmp_path / "scores.json").read_text())
    assert results["summary"] == shown
    assert results["model"] == "loudest"
    assert results["data"] == {"corpus": "lead", "split": "test", "instruments": True}
    assert [row["id"] for row in results["songs"]] == ["test 0", "test 1"]
    assert DecodeSettings(**results["decode"]) == DecodeSettings()
    assert command == ["test"]


def test_settings_are_chosen_on_validation_songs(command, tmp_path, capsys, model):
    model.settings = replace(model.settings, null_bias=100.0)
    assert evaluate_command(["--choose", str(tmp_path / "decode.json")]) == 0
    assert command == ["validation", "test"]
    chosen = DecodeSettings(**json.loads((tmp_path / "decode.json").read_text()))
    assert chosen.null_bias < 5
    assert json.loads(capsys.readouterr().out)["model"]["all"]["track_accuracy"][0] > 0.99


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["--model", "huge"], "no such model"), (["--data", "nowhere"], "no prepared data set")],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, monkeypatch, model, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        monkeypatch.setattr(evaluate, "load", lambda name, device: model)
    assert evaluate_command(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert len(error.splitlines()) == 1
    assert not list(Path(tmp_path).iterdir())
