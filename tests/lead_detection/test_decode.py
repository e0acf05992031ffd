from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from common.evaluation.segments import runs
from common.frames import FrameGrid
from lead_detection.decode import (
    NOBODY,
    CrossFade,
    DecodeSettings,
    absorb_short,
    audible,
    decode,
    fade_in_and_out,
    log_probabilities,
    switch_penalty,
    viterbi,
)

GRID = FrameGrid(24_000, 320)
SLOW = FrameGrid(10, 1)
EACH_FRAME = DecodeSettings(switch_probability=1.0, min_length=0.0)


def song(n_seconds: float, n_tracks: int = 4, seed: int = 0) -> np.ndarray:
    """(frame,) who leads in a song, somebody else every 4 s on average."""
    rng = np.random.default_rng(seed)
    n_frames = int(GRID.frames(n_seconds))
    changes = np.sort(rng.integers(0, n_frames, int(n_seconds / 4)))
    return rng.integers(0, n_tracks + 1, len(changes) + 1)[np.searchsorted(changes, np.arange(n_frames), "right")]


def network(truth: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Logits that a network could give for a window: less sure, and moved by the window itself, towards its ends."""
    rng = np.random.default_rng(start)
    n_classes = truth.max() + 1
    edge = np.abs(np.linspace(-1, 1, stop - start))[:, None] ** 4
    sure = 4.0 * (truth[start:stop, None] == np.arange(n_classes))
    own = np.repeat(rng.normal(0, 2, (-(-(stop - start) // 25), n_classes)), 25, axis=0)[: stop - start]
    noise = np.random.default_rng(99).normal(0, 1, (len(truth), n_classes))[start:stop]
    return ((1 - 0.5 * edge) * sure + (0.3 + edge) * own + noise).astype(np.float32)


def stitched(truth: np.ndarray, window: float, hop: float, fade="hann") -> np.ndarray:
    n_window, n_hop = (int(GRID.frames(seconds)) for seconds in (window, hop))
    joined = CrossFade(truth.max() + 1, fade)
    for start in [*range(0, len(truth) - n_window, n_hop), len(truth) - n_window]:
        joined.push(start, network(truth, start, start + n_window))
    return joined.finish()


@pytest.mark.parametrize("fade", ["hann", "triangular"])
def test_the_phase_of_the_windows_does_not_matter(fade):
    truth = song(180)
    timelines = []
    for hop in (2.5, 4.0):
        segments, _ = decode(stitched(truth, 10.0, hop, fade), None, GRID, 180.0, DecodeSettings())
        timelines.append(labels_of(segments, len(truth)))
    assert np.mean(timelines[0] == timelines[1]) >= 0.99
    assert np.mean(timelines[0] == truth) >= 0.97


def labels_of(segments: np.ndarray, n_frames: int) -> np.ndarray:
    centres = GRID.times(np.arange(n_frames) + 0.5)
    return segments["track"][np.searchsorted(segments["end"], centres, "right")] - NOBODY


@given(st.integers(1, 30), st.data())
def test_windows_of_one_whole_give_it_back(length, data):
    n_frames = data.draw(st.integers(length, 90))
    hop = data.draw(st.integers(1, length))
    whole = np.random.default_rng(0).normal(size=(n_frames, 3)).astype(np.float32)
    whole[:, 2] = -np.inf
    joined = CrossFade(3)
    for start in [*range(0, n_frames - length, hop), n_frames - length]:
        joined.push(start, whole[start : start + length])
    np.testing.assert_allclose(joined.finish(), whole, rtol=1e-5, atol=1e-6)
    assert joined.finish().shape == (0, 3)


def test_two_windows_are_cross_faded():
    joined = CrossFade(1, "triangular")
    joined.push(0, np.zeros((4, 1), np.float32))
    joined.push(2, np.ones((4, 1), np.float32))
    # Weights 1, 2, 2, 1 in fifths, over frames 0..3 and 2..5.
    np.testing.assert_allclose(joined.finish()[:, 0], [0, 0, 1 / 3, 2 / 3, 1, 1], rtol=1e-6)


def test_only_a_window_is_held():
    joined = CrossFade(2)
    for start in range(0, 3000, 5):
        joined.push(start, np.zeros((20, 2), np.float32))
        assert len(joined._total) == 20


@pytest.mark.parametrize("start", [-1, 4, 31])
def test_a_gap_and_a_step_back_are_refused(start):
    joined = CrossFade(2)
    joined.push(0, np.zeros((20, 2), np.float32))
    joined.push(10, np.zeros((20, 2), np.float32))
    with pytest.raises(ValueError, match="cannot begin"):
        joined.push(start, np.zeros((20, 2), np.float32))


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        CrossFade(2).push(0, np.full((3, 2), np.nan, np.float32))


@pytest.mark.parametrize("fade", ["hann", "triangular"])
def test_a_fade_is_symmetric_and_nowhere_0(fade):
    for n_frames in (1, 2, 750):
        weights = fade_in_and_out(n_frames, fade)
        assert (weights > 0).all()
        np.testing.assert_allclose(weights, weights[::-1], atol=1e-6)


def test_log_probabilities_are_those_of_a_softmax():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    chosen = DecodeSettings(temperature=2.0, null_bias=0.7)
    expected = log_softmax(logits / 2.0 + [0.7, 0, 0, 0], axis=1)
    np.testing.assert_allclose(log_probabilities(logits, None, chosen), expected, atol=1e-5)


def test_a_silent_track_has_no_probability_and_silence_is_nobodys():
    logits = np.array([[0.0, 5.0, 1.0], [-np.inf, 5.0, 1.0]], np.float32)
    scores = log_probabilities(logits, np.array([[False, True], [False, False]]), EACH_FRAME)
    np.testing.assert_allclose(np.exp(scores), [[0.2689, 0, 0.7311], [1, 0, 0]], atol=1e-4)


def test_a_track_is_audible_around_what_it_plays():
    levels = np.full((30, 3), -30.0)
    levels[10:, 1] = -95.0  # the noise of 16 bits
    levels[:, 2] = -75.0
    levels[20, 1] = -85.0
    heard = audible(levels, SLOW, DecodeSettings(silence_db=-40.0, silence_hold=0.3))
    np.testing.assert_array_equal(heard[:, 0], True)
    np.testing.assert_array_equal(heard[:, 1], np.arange(30) < 13)
    assert not heard[:, 2].any()
    heard = audible(levels, SLOW, DecodeSettings(silence_db=-80.0, silence_hold=0.3))
    np.testing.assert_array_equal(heard[:, 1], (np.arange(30) < 13) | (np.abs(np.arange(30) - 20) < 4))
    assert heard[:, 2].all()
    assert not audible(np.full((30, 3), -200.0), SLOW, DecodeSettings()).any()


def brute_force(scores: np.ndarray, penalty: float) -> float:
    """Score of the best of all sequences."""
    return max(
        sum(scores[i, label] for i, label in enumerate(path)) - penalty * np.count_nonzero(np.diff(path))
        for path in product(range(scores.shape[1]), repeat=len(scores))
    )


@pytest.mark.parametrize("seed", range(20))
def test_viterbi_finds_the_best_of_all_sequences(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(7, 3))
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[:, 0] = rng.normal(size=7)
    penalty = rng.uniform(0, 2)
    path = viterbi(scores, penalty)
    total = scores[np.arange(7), path].sum() - penalty * np.count_nonzero(np.diff(path))
    assert total == pytest.approx(brute_force(scores, penalty))


def test_the_penalty_is_the_logarithm_of_a_switch():
    chosen = DecodeSettings(switch_probability=0.19)
    # At 2 frames a second 0.1 a frame, shared by two other classes.
    assert switch_penalty(3, FrameGrid(2, 1), chosen) == pytest.approx(np.log(0.9 / 0.05))
    assert switch_penalty(3, FrameGrid(2, 1), EACH_FRAME) == 0.0
    assert switch_penalty(2, FrameGrid(2, 1), DecodeSettings(switch_probability=0.99)) == 0.0


def test_without_a_penalty_each_frame_is_on_its_own():
    scores = np.random.default_rng(0).normal(size=(200, 5))
    np.testing.assert_array_equal(viterbi(scores, 0.0), scores.argmax(axis=1))
    assert viterbi(scores[:0], 1.0).shape == (0,)


def test_a_short_run_goes_to_the_neighbour_that_explains_it_better():
    labels = np.repeat([1, 2, 3], [5, 2, 5])
    scores = np.zeros((12, 4))
    scores[:, 1] = -1.0
    np.testing.assert_array_equal(absorb_short(labels, scores, 3), np.repeat([1, 3], [5, 7]))
    np.testing.assert_array_equal(absorb_short(labels, -scores, 3), np.repeat([1, 3], [7, 5]))
    np.testing.assert_array_equal(absorb_short(labels, scores, 2), labels)


def test_a_short_run_between_two_silent_tracks_stays():
    labels = np.repeat([1, 0, 2], [5, 2, 5])
    scores = np.zeros((12, 3))
    scores[5:7, 1:] = -np.inf
    np.testing.assert_array_equal(absorb_short(labels, scores, 3), labels)
    scores[5:7, 2] = -9.0
    np.testing.assert_array_equal(absorb_short(labels, scores, 3), np.repeat([1, 2], [5, 7]))


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(0, 8))
def test_no_run_is_too_short(labels, min_frames):
    labels = np.array(labels, np.int64)
    scores = np.random.default_rng(0).normal(size=(len(labels), 4))
    kept = absorb_short(labels, scores, min_frames)
    start, stop = runs(kept)
    assert len(kept) == len(labels)
    assert len(start) <= 1 or (stop - start >= min_frames).all()


def test_a_timeline_by_hand():
    logits = np.full((40, 3), -4.0, np.float32)
    logits[:10, 1] = logits[10:30, 0] = logits[30:, 2] = 4.0
    segments, probabilities = decode(logits, None, SLOW, 3.95, DecodeSettings())
    np.testing.assert_allclose(segments["start"], [0.0, 1.0, 3.0])
    np.testing.assert_allclose(segments["end"], [1.0, 3.0, 3.95])
    np.testing.assert_array_equal(segments["track"], [0, NOBODY, 1])
    sure = 1 / (1 + 2 * np.exp(-8))
    np.testing.assert_allclose(segments["confidence"], sure, rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_a_silent_song_is_one_segment_of_nobody():
    logits = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    segments, probabilities = decode(logits, np.full((300, 3), -200.0), GRID, 4.0, DecodeSettings(null_bias=-50.0))
    assert segments.tolist() == [(0.0, 4.0, NOBODY, 1.0)]
    np.testing.assert_array_equal(probabilities, np.eye(4)[np.zeros(300, int)])


@settings(max_examples=50)
@given(st.integers(1, 5), st.integers(1, 300), st.integers(0, 1000))
def test_silent_tracks_never_lead_and_the_timeline_has_no_gap(n_tracks, n_frames, seed):
    rng = np.random.default_rng(seed)
    logits = 5 * rng.normal(size=(n_frames, 1 + n_tracks)).astype(np.float32)
    levels = np.where(np.repeat(rng.random((n_frames // 50 + 1, n_tracks)) < 0.5, 50, axis=0)[:n_frames], -200.0, -20.0)
    chosen = DecodeSettings(silence_hold=0.0, switch_probability=0.5)
    duration = float(GRID.times(n_frames - 0.3))
    segments, _ = decode(logits, levels, GRID, duration, chosen)
    assert segments["start"][0] == 0.0
    assert segments["end"][-1] == duration
    np.testing.assert_array_equal(segments["start"][1:], segments["end"][:-1])
    assert ((segments["confidence"] > 0) & (segments["confidence"] <= 1 + 1e-6)).all()
    labels = labels_of(segments, n_frames)[:-1]
    leads = labels > 0
    assert (levels[:-1][leads, labels[leads] - 1] == -20.0).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("switch_probability", 0.0),
        ("switch_probability", 1.1),
        ("min_length", -0.1),
        ("silence_hold", -1.0),
        ("silence_db", 0.0),
        ("null_bias", np.nan),
        ("null_bias", np.inf),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        DecodeSettings(**{name: value})
