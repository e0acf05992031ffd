import json

import pytest

from benchmarks import accuracy, harness
from lightweight_amt.inference import WEIGHTS


@pytest.fixture
def results(tmp_path, monkeypatch, tiny_corpus):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setenv("TUTTI_DATA", str(tiny_corpus.folder.parents[1]))
    return tmp_path


def test_the_record_has_both_thresholds_of_every_shipped_model(results, capsys, tiny_corpus):
    assert accuracy.main(["--corpus", "tiny"]) == 0
    record = json.loads((results / "eval-amt-tiny.json").read_text())
    assert set(record["results"]) == {path.stem for path in WEIGHTS.glob("*.onnx")}
    models = list(record["results"].values())
    losses, gains = record["goals"][: len(models)], record["goals"][len(models) :]
    for model, loss, gain in zip(models, losses, gains, strict=True):
        assert model["data"]["corpus"] == tiny_corpus.folder.name
        assert set(model["oracle"]["thresholds"]) == {"given", "oracle"}
        row = model["oracle"]["note_f1"]["all"]
        assert loss["value"] == row["difference"] >= 0.0
        assert loss["met"] == (loss["value"] <= 0.02)
        assert gain["value"] == row["learned"] - row["given"]
        assert row["oracle"] <= row["per_clip"]
    assert record["conditions"]["command"]
    shown = capsys.readouterr().out
    assert "unseen instruments" in shown
    assert f"{record['results']['base']['summary']['all']['note_f1'][0]:.3f}" in shown


def test_an_unknown_model_is_one_line_and_no_record(results, capsys):
    assert accuracy.main(["--model", "large"]) == 2
    assert "no such model" in capsys.readouterr().err
    assert not list(results.iterdir())
