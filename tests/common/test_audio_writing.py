"""What is written is whole and can be read again."""

import resource

import numpy as np
import pytest

from common import audio
from tests.common.sounds import RATE, hiss, refusal, snr_db, tones


@pytest.mark.parametrize("suffix", sorted(audio.FORMATS))
def test_what_is_written_can_be_read(tmp_path, suffix):
    path = tmp_path / "new" / "folder" / f"a{suffix}"
    signal = np.stack([tones(0.5, 48_000), -tones(0.5, 48_000, [300.0])])
    audio.write(path, signal, 48_000)
    back, rate = audio.read(path, mono=False)
    assert rate == 48_000
    assert snr_db(signal, back) > (12 if suffix in (".ogg", ".opus", ".mp3") else 75)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("flac", "PCM_16"), ("aiff", "PCM_24")]
)
def test_too_loud_is_cut_and_does_not_wrap_around(tmp_path, suffix, subtype):
    path = tmp_path / f"a.{suffix}"
    audio.write(path, np.array([1.5, -1.5, 1.0, -1.0, 0.5, 300.0, -300.0]), RATE, subtype=subtype)
    np.testing.assert_allclose(audio.read(path)[0], [1, -1, 1, -1, 0.5, 1, -1], atol=0.01)


def test_lossy_encoders_get_nothing_too_loud(tmp_path):
    loud, cut = tmp_path / "loud.ogg", tmp_path / "cut.ogg"
    signal = 15 * tones(0.5, RATE)
    audio.write(loud, signal, RATE)
    audio.write(cut, np.clip(signal, -1, 1), RATE)
    np.testing.assert_array_equal(audio.read(loud)[0], audio.read(cut)[0])


@pytest.mark.parametrize("suffix", ["wav", "ogg", "mp3"])
def test_a_failed_write_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    audio.write(path, np.full(100, 0.25), RATE)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # a disk that is full after 20 kB
        text = refusal(audio.write, path, hiss(10 * RATE).T, RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written (File too large)" in text
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    refusals = {
        "a.xyz": (np.zeros(9), RATE, "name it with one of .wav"),
        "a": (np.zeros(9), RATE, "name it with one of .wav"),
        "a.opus": (np.zeros(9), 44_100, "OGG cannot hold 1 channels at 44100 Hz as OPUS"),
        "b.wav": (np.array([0, np.nan]), RATE, "is nan"),  # would abort the process in the MP3 encoder
        "c.wav": (np.zeros((9, 2, 2)), RATE, "[9, 2, 2]"),
        "d.wav": (np.zeros((44_100, 2)), RATE, "44100 channels"),
        "file/a.wav": (np.zeros(9), RATE, "cannot be written"),
    }
    for name, (samples, rate, text) in refusals.items():
        assert text in refusal(audio.write, tmp_path / name, samples, rate)
    assert "PCM_99" in refusal(audio.write, tmp_path / "e.wav", np.zeros(9), RATE, "PCM_99")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
