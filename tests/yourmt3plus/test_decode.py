from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.notes import Notes
from tests.yourmt3plus import slow
from yourmt3plus.decode import Repairs, contradicted, decode, prologues, read
from yourmt3plus.programs import MULTI, SINGLE, written
from yourmt3plus.tokenizer import EOS, N_TOKENS, PAD, TICKS_PER_SECOND, TIE, encode, encode_piece, token

N_TICKS = 204


def ids(text: str) -> list[int]:
    """A row from names and values, as in "tie, shift 10"."""
    words = (part.split() for part in text.split(","))
    return [token(name, *map(int, value)) for name, *value in words]


def rows(*texts: str) -> np.ndarray:
    """(segment, 1, token) of one channel."""
    lists = [ids(text) for text in texts]
    width = max(map(len, lists))
    return np.array([[[*row, *[PAD] * (width - len(row))]] for row in lists])


def spans(notes: Notes) -> list[tuple[int, int, int]]:
    """Start, end and pitch in ticks."""
    return [(round(n["onset"] * 100), round(n["offset"] * 100), int(n["pitch"])) for n in notes.table]


@pytest.mark.parametrize("channels", [MULTI, SINGLE], ids=["multi", "single"])
def test_random_pieces_come_back_exactly(channels):
    for seed in range(300):
        piece = slow.random_piece(seed, n_notes=10 + seed % 120)
        tokens = encode_piece(piece, channels, N_TICKS, max_tokens=4096).tokens
        notes, repairs = decode(tokens, N_TICKS)
        assert notes == piece
        assert repairs == Repairs()


@settings(max_examples=100, deadline=None)
@given(data=st.data(), n_ticks=st.integers(1, 206))
def test_any_piece_comes_back_exactly_from_segments_of_any_length(data, n_ticks):
    note = st.tuples(
        st.integers(0, 500), st.integers(1, 700), st.integers(0, 127), st.sampled_from([0, 40, 48, 100, None])
    )
    table = data.draw(st.lists(note, max_size=12))
    on, length, pitch, program = (list(column) for column in zip(*table, strict=True)) if table else ([], [], [], [])
    is_drum = np.array([p is None for p in program], bool)
    off = np.array(on, int) + np.where(is_drum, 1, np.array(length, int))
    piece = Notes.build(np.array(on) / 100, off / 100, pitch, 100, [p or 0 for p in program], is_drum)
    key, _ = written(piece)
    piece = piece.replace(pitch=written(piece)[1], track=np.unique(key + 128 * is_drum, return_inverse=True)[1])
    piece = piece.without_overlaps()
    tokens = encode_piece(piece, MULTI, n_ticks, max_tokens=4096).tokens
    assert decode(tokens, n_ticks) == (piece, Repairs())


def test_every_cut_gives_the_same_notes():
    """Notes over three segments and more, one of them without any event inside, and events on most boundaries."""
    piece = slow.random_piece(5, n_notes=40, n_ticks=700)
    assert (piece.offset - piece.onset).max() > 3 * N_TICKS / TICKS_PER_SECOND
    for start in range(-N_TICKS, 1):
        tokens = encode(piece, MULTI, N_TICKS, 9, start, 4096).tokens
        assert decode(tokens, N_TICKS, start) == (piece, Repairs())


def test_long_notes_survive():
    piece = Notes.build([0.5, 1.0], [12.5, 61.0], [60, 64], program=[0, 48], track=[0, 1])
    notes, _ = decode(encode_piece(piece, MULTI, N_TICKS).tokens, N_TICKS)
    assert notes == piece


def test_a_note_over_a_segment_without_any_event():
    piece = Notes.build(1.0, 5.5, 60)
    tokens = encode_piece(piece, SINGLE, N_TICKS).tokens
    assert np.array_equal(tokens[1, 0, :4], ids("program 0, pitch 60, tie, EOS"))
    assert decode(tokens, N_TICKS) == (piece, Repairs())


def garbage(seed: int) -> np.ndarray:
    """Rows in which much is wrong, of few values, so that much meets."""
    rng = np.random.default_rng(seed)
    words = "EOS,UNK,tie,tie,velocity 0,velocity 1,program 0,program 0,program 40,drum 36,pitch 62"
    words += ",shift 0,shift 3,shift 50,shift 101,shift 150" + ",pitch 60,pitch 60,pitch 61" * 3
    pool = [PAD, *ids(words)]
    return rng.choice(pool, (rng.integers(1, 6), rng.integers(1, 3), rng.integers(1, 40)))


def test_whatever_is_wrong_is_mended_and_counted_as_if_read_one_token_at_a_time():
    total = Repairs()
    for seed in range(600):
        tokens = garbage(seed)
        notes, repairs = decode(tokens, 120)
        found, counts = slow.read(tokens, 120)
        start, end, pitch, program, is_drum = np.array(found, int).reshape(-1, 5).T
        is_drum = is_drum.astype(bool)
        track = np.unique(program + 128 * is_drum, return_inverse=True)[1]
        expected = Notes.build(start / 100, end / 100, pitch, 100, program, is_drum, track).without_overlaps()
        assert notes == expected
        assert asdict(repairs) == counts
        total += repairs
    assert all(asdict(total).values())  # each repair was needed


