import sys
from subprocess import run

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.notes import Notes
from lightweight_amt.restrikes import NO_GAP, RestrikeRule, follows, join

# Believed from a confidence of one half, whatever the pitch.
RULE = RestrikeRule(bias=0.0, confidence=1.0, pitch=0.0, threshold=0.5)
# Pitch 60: two halves, a rest, a note; pitch 64 sounds at the same time.
NOTES = Notes.build(
    [0.0, 0.5, 1.0, 1.2],
    [1.0, 0.8, 1.2, 2.0],
    [60, 64, 60, 60],
    confidence=[0.3, 0.2, 0.9, 0.2],
)


def test_a_note_follows_where_another_one_of_its_pitch_ends():
    assert follows(NOTES).tolist() == [False, False, True, True]
    rest = NOTES.replace(onset=np.array([0.0, 0.5, 1.0 + 1.1 * NO_GAP, 1.2]))
    assert follows(rest).tolist() == [False, False, False, True]


def test_what_is_not_believed_prolongs_the_note_before_it():
    joined = RULE(NOTES)
    assert joined.onset.tolist() == [0.0, 0.5, 1.0]
    assert joined.offset.tolist() == [1.0, pytest.approx(0.8), 2.0]
    assert joined.confidence.tolist() == pytest.approx([0.3, 0.2, 0.9])
    doubtful = NOTES.replace(confidence=np.array([0.3, 0.2, 0.1, 0.2], np.float32))
    assert RULE(doubtful).offset.tolist() == [2.0, pytest.approx(0.8)]


def test_what_nothing_comes_before_is_believed_however_weak():
    weak = NOTES[:2].replace(confidence=np.array([0.01, 0.0], np.float32))
    assert RULE(weak) == weak


def test_probability_by_hand():
    rule = RestrikeRule(bias=0.5, confidence=2.0, pitch=-1.0, threshold=0.5)
    notes = Notes.build([0.0, 1.0], [1.0, 2.0], [60, 72], confidence=[0.5, 0.8])
    log_odds = [0.5, 0.5 + 2.0 * np.log(4.0) - 1.0]
    assert rule.probability(notes) == pytest.approx(1 / (1 + np.exp(-np.array(log_odds))), rel=1e-5)
    certain = notes.replace(confidence=np.array([0.0, 1.0], np.float32))
    assert np.isfinite(rule.probability(certain)).all()


def test_no_notes():
    assert len(RULE(Notes.empty())) == 0


@given(st.integers(0, 2**32 - 1))
def test_joining_keeps_what_sounds(seed):
    """Each pitch: runs of pieces without a gap, some of them joined; what sounds when is the same as before."""
    rng = np.random.default_rng(seed)
    onset, offset, pitch = [], [], []
    for p in (50, 62):
        edges = np.cumsum(rng.uniform(0.1, 1.0, 8))
        gaps = rng.choice([0.0, 0.2], 7)
        onset += [*edges[:-1] + gaps * 0.1]
        offset += [*edges[1:]]
        pitch += [p] * 7
    order = rng.permutation(len(onset))
    notes = Notes.build(*(np.array(column)[order] for column in (onset, offset, pitch)))
    halves = follows(notes) & (rng.random(len(notes)) < 0.5)
    joined = join(notes, halves)
    assert len(joined) == len(notes) - halves.sum()
    grid = np.arange(0.0, 9.0, 0.001)
    for p in (50, 62):
        sounds = [
            ((grid[:, None] >= n.onset[n.pitch == p]) & (grid[:, None] < n.offset[n.pitch == p] + 1e-9)).any(axis=1)
            for n in (notes, joined)
        ]
        assert (sounds[0] <= sounds[1]).all()
        assert (sounds[1] & ~sounds[0]).mean() <= NO_GAP * 14 / 9


def test_it_needs_numpy_alone():
    code = "import sys, lightweight_amt.restrikes; print(*sorted({'torch', 'scipy', 'sklearn'} & set(sys.modules)))"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
