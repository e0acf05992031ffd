"""What the tests of audio share: signals, and what a refusal must look like."""

import numpy as np
import pytest

from common.audio import AudioError

RATE = 44_100


def tones(seconds, rate, hz=(220.0, 1234.5, 4321.0)):
    """A smooth sum of sines well inside the band, [time]."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.2 * sum(np.sin(2 * np.pi * f * t + f) for f in hz)).astype(np.float32)


def hiss(n_samples, n_channels=1, seed=0, level=0.1):
    """[time, channel], as soundfile takes it."""
    return (level * np.random.default_rng(seed).standard_normal((n_samples, n_channels))).astype(np.float32)


def snr_db(truth, estimate):
    return 10 * np.log10(np.sum(truth**2) / np.sum((truth - estimate) ** 2))


def refusal(call, *args, **kwargs):
    """The text of the AudioError that a call ends with; one line."""
    with pytest.raises(AudioError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


def with_flac_length(data, n_samples):
    """A FLAC file that claims another number of samples: 36 bits, which end 26 bytes from the start."""
    value = int.from_bytes(data[18:26], "big") >> 36 << 36 | n_samples
    return data[:18] + value.to_bytes(8, "big") + data[26:]