def test_no_ids_raise():
    rng = np.random.default_rng(0)
    for shape in [(5, 13, 60)] * 20 + [(1, 1, 0), (3, 2, 1)]:
        notes, _ = decode(rng.integers(0, N_TOKENS, shape), N_TICKS)
        assert (notes.offset > notes.onset).all()


def test_a_missing_tie_item_closes_the_note_at_the_boundary():
    tokens = rows("tie,shift 100,program 0,velocity 1,pitch 60,EOS", "tie,shift 50,program 0,velocity 0,pitch 60,EOS")
    notes, repairs = decode(tokens, N_TICKS)
    assert spans(notes) == [(100, 204, 60)]
    assert repairs == Repairs(untied_notes=1, unstarted_ends=1)


def test_a_tie_that_nobody_started_is_no_note():
    tokens = rows("tie,EOS", "program 0,pitch 60,tie,EOS", "program 0,pitch 60,tie,shift 9,velocity 0,pitch 60,EOS")
    notes, repairs = decode(tokens, N_TICKS)
    assert len(notes) == 0
    assert repairs == Repairs(unstarted_ties=2, unstarted_ends=1)


def test_a_row_without_tie_keeps_its_events():
    tokens = rows(
        "tie,shift 100,program 0,velocity 1,pitch 60,EOS",
        "program 0,pitch 60,shift 20,velocity 1,pitch 64,shift 50,velocity 0,pitch 64,EOS",
    )
    notes, repairs = decode(tokens, N_TICKS)
    assert spans(notes) == [(100, 408, 60), (224, 254, 64)]
    assert repairs == Repairs(untied_rows=1)


def test_a_struck_again_note_ends_where_the_next_begins():
    tokens = rows("tie,shift 10,program 0,velocity 1,pitch 60,shift 30,pitch 60,shift 50,velocity 0,pitch 60,EOS")
    assert decode(tokens, N_TICKS) == (Notes.build([0.1, 0.3], [0.3, 0.5], [60, 60]), Repairs())


def test_events_after_the_segment_are_left_to_the_next():
    tokens = rows("tie,shift 203,velocity 1,drum 36,shift 204,drum 38,EOS", "tie,velocity 1,drum 38,EOS")
    notes, repairs = decode(tokens, N_TICKS)
    assert spans(notes) == [(203, 204, 36), (204, 205, 38)]
    assert repairs == Repairs(late_events=1)


def test_programs_become_tracks():
    piece = Notes.build([0.1, 0.2, 0.3], [0.5, 0.6, 0.31], [60, 60, 36], 80, [48, 0, 0], [False, False, True])
    notes, _ = decode(encode_piece(piece, MULTI, N_TICKS).tokens, N_TICKS)
    assert list(zip(notes.program.tolist(), notes.is_drum.tolist(), notes.track.tolist(), strict=True)) == [
        (48, False, 1),
        (0, False, 0),
        (0, True, 2),
    ]


@pytest.mark.parametrize("channels", [MULTI, SINGLE], ids=["multi", "single"])
def test_rows_of_a_piece_agree_on_what_goes_on_and_prologues_are_how_they_begin(channels):
    for seed in range(50):
        tokens = encode_piece(slow.random_piece(seed), channels, N_TICKS, max_tokens=4096).tokens
        events, _ = read(tokens, N_TICKS)
        shape = tokens.shape[:2]
        assert not contradicted(events, *shape).any()
        forced = prologues(events, *shape, max_tokens=4096)
        beginning = np.where(np.cumsum(tokens == TIE, axis=2) - (tokens == TIE) == 0, tokens, PAD)
        assert np.array_equal(forced, beginning[:, :, : forced.shape[2]])
        assert (beginning[:, :, forced.shape[2] :] == PAD).all()


def test_a_row_that_ties_other_notes_is_found_and_told_how_to_begin():
    tokens = rows(
        "tie,shift 100,program 0,velocity 1,pitch 60,pitch 64,EOS",
        "program 0,pitch 60,program 1,pitch 64,tie,EOS",
        "program 0,pitch 60,program 1,pitch 64,tie,EOS",
    )
    events, _ = read(tokens, N_TICKS)
    assert contradicted(events, 3, 1).ravel().tolist() == [False, True, False]
    forced = prologues(events, 3, 1, max_tokens=256)
    assert np.trim_zeros(forced[1, 0]).tolist() == ids("program 0,pitch 60,pitch 64,tie")
    assert np.trim_zeros(forced[0, 0]).tolist() == [TIE]
    tokens[1, 0] = [*ids("program 0,pitch 60,pitch 64,tie"), EOS, *[PAD] * (tokens.shape[2] - 5)]
    assert contradicted(read(tokens, N_TICKS)[0], 3, 1).ravel().tolist() == [False, False, True]
