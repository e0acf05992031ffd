from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.melspec import SILENCE
from diffusion_pir.backbones import MelStatistics
from diffusion_pir.features import FeatureSpec, extract
from diffusion_pir.melstore import Clip, MelStore
from diffusion_pir.windows import (
    ClipWindows,
    MixedWindows,
    draw_mixes,
    level_db,
    louder,
    mix,
    mixed_labels,
    window_starts,
)
from tests.diffusion_pir.patterns import N_BINS, denoiser


class Store(MelStore):
    """A store of random log-mels in memory: clips of 3 s, 0.5 s and 7.3 s."""

    def __init__(self, labels: tuple[str, ...] = ("cel", "pia", "voi"), n_frames: tuple[int, ...] = (150, 25, 365)):
        starts = np.cumsum([0, *n_frames])
        clips = [
            Clip(f"clip{i}", f"song{i}", "train", (label,), None, "", start_frame=int(starts[i]), n_frames=n_frames[i])
            for i, label in enumerate(labels)
        ]
        super().__init__(None, ("cel", "pia", "voi"), clips, "")  # pyright: ignore[reportArgumentType]
        frames = np.random.default_rng(0).standard_normal((starts[-1], N_BINS)) - 4
        self.__dict__["_frames"] = frames.astype(np.float16)


def test_windows_of_clips_worked_by_hand():
    assert window_starts(150) == [0, 50]
    assert window_starts(365) == [0, 50, 100, 150, 200, 250, 265]
    assert window_starts(100) == window_starts(25) == window_starts(0) == [0]


@given(st.integers(0, 2000), st.integers(1, 200), st.integers(1, 200))
def test_windows_cover_a_clip_and_end_with_it(n_frames, length, hop):
    hop = min(hop, length)
    starts = window_starts(n_frames, length, hop)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == max(0, n_frames - length)
    assert max(np.diff(starts), default=0) <= hop


def test_windows_are_stretches_of_their_clips_and_end_in_silence():
    store = Store()
    windows = ClipWindows(store, store.clips())
    assert windows.ids[:4] == ["clip0@0", "clip0@50", "clip1@0", "clip2@0"]
    assert windows.clip.tolist() == [0, 0, 1, 2, 2, 2, 2, 2, 2, 2]
    pictures = windows.load(np.array([9, 2, 1]))
    assert pictures.dtype == np.float32
    assert np.array_equal(pictures[0].T, store.log_mel(store.clips()[2])[265:])
    assert np.array_equal(pictures[1].T[:25], store.log_mel(store.clips()[1]))
    assert (pictures[1].T[25:] == np.float32(SILENCE)).all()
    assert np.array_equal(pictures[2].T, store.log_mel(store.clips()[0])[50:])


def test_features_know_no_labels():
    """Check 10: the same windows with other labels have the same features, bit by bit, and the same digest."""
    told, permuted = (ClipWindows(store, store.clips()) for store in (Store(), Store(("voi", "cel", "pia"))))
    spec = FeatureSpec(("mel",), (0.3,))
    first, second = (extract(MelStatistics(denoiser()), windows, spec)["mel", 0.3] for windows in (told, permuted))
    assert np.array_equal(first, second)
    assert told.digest() == permuted.digest()


def test_the_digest_tells_names_sounds_and_lengths_apart():
    store, other = Store(), Store()
    other.__dict__["_frames"] = other._frames.copy()
    other._frames[500] += 1
    clips = store.clips()
    renamed = [replace(clip, id=f"x{clip.id}") for clip in clips]
    kinds = [
        ClipWindows(store, clips),
        ClipWindows(other, clips),
        ClipWindows(store, renamed),
        ClipWindows(store, clips[:2]),
        ClipWindows(store, clips, hop=25),
        ClipWindows(store, clips, frames=80),
    ]
    assert len({windows.digest() for windows in kinds}) == len(kinds)


def test_a_mix_adds_energies_at_the_level_asked_for():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 16, 20)).astype(np.float32) - 3
    both = mix(first, louder(second, 17.0), -6.0)
    alone = louder(second, level_db(first) - level_db(second) - 6.0)
    assert level_db(alone) == pytest.approx(level_db(first) - 6.0, abs=1e-3)
    np.testing.assert_allclose(np.exp(2 * both), np.exp(2 * first) + np.exp(2 * alone), rtol=1e-4)


def test_mixed_windows_have_the_labels_of_what_is_heard_in_them():
    store = Store()
    windows = ClipWindows(store, store.clips())
    labels = store.labels(store.clips())[windows.clip]
    pairs, levels = np.array([[0, 2], [3, 1], [2, 9]]), np.array([-6.0, -6.1, 0.0])
    assert mixed_labels(labels, pairs, levels).tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 1]]
    mixes = MixedWindows(windows, pairs, levels)
    first, second = windows.load(np.array([2])), windows.load(np.array([9]))
    assert np.array_equal(mixes.load(np.array([0, 2]))[1], mix(first[0], second[0], 0.0))
    assert len(set(mixes.ids)) == 3
    assert mixes.digest() != MixedWindows(windows, pairs, levels - 1).digest() != windows.digest()


def test_mixes_are_of_two_recordings_and_the_same_again():
    groups = ["a", "a", "a", "b"]
    pairs, levels = draw_mixes(groups, 50, seed=1)
    assert pairs.shape == (50, 2)
    assert all(groups[a] != groups[b] for a, b in pairs.tolist())
    assert levels.min() >= -15
    assert levels.max() <= 0
    assert np.array_equal(draw_mixes(groups, 50, seed=1)[0], pairs)
    with pytest.raises(ValueError, match="two recordings"):
        draw_mixes(["a", "a"], 3, seed=0)
