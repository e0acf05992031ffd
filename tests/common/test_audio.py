"""Audio in and out: parity with soxr and scipy, every format, every kind of bad file, flat memory."""

import os
import pickle
import resource
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from common import audio
from common.audio import AudioError

RATE = 44_100
ROOT = Path(__file__).parents[2]


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


# ---------------------------------------------------------------------------------------------------- formats and rates


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


def with_flac_length(data, n_samples):
    """A FLAC file that claims another number of samples: 36 bits, which end 26 bytes from the start."""
    value = int.from_bytes(data[18:26], "big") >> 36 << 36 | n_samples
    return data[:18] + value.to_bytes(8, "big") + data[26:]


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


# ----------------------------------------------------------------------------------------------------------- resampling


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


# ------------------------------------------------------------------------------------------------------------ bad files


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
    everything_refuses(wav)


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


# -------------------------------------------------------------------------------------------------------------- windows


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 50), max_size=12),
    length=st.integers(1, 60),
    context=st.integers(0, 40),
    channels=st.sampled_from([(), (2,)]),
)
def test_windows_cover_the_signal_once_with_all_the_context_there_is(sizes, length, context, channels):
    n = sum(sizes)
    signal = np.arange(n * 2).reshape(2, n)[0 if not channels else slice(None)].astype(np.float32)
    pieces = np.split(signal, np.cumsum(sizes)[:-1], axis=-1) if sizes else []
    starts = list(range(0, n, length))
    cut = list(audio.windows(iter(pieces), length, context))
    assert [window.start for window in cut] == starts
    for window in cut:
        stop = min(window.start + length, n)
        low, high = max(window.start - context, 0), min(stop + context, n)
        assert (window.left, window.right) == (window.start - low, high - stop)
        np.testing.assert_array_equal(window.audio, signal[..., low:high])


def test_windows_of_an_array_in_memory_are_those_of_its_blocks():
    signal = hiss(10_000)[:, 0]
    whole = audio.windows(iter([signal]), 999, 100)
    pieces = audio.windows(iter(np.split(signal, 40)), 999, 100)
    for one, other in zip(whole, pieces, strict=True):
        assert (one.start, one.left, one.right) == (other.start, other.left, other.right)
        np.testing.assert_array_equal(one.audio, other.audio)


def test_windows_do_not_write_into_what_they_gave():
    signal = hiss(1_000)[:, 0]
    kept = list(audio.windows(iter(np.split(signal, 20)), 70, 30))
    for window in kept:
        low = window.start - window.left
        np.testing.assert_array_equal(window.audio, signal[low : low + len(window.audio)])


def test_windows_refuse_no_length():
    with pytest.raises(ValueError, match="length"):
        list(audio.windows([np.zeros(3)], 0, 1))


STREAM = """
import resource, sys
from common import audio
n = 0
for window in audio.windows(audio.blocks(sys.argv[1], 4000), 20 * 4000, 4000):
    assert not window.audio.any()
    n += len(window.audio) - window.left - window.right
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_an_hour_takes_no_more_memory_than_half_a_minute(tmp_path):
    path = tmp_path / "a.flac"
    used = {}
    for seconds in (30, 3_600):
        with soundfile.SoundFile(path, "w", 8_000, 1) as file:
            for _ in range(seconds // 30):
                file.write(np.zeros(30 * 8_000, np.int16))
        out = subprocess.run([sys.executable, "-c", STREAM, path], cwd=ROOT, check=True, capture_output=True, text=True)
        n_samples, used[seconds] = map(int, out.stdout.split())
        assert n_samples == seconds * 4_000
    assert used[3_600] - used[30] < 8_000  # kB; the hour as float32 is 58 MB at 4 kHz


def test_the_import_is_light():
    heavy = {"torch", "scipy", "librosa", "numba", "matplotlib", "lightning"}
    code = f"import sys, common.audio; print({heavy} & {{name.split('.')[0] for name in sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "set()"


# ---------------------------------------------------------------------------------------------------------- overlap-add


def test_overlap_add_cross_fades_linearly():
    chunks = [(0, np.full(6, 1.0)), (4, np.full(6, 4.0))]
    # Two frames overlap: weights 2/3 and 1/3, then 1/3 and 2/3.
    np.testing.assert_allclose(audio.overlap_add(chunks, 10, 2), [1, 1, 1, 1, 2, 3, 4, 4, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(audio.overlap_add(chunks, 10, 0)[4:6], 2.5)


@settings(deadline=None)
@given(
    data=st.data(),
    n_frames=st.integers(1, 80),
    length=st.integers(1, 30),
    fade=st.integers(0, 20),
    shape=st.sampled_from([(), (3,)]),
)
def test_overlap_add_of_windows_of_one_signal_gives_it_back(data, n_frames, length, fade, shape):
    signal = np.random.default_rng(0).random((*shape, n_frames))
    starts = range(0, n_frames, data.draw(st.integers(1, length)))
    padded = np.concatenate([signal, np.full((*shape, length), 9.0)], axis=-1)  # the last windows reach over the end
    whole = audio.overlap_add(((i, padded[..., i : i + length]) for i in starts), n_frames, fade)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, signal, rtol=1e-5)


def test_overlap_add_wants_every_frame():
    with pytest.raises(ValueError, match="frame 3 of 8"):
        audio.overlap_add([(0, np.ones(3)), (4, np.ones(4))], 8, 1)
    assert audio.overlap_add([], 0, 1).shape == (0,)


# -------------------------------------------------------------------------------------------------------------- writing


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


# -------------------------------------------------------------------------------------------------------------- finding


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
