"""Filters that the front-ends are made of, as plain arrays: half-band low-pass, wavelets, mel triangles."""

import numpy as np

# Cosine series of the windows, centred: w(u) = sum_i a_i cos(2 pi i u) for |u| <= 1/2.
WINDOWS = {"hann": (0.5, 0.5), "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168)}

# The half-band filter: 63 taps for 100 dB, flat to 0.198 of the rate that it halves (Kaiser's formula).
HALF_TAPS = 31
ATTENUATION_DB = 100.0
PASSBAND = 0.25 - (ATTENUATION_DB - 7.95) / (2.285 * 2 * HALF_TAPS) / (4 * np.pi)


def half_band() -> np.ndarray:
    """Zero-phase low-pass at a quarter of the rate, (63,) taps."""
    n = np.arange(-HALF_TAPS, HALF_TAPS + 1)
    taps = 0.5 * np.sinc(n / 2) * np.kaiser(len(n), 0.1102 * (ATTENUATION_DB - 8.7))
    return taps / taps.sum()


def toeplitz(taps: np.ndarray, rows: int) -> np.ndarray:
    """The filter as a matrix that makes `rows` outputs, two samples apart, of one stretch of input."""
    matrix = np.zeros((rows, len(taps) + 2 * (rows - 1)))
    for row in range(rows):
        matrix[row, 2 * row : 2 * row + len(taps)] = taps
    return matrix


def wavelets(lengths: np.ndarray, quality: float, window: tuple[float, ...]) -> np.ndarray:
    """Windowed complex exponentials (2 * bin, tap) around time 0: the real parts, then the imaginary ones.

    Args:
        lengths: (bin,) in samples, not rounded.
        quality: periods in each of them.
        window: coefficients of a cosine series, as in WINDOWS; each window sums up to 1.
    """
    half = int(lengths.max() / 2)
    u = np.arange(-half, half + 1) / lengths[:, None]
    w = sum(a * np.cos(2 * np.pi * i * u) for i, a in enumerate(window)) * (np.abs(u) <= 0.5)
    w /= w.sum(axis=1, keepdims=True)
    return np.concatenate([w * np.cos(2 * np.pi * quality * u), -w * np.sin(2 * np.pi * quality * u)])


def mel_filters(
    sample_rate: int, n_fft: int, n_mels: int, fmin: float, fmax: float, scale: str, normalise: bool
) -> np.ndarray:
    """Triangles (mel, bin) over the bins of a Fourier transform, equally wide on the mel scale; see `LogMel`."""
    low, high = hz_to_mel(np.array([fmin, fmax]), scale)
    corners = mel_to_hz(np.linspace(low, high, n_mels + 2), scale)
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    triangles = np.clip(np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)), 0, None)
    return triangles * (2 / (high - low) if normalise else 1)


def hz_to_mel(hz: np.ndarray, scale: str) -> np.ndarray:
    """HTK's formula, or the one of Slaney's Auditory Toolbox: linear to 1 kHz, then 27 steps for a factor of 6.4."""
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))
