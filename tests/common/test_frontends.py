import io
import warnings

import librosa
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchaudio

from benchmarks.speed.cqt import direct, music, our_wavelets
from common.filters import HALF_TAPS, WINDOWS, half_band
from common.frontends import CQT, HarmonicStack, LogMel, LogSpectrogram

RATE, HOP = 22_050, 256
FMIN = 440 * 2 ** ((24 - 69) / 12 - 1 / 36)  # one bin below C1
PITCHES = np.arange(24, 108)
LENGTHS = (1, 255, 256, 257, 2561, 22_050, 230_400)
PLUMBING = {
    "Cast",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Gather",
    "Reshape",
    "Shape",
    "Slice",
    "Transpose",
    "Unsqueeze",
}
ALLOWED = PLUMBING | {"Add", "Clip", "Conv", "Div", "Log", "MatMul", "Mul", "Pad"}


def hz(pitch):
    return 440 * 2 ** ((np.asarray(pitch) - 69) / 12)


def tensor(audio) -> torch.Tensor:
    return torch.from_numpy(np.atleast_2d(audio).astype(np.float32))


def noise(n_samples: int, seed: int = 0, batch: int = 1) -> torch.Tensor:
    return tensor(0.1 * np.random.default_rng(seed).standard_normal((batch, n_samples)))


def relative(ours, truth) -> float:
    return float(np.linalg.norm(np.asarray(ours) - np.asarray(truth)) / np.linalg.norm(np.asarray(truth)))


# The constant-Q transform


@pytest.mark.parametrize("window", WINDOWS)
def test_cqt_equals_the_direct_transform_up_to_the_edges(window):
    audio = noise(4 * RATE)
    energy = CQT(fmin=FMIN, window=window, scale="librosa")(audio)[0]
    frames = np.unique(np.r_[0:10, 10:335:9, 335:345])
    truth = direct(audio[0].numpy(), our_wavelets(FMIN, WINDOWS[window]), frames)
    ours = energy.sqrt().numpy()[:, frames]
    assert relative(ours, truth) < 3e-5
    assert relative(ours[:, :10], truth[:, :10]) < 3e-5
    assert relative(ours[:, -10:], truth[:, -10:]) < 3e-5
    assert np.abs(ours - truth).max() < 1e-4 * truth.max()


