import numpy as np
import pytest

from common.notes import Notes
from tests.yourmt3plus import slow
from yourmt3plus.programs import MULTI, SINGLE
from yourmt3plus.tokenizer import (
    EOS,
    IDS,
    N_TOKENS,
    PAD,
    TIE,
    TokenError,
    encode,
    encode_piece,
    event,
    token,
    whole_ticks,
)

N_TICKS = 204


def text(ids: np.ndarray) -> str:
    """A row in words, without what follows EOS."""
    events = map(event, np.trim_zeros(ids, "b"))
    return ", ".join(f"{name} {value}" if len(IDS[name]) > 1 else name for name, value in events)


def test_the_vocabulary_has_the_596_ids_of_the_paper():
    assert [(name, ids.start, ids[-1]) for name, ids in IDS.items()] == [
        ("PAD", 0, 0),
        ("EOS", 1, 1),
        ("UNK", 2, 2),
        ("shift", 3, 208),
        ("pitch", 209, 336),
        ("velocity", 337, 338),
        ("tie", 339, 339),
        ("program", 340, 467),
        ("drum", 468, 595),
    ]
    events = [event(number) for number in range(N_TOKENS)]
    assert [token(*pair) for pair in events] == list(range(596))
    assert len(set(events)) == 596


@pytest.mark.parametrize(("name", "value"), [("chord", 0), ("pitch", 128), ("shift", 206), ("program", -1), ("tie", 1)])
def test_an_event_without_a_token_is_refused(name, value):
    with pytest.raises(TokenError, match=f"no token for {name} {value}"):
        token(name, value)


@pytest.mark.parametrize("number", [-1, 596])
def test_an_id_without_an_event_is_refused(number):
    with pytest.raises(TokenError, match=f"no token {number}"):
        event(number)


def test_segments_start_at_whole_ticks():
    assert whole_ticks(32_767, 16_000) == 204
    assert whole_ticks(16_384, 16_000) == 102


def test_the_layout_by_hand():
    notes = Notes.build(
        onset=[0.1, 0.1, 0.5, 1.0, 2.04],
        offset=[5.0, 0.2, 0.51, 1.1, 2.5],
        pitch=[60, 64, 36, 60, 62],
        program=[0, 0, 0, 40, 40],
        is_drum=[False, False, True, False, False],
    )
    rows = encode_piece(notes, SINGLE, N_TICKS).tokens[:, 0]
    assert text(rows[0]) == (
        "tie, shift 10, program 0, velocity 1, pitch 60, pitch 64, shift 20, velocity 0, pitch 64, shift 50, "
        "velocity 1, drum 36, shift 100, program 40, pitch 60, shift 110, velocity 0, pitch 60, EOS"
    )
    assert text(rows[1]) == (
        "program 0, pitch 60, tie, program 40, velocity 1, pitch 62, shift 46, velocity 0, pitch 62, EOS"
    )
    assert text(rows[2]) == "program 0, pitch 60, tie, shift 92, velocity 0, pitch 60, EOS"

    rows = encode_piece(notes, MULTI, N_TICKS).tokens
    assert text(rows[0, 12]) == "tie, shift 50, velocity 1, drum 36, EOS"
    assert text(rows[0, 5]) == "tie, shift 100, program 40, velocity 1, pitch 60, shift 110, velocity 0, pitch 60, EOS"
    assert text(rows[1, 0]) == "program 0, pitch 60, tie, EOS"
    silent = np.ones(13, bool)
    silent[[0, 5, 12]] = False
    assert (rows[:, silent, :2] == [TIE, EOS]).all()
    assert (rows[:, silent, 2:] == PAD).all()


def test_ends_come_before_starts_in_a_tick():
    notes = Notes.build([0.1, 0.3, 0.3], [0.3, 0.5, 0.4], [60, 60, 59], program=[0, 0, 0])
    assert text(encode_piece(notes, SINGLE, N_TICKS).tokens[0, 0]) == (
        "tie, shift 10, program 0, velocity 1, pitch 60, shift 30, velocity 0, pitch 60, velocity 1, "
        "pitch 59, pitch 60, shift 40, velocity 0, pitch 59, shift 50, pitch 60, EOS"
    )


@pytest.mark.parametrize("channels", [MULTI, SINGLE], ids=["multi", "single"])
@pytest.mark.parametrize("max_tokens", [12, 40, 2000])
def test_rows_equal_those_written_one_event_at_a_time(channels, max_tokens):
    for seed in range(60):
        start = int(np.random.default_rng(seed).integers(-300, 300))
        piece = slow.random_piece(seed)
        rows = encode(piece, channels, N_TICKS, 6, start, max_tokens)
        expected = slow.write(piece, channels, N_TICKS, 6, start, max_tokens)
        tokens = rows.tokens.reshape(len(expected), -1)
        assert [np.trim_zeros(row, "b").tolist() for row in tokens] == [ids for ids, _ in expected]
        assert rows.truncated.ravel().tolist() == [missing for _, missing in expected]


