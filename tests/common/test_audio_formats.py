"""Every format and width, to the sample where it is lossless; which files are taken for audio."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from common import audio
from tests.common.sounds import RATE, hiss, refusal, snr_db, tones, with_flac_length


@pytest.mark.parametrize(
    ("suffix", "form", "subtype", "rate", "tolerance"),
    [
        ("wav", "WAV", "PCM_U8", 8_000, 1e-2),
        ("wav", "WAV", "PCM_16", 44_100, 4e-5),
        ("wav", "WAV", "PCM_24", 192_000, 2e-7),
        ("wav", "WAV", "PCM_32", 22_050, 1e-7),
        ("wav", "WAV", "FLOAT", 48_000, 0),
        ("wav", "WAV", "DOUBLE", 384_000, 0),
        ("wav", "WAVEX", "PCM_24", 96_000, 2e-7),
        ("wav", "RF64", "PCM_16", 44_100, 4e-5),
        ("flac", "FLAC", "PCM_24", 96_000, 2e-7),
        ("aiff", "AIFF", "PCM_16", 11_025, 4e-5),
        ("w64", "W64", "PCM_16", 44_100, 4e-5),
        ("caf", "CAF", "PCM_24", 44_100, 2e-7),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_lossless_formats_are_read_to_the_sample(tmp_path, suffix, form, subtype, rate, tolerance, n_channels):
    path = tmp_path / f"a.{suffix}"
    signal = hiss(3_001, n_channels)
    soundfile.write(path, signal, rate, format=form, subtype=subtype)
    every, found_rate = audio.read(path, mono=False)
    mono, _ = audio.read(path)
    assert found_rate == rate
    assert every.dtype == mono.dtype == np.float32
    np.testing.assert_allclose(every, signal.T.reshape(every.shape), rtol=0, atol=tolerance)
    np.testing.assert_allclose(mono, signal.mean(axis=1), rtol=0, atol=tolerance + 1e-7)
    assert audio.info(path) == audio.AudioInfo(rate, n_channels, 3_001)
    assert audio.info(path).duration == 3_001 / rate


@pytest.mark.parametrize(("suffix", "rate"), [("ogg", 44_100), ("opus", 48_000), ("mp3", 44_100), ("mp3", 16_000)])
def test_lossy_formats_sound_alike_and_keep_their_length(tmp_path, suffix, rate):
    path = tmp_path / f"a.{suffix}"
    signal = tones(1.5, rate)
    audio.write(path, np.stack([signal, 0.5 * signal]), rate)
    back, _ = audio.read(path, mono=False)
    assert back.shape == (2, len(signal))
    assert snr_db(signal, back[0]) > 12
    assert snr_db(0.75 * signal, audio.read(path)[0]) > 12


def test_multichannel_arrays_are_contiguous_and_keep_their_order(tmp_path):
    path = tmp_path / "a.wav"
    signal = np.stack([tones(0.5, RATE, [100.0 * (i + 1)]) for i in range(6)])
    audio.write(path, signal, RATE, subtype="FLOAT")
    for rate in (RATE, 22_050):
        back, _ = audio.read(path, rate, mono=False)
        assert back.flags.c_contiguous
        peaks = np.abs(np.fft.rfft(back)).argmax(axis=1) * rate / back.shape[1]
        np.testing.assert_allclose(peaks, [100, 200, 300, 400, 500, 600], atol=2.1)


def test_a_wav_that_was_piped_and_does_not_know_its_length(tmp_path):
    path = tmp_path / "a.wav"
    signal = hiss(5_000, 2)
    soundfile.write(path, signal, RATE, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    size = data.index(b"data") + 4
    for unknown in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
        data[4:8] = data[size : size + 4] = struct.pack("<I", unknown)
        path.write_bytes(data)
        assert len(audio.read(path)[0]) == 5_000


def test_a_flac_that_was_piped_is_counted(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, hiss(50_000, 2), RATE)
    path.write_bytes(with_flac_length(path.read_bytes(), 0))
    assert audio.info(path).n_samples == 50_000
    assert len(audio.read(path)[0]) == 50_000


def test_one_sample_is_enough(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, np.array([0.5]), RATE)
    assert audio.read(path)[0].tolist() == [0.5]
    assert audio.read(path, 22_050)[0].shape == (1,)  # 0.5, rounded up
    assert audio.read(path, 16_000)[0].shape == (0,)
    assert list(audio.windows(audio.blocks(path, 16_000), 100, 10)) == []


def test_find(tmp_path):
    for name in ("b.WAV", "a.mp3", "deep/er/c.flac", "deep/notes.txt", "._a.mp3", "deep/.hidden.wav", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    everything = [tmp_path / "a.mp3", tmp_path / "b.WAV", tmp_path / "deep/er/c.flac"]
    assert audio.find([tmp_path]) == everything
    named = tmp_path / "deep/notes.txt"  # who names a file means it, and is told what is wrong when it is read
    assert audio.find([str(named), tmp_path / "deep", tmp_path, "missing.wav"]) == [
        named,
        everything[2],
        *everything[:2],
        Path("missing.wav"),
    ]
    assert "no audio file" in refusal(audio.find, [tmp_path / "a.mp3", tmp_path / "empty"])