def test_cqt_in_another_geometry():
    cqt = CQT(16_000, 160, fmin=220.0, n_bins=48, bins_per_octave=12)
    audio = noise(16_000)
    ratio = 2 ** (1 / 6)
    truth = np.empty((48, 100))
    for k in range(48):
        length = (ratio + 1) / (ratio - 1) * 16_000 / (220 * 2 ** (k / 12))
        n = np.arange(-int(length / 2), int(length / 2) + 1)
        w = 1 + np.cos(2 * np.pi * n / length)
        kernel = w / w.sum() * np.exp(-2j * np.pi * 220 * 2 ** (k / 12) / 16_000 * n)
        padded = np.pad(audio[0].double().numpy(), len(n) // 2)
        truth[k] = [abs(padded[160 * t : 160 * t + len(n)] @ kernel) for t in range(100)]
    assert relative(cqt(audio)[0].sqrt(), truth) < 1e-4


@pytest.mark.parametrize("cents", [-100 / 3, 0, 100 / 3])
def test_a_sine_stands_in_its_bin_at_half_its_amplitude(cents):
    time = np.arange(2 * RATE) / RATE
    sines = 0.3 * np.sin(2 * np.pi * hz(PITCHES + cents / 100)[:, None] * time)
    magnitude = CQT(fmin=FMIN)(tensor(sines)).sqrt()[..., 86].numpy()  # in the middle
    expected = 3 * (PITCHES - 24) + 1 + round(cents * 3 / 100)
    assert np.array_equal(magnitude.argmax(axis=1), expected)
    np.testing.assert_allclose(magnitude.max(axis=1), 0.15, rtol=0.02)


def test_cqt_agrees_with_librosa_on_chords():
    rng = np.random.default_rng(0)
    time = np.arange(2 * RATE) / RATE
    chords = [rng.choice(PITCHES[12:60], 4, replace=False) for _ in range(10)]
    partials = np.arange(1, 5)[:, None]
    audio = np.zeros((10, len(time)), np.float32)
    for i, chord in enumerate(chords):
        for pitch in chord:
            audio[i] += (np.sin(2 * np.pi * hz(pitch) * partials * time) / partials**2).sum(axis=0)
    theirs = np.abs(librosa.cqt(audio, sr=RATE, hop_length=HOP, fmin=FMIN, n_bins=288, bins_per_octave=36))
    ours = CQT(fmin=FMIN, scale="librosa")(tensor(audio)).sqrt().numpy()
    inside = slice(70, 103)  # 0.8 s from the edges
    ours, theirs = ours[..., inside], theirs[..., inside]
    assert np.array_equal(ours.mean(axis=2).argmax(axis=1), theirs.mean(axis=2).argmax(axis=1))
    for our, their in zip(ours.mean(axis=2), theirs.mean(axis=2), strict=True):
        assert set(np.argsort(our)[-4:]) == set(np.argsort(their)[-4:])
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("input_octaves", [0, 1])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_cqt_has_the_frames_of_its_grid(n_samples, input_octaves):
    cqt = CQT(input_octaves=input_octaves)
    energy = cqt(noise(n_samples))
    assert energy.shape == (1, 288, (n_samples - 1) // (HOP << input_octaves) + 1)
    assert energy.shape[2] == cqt.grid.n_frames(n_samples)
    assert energy.isfinite().all()


def test_cqt_at_twice_the_rate():
    """The same sound, sampled twice as fast, is the same picture."""
    time = np.arange(2 * 2 * RATE) / (2 * RATE)
    audio = (np.sin(2 * np.pi * hz([40, 69, 100])[:, None] * time) * np.hanning(len(time))).sum(axis=0)
    twice, once = CQT(input_octaves=1), CQT()
    assert twice.grid.rate == once.grid.rate
    assert relative(twice(tensor(audio)).sqrt(), once(tensor(audio[::2])).sqrt()) < 1e-4


@pytest.mark.parametrize("input_octaves", [0, 1])
def test_blocks_with_context_equal_the_whole_to_the_bit(input_octaves):
    cqt = CQT(input_octaves=input_octaves)
    hop = cqt.grid.hop_length
    context = -(-cqt.context // hop)
    audio = noise(1500 * hop + 77)
    whole = cqt(audio)
    rng = np.random.default_rng(0)
    for _ in range(5):
        start = rng.integers(0, 800)
        stop = start + 2 * context + rng.integers(1, 500)
        block = cqt(audio[:, start * hop : stop * hop])
        assert torch.equal(block[..., context:-context], whole[..., start + context : stop - context])


def test_a_frame_depends_on_its_context_and_on_nothing_else():
    cqt = CQT()
    audio, other = noise(400 * HOP, seed=0), noise(400 * HOP, seed=1)
    centre = 200 * HOP
    far = np.abs(np.arange(400 * HOP) - centre)
    frame = cqt(audio)[..., 200]
    assert torch.equal(cqt(torch.where(torch.from_numpy(far > cqt.context), other, audio))[..., 200], frame)
    # The outermost samples meet the ends of a window and of filters, where the weights are tiny.
    assert not torch.equal(cqt(torch.where(torch.from_numpy(far > 0.8 * cqt.context), other, audio))[..., 200], frame)


def test_silence_is_zero_and_a_constant_is_nearly_so():
    cqt = CQT()
    assert not cqt(torch.zeros(1, RATE)).any()
    assert cqt(torch.ones(1, 4 * RATE))[..., 100:-100].max() < 1e-9  # the window's side lobes


def test_matrix_products_halve_the_rate_as_a_convolution_does():
    cqt = CQT()
    x = noise(3000)[0].double().numpy()
    halved = cqt._halve(torch.nn.functional.pad(tensor(x), (cqt.pad, cqt.pad)))[0].numpy()
    truth = np.convolve(x, half_band())[HALF_TAPS % 2 :: 2]  # from time 1 - HALF_TAPS on, every second sample
    start = cqt.pad - HALF_TAPS // 2
    np.testing.assert_allclose(halved[start : start + len(truth)], truth, atol=1e-6)
    assert not halved[:start].any()
    assert not halved[start + len(truth) :].any()


@pytest.mark.parametrize("front_end", [CQT(), LogMel(RATE, 1024, HOP, 80)], ids=["CQT", "LogMel"])
def test_autocast_costs_no_accuracy(front_end):
    audio = noise(RATE)
    with torch.autocast("cpu", torch.bfloat16):
        picture = front_end(audio)
    assert picture.dtype == torch.float32
    assert torch.equal(picture, front_end(audio))


def test_the_gradient_reaches_the_waveform():
    cqt = CQT(8000, 64, fmin=440.0, n_bins=24, bins_per_octave=12).double()
    audio, direction = noise(300, 0, 2).double().requires_grad_(), noise(300, 1, 2).double()
    (gradient,) = torch.autograd.grad(cqt(audio).log().sum(), audio)
    step = 1e-5 * direction
    slope = (cqt(audio + step).log().sum() - cqt(audio - step).log().sum()) / 2e-5
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-6)


def test_nothing_of_the_front_ends_goes_into_a_checkpoint():
    modules = torch.nn.ModuleList(
        [CQT(), HarmonicStack(), LogSpectrogram(RATE, 1024, HOP), LogMel(RATE, 1024, HOP, 80)]
    )
    assert not modules.state_dict()


def test_front_ends_compile_without_a_break():
    cqt = CQT(8000, 64, fmin=440.0, n_bins=24, bins_per_octave=12)
    chain = torch.nn.Sequential(cqt, HarmonicStack((1, 2), bins_per_octave=12, n_bins=12))
    audio = noise(2000)
    assert torch.equal(torch.compile(chain, backend="eager", fullgraph=True)(audio), chain(audio))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bins": 300}, "multiple of bins_per_octave"),
        ({"hop_length": 192}, "multiple of 128"),
        ({"window": "square"}, "window must be one of"),
        ({"scale": "loud"}, "scale amplitude or librosa"),
        ({"fmin": 40.0}, "lower fmin or n_bins, or raise sample_rate"),
    ],
)
def test_a_transform_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CQT(**arguments)


