import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.notes import Notes
from common.scores import LONGEST_GAP, SHORTEST, clock, into_range, perform


def rng():
    return np.random.default_rng(5)


def test_a_strict_clock_is_a_metronome():
    to_seconds = clock(rng(), bpm=90, seconds=20, start=0.25, rubato=0.0)
    quarters = np.array([0, 0.5, 1, 7.25, 28])
    np.testing.assert_allclose(to_seconds(quarters), 0.25 + quarters * 60 / 90, atol=1e-12)


def test_swing_moves_only_the_second_eighth():
    to_seconds = clock(rng(), bpm=60, seconds=10, rubato=0.0, swing=2 / 3)
    np.testing.assert_allclose(to_seconds(np.array([3, 3.25, 3.5, 3.75, 4])), 3 + np.array([0, 1 / 3, 2 / 3, 5 / 6, 1]))


@pytest.mark.parametrize("bpm", [30.0, 97.0, 180.0])
def test_rubato_bends_time_but_never_back_and_covers_the_piece(bpm):
    to_seconds = clock(rng(), bpm, seconds=30, rubato=0.05)
    quarters = np.arange(0, 30 * bpm / 60, 0.25)
    lengths = np.diff(to_seconds(quarters)) / (15 / bpm)
    assert 0.9 <= lengths.min() < 0.99
    assert 1.01 < lengths.max() <= 1.1
    assert to_seconds(np.array([1e6]))[0] >= 30


def test_a_performance_keeps_the_notes_and_strays_little():
    onset = np.arange(40) / 2
    written = Notes.build(onset, onset + np.where(onset % 4 == 0, 2.0, 0.5), 60 + np.arange(40), 80, program=3, track=2)
    to_seconds = clock(rng(), bpm=100, seconds=15, start=0.1)
    played = perform(rng(), written, to_seconds, end=30.0, touch=(0.6, 1.05), jitter=0.02)
    assert len(played) == len(written)
    written = written[np.argsort(written.pitch)]
    played = played[np.argsort(played.pitch)]
    for column in ("pitch", "program", "track"):
        np.testing.assert_array_equal(played.table[column], written.table[column])
    assert 0.001 < np.max(np.abs(played.onset - to_seconds(written.onset))) <= 0.01 + 1e-9
    length = to_seconds(written.offset) - to_seconds(written.onset)
    sounding = played.offset - played.onset
    assert np.all(sounding <= 1.05 * length + 1e-12)
    assert np.all(sounding >= np.maximum(0.57 * length, length - LONGEST_GAP) - 1e-12)
    assert len(np.unique(played.velocity)) > 5


def test_a_performance_ends_with_the_piece_and_leaves_no_click():
    onset = np.arange(0, 40, 0.05)  # a machine gun on one key
    played = perform(rng(), Notes.build(onset, onset + 0.05, 60), clock(rng(), 60, 8.0), end=8.0)
    assert played.onset.min() >= 0
    assert played.end <= 8.0
    assert np.min(played.offset - played.onset) >= SHORTEST
    assert played == played.without_overlaps()
    assert len(perform(rng(), Notes.empty(), clock(rng(), 60, 8.0), end=8.0)) == 0


@given(pitch=st.integers(-30, 160), low=st.integers(20, 80), width=st.integers(11, 40))
def test_into_range_takes_the_fewest_octaves(pitch, low, width):
    expected = pitch
    while expected < low:
        expected += 12
    while expected > low + width:
        expected -= 12
    assert into_range(np.array([pitch]), low, low + width).tolist() == [expected]
