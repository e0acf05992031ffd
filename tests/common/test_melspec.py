import io
import math

import numpy as np
import onnxruntime
import pytest
import torch

from common.melspec import SILENCE, VocoderMel


def direct(audio: np.ndarray) -> np.ndarray:
    """Frame by frame with a matrix of the Fourier transform, triangles drawn by hand; (bin, frame)."""
    n_frames = math.ceil(len(audio) / 320)
    padded = np.zeros(320 * n_frames + 640)
    padded[: len(audio)] = audio
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(513), np.arange(640)) / 1024)
    magnitude = np.stack([np.abs(transform @ (window * padded[320 * i : 320 * i + 640])) for i in range(n_frames)], 1)
    corners = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 130) / 2595) - 1)
    hz = np.arange(513) * 16000 / 1024
    triangles = np.stack([np.interp(hz, corners[i : i + 3], (0, 1, 0)) for i in range(128)])
    return np.log(np.clip(triangles @ magnitude, 1e-5, 1e8))


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 16000, 32000, 48000])
def test_there_is_a_frame_for_every_hop_that_has_begun(n_samples):
    front_end = VocoderMel()
    frames = math.ceil(n_samples / 320)
    assert front_end(torch.zeros(2, n_samples)).shape == (2, 128, frames)
    assert front_end.grid.n_frames(n_samples) == frames
    assert front_end.grid.rate == 50


@pytest.mark.parametrize("n_samples", [1, 500, 4000])
def test_it_is_the_transform_written_out(n_samples):
    audio = np.random.default_rng(n_samples).standard_normal(n_samples) * 0.3
    ours = VocoderMel()(torch.from_numpy(audio).float()[None])[0].numpy()
    assert np.abs(ours - direct(audio)).max() < 1e-4


def test_a_sine_is_in_its_bin():
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    picture = VocoderMel()(sine[None])[0]
    centres = 700 * (10 ** (np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 130)[1:-1] / 2595) - 1)
    assert set(picture[:, :-1].argmax(0).tolist()) == {int(np.abs(centres - 1000).argmin())}


def test_a_click_is_in_the_frames_that_cover_it():
    audio = torch.zeros(1, 3200)
    audio[0, 1000] = 1.0  # frames 2 and 3 cover [640, 1280) and [960, 1600)
    loud = VocoderMel()(audio)[0].amax(0) > SILENCE + 1
    assert loud.nonzero().flatten().tolist() == [2, 3]


def test_silence_is_the_floor_and_no_level_leaves_the_range():
    front_end = VocoderMel()
    assert front_end(torch.zeros(1, 3200)).unique().tolist() == pytest.approx([math.log(1e-5)])
    assert front_end(torch.full((1, 3200), 1e12)).max().item() == pytest.approx(math.log(1e8))


@pytest.mark.filterwarnings("ignore")  # of the tracer, as for the other front-ends
def test_the_exported_graph_is_the_front_end():
    front_end, buffer = VocoderMel(), io.BytesIO()
    example = torch.randn(1, 3200)
    torch.onnx.export(
        front_end, (example,), buffer, input_names=["audio"], dynamic_axes={"audio": {1: "time"}}, dynamo=False
    )
    session = onnxruntime.InferenceSession(buffer.getvalue())
    for n_samples in (640, 3333):
        audio = 0.1 * torch.randn(1, n_samples)
        (graph,) = session.run(None, {"audio": audio.numpy()})
        assert np.abs(np.asarray(graph) - front_end(audio).numpy()).max() < 1e-3
