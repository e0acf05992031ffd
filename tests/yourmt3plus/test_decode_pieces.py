"""Composed and real pieces through tokens and back."""

import mir_eval
import numpy as np
import pytest

from common.composer import STYLES, compose
from common.compositions import load_composition
from common.instruments import PITCHED_PROGRAMS
from common.notes import Notes
from yourmt3plus.decode import Repairs, decode
from yourmt3plus.programs import MULTI, written
from yourmt3plus.tokenizer import encode_piece

N_TICKS = 204
PROGRAMS = [program for program in PITCHED_PROGRAMS if program < 96]


def expressible(notes: Notes) -> Notes:
    """What the tokens can say of notes: by class, of those that start in one tick the longest, without overlaps."""
    program, pitch = written(notes)
    notes = notes.replace(program=program, pitch=pitch, track=program + 128 * notes.is_drum)
    longest = {}
    for row in notes.table:
        key = (int(np.floor(row["onset"] * 100 + 0.5)), int(row["pitch"]), int(row["track"]))
        if key not in longest or row["offset"] > longest[key]["offset"]:
            longest[key] = row
    return Notes(np.array(list(longest.values()), notes.table.dtype)).without_overlaps()


def assert_faithful(played: Notes) -> None:
    encoded = encode_piece(played, MULTI, N_TICKS, max_tokens=1024)
    heard, repairs = decode(encoded.tokens, N_TICKS)
    truth = expressible(played)
    assert repairs == Repairs()
    assert encoded.dropped.sum() == encoded.truncated.sum() == 0
    assert len(heard) == len(truth) == len(played) - encoded.merged
    for track in np.unique(truth.program[~truth.is_drum]):
        one, other = (notes.tuned()[notes.tuned().program == track] for notes in (truth, heard))
        columns = (one.intervals, one.hz, other.intervals, other.hz)
        assert mir_eval.transcription.precision_recall_f1_overlap(*columns)[:3] == (1, 1, 1)
    order = [np.lexsort((np.round(n.onset, 2), n.pitch, n.program, n.is_drum)) for n in (truth, heard)]
    error = truth.onset[order[0]] - heard.onset[order[1]]
    assert np.abs(error).max() <= 0.005 + 1e-9


@pytest.mark.parametrize("style", STYLES)
def test_composed_pieces_come_back_within_five_milliseconds(style):
    for seed in range(3):
        assert_faithful(compose(seed, style, seconds=20.0, programs=PROGRAMS).notes)


def test_real_compositions_come_back_within_five_milliseconds(tmp_path, monkeypatch):
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path))
    for seed in range(4):
        score = load_composition("bach/bwv66.6", np.random.default_rng(seed), programs=PROGRAMS)
        assert_faithful(score.notes)


@pytest.mark.parametrize("seed", range(20))
def test_times_between_ticks_are_off_by_half_a_tick_at_most_and_no_note_is_lost(seed):
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.choice(3000, 80, replace=False)) * 0.0101  # no two in one tick
    piece = Notes.build(onset, onset + rng.uniform(0.001, 3.0, 80), rng.integers(60, 64, 80), program=48)
    piece = piece.without_overlaps()
    assert_faithful(piece)
