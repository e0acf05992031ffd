import tracemalloc
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.melspec import N_BINS, SAMPLE_RATE, SILENCE
from diffusion_pir.streams import Overview, Recording, batches
from tests.diffusion_pir.planted import picture

LOG_MEL: Any = SimpleNamespace(takes="log_mel", sample_rate=SAMPLE_RATE)
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 25 * SAMPLE_RATE + 77).astype(np.float32)


def recording(audio: np.ndarray, hop: float = 0.25, cuts: int = 7, **options) -> Recording:
    return Recording(lambda rate: np.array_split(audio, cuts), hop, **options)


def test_log_mel_of_a_stream_is_that_of_the_whole_brought_to_a_peak_of_one():
    pieces = list(recording(NOISE).log_mel())
    assert len(pieces) > 1
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), picture(NOISE), atol=1e-4)


@pytest.mark.parametrize("n_samples", [1, 319, 320, 321, 31_999, 32_000, 32_001, 63_000])
def test_windows_are_stretches_of_the_picture_and_the_last_ends_with_it(n_samples):
    audio = NOISE[:n_samples]
    heard = recording(audio, cuts=1)
    whole = np.pad(picture(audio), ((0, 0), (0, 100)), constant_values=SILENCE)
    n_frames = -(-n_samples // 320)
    expected = [f for f in (0, 13, 25, 38, 50, 63, 75, 88) if f < n_frames - 100] + [max(n_frames - 100, 0)]
    assert heard.starts.tolist() == expected
    for start, window in zip(expected, heard.windows(), strict=True):
        np.testing.assert_allclose(window, whole[:, start : start + 100], atol=1e-4)
    assert heard.duration == n_samples / SAMPLE_RATE


def test_times_are_those_of_frames_and_names_do_not_depend_on_the_hop():
    heard = recording(NOISE[:80_000], hop=0.5)
    np.testing.assert_allclose(heard.times, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    assert set(recording(NOISE[:80_000], hop=1.5).ids) < set(heard.ids)


def test_who_watches_sees_every_frame_and_all_seconds():
    seen, seconds = [], []
    heard = recording(NOISE, watch=seen.append, progress=seconds.append)
    assert not seen
    list(heard.windows())
    np.testing.assert_allclose(np.concatenate(seen, axis=1), picture(NOISE), atol=1e-4)
    assert sum(seconds) == pytest.approx(heard.duration)


def test_level_does_not_matter_and_silence_is_not_made_loud():
    loud, quiet = (next(recording(level * NOISE[:32_000]).windows()) for level in (1.0, 1e-3))
    np.testing.assert_allclose(loud, quiet, atol=1e-4)
    for level, silent in ((1.0, False), (1e-5, True), (0.0, True)):
        (batch,) = batches(recording(level * NOISE[:32_000]), LOG_MEL)
        assert batch.silent.tolist() == [silent]


def test_batches_are_the_windows_in_order():
    heard = recording(NOISE[:160_000])
    found = list(batches(heard, LOG_MEL))
    assert [len(batch.ids) for batch in found] == [16, 16, 1]
    assert [name for batch in found for name in batch.ids] == heard.ids
    np.testing.assert_array_equal(np.concatenate([batch.windows for batch in found]), np.stack(list(heard.windows())))


def test_backbones_that_take_audio_get_the_same_windows_as_audio():
    audio, rate = NOISE[:70_001], 24_000
    resampled = np.resize(audio, round(len(audio) * 1.5))

    def blocks(sample_rate):
        return np.array_split(audio if sample_rate == SAMPLE_RATE else resampled, 5)

    heard = Recording(blocks, 1.0)
    found = np.concatenate(
        [batch.windows for batch in batches(heard, SimpleNamespace(takes="audio", sample_rate=rate))]
    )
    peak = np.abs(audio).max()
    starts = [round(start * 480) for start in heard.starts.tolist()]
    assert starts == [0, 24_000, 48_000, 57_120]
    np.testing.assert_allclose(found[:3], [resampled[start : start + 48_000] / peak for start in starts[:3]], rtol=1e-6)
    rest = resampled[57_120:] / peak
    np.testing.assert_allclose(found[3], np.pad(rest, (0, 48_000 - len(rest))), rtol=1e-6)


@pytest.mark.parametrize("hop", [0.0, -1.0, 0.019])
def test_a_hop_of_less_than_a_frame_is_refused(hop):
    with pytest.raises(ValueError, match="at least a frame"):
        recording(NOISE, hop)


def test_memory_does_not_grow_with_the_recording():
    def peak(n_blocks: int) -> int:
        tracemalloc.start()
        for _ in Recording(lambda rate: repeat(NOISE[:160_000], n_blocks), 1.0).windows():
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)
    assert peak(18) < 1.3 * peak(6)


def test_an_overview_is_the_picture_in_fewer_columns():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(N_BINS, 1111)).astype(np.float32)
    overview = Overview(most=100)
    for piece in np.split(frames, np.sort(rng.integers(0, 1111, 9)), axis=1):
        overview.push(piece)
    found = overview.finish()
    assert overview.span == 16
    parts = np.split(frames, range(16, 1111, 16), axis=1)
    np.testing.assert_allclose(found, np.stack([part.mean(axis=1) for part in parts], axis=1), atol=1e-5)


def test_an_overview_of_few_frames_is_these():
    overview = Overview()
    overview.push(np.ones((N_BINS, 3), np.float32))
    np.testing.assert_array_equal(overview.finish(), np.ones((N_BINS, 3)))