@pytest.mark.parametrize("front_end", [CQT(), LogMel(RATE, 1024, HOP, 80)], ids=["CQT", "LogMel"])
@pytest.mark.parametrize("shape", [(1, 0), (RATE,), (1, 2, RATE)])
def test_audio_of_another_shape_is_refused(front_end, shape):
    with pytest.raises(ValueError, match="audio must be"):
        front_end(torch.zeros(shape))


# The harmonic stack


@pytest.mark.parametrize("crop_first", [False, True])
def test_the_stack_is_the_picture_shifted_by_harmonics(crop_first):
    harmonics = (0.5, 1, 2, 3, 4, 5, 6, 7)
    picture = torch.randn(2, 288, 5)
    stacked = HarmonicStack(harmonics, 36, 252, fill=-16.0, crop_first=crop_first)(picture)
    height = 252 if crop_first else 288
    expected = torch.full((2, 8, 252, 5), -16.0)
    for c, shift in enumerate([-36, 0, 36, 57, 72, 84, 93, 101]):
        for b in range(252):
            if 0 <= b + shift < height:
                expected[:, c, b] = picture[:, b + shift]
    assert torch.equal(stacked, expected)


def test_the_top_octave_counts_unless_it_is_cut_first():
    picture = torch.randn(1, 288, 3)
    changed = picture.clone()
    changed[:, 252:] += 1
    assert not torch.equal(HarmonicStack()(picture), HarmonicStack()(changed))
    assert torch.equal(HarmonicStack(crop_first=True)(picture), HarmonicStack(crop_first=True)(changed))


# Spectrogram and mel


@pytest.mark.parametrize(("scale", "normalise"), [("htk", False), ("slaney", True)])
def test_mel_equals_librosa_and_torchaudio(scale, normalise):
    audio = noise(16_077, batch=2)
    ours = LogMel(16_000, 1024, 256, 80, fmin=30.0, scale=scale, normalise=normalise, floor=1e-30)(audio).exp().numpy()
    norm = "slaney" if normalise else None
    theirs = librosa.feature.melspectrogram(
        y=audio.numpy(), sr=16_000, n_fft=1024, hop_length=256, n_mels=80, fmin=30.0, htk=scale == "htk", norm=norm,
        pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, 1024, hop_length=256, n_mels=80, f_min=30.0, mel_scale=scale, norm=norm, pad_mode="constant"
    )
    assert relative(ours, mel(audio)) < 1e-5


