import librosa
import numpy as np
import pytest

from common.filters import (
    HALF_TAPS,
    PASSBAND,
    WINDOWS,
    half_band,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
    toeplitz,
    wavelets,
)


def test_one_filter_halves_the_rate_without_phase_or_aliases():
    taps = half_band()
    response = np.fft.rfft(np.roll(np.pad(taps, (0, 4096 - len(taps))), -HALF_TAPS))
    frequency = np.arange(len(response)) / 4096
    assert np.abs(response.imag).max() < 1e-12
    assert np.abs(response.real[frequency <= PASSBAND] - 1).max() < 2e-5
    assert np.abs(response.real[frequency >= 0.5 - PASSBAND]).max() < 2e-5


def test_a_toeplitz_matrix_is_every_second_sample_of_a_convolution():
    rng = np.random.default_rng(0)
    taps, x = rng.standard_normal(7), rng.standard_normal(7 + 2 * 4)
    np.testing.assert_allclose(toeplitz(taps, 5) @ x, np.convolve(x, taps[::-1], "valid")[::2], atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_wavelet_takes_its_own_frequency_whole_and_no_other(window):
    lengths, quality = np.array([400.0, 301.7]), 20.0
    real, imaginary = np.split(wavelets(lengths, quality, WINDOWS[window]), 2)
    n = np.arange(real.shape[1]) - real.shape[1] // 2
    own = np.exp(2j * np.pi * quality / lengths[:, None] * n)  # one period in length / quality samples
    gains = (real + 1j * imaginary) @ own.T
    np.testing.assert_allclose(np.diag(gains), 1.0, atol=1e-3)
    assert np.abs(gains[0, 1]) < 0.02
    assert not real[1, np.abs(n) > 301.7 / 2].any()


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scales_are_librosas_and_their_inverses(scale):
    hz = np.geomspace(20.0, 16_000.0, 200)
    mel = hz_to_mel(hz, scale)
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz, htk=scale == "htk"), rtol=1e-9)
    np.testing.assert_allclose(mel_to_hz(mel, scale), hz, rtol=1e-9)


@pytest.mark.parametrize(("scale", "normalise"), [("htk", False), ("htk", True), ("slaney", True)])
def test_mel_triangles_are_librosas(scale, normalise):
    norm = "slaney" if normalise else None
    theirs = librosa.filters.mel(
        sr=22_050, n_fft=1024, n_mels=64, fmin=30.0, fmax=9000.0, htk=scale == "htk", norm=norm
    )
    ours = mel_filters(22_050, 1024, 64, 30.0, 9000.0, scale, normalise)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
