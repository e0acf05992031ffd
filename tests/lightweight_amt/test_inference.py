import subprocess
import sys

import numpy as np
import pytest
import torch

from common import audio as sound
from common.notes import Notes
from lightweight_amt import inference
from lightweight_amt.inference import activations, transcribe

RATE = 22050


def music(seconds: float, seed: int = 0) -> np.ndarray:
    """Decaying tones at random, so that every stretch of the signal is another."""
    rng = np.random.default_rng(seed)
    audio = np.zeros(int(seconds * RATE))
    time = np.arange(RATE // 2) / RATE
    for start in rng.integers(0, len(audio) - len(time), int(6 * seconds)):
        hz = 440 * 2 ** ((rng.integers(40, 90) - 69) / 12)
        audio[start : start + len(time)] += 0.1 * np.sin(2 * np.pi * hz * time) * np.exp(-4 * time)
    return audio.astype(np.float32)


@pytest.mark.parametrize("name", ["ours", "nano", "ours 44.1 kHz"])
def test_windows_give_what_the_whole_gives(name, graphs, monkeypatch):
    model, audio = graphs[name], music(13.3)
    whole = model(audio)
    monkeypatch.setattr(inference, "WINDOW_SECONDS", 3.0)
    parts = list(activations(model, iter(np.array_split(audio, 7))))
    assert len(parts) > 2
    for output, values in whole.items():
        joined = np.concatenate([part[output] for part in parts], axis=1)
        assert joined.shape == values.shape
        assert np.abs(joined - values).max() < 1e-3


def in_common(one: Notes, other: Notes, seconds: float = 1e-3) -> int:
    """How many notes of one list the other has at the same pitch, place and length."""
    rows, others = (np.stack([notes.onset, notes.offset, notes.pitch], axis=1) for notes in (one, other))
    return int((np.abs(rows[:, None] - others) < seconds).all(axis=2).any(axis=1).sum())


@pytest.mark.parametrize("name", sorted(path.stem for path in inference.WEIGHTS.glob("*.onnx")))
def test_windows_of_a_minute_give_the_notes_of_the_whole(name, tiny_corpus, monkeypatch):
    """The study's acceptance check 10, for the weights that we ship."""
    model = inference.load(name)
    audio = np.concatenate([piece.multitrack().mixture() for piece in tiny_corpus.pieces()])
    audio = np.resize(audio, 60 * RATE)
    monkeypatch.setattr(inference, "WINDOW_SECONDS", 60.0)
    whole = transcribe(audio, RATE, model=model)
    assert len(whole) > 200  # or half a percent would be less than a note
    for seconds in (3.0, 10.0, 30.0):
        monkeypatch.setattr(inference, "WINDOW_SECONDS", seconds)
        notes = transcribe(audio, RATE, model=model)
        assert in_common(notes, whole) >= 0.995 * len(notes)
        assert in_common(whole, notes) >= 0.995 * len(whole)


def test_array_tensor_and_file_give_the_same_notes(graphs, tmp_path):
    audio = music(3.0)
    sound.write(tmp_path / "music.wav", audio, RATE, subtype="FLOAT")
    notes = transcribe(tmp_path / "music.wav", model=graphs["ours"])
    assert len(notes)
    assert notes == transcribe(audio, RATE, model=graphs["ours"])
    assert notes == transcribe(torch.from_numpy(audio), RATE, model=graphs["ours"])
    assert notes == transcribe(np.stack([audio, audio]), RATE, model=graphs["ours"])


def test_a_list_of_recordings_gives_what_each_gives(graphs, tmp_path):
    audio = music(3.0)
    sound.write(tmp_path / "music.wav", audio, RATE, subtype="FLOAT")
    recordings = [audio, tmp_path / "music.wav", torch.from_numpy(audio[: RATE // 2])]
    each = [transcribe(recording, RATE, model=graphs["ours"]) for recording in recordings]
    assert transcribe(recordings, RATE, model=graphs["ours"]) == each
    assert each[0] != each[2]
    assert transcribe([], model=graphs["ours"]) == []


def test_an_array_needs_its_rate_and_a_model_its_name(graphs):
    with pytest.raises(ValueError, match="sample_rate="):
        transcribe(music(1.0), model=graphs["ours"])
    with pytest.raises(ValueError, match="no such model"):
        transcribe(music(1.0), RATE, model="large")


def test_what_is_no_graph_of_ours_is_refused(graph_files, tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    for path in (tmp_path / "text.onnx", inference.WEIGHTS / "timbre" / "base.onnx"):
        with pytest.raises(ValueError, match=rf"{path.name}: not a graph that `export` wrote .*; export it again"):
            inference.load(path)
    (tmp_path / "timbre").mkdir()
    for folder in (tmp_path, tmp_path / "timbre"):
        (folder / "same.onnx").write_bytes(graph_files["ours"].read_bytes())
    with pytest.raises(ValueError, match=r"same.onnx: not a graph .*rule"):
        inference.load(tmp_path / "same.onnx", timbre=True)


def test_bends_are_told_beside_the_same_notes(graphs):
    audio = music(3.0)
    notes, bends = transcribe(audio, RATE, model=graphs["ours"], pitch_bends=True)
    assert notes == transcribe(audio, RATE, model=graphs["ours"])
    assert len(bends)
    assert (np.diff(bends["note"]) >= 0).all()
    assert (bends["seconds"] >= notes.onset[bends["note"]]).all()
    assert (bends["seconds"] < notes.offset[bends["note"]]).all()
    with pytest.raises(ValueError, match="pitch_bends=True"):
        inference.Transcription(graphs["ours"]).bends(notes)


def test_bends_need_a_graph_that_tells_energies(graphs, monkeypatch):
    monkeypatch.setattr(graphs["nano"], "tells_energy", False)
    with pytest.raises(ValueError, match="export the weights again"):
        transcribe(music(1.0), RATE, model=graphs["nano"], pitch_bends=True)


def test_thresholds_come_with_the_weights_and_can_be_replaced(graphs):
    audio = music(2.0)
    assert graphs["ours"].settings.onset_threshold == 0.4
    few = transcribe(audio, RATE, model=graphs["ours"], onset_threshold=1.0, unstruck_threshold=1.0)
    assert len(few) < len(transcribe(audio, RATE, model=graphs["ours"], onset_threshold=0.05))
    with pytest.raises(ValueError, match="onset_threshold"):
        transcribe(audio, RATE, model=graphs["ours"], onset_threshold=7.0)


@pytest.mark.parametrize("n_samples", [1, 100, 256, 5000])
def test_the_shortest_recordings_have_no_notes(n_samples):
    assert len(transcribe(np.zeros(n_samples, np.float32), RATE)) == 0
    assert len(transcribe(np.full(n_samples, 0.1, np.float32), RATE)) == 0


def test_transcription_imports_no_trainer_and_no_torch():
    """The shipped model on a second of audio, in a process of its own."""
    code = """
import sys
import numpy as np
from lightweight_amt import transcribe
transcribe(np.zeros(22050, np.float32), 22050)
heavy = {"torch", "lightning", "wandb", "torchmetrics", "transformers", "diffusers", "librosa", "scipy", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