def test_spectrogram_by_hand():
    audio = noise(5000)
    n = np.arange(400)
    window = np.sin(np.pi * n / 400) ** 2
    kernel = window * np.exp(-2j * np.pi * 10 * (n + 56) / 512)  # bin 10 of 512 points, the window in their middle
    padded = np.pad(audio[0].double().numpy(), 200)
    truth = np.log([abs(padded[160 * t : 160 * t + 400] @ kernel) for t in range(32)])
    front_end = LogSpectrogram(16_000, 512, 160, win_length=400, power=1, floor=1e-9)
    np.testing.assert_allclose(front_end(audio)[0, 10], truth, rtol=1e-5)


def test_mel_whose_frames_start_on_the_grid():
    """The front-end of neural codecs (SoundStream): 20 ms frames, frame i covers samples 320 i to 320 i + 640."""
    mel = LogMel(16_000, 1024, 320, 128, win_length=640, center=False, power=1, floor=1e-5)
    audio = torch.zeros(1, 32_000)
    audio[:, 3300] = 1.0
    picture = mel(audio)
    assert picture.shape == (1, 128, 100)
    loud = (picture > np.log(1.001e-5)).any(dim=1)[0]
    assert loud.nonzero().flatten().tolist() == [9, 10]
    assert picture[..., ~loud].unique().item() == pytest.approx(np.log(1e-5))


@pytest.mark.parametrize("n_samples", LENGTHS)
@pytest.mark.parametrize("center", [True, False])
def test_spectrogram_has_the_frames_of_its_grid(n_samples, center):
    front_end = LogSpectrogram(RATE, 1023, HOP, center=center)
    picture = front_end(noise(n_samples))
    assert picture.shape == (1, 512, front_end.grid.n_frames(n_samples))
    assert picture.isfinite().all()


def test_the_gradient_of_magnitudes_is_finite_in_silence():
    audio = torch.zeros(1, 4000, requires_grad=True)
    LogMel(16_000, 512, 160, 40, power=1)(audio).sum().backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


@pytest.mark.parametrize("arguments", [{"win_length": 2000}, {"power": 3}, {"floor": 0.0}, {"scale": "bark"}])
def test_a_mel_spectrogram_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        LogMel(16_000, 1024, 256, 80, **arguments)


# ONNX


def session(module: torch.nn.Module) -> onnxruntime.InferenceSession:
    """The module through the exporter that the transcriber uses, opset 17, of dynamic length."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (noise(RATE),), buffer, opset_version=17, dynamo=False, input_names=["audio"],
            output_names=["picture"], dynamic_axes={"audio": {1: "time"}, "picture": {3: "frame"}},
        )  # fmt: skip
    graph = onnx.load_from_string(buffer.getvalue()).graph
    assert {node.op_type for node in graph.node} <= ALLOWED
    return onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("input_octaves", [0, 1])
def test_cqt_and_stack_in_onnx_runtime(input_octaves):
    chain = torch.nn.Sequential(CQT(input_octaves=input_octaves), HarmonicStack(fill=-1.0))
    onnx_session = session(chain)
    rate = RATE << input_octaves
    for seconds in (0.01, 1.0, 5.3):
        n_samples = round(seconds * rate)
        loud = np.sign(np.sin(2 * np.pi * 220 / rate * np.arange(n_samples)))  # a square wave at full scale
        for audio in (music(seconds, rate), noise(n_samples), np.zeros(n_samples), loud):
            ours = chain(tensor(audio)).numpy()
            (theirs,) = onnx_session.run(None, {"audio": tensor(audio).numpy()})
            np.testing.assert_allclose(theirs, ours, atol=3e-6 * ours.max(), rtol=0)


def test_mel_in_onnx_runtime():
    mel = LogMel(16_000, 512, 160, 64)
    onnx_session = session(mel)
    for n_samples in (1, 4000, 16_001):
        audio = noise(n_samples)
        (theirs,) = onnx_session.run(None, {"audio": audio.numpy()})
        np.testing.assert_allclose(theirs, mel(audio), atol=1e-4)
