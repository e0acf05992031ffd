from dataclasses import asdict
from shutil import copy

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from common.notes import Notes
from lightweight_amt import evaluate
from lightweight_amt.calibrate import calibrate_entry, stamp
from lightweight_amt.inference import load, transcribe
from lightweight_amt.restrikes import RestrikeRule
from lightweight_amt.thresholds import fit, is_real, logistic_regression, score

NEVER = RestrikeRule(bias=-50.0, confidence=0.0, pitch=0.0, threshold=0.5)


def broken(seed: int) -> tuple[Notes, Notes]:
    """Found and true notes of a piece: half of all notes are found in two halves, false ones of a low confidence."""
    rng = np.random.default_rng(seed)
    onset = np.arange(40.0)
    cut = onset + 0.4
    false = rng.random(40) < 0.5
    # Where the second half is real, the truth has it too.
    truth = Notes.build(
        np.concatenate([onset, cut[~false]]),
        np.concatenate([np.where(false, onset + 0.8, cut), cut[~false] + 0.4]),
        np.full(40 + (~false).sum(), 60),
    )
    confidence = np.where(false, rng.uniform(0.1, 0.5, 40), rng.uniform(0.4, 0.9, 40))
    found = Notes.build(
        np.concatenate([onset, cut]),
        np.concatenate([cut, cut + 0.4]),
        np.full(80, 60),
        confidence=np.concatenate([np.full(40, 0.9), confidence]),
    )
    return found, truth.sort()


def test_weights_are_those_of_another_library():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2)) * [1.0, 3.0]
    labels = rng.random(400) < 1 / (1 + np.exp(-(0.5 + x @ [2.0, -0.3])))
    theirs = LogisticRegression(C=1e3, tol=1e-8).fit(x, labels)
    ours = logistic_regression(x, labels)
    assert ours == pytest.approx([*theirs.intercept_, *theirs.coef_[0]], abs=1e-3)


def test_weights_stay_finite_where_a_line_separates_the_labels():
    x = np.linspace(-1, 1, 20)[:, None]
    assert np.isfinite(logistic_regression(x, x[:, 0] > 0)).all()
    assert np.isfinite(logistic_regression(x, np.ones(20, bool))).all()


def test_false_halves_are_learned_from_validation_and_joined_elsewhere():
    rule = fit([broken(seed) for seed in range(10)])
    test = [broken(seed) for seed in range(100, 104)]
    before, after = score(test), score(test, rule)
    assert after["note_f1"] > before["note_f1"] + 0.08
    assert after["note_offset_f1"] > before["note_offset_f1"] + 0.15
    assert rule.confidence > 0


def test_which_notes_are_real():
    found, truth = broken(0)
    real = is_real(found, truth)
    assert real[:40].all()
    assert real[40:].tolist() == [bool((truth.onset == onset).any()) for onset in found.onset[40:]]


@pytest.fixture(scope="module")
def ruled(graph_files, tiny_corpus, tmp_path_factory):
    """A graph whose rule believes in no restrike, and the one it was copied from."""
    path = tmp_path_factory.mktemp("ruled") / "nano.onnx"
    copy(graph_files["nano"], path)
    stamp(path, restrikes=asdict(NEVER))
    return path


def test_transcribe_follows_the_rule_of_its_weights(ruled, graph_files, tiny_corpus):
    piece = tiny_corpus.pieces("test")[0]
    audio, rate = piece.multitrack().mixture(), tiny_corpus.sample_rate
    plain = transcribe(audio, rate, model=graph_files["nano"])
    assert transcribe(audio, rate, model=ruled) == NEVER(plain)
    assert len(NEVER(plain)) < len(plain)
    # A threshold given by hand holds for every onset.
    threshold = load(ruled).settings.onset_threshold
    assert transcribe(audio, rate, model=ruled, onset_threshold=threshold) == plain


def test_the_record_has_what_transcribe_gets_beside_the_oracles(tiny_corpus):
    pieces = tiny_corpus.pieces("test")
    model = load("base")
    model.restrikes = NEVER
    row = evaluate.oracle(pieces, model)["note_f1"]["all"]
    rows = evaluate.score_pieces(pieces, lambda audio, rate: transcribe(audio, rate, model=model), model.grid)
    assert row["learned"] == pytest.approx(np.mean([row["note_f1"] for row in rows]), abs=2e-3)
    assert row["given"] <= row["oracle"] <= row["per_clip"]


def test_calibrating_writes_the_rule_into_the_weights(graph_files, tiny_corpus, tmp_path):
    path = tmp_path / "nano.onnx"
    copy(graph_files["nano"], path)
    results = calibrate_entry("restrikes", path, tiny_corpus)
    assert asdict(load(path).restrikes) == results["rule"]
    assert results["validation"]["with"]["note_f1"] >= 0
    assert load(path).settings == load(graph_files["nano"]).settings