def test_an_event_on_a_boundary_is_in_one_segment_only():
    notes = Notes.build([1.0, 2.04], [2.04, 4.08], [60, 64])
    rows = encode_piece(notes, SINGLE, N_TICKS).tokens[:, 0]
    assert text(rows[0]) == "tie, shift 100, program 0, velocity 1, pitch 60, EOS"
    assert text(rows[1]) == "program 0, pitch 60, tie, velocity 0, pitch 60, velocity 1, pitch 64, EOS"
    assert text(rows[2]) == "program 0, pitch 64, tie, velocity 0, pitch 64, EOS"


def test_a_segment_alone_equals_its_place_in_the_piece():
    """What training cuts out is what inference will be asked for, whatever ended long before, and on its own clock."""
    for seed in range(20):
        piece = slow.random_piece(seed, n_notes=80)
        piece = piece.replace(offset=piece.offset + 1.0)  # notes of one key overlap
        whole = encode(piece, MULTI, N_TICKS, 6, 0, 2000)
        for segment in range(6):
            alone = encode(piece.shift(-segment * N_TICKS / 100), MULTI, N_TICKS, max_tokens=2000)
            width = alone.tokens.shape[-1]
            assert np.array_equal(alone.tokens[0], whole.tokens[segment, :, :width])
            assert (whole.tokens[segment, :, width:] == PAD).all()


def test_a_long_row_loses_whole_events_and_keeps_its_end():
    piece = Notes.build(np.arange(200) / 100, np.arange(200) / 100 + 0.05, 60 + np.arange(200) % 12)
    full = encode(piece, MULTI, N_TICKS, max_tokens=2000)
    assert full.truncated.sum() == 0
    row = full.tokens[0, 0]
    for limit in range(2, 60):
        cut = encode(piece, MULTI, N_TICKS, max_tokens=limit)
        ids = cut.tokens[0, 0]
        assert len(ids) <= limit
        assert ids[np.count_nonzero(ids) - 1] == EOS
        kept = np.count_nonzero(ids) - 1
        assert np.array_equal(ids[:kept], row[:kept])
        assert kept == 1 or event(ids[kept - 1])[0] == "pitch"
        events = np.count_nonzero((ids >= IDS["pitch"].start) & (ids < IDS["pitch"].stop))
        assert events + cut.truncated[0, 0] == 2 * 200 - np.count_nonzero(piece.offset >= 2.035)


def test_too_many_tied_notes_leave_the_tie_and_the_end():
    piece = Notes.build(np.zeros(100), np.full(100, 9.0), np.arange(100))
    rows = encode(piece, SINGLE, N_TICKS, 1, N_TICKS, max_tokens=10)
    assert text(rows.tokens[0, 0]) == "program 0, " + "".join(f"pitch {pitch}, " for pitch in range(7)) + "tie, EOS"
    assert rows.truncated.item() == 93


def test_notes_of_one_key_that_start_in_one_tick_are_one_and_counted():
    notes = Notes.build([0.101, 0.104, 0.5], [0.3, 0.2, 0.6], [60, 60, 60], program=[0, 1, 0])
    rows = encode_piece(notes, MULTI, N_TICKS)
    assert rows.merged == 1
    first = rows.tokens[0, 0, :8]
    assert text(first) == "tie, shift 10, program 0, velocity 1, pitch 60, shift 30, velocity 0, pitch 60"


def test_nothing_is_silence():
    rows = encode_piece(Notes.empty(), MULTI, N_TICKS)
    assert rows.tokens.shape == (1, 13, 2)
    assert (rows.tokens == [TIE, EOS]).all()
    assert (rows.dropped.sum(), rows.merged, rows.truncated.sum()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("notes", "sizes", "message"),
    [
        (Notes.build(np.nan, 1.0, 60), (204, 1, 0, 256), "not finite"),
        (Notes.build(0.0, 1.0, 128), (204, 1, 0, 256), "outside 0..127"),
        (Notes.build(0.0, 1.0, -1), (204, 1, 0, 256), "outside 0..127"),
        (Notes.build(0.0, 1.0, 60, program=130), (204, 1, 0, 256), "outside 0..127"),
        (Notes.build(0.0, 1.0, 60), (207, 1, 0, 256), "1 to 206 ticks"),
        (Notes.build(0.0, 1.0, 60), (204, 1, 0, 1), "room for two tokens"),
    ],
)
def test_what_cannot_be_written_is_refused(notes, sizes, message):
    with pytest.raises(TokenError, match=message):
        encode(notes, MULTI, *sizes)
