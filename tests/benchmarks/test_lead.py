import json

import pytest
import torch

from benchmarks import harness, lead
from common import checkpoint
from lead_detection.model import LeadDetector

NET = {
    "encoder": {
        "class_path": "common.encoders.LogMelEncoder",
        "init_args": {"dim": 16, "channels": [4, 4, 4], "dilations": [1], "n_mels": 40},
    },
    "head": {"class_path": "lead_detection.heads.PointerHead", "init_args": {"hidden": 16, "dilations": [1]}},
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An untrained network among the shipped weights, a folder for results, and the place of the corpus."""
    (tmp_path / "weights").mkdir()
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "weights" / "fresh.safetensors", LeadDetector(**NET), NET, name="fresh")
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(lead, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr("lead_detection.inference.WEIGHTS", tmp_path / "weights")
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path / "data"))
    return tmp_path / "results"


def test_every_shipped_network_stands_beside_the_rules(results, capsys):
    assert lead.main(["--corpus", "lead-tiny"]) == 0
    record = json.loads((results / "eval-lead.json").read_text())
    scores = record["results"]["fresh"]["summary"]
    assert set(scores) == {"model", "loudest", "vocal", "random"}
    assert scores["model"]["all"]["songs"] == 3
    first, *_ = record["goals"]
    best, worst = scores["loudest"]["all"]["track_accuracy"][2], scores["model"]["all"]["track_accuracy"][1]
    assert first["value"] == pytest.approx(worst - best, abs=1e-4)
    assert first["met"] == (worst >= best)
    assert (results / "eval-lead.png").exists()
    shown = capsys.readouterr().out
    assert "fresh, all: 3 songs" in shown
    assert "{:.3f} ({:.3f}-{:.3f})".format(*scores["loudest"]["all"]["track_accuracy"]) in shown


def test_a_model_that_is_not_there_is_one_line_and_no_record(results, capsys):
    assert lead.main(["--model", "large"]) == 2
    assert "fresh" in capsys.readouterr().err
    assert not list(results.iterdir())


def test_without_weights_the_way_to_some_is_told(results, tmp_path, capsys):
    (tmp_path / "weights" / "fresh.safetensors").unlink()
    assert lead.main([]) == 2
    assert "make train-lead" in capsys.readouterr().err


def test_what_is_promised():
    """A model that is better than the rules beyond doubt, but loses with more tracks."""
    scores = {
        "model": {"all": {"track_accuracy": [0.9, 0.8, 0.95]}, "many": {"track_accuracy": [0.7, 0.6, 0.8]}},
        **{rule: {"all": {"track_accuracy": [0.3, 0.2, 0.4]}} for rule in lead.FLOORS},
    }
    goals = lead.promises("base", scores)
    assert [goal["met"] for goal in goals] == [True, True, True, False]
    assert goals[0]["value"] == pytest.approx(0.4)
    assert goals[-1]["value"] == pytest.approx(0.2)
