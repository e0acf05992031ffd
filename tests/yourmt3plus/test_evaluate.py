import json
from functools import partial

import numpy as np
import pytest

from common import corpus
from common.datasets import catalogue
from common.datasets.recording import Part, Recording
from common.evaluation import pieces
from common.evaluation.bootstrap import bootstrap_interval
from common.notes import Notes
from common.stems import all_but
from tests.yourmt3plus.rigged import RATE, weights
from yourmt3plus.evaluate import SCORES, Take, evaluate_command, score, score_takes, tables
from yourmt3plus.programs import MELODY


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Or they take seconds."""
    monkeypatch.setattr(pieces, "bootstrap_interval", partial(bootstrap_interval, n=100))


BAND = Notes.build(
    [0.0, 0.5, 1.0, 0.0, 0.5, 0.2],
    [0.5, 1.0, 1.5, 1.5, 0.51, 0.9],
    [60, 62, 64, 40, 36, 72],
    100,
    [0, 0, 0, 33, 0, MELODY],
    [False, False, False, False, True, False],
    [0, 0, 0, 1, 2, 3],
)


def test_a_perfect_transcription():
    values = score(BAND, BAND, 2.0)
    perfect = dict.fromkeys(set(SCORES) - {"wrong_instrument_share"}, 1.0) | {"wrong_instrument_share": 0.0}
    assert {name: values[name] for name in SCORES} == perfect


def test_a_note_with_another_instrument():
    moved = BAND.replace(program=np.where(BAND.onset == 1.0, 24, BAND.program))  # the guitar takes the piano's last
    values = score(BAND, moved, 2.0)
    assert values["onset_f1"] == values["frame_f1"] == 1.0
    assert values["wrong_instrument_share"] == pytest.approx(1 / 5)
    assert values["leakage_ratio"] == 5 / 4
    assert values["multi_f1_mt3"] == pytest.approx(5 / 6)
    assert values["instrument_f1"] == pytest.approx(2 * 4 / 9)


def test_what_a_piece_has_not_is_not_scored():
    values = score(BAND.tuned()[:3], Notes.empty(), 2.0)
    assert values["onset_f1"] == values["multi_f1_mt3"] == values["multi_f1_ymt3"] == values["frame_f1"] == 0.0
    assert np.isnan([values[name] for name in ("drum_f1", "drum_f1_gm", "singing_f1", "singing_offset_f1")]).all()
    assert values["leakage_ratio"] == 0.0


def test_rows_and_tables():
    takes = [
        Take({"id": f"composed-{i}", "title": "", "unseen": i == 1}, np.zeros(2 * RATE), RATE, notes)
        for i, notes in enumerate((BAND, BAND[:3]))
    ]
    answers = iter([BAND, BAND.replace(program=24), BAND[:3], BAND[:3]])  # with and without a second pass
    rows = score_takes(takes, lambda audio, rate, again: next(answers))
    found = tables(rows)
    assert found["summary"]["all"]["pieces"] == 2
    assert found["summary"]["all"]["onset_f1"] == [1.0, 1.0, 1.0]
    assert found["summary"]["unseen instruments"]["pieces"] == 1
    assert "drum_f1" not in found["summary"]["unseen instruments"]
    assert found["classes"]["Piano"] == {"pieces": 2, "onset_f1": [1.0, 1.0, 1.0]}
    assert found["classes"]["Bass"]["pieces"] == 1
    assert "Organ" not in found["classes"]
    assert found["one_pass"]["wrong_instrument_share"][0] == 0.5


def test_kinds_that_are_not_annotated_do_not_count():
    take = Take({"id": "song"}, np.zeros(2 * RATE), RATE, BAND[BAND.program == MELODY], all_but("Singing"))
    (row,) = score_takes([take], lambda audio, rate, again: BAND)
    assert row["onset_f1"] == row["singing_f1"] == row["leakage_ratio"] == 1.0
    assert np.isnan(row["drum_f1"])


@pytest.fixture
def model(tmp_path) -> str:
    return str(weights(tmp_path / "random.safetensors"))


def test_the_command_on_a_corpus(model, tmp_path, tiny_corpus, monkeypatch, capsys):
    monkeypatch.setattr(corpus, "build", lambda *args, **options: tiny_corpus)
    out = tmp_path / "scores.json"
    options = ["--corpus", "tiny", "--limit", "2", "--out", str(out)]
    assert evaluate_command(["--model", model, *options]) == 0
    written = json.loads(out.read_text())
    assert len(written["pieces"]) == written["summary"]["all"]["pieces"] == 2
    assert written["data"] == {"corpus": "tiny", "split": "test"}
    shown = json.loads(capsys.readouterr().out)
    assert shown == {name: table for name, table in written.items() if name != "pieces"}
    assert set(shown["one_pass"]) == {"leakage_ratio", "wrong_instrument_share", "onset_f1", "multi_f1_mt3"}


def test_the_command_on_a_data_set(model, tmp_path, monkeypatch, capsys):
    def read_mixture(sample_rate: int | None) -> tuple[np.ndarray, int]:
        return 0.1 * np.random.default_rng(0).standard_normal(2 * 22_050).astype(np.float32), 22_050

    parts = partial(list, [Part("piano", 0, False, (), BAND[:3])])
    listed = [Recording("one", "test", "One", None, parts, read_mixture=read_mixture)]
    monkeypatch.setattr(catalogue, "scored", lambda name, root: listed)
    assert evaluate_command(["--model", model, "--dataset", "maestro", "--root", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["data"] == {"dataset": "maestro"}
    assert shown["classes"]["Piano"]["pieces"] == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [(["--model", "huge"], "no such model"), (["--dataset", "slakh"], "--root"), (["--root", "x"], "--dataset")],
)
def test_what_makes_no_sense_is_one_line(options, text, model, capsys):
    defaults = [] if "--model" in options else ["--model", model]
    assert evaluate_command([*defaults, *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error
