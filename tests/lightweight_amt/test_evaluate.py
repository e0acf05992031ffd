import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.__main__ import main
from lightweight_amt.decode import LOW, DecodeSettings
from lightweight_amt.evaluate import Clip, choose_settings, oracle, score_clips, score_pieces
from lightweight_amt.inference import load, transcribe

BADLY_CHOSEN = DecodeSettings(onset_threshold=0.8, frame_threshold=0.7, unstruck_threshold=1.0)


@pytest.fixture(scope="module")
def pieces(tiny_corpus):
    return [*tiny_corpus.pieces("validation"), *tiny_corpus.pieces("test")]


@pytest.fixture(scope="module")
def careless():
    """The shipped network with thresholds that nobody would choose."""
    model = load("base")
    model.settings = BADLY_CHOSEN
    return model


@pytest.fixture(scope="module")
def table(pieces, careless):
    return oracle(pieces, careless)


def mean_note_f1(pieces, model, settings):
    rows = score_pieces(pieces, lambda audio, rate: transcribe(audio, rate, model=model, **vars(settings)), model.grid)
    return np.mean([row["note_f1"] for row in rows])


def test_both_columns_are_what_transcribe_gets_with_those_thresholds(table, pieces, careless):
    assert DecodeSettings(**table["thresholds"]["given"]) == BADLY_CHOSEN
    for name, settings in table["thresholds"].items():
        found = mean_note_f1(pieces, careless, DecodeSettings(**settings))
        assert table["note_f1"]["all"][name] == pytest.approx(found, abs=2e-3)  # from activations of 16 bits


def test_the_oracle_is_better_and_not_to_be_mended_by_its_last_threshold(table, pieces, careless):
    best = DecodeSettings(**table["thresholds"]["oracle"])
    assert table["note_f1"]["all"]["difference"] > 0.05
    for threshold in (0.2, 0.5, 1.0):
        other = mean_note_f1(pieces, careless, replace(best, offset_threshold=threshold))
        assert other <= table["note_f1"]["all"]["oracle"] + 2e-3


def test_the_table_has_a_row_for_each_kind_of_piece(table, pieces):
    assert set(table["note_f1"]) == {"all", "composed", "unseen instruments"}  # no real works in the tiny corpus
    for row in table["note_f1"].values():
        assert row["difference"] == pytest.approx(row["oracle"] - row["given"], abs=1e-4)


def test_thresholds_are_chosen_by_the_scores_that_are_named():
    """A note that rings on at 0.45: its beginning does not care from which probability on a pitch sounds."""
    grid = FrameGrid(22050, 256)
    onset, frame = np.zeros((2, 84, 200), np.float32)
    onset[40, 20], frame[40, 20:100], frame[40, 100:150] = 1.0, 1.0, 0.45
    clip = Clip({"onset": onset, "frame": frame}, Notes.build(*grid.times(np.array([[20], [100]])), [LOW + 40]))
    chosen = {by: choose_settings([clip], grid, by=[by]) for by in ("note_f1", "frame_f1")}
    assert chosen["note_f1"].frame_threshold == 0.4  # the middle one of equals
    assert chosen["frame_f1"].frame_threshold > 0.45
    assert score_clips([clip], chosen["note_f1"], grid)["note_f1"] == 1.0
    assert score_clips([clip], chosen["frame_f1"], grid)["frame_f1"] == 1.0


def test_the_command_writes_the_table(tiny_corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUTTI_DATA", str(tiny_corpus.folder.parents[1]))
    assert main(["evaluate", "--corpus", "tiny", "--oracle", "--out", str(tmp_path / "scores.json")]) == 0
    shown = json.loads(capsys.readouterr().out)
    written = SimpleNamespace(**json.loads((tmp_path / "scores.json").read_text()))
    assert shown == written.summary | {"oracle": written.oracle}
    assert written.data["corpus"] == tiny_corpus.folder.name
    assert [row["id"] for row in written.pieces] == [piece.id for piece in tiny_corpus.pieces("test")]
    assert main(["evaluate", "--model", "large"]) == 2
    assert "no such model" in capsys.readouterr().err
