"""Other rates, in blocks and in parts: parity with soxr and scipy."""

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from common import audio
from tests.common.sounds import RATE, hiss, refusal, snr_db, tones


@pytest.mark.parametrize(
    "rates", [(44_100, 22_050), (48_000, 16_000), (8_000, 22_050), (192_000, 22_050), (44_101, 24_000)]
)
def test_resampling_in_blocks_is_soxr_of_the_whole(tmp_path, rates):
    native, wanted = rates
    path = tmp_path / "a.wav"
    signal = hiss(2 * native + 17, 2)
    soundfile.write(path, signal, native, subtype="FLOAT")
    back, rate = audio.read(path, wanted, mono=False)
    assert rate == wanted
    np.testing.assert_array_equal(back, soxr.resample(signal, native, wanted).T)
    np.testing.assert_array_equal(back, audio.conform(signal.T, native, wanted, mono=False))
    assert back.shape[1] == int((2 * native + 17) * wanted / native + 0.5)


@pytest.mark.parametrize("rates", [(44_100, 22_050), (48_000, 22_050), (16_000, 22_050), (192_000, 16_000)])
def test_resampling_agrees_with_scipy_and_with_the_sines_themselves(rates):
    native, wanted = rates
    ours = audio.conform(tones(2, native), native, wanted)
    divisor = np.gcd(native, wanted)
    theirs = scipy.signal.resample_poly(
        tones(2, native).astype(np.float64), wanted // divisor, native // divisor, window=("kaiser", 14.0)
    )
    inner = slice(wanted // 4, -wanted // 4)  # the ends see the silence around the signal
    assert ours.shape == theirs.shape
    assert snr_db(theirs[inner], ours[inner]) > 60
    assert snr_db(tones(2, wanted)[inner], ours[inner]) > 100


def test_what_lies_above_the_new_band_is_gone():
    loud = tones(1, RATE, [15_000.0])
    assert np.abs(audio.conform(loud, RATE, 22_050)[1_000:-1_000]).max() < 1e-5


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_blocks_join_to_the_whole_whatever_their_size(tmp_path_factory, data):
    native = data.draw(st.sampled_from([8_000, 11_025, 44_100, 48_000]))
    wanted = data.draw(st.sampled_from([None, 8_000, 16_000, 22_050, 44_101]))
    mono = data.draw(st.booleans())
    suffix = data.draw(st.sampled_from(["wav", "flac", "ogg", "mp3"]))
    path = tmp_path_factory.mktemp("blocks") / f"a.{suffix}"
    soundfile.write(path, hiss(data.draw(st.integers(1, 30_000)), data.draw(st.integers(1, 2))), native)
    whole, rate = audio.read(path, wanted, mono)
    pieces = list(audio.blocks(path, wanted, data.draw(st.floats(1e-3, 2.0)), mono))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=-1), whole)
    known = audio.info(path)
    assert whole.shape[-1] == int(known.n_samples * rate / known.sample_rate + 0.5)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_part_equals_that_part_of_the_whole(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, hiss(3 * RATE, 2), RATE)
    whole, _ = audio.read(path, mono=False)
    for start, duration in [(0.0, 0.5), (0.7, 1.1), (2.9, 5.0), (1.0, None)]:
        first, stop = round(start * RATE), None if duration is None else round((start + duration) * RATE)
        np.testing.assert_array_equal(audio.read(path, None, False, start, duration)[0], whole[:, first:stop])
    assert "3.00 s" in refusal(audio.read, path, start=3.0)
    assert "nothing to read" in refusal(audio.read, path, start=-1.0)
    assert "nothing to read" in refusal(audio.read, path, duration=0.0)


def test_conform_takes_what_callers_have():
    signal = hiss(1_000, 2).T
    np.testing.assert_allclose(audio.conform(signal.astype(np.float64), RATE), signal.mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(audio.conform(signal[0], RATE, RATE), signal[0])
    assert "integers" in refusal(audio.conform, np.zeros(10, np.int16), RATE)
    assert "[0]" in refusal(audio.conform, np.zeros(0), RATE)
    assert "1000 channels" in refusal(audio.conform, np.zeros((1000, 2)), RATE)
    assert "0 Hz" in refusal(audio.conform, np.zeros(10), 0)
    assert "nan" in refusal(audio.conform, np.array([0, np.nan]), RATE)
    assert "inf" in refusal(audio.conform, np.array([0, 1e300]), RATE)
