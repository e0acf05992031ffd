import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch

from common.checkpoint import load as load_checkpoint
from common.checkpoint import save
from common.notes import Notes
from lightweight_amt import inference
from lightweight_amt.calibrate import Heard, calibrate, calibrate_command, centred, fit, score, stamp
from lightweight_amt.inference import TorchModel, load, transcribe
from lightweight_amt.model import NANO, Transcriber
from lightweight_amt.velocity import VelocityRule

RULE = VelocityRule(70.0, 12.0, 5.0, 9.0)


def piece(seed: int, rule: VelocityRule = RULE) -> Heard:
    """Notes of three stems whose velocities follow the rule but for what each stem and each piece adds."""
    rng = np.random.default_rng(seed)
    count = 60
    loudness = rng.normal([-3.0, -9.0], 1.0, (count, 2))
    onset = np.arange(count) * 0.3
    notes = Notes.build(onset, onset + 0.2, rng.integers(40, 80, count), confidence=rng.uniform(0.3, 0.9, count))
    track = rng.integers(0, 3, count)
    velocity = rule(notes, loudness) + np.array([-20, 0, 20])[track] + rng.integers(-5, 5)
    pairs = np.stack([np.arange(count), np.arange(count)], axis=1)
    return Heard(notes, loudness, notes.replace(velocity=np.clip(velocity, 1, 127), track=track), pairs)


def test_the_rule_behind_the_stems_is_found():
    found = fit([piece(seed) for seed in range(20)])
    assert found.confidence == pytest.approx(RULE.confidence, abs=0.5)
    assert found.energy == pytest.approx(RULE.energy, abs=0.1)
    assert found.level == pytest.approx(RULE.level, abs=0.1)


def test_scores_by_hand():
    heard = [piece(seed) for seed in range(3)]
    perfect = score(heard, lambda piece: piece.truth.velocity)
    assert perfect["notes"] == 180
    assert perfect["within_stem"]["pearson"] == perfect["within_piece"]["spearman"] == 1.0
    assert perfect["within_stem"]["mean_absolute_error"] == 0.0
    assert perfect["note_offset_velocity_f1"] == 1.0
    # What the stems differ by is not the rule's to know.
    ruled = score(heard, lambda piece: RULE(piece.notes, piece.loudness))
    assert ruled["within_stem"]["pearson"] > 0.99 > ruled["within_piece"]["pearson"]


def test_centring_takes_the_mean_of_each_group_away():
    values, group = np.array([[1.0, 5.0], [3.0, 6.0], [10.0, 7.0]]), np.array([4, 4, 9])
    assert centred(values, group).tolist() == [[-1.0, -0.5], [1.0, 0.5], [0.0, 0.0]]
    assert centred(values[:, 0], group).tolist() == [-1.0, 1.0, 0.0]


def test_the_rule_travels_in_the_weights(graph_files, networks, tmp_path):
    graph, tensors = tmp_path / "nano.onnx", tmp_path / "nano.safetensors"
    shutil.copy(graph_files["nano"], graph)
    before = load(graph)
    save(tensors, networks["nano"], NANO, name="nano", decode=asdict(before.settings))
    assert before.velocity is None
    assert TorchModel(tensors, "cpu").velocity is None
    for path in (graph, tensors):
        stamp(path, velocity=asdict(RULE))
    after = load(graph)
    assert after.velocity == TorchModel(tensors, "cpu").velocity == RULE
    assert after.settings == before.settings
    audio = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    assert np.array_equal(after(audio)["frame"], before(audio)["frame"])
    net, _ = load_checkpoint(Transcriber, tensors)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in networks["nano"].state_dict().items())


def test_calibration_changes_velocities_and_nothing_else(graph_files, tiny_corpus, tmp_path):
    path = tmp_path / "nano.onnx"
    shutil.copy(graph_files["nano"], path)
    audio = tiny_corpus.pieces("test")[0].multitrack().mixture()
    before = transcribe(audio, tiny_corpus.sample_rate, model=path)
    results = calibrate(path, tiny_corpus)
    assert results["test"]["rule"]["notes"] == results["test"]["stand_in"]["notes"] > 0
    after = transcribe(audio, tiny_corpus.sample_rate, model=path)
    assert after.replace(velocity=before.velocity) == before
    assert (after.velocity != before.velocity).any()
    # Neither the gain nor how the recording is cut into windows is the player's touch.
    quiet = transcribe(0.1 * audio, tiny_corpus.sample_rate, model=path)
    assert np.abs(quiet.velocity.astype(int) - after.velocity).max() <= 1


def test_a_model_that_is_not_there_is_told_before_a_corpus_is_rendered(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path))
    assert calibrate_command(["--model", str(tmp_path / "none.onnx")]) == 2
    assert "no such model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_velocities_of_windows_are_those_of_the_whole(graph_files, tmp_path, monkeypatch):
    path = tmp_path / "nano.onnx"
    shutil.copy(graph_files["nano"], path)
    stamp(path, velocity=asdict(RULE))
    audio = np.random.default_rng(0).standard_normal(5 * 22_050) * np.repeat(np.linspace(0.02, 0.2, 5), 22_050)
    whole = transcribe(audio, 22_050, model=path)
    monkeypatch.setattr(inference, "WINDOW_SECONDS", 2.0)
    parts = transcribe(audio, 22_050, model=path)
    assert len(parts) == len(whole) > 0
    assert np.abs(parts.velocity.astype(int) - whole.velocity).max() <= 1
