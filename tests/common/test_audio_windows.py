"""Windows with context in flat memory, and overlap-add of what was made of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common import audio
from tests.common.sounds import hiss

ROOT = Path(__file__).parents[2]


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


@settings(deadline=None)
@given(
    starts=st.lists(st.integers(0, 50), min_size=1, max_size=8).map(sorted),
    cuts=st.lists(st.integers(0, 50), max_size=6).map(sorted),
    length=st.integers(1, 60),
    shape=st.sampled_from([(), (3,)]),
)
def test_stretches_are_parts_of_the_signal_and_silence_after_it(starts, cuts, length, shape):
    signal = np.random.default_rng(0).random((*shape, 50))
    found = list(audio.stretches(np.split(signal, cuts, axis=-1), starts, length, fill=-1.0))
    followed = np.concatenate([signal, np.full((*shape, length), -1.0)], axis=-1)
    assert len(found) == len(starts)
    for start, stretch in zip(starts, found, strict=True):
        np.testing.assert_array_equal(stretch, followed[..., start : start + length])


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
