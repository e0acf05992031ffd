import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

from common.audio import AudioError
from common.checkpoint import CheckpointError
from common.melspec import SAMPLE_RATE
from diffusion_pir import recognise
from diffusion_pir.backbones import open_backbone
from diffusion_pir.features import FeatureError, FeatureSpec, extract
from diffusion_pir.heads import concatenate
from diffusion_pir.inference import WeightsError, load, save
from tests.diffusion_pir.pipelines import write_stable_audio
from tests.diffusion_pir.planted import (
    CLASSES,
    SPEC,
    open_tiny,
    picture,
    random_model,
    tone,
    write_backbone,
    write_head,
)

AUDIO = tone("sax", 5.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return write_head(folder / "head.safetensors", write_backbone(folder / "tiny.safetensors"))


@pytest.fixture(scope="module")
def model(files):
    return load(files.with_name("tiny.safetensors"), files)


def test_a_head_is_loaded_as_it_was_saved(files, model):
    saved = random_model(open_tiny(files.with_name("tiny.safetensors")))
    assert (model.spec, model.decision, model.classes, model.name) == (SPEC, saved.decision, CLASSES, "random")
    windows = np.random.default_rng(0).normal(-4, 2, (3, 128, 100)).astype(np.float32)
    ids = ["@0", "@13", "@25"]
    np.testing.assert_array_equal(model(windows, ids), saved(windows, ids))
    with safe_open(files, framework="np") as file:
        stored = json.loads(file.metadata()["extra"])
    assert stored["front_end"] == "VocoderMel, peak 1"
    assert stored["backbone"] == {"name": "tiny", "digest": model.backbone.digest()}


def test_probabilities_are_those_of_each_window_by_itself(model):
    found = recognise(AUDIO, SAMPLE_RATE, model=model, hop=1.0)
    np.testing.assert_allclose(found.times, [0, 1, 2, 3])
    np.testing.assert_allclose(found.ends, [2, 3, 4, 5])
    assert found.duration == 5.0

    class Windows:
        ids = ("@0", "@50", "@100", "@150")

        def load(self, rows):
            whole = picture(AUDIO)
            return np.stack([whole[:, 50 * row : 50 * row + 100] for row in rows])

        def digest(self) -> str:
            return ""

    features = extract(model.backbone, Windows(), SPEC)
    with torch.inference_mode():
        logits = model.head(concatenate([torch.from_numpy(features[cell]) for cell in SPEC.cells])).numpy()
    expected = 1 / (1 + np.exp(-(logits / 2.0 + [0.1, -0.1])))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    sums = expected.sum(0)
    np.testing.assert_allclose(found.scores, sums / sums.max(), atol=1e-4)
    assert found.labels == tuple(CLASSES[i] for i in np.argsort(-sums) if sums[i] / sums.max() >= 0.5)


def test_a_file_in_stereo_at_another_rate_is_heard_like_its_array(model, tmp_path):
    stereo = np.stack([tone("sax", 3.0, rate=44_100), tone("flu", 3.0, rate=44_100)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 44_100, subtype="FLOAT")
    of_file, of_array = recognise(tmp_path / "a.wav", model=model), recognise(stereo.T, 44_100, model=model)
    of_tensor = recognise(torch.from_numpy(stereo.T.copy()), 44_100, model=model)
    for other in (of_array, of_tensor):
        np.testing.assert_allclose(of_file.probabilities, other.probabilities, atol=1e-5)
        assert of_file.labels == other.labels


@pytest.mark.parametrize("n_samples", [100, 16_000])
def test_a_short_clip_is_one_window(model, n_samples):
    found = recognise(AUDIO[1000 : 1000 + n_samples], SAMPLE_RATE, model=model)
    assert found.probabilities.shape == (1, 2)
    assert found.ends.tolist() == [n_samples / SAMPLE_RATE]
    assert len(found.labels) >= 1
    padded = recognise(np.pad(AUDIO[1000 : 1000 + n_samples], (0, 32_000 - n_samples)), SAMPLE_RATE, model=model)
    np.testing.assert_allclose(found.probabilities, padded.probabilities, atol=1e-5)


def test_a_single_sample_is_silence(model):
    found = recognise(np.ones(1, np.float32), SAMPLE_RATE, model=model)  # there the window is zero
    assert (found.labels, found.times.tolist(), found.duration) == ((), [0.0], 1 / SAMPLE_RATE)


@pytest.mark.parametrize("rule", ["S1", "S2"])
def test_silence_has_no_instrument(model, rule):
    found = recognise(
        np.zeros(50_000, np.float32), SAMPLE_RATE, model=replace(model, decision=replace(model.decision, rule=rule))
    )
    assert found.labels == ()
    assert not found.probabilities.any()
    assert not found.scores.any()
    assert (found.predominant == -1).all()


def test_silent_windows_do_not_count(model):
    pause = np.zeros(4 * SAMPLE_RATE, np.float32)
    found = recognise(np.concatenate([AUDIO, pause]), SAMPLE_RATE, model=model, hop=1.0)
    np.testing.assert_array_equal(found.predominant[5:], [-1, -1, -1])
    alone = recognise(np.concatenate([AUDIO, pause[:SAMPLE_RATE]]), SAMPLE_RATE, model=model, hop=1.0)
    np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)


def test_batches_and_progress_change_nothing(model, monkeypatch):
    seconds = []
    found = recognise(AUDIO, SAMPLE_RATE, model=model, progress=seconds.append)
    assert sum(seconds) == pytest.approx(5.0)
    monkeypatch.setattr("diffusion_pir.streams.BATCH", 5)
    other = recognise(AUDIO, SAMPLE_RATE, model=model)
    np.testing.assert_allclose(found.probabilities, other.probabilities, atol=1e-5)


def test_more_draws_of_noise_vary_less(model):
    def spread(draws: int) -> float:
        several = [replace(model, spec=replace(SPEC, sigmas=(0.5,), seed=seed)) for seed in range(6)]
        return float(
            np.std(
                [recognise(AUDIO, SAMPLE_RATE, model=m, hop=9.0, draws=draws).probabilities for m in several], 0
            ).mean()
        )

    assert spread(8) < 0.7 * spread(1)
    with pytest.raises(FeatureError, match="draws"):
        recognise(AUDIO, SAMPLE_RATE, model=model, draws=0)


def test_a_model_of_others_that_hears_audio_recognises_too(tmp_path):
    backbone = open_backbone(f"stable-audio:{write_stable_audio(tmp_path)}")
    model = random_model(backbone, FeatureSpec((next(iter(backbone.taps)),), pool="time"))
    found = recognise(AUDIO, SAMPLE_RATE, model=model, hop=1.0)
    assert found.probabilities.shape == (4, 2)
    save(tmp_path / "head.safetensors", model)
    again = load(f"stable-audio:{tmp_path}", tmp_path / "head.safetensors")
    np.testing.assert_array_equal(
        recognise(AUDIO, SAMPLE_RATE, model=again, hop=1.0).probabilities, found.probabilities
    )


def test_what_cannot_be_loaded_is_told(files, tmp_path):
    with pytest.raises(WeightsError, match="nothing: there is no such head"):
        load(head="nothing")
    (tmp_path / "bad.safetensors").write_bytes(b"no head")
    with pytest.raises(CheckpointError, match="damaged"):
        load(head=tmp_path / "bad.safetensors")
    with pytest.raises(CheckpointError, match=r"Denoiser, not"):
        load(head=files.with_name("tiny.safetensors"))
    with pytest.raises(CheckpointError, match="tiny: no such model"):
        load(head=files)
    with pytest.raises(
        WeightsError, match=r"trained on another backbone, called tiny, than other; give its file as --model"
    ):
        load(write_backbone(tmp_path / "other.safetensors", seed=1), files)


def test_a_head_of_another_front_end_is_refused(files, model, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion_pir.inference.FRONT_END", "another")
    save(tmp_path / "head.safetensors", model)
    monkeypatch.undo()
    with pytest.raises(WeightsError, match="another front-end"):
        load(files.with_name("tiny.safetensors"), tmp_path / "head.safetensors")


def test_audio_that_cannot_be_used_is_told(model, tmp_path):
    with pytest.raises(ValueError, match="sample_rate="):
        recognise(AUDIO, model=model)
    with pytest.raises(AudioError, match=r"missing\.wav"):
        recognise(tmp_path / "missing.wav", model=model)
    with pytest.raises(AudioError, match="floating-point"):
        recognise(np.zeros(0, np.float32), SAMPLE_RATE, model=model)


def test_importing_the_package_imports_no_torch():
    code = "import sys, diffusion_pir; print('torch' in sys.modules, 'numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
