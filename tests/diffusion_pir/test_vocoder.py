import sys
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from scipy.optimize import nnls

from common.melspec import HOP_LENGTH, N_BINS, SAMPLE_RATE, SILENCE, VocoderMel
from diffusion_pir.vocoder import GriffinLim, OnnxVocoder, VocoderError, magnitudes, open_vocoder, overlap_add, vocode

DB = 20.0 / np.log(10.0)  # of a natural logarithm
MEL = VocoderMel()


def chord(noise: float = 0.0, seconds: float = 2.0) -> torch.Tensor:
    """A major triad with twenty harmonics."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = [(hz * k, 0.1 / k) for hz in (220.0, 277.2, 329.6) for k in range(1, 20)]
    rng = np.random.default_rng(0)
    tones = sum(a * np.sin(2 * np.pi * hz * time + rng.uniform(0, 6)) for hz, a in harmonics)
    return torch.tensor(tones + noise * rng.standard_normal(len(time)), dtype=torch.float32)[None]


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_chord_that_went_through_its_log_mel_shows_the_same_log_mel(noise):
    log_mel = MEL(chord(noise))
    heard = vocode(GriffinLim(), log_mel)
    assert heard.shape == (1, 2 * SAMPLE_RATE)
    assert float((MEL(heard) - log_mel).abs().mean()) * DB < 1.0


def test_pitches_survive_to_half_a_semitone():
    spectrum = torch.fft.rfft(vocode(GriffinLim(), MEL(chord()))[0]).abs().numpy()  # two bins for each hertz
    for hz in (220.0, 277.2, 329.6):
        around = np.arange(round(2 * hz) - 40, round(2 * hz) + 40)
        assert around[spectrum[around].argmax()] / 2 == pytest.approx(hz, rel=0.029)


def test_silence_stays_silent_and_nonsense_becomes_no_sound_that_hurts():
    assert vocode(GriffinLim(), torch.full((1, N_BINS, 10), SILENCE)).abs().max() < 1e-4
    loud = vocode(GriffinLim(), torch.full((1, N_BINS, 10), 1e3))
    assert loud.isfinite().all()
    assert loud.abs().max() <= 1.0


def test_each_of_a_batch_sounds_the_same_every_time():
    log_mel = MEL(torch.cat([chord(1e-3), chord(1e-2)]))
    vocoder = GriffinLim(steps=5)
    both = vocoder(log_mel)
    assert torch.equal(vocoder(log_mel), both)
    assert not torch.equal(both[0], both[1])


def test_magnitudes_are_those_of_nonnegative_least_squares():
    rng = np.random.default_rng(0)
    filters = np.abs(rng.normal(size=(6, 9)))
    mel = filters @ np.abs(rng.normal(size=(9, 2)))
    mel[:, 1] += [0.0, 3.0, 0.0, 0.0, 2.0, 0.0]  # what no magnitudes sum up to
    found = magnitudes(torch.tensor(mel)[None], torch.tensor(filters), 20_000)[0].numpy()
    assert (found >= 0).all()
    for i in range(2):
        assert np.linalg.norm(filters @ found[:, i] - mel[:, i]) == pytest.approx(nnls(filters, mel[:, i])[1], abs=1e-3)


def test_frames_are_added_where_they_overlap():
    frames = torch.arange(1.0, 13.0).reshape(1, 3, 4)
    assert overlap_add(frames).tolist() == [[1, 2, 3 + 5, 4 + 6, 7 + 9, 8 + 10, 11, 12]]


@pytest.fixture
def decoder(tmp_path):
    """A graph (batch, frame, 128) -> (batch, time): the lowest bins of each frame, one after the other."""
    nodes = [
        helper.make_node("Tile", ["mel", "repeats"], ["tiled"]),
        helper.make_node("Slice", ["tiled", "start", "stop", "axis"], ["frames"]),
        helper.make_node("Flatten", ["frames"], ["audio"]),
    ]
    constants = {"repeats": [1, 1, 3], "start": [0], "stop": [HOP_LENGTH], "axis": [2]}
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["batch", "frame", N_BINS])],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", "time"])],
        [helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "decoder.onnx"
    onnx.save(model, path)
    return path


def test_an_onnx_decoder_takes_frames_of_bins(decoder):
    log_mel = torch.rand(2, N_BINS, 5)
    audio = vocode(open_vocoder(decoder), log_mel)
    assert audio.shape == (2, 5 * HOP_LENGTH)
    torch.testing.assert_close(audio[1, HOP_LENGTH : HOP_LENGTH + N_BINS], log_mel[1, :, 1])


def test_a_vocoder_of_ones_own_is_named_by_module_and_function(monkeypatch):
    module = ModuleType("my_vocoder")
    hiss = lambda log_mel: torch.ones(len(log_mel), log_mel.shape[2] * HOP_LENGTH - 7)  # noqa: E731
    vars(module)["hiss"] = lambda: hiss
    monkeypatch.setitem(sys.modules, "my_vocoder", module)
    audio = vocode(open_vocoder("my_vocoder:hiss"), torch.zeros(2, N_BINS, 4))
    assert audio.shape == (2, 4 * HOP_LENGTH)
    assert audio[:, -7:].any() == 0


@pytest.mark.parametrize("name", ["none.onnx", "nowhere:make", "torch:nothing", "hifigan", "torch"])
def test_a_vocoder_that_there_is_not_is_one_line(name):
    with pytest.raises(VocoderError, match=f"{name}: .*griffin-lim") as error:
        open_vocoder(name)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_graph_or_takes_other_things_is_told(tmp_path, decoder):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(VocoderError, match=r"bad.onnx: cannot be read as ONNX"):
        open_vocoder(tmp_path / "bad.onnx")
    with pytest.raises(VocoderError, match="does not take"):
        OnnxVocoder(decoder)(torch.zeros(1, 80, 4))


def test_what_is_not_as_long_as_its_log_mel_is_refused():
    with pytest.raises(VocoderError, match=r"made \[2, 100\] of \[2, 128, 10\]"):
        vocode(lambda log_mel: torch.zeros(2, 100), torch.zeros(2, N_BINS, 10))
