"""Every kind of bad file ends in one line that names it and the remedy; what can be read of it is read."""

import os
import pickle
import struct
import warnings

import numpy as np
import pytest
import soundfile

from common import audio
from common.audio import AudioError
from tests.common.sounds import RATE, hiss, refusal, tones, with_flac_length


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "take one.wav"
    soundfile.write(path, hiss(RATE, 2), RATE)
    return path


def everything_refuses(path):
    """The text with which a file is refused, the same by whatever way it is read; names file and remedy."""
    texts = {refusal(audio.read, path), refusal(lambda: list(audio.blocks(path, 22_050, 0.1)))}
    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith(f"{path}: ")
    assert any(
        remedy in text
        for remedy in ("check", "name ", "copy ", "get ", "convert it: ffmpeg -i", "can be used", "export")
    )
    return text


def test_missing(tmp_path):
    assert "no such file" in everything_refuses(tmp_path / "no.wav")
    assert "no such file" in refusal(audio.info, tmp_path / "no.wav")


def test_folder(tmp_path):
    assert "folder" in everything_refuses(tmp_path)


def test_pipe_and_device(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")  # opening it would wait for ever
    assert "regular file" in everything_refuses(tmp_path / "pipe.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    assert "regular file" in everything_refuses(tmp_path / "zero.wav")


def test_no_permission(wav):
    wav.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65_534)  # root may read everything
        text = everything_refuses(wav)
    finally:
        os.seteuid(user)
    assert "Permission denied" in text


def test_odd_names(tmp_path):
    assert "cannot be opened" in refusal(audio.read, "a\0b.wav")
    assert "cannot be opened" in refusal(audio.read, "x" * 5_000)
    assert "a b" in refusal(audio.read, tmp_path / "a\nb.wav")
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")  # Latin-1, from an old disk
    audio.write(path, np.ones(10), RATE)
    assert len(audio.read(path)[0]) == 10


def test_empty(tmp_path):
    (tmp_path / "a.mp3").touch()
    assert "0 bytes" in everything_refuses(tmp_path / "a.mp3")


@pytest.mark.parametrize("suffix", ["wav", "aiff", "caf"])
def test_no_samples(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.zeros((0, 1)), RATE)
    assert "no samples" in everything_refuses(path)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "txt", "raw", "m4a"])
def test_not_audio(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    contents = [b"These are the words of a song. " * 100, np.random.default_rng(0).bytes(20_000), b"\0" * 5_000]
    # An MPEG-4 container: a box "ftyp" of brand M4A, then one with the samples.
    contents.append(
        struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"M4A ", 0, b"M4A ", b"isom") + b"\0\0\x10\0mdat" + bytes(4_088)
    )
    for content in contents:
        path.write_bytes(content)
        assert f"ffmpeg -i a.{suffix} out.wav" in everything_refuses(path)


@pytest.mark.parametrize("kind", ["wav", "wav RF64", "wav WAVEX", "aiff", "w64", "flac", "caf"])
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_cut_short(tmp_path, kind, share):
    suffix, _, form = kind.partition(" ")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, hiss(RATE, 2), RATE, format=form or None)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert any(word in everything_refuses(path) for word in ("cut short", "damaged", "malformed"))


