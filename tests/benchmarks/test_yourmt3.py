import json
from functools import partial

import pytest

from benchmarks import harness, yourmt3
from common import corpus
from common.evaluation import pieces
from common.evaluation.bootstrap import bootstrap_interval
from tests.yourmt3plus.rigged import weights


@pytest.fixture
def results(tmp_path, monkeypatch, tiny_corpus):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(pieces, "bootstrap_interval", partial(bootstrap_interval, n=100))  # or it takes seconds
    monkeypatch.setattr(corpus, "build", lambda *args, **options: tiny_corpus)
    return tmp_path


def test_the_record_has_scores_before_and_after_the_second_pass(results, capsys):
    model = weights(results / "random.safetensors")
    assert yourmt3.main(["--model", str(model), "--corpus", "tiny", "--limit", "2"]) == 0
    record = json.loads((results / "eval-yourmt3-tiny.json").read_text())
    scores = record["results"]["random"]
    assert "pieces" not in scores
    before, after = scores["one_pass"]["leakage_ratio"][0], scores["summary"]["all"]["leakage_ratio"][0]
    assert record["goals"][0]["value"] == round(before - after, 4)
    assert len(record["goals"]) == 2
    assert (results / "eval-yourmt3-tiny.png").exists()
    shown = capsys.readouterr().out
    assert "all, 2 pieces" in shown
    assert "onset F in" in shown


def test_a_second_pass_that_loses_notes_breaks_its_promise():
    scores = {
        "model": "small",
        "one_pass": {"leakage_ratio": [1.5, 1.4, 1.6], "onset_f1": [0.8, 0.7, 0.9]},
        "summary": {"all": {"leakage_ratio": [1.2, 1.1, 1.3], "onset_f1": [0.7, 0.6, 0.8]}},
    }
    leak, loss = yourmt3.promises(scores)
    assert (leak["value"], leak["met"]) == (0.3, True)
    assert (loss["value"], loss["met"]) == (0.1, False)


def test_without_weights_it_says_where_they_come_from(results, monkeypatch, capsys):
    monkeypatch.setattr(yourmt3, "WEIGHTS", results)
    assert yourmt3.main([]) == 2
    assert "make train-yourmt3" in capsys.readouterr().err
