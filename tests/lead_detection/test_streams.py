import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from common import audio as sound
from lead_detection.streams import Source, Stems, in_step
from tests.common.sounds import tones


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=4), st.integers(1, 12))
def test_streams_cut_anyhow_come_side_by_side(cuts, length):
    rng = np.random.default_rng(0)
    streams = [[rng.normal(size=n).astype(np.float32) for n in sizes] for sizes in cuts]
    pieces = list(in_step([iter(stream) for stream in streams], length))
    whole = [np.concatenate([np.zeros(0, np.float32), *stream]) for stream in streams]
    longest = max(map(len, whole))
    expected = np.stack([np.pad(each, (0, longest - len(each))) for each in whole])
    assert [piece.shape[1] for piece in pieces[:-1]] == [length] * (len(pieces) - 1)
    joined = np.concatenate([np.zeros((len(whole), 0), np.float32), *pieces], axis=1)
    np.testing.assert_array_equal(joined, expected)


def test_files_of_different_rates_stay_in_step(tmp_path):
    sources = []
    for rate in (8_000, 44_100, 48_000):
        soundfile.write(tmp_path / f"{rate}.wav", tones(12.0, rate, (220.0,)), rate, "FLOAT")
        sources.append(Source(str(rate), tmp_path / f"{rate}.wav"))
    stems = Stems.open(sources)
    assert stems.duration == 12.0
    audio = np.concatenate(list(stems.pieces(24_000)), axis=1)
    assert audio.shape == (4, 288_000)
    for row, source in zip(audio, sources, strict=False):
        np.testing.assert_array_equal(row, sound.read(str(source.audio), 24_000)[0])
    np.testing.assert_allclose(audio[1, 1000:-1000], audio[2, 1000:-1000], atol=1e-3)
    np.testing.assert_allclose(audio[-1], audio[:-1].sum(axis=0), atol=1e-6)


def test_a_mixture_comes_last_as_it_is():
    rng = np.random.default_rng(0)
    tracks = [Source(str(i), rng.normal(size=500).astype(np.float32) / 9, 24_000) for i in range(2)]
    mixture = Source("mix", rng.normal(size=600).astype(np.float32) / 9, 24_000)
    (piece,) = Stems.open(tracks, mixture).pieces(24_000)
    np.testing.assert_array_equal(piece[-1], mixture.audio)
    assert not piece[:2, 500:].any()


def test_gains_leave_silence_alone():
    noise = np.full(100, 1e-5, np.float32)
    tracks = [Source("dither", noise, 24_000), Source("sound", np.full(100, 0.5, np.float32), 24_000)]
    full = 10 ** (-0.1 / 20)
    stems = Stems.open(tracks)
    assert stems.gains(24_000, "none").tolist() == [1.0, 1.0, 1.0]
    assert stems.gains(24_000, "song_peak") == pytest.approx([2 * full] * 3)
    assert stems.gains(24_000, "stem_peak") == pytest.approx([1.0, 2 * full, 2 * full], rel=1e-4)
    assert Stems.open(tracks[:1]).gains(24_000, "song_peak").tolist() == [1.0, 1.0]
    with_mixture = Stems.open(tracks, Source("mix", np.full(100, 0.25, np.float32), 24_000))
    assert with_mixture.gains(24_000, "stem_peak") == pytest.approx([1.0, 2 * full, 4 * full])
    assert with_mixture.gains(24_000, "song_peak") == pytest.approx([2 * full] * 3)


def test_doubts_name_who_is_short_or_silent():
    long, short, silent = np.full(24_000, 0.1), np.full(12_000, 0.1), np.zeros(24_000)
    sources = [Source(name, audio, 24_000) for name, audio in (("a", long), ("b", short), ("c", silent))]
    first, second = Stems.open(sources, Source("mix", long, 24_000)).doubts()
    assert first.startswith("b: ends 0.50 s before the longest")
    assert second.startswith("c: silent throughout")