def test_damaged_flac_says_where(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, hiss(4 * RATE, 2), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    text = refusal(audio.read, path)
    assert 1.5 < float(text.split("damaged at ")[1].split(" s")[0]) < 2.5


def test_lossy_files_that_were_cut_are_read_with_a_warning(tmp_path):
    path = tmp_path / "a.mp3"
    signal = hiss(6 * RATE, 2)
    soundfile.write(path, signal, RATE)
    whole, _ = audio.read(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(UserWarning, match=r"a\.mp3: ends at [23]\.\d\d s of 6\.00 s"):
        half, _ = audio.read(path)
    assert 2 * RATE < len(half) < 4 * RATE
    np.testing.assert_array_equal(half[:RATE], whole[:RATE])
    assert "no sound can be decoded at 5.0 s" in refusal(audio.read, path, start=5.0)


def without_header(path):
    """The data of an MP3 less its first frame, which holds the length."""
    data = path.read_bytes()
    return data[data.index(data[:2], 4) :]


def test_mp3_without_a_header(tmp_path):
    path = tmp_path / "a.mp3"
    signal = hiss(6 * RATE)
    soundfile.write(path, signal, RATE, bitrate_mode="CONSTANT", compression_level=0.5)
    path.write_bytes(without_header(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a constant rate needs none
        assert len(audio.read(path)[0]) == pytest.approx(6 * RATE, abs=3_000)
    # What begins loud and goes on quietly looks shorter by its first frame than it is, and libsndfile believes it.
    signal[RATE:] *= 0.003
    soundfile.write(path, np.tile(signal, (5, 1)), RATE, bitrate_mode="VARIABLE")
    path.write_bytes(without_header(path))
    with pytest.warns(UserWarning, match="only .* s can be read, more follows"):
        assert len(audio.read(path)[0]) < 29 * RATE
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who wanted no more misses nothing
        audio.read(path, duration=1.0)


RUBBISH = b"APETAGEX" + bytes(60_000)  # a picture of the cover


def test_the_padding_of_an_mp3_is_not_missed(tmp_path):
    path = tmp_path / "a.mp3"
    audio.write(path, np.array([0.5]), RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert audio.read(path)[0].shape == (1,)


def test_rubbish_behind_an_mp3_costs_no_music(tmp_path):
    path = tmp_path / "a.mp3"
    soundfile.write(path, hiss(3 * RATE), RATE, bitrate_mode="CONSTANT", compression_level=0.5)
    clean, _ = audio.read(path)
    music = path.read_bytes()
    path.write_bytes(music + RUBBISH)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the length in its header says where it ends
        np.testing.assert_array_equal(audio.read(path)[0], clean)

    path.write_bytes(music)
    music = without_header(path)
    path.write_bytes(music)
    clean, _ = audio.read(path)
    path.write_bytes(music + RUBBISH)
    with pytest.warns(UserWarning, match="ends at"):
        tagged, _ = audio.read(path)
    assert len(tagged) >= len(clean) - RATE  # what is in the same second as the fault
    np.testing.assert_array_equal(tagged[: 2 * RATE], clean[: 2 * RATE])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 32_768.0, -5e29])
def test_values_that_are_no_sound(tmp_path, value):
    path = tmp_path / "a.wav"
    signal = hiss(2 * RATE, 2).astype(np.float64)
    signal[RATE + 441, 1] = value
    soundfile.write(path, signal, RATE, subtype="DOUBLE")
    text = everything_refuses(path)
    assert f"1.0100 s is {value:g}" in text
    assert len(audio.read(path, duration=1.0)[0]) == RATE


def test_float_files_may_exceed_full_scale(tmp_path):
    path = tmp_path / "a.wav"
    signal = 100 * tones(0.1, RATE)  # 40 dB too loud
    audio.write(path, signal, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(path)[0], signal)


@pytest.mark.parametrize(("offset", "value", "rate"), [(24, 4_000_000_000, True), (24, 10, True), (22, 2_000, False)])
def test_absurd_headers(wav, offset, value, rate):
    data = bytearray(wav.read_bytes())
    data[offset : offset + (4 if rate else 2)] = struct.pack("<I" if rate else "<H", value)
    wav.write_bytes(data)
    assert wav.name in everything_refuses(wav)


def test_a_header_that_claims_weeks_allocates_nothing(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(RATE), RATE)
    path.write_bytes(with_flac_length(path.read_bytes(), 2**36 - 1))
    assert audio.info(path).n_samples == 2**36 - 1
    assert "cut short at 1.00 s" in everything_refuses(path)
    assert "cannot be reached" in refusal(audio.read, path, start=100.0)


def test_errors_cross_processes(tmp_path):
    with pytest.raises(AudioError) as caught:
        audio.read(tmp_path / "no.wav")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_mutated_files_are_read_or_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, hiss(30_000, 2, level=0.3), 16_000)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    n_read, refused = 0, []
    for _ in range(100):
        data = whole[: rng.integers(1, len(whole)) if rng.random() < 0.3 else None].copy()
        end = len(data) if rng.random() < 0.5 else min(len(data), 64)  # anywhere, or in the header
        places = rng.integers(0, end, rng.integers(1, 20))
        data[places] = rng.integers(0, 256, len(places))
        path.write_bytes(data.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                back, rate = audio.read(path, mono=False)
            except AudioError as error:
                refused.append(str(error))
                continue
        n_read += 1
        assert back.size
        assert np.isfinite(back).all()
        assert 1_000 <= rate <= 768_000
    assert n_read
    assert refused
    assert all(text.startswith(f"{path}: ") and len(text.splitlines()) == 1 for text in refused)
