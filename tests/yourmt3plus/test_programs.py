import numpy as np

from common.notes import Notes
from yourmt3plus.programs import MULTI, SINGLE, written
from yourmt3plus.tokenizer import IDS, encode

EFFECTS_AND_BEYOND = {*range(96, 100), *range(102, 128)}


def one_of_each() -> Notes:
    return Notes.build(np.arange(128) / 100, np.arange(128) / 100 + 0.05, 60, program=np.arange(128))


def test_thirteen_channels_take_every_program_but_effects_and_beyond():
    channel = MULTI.of(one_of_each())
    assert len(MULTI) == 13
    assert set(np.flatnonzero(channel < 0).tolist()) == EFFECTS_AND_BEYOND
    assert [channel[program] for program in (0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 100, 101)] == [
        *range(6),
        *range(5, 12),
        11,
    ]
    hits = one_of_each().replace(is_drum=True)
    assert set(MULTI.of(hits).tolist()) == {12}
    assert set(SINGLE.of(hits).tolist()) == set(SINGLE.of(one_of_each()).tolist()) == {0}


def test_violin_and_ensemble_share_a_channel_and_keep_their_class():
    notes = Notes.build([0.1, 0.2, 0.3, 0.4], [0.5] * 4, [60, 61, 62, 63], program=[40, 41, 48, 44])
    assert MULTI.of(notes).tolist() == [5, 5, 5, 5]
    assert written(notes)[0].tolist() == [40, 41, 48, 48]


def test_classes_and_groups_are_written_by_their_first_member():
    program, pitch = written(one_of_each())
    assert [program[number] for number in (1, 5, 35, 39, 59, 72, 79, 96, 127)] == [0, 2, 32, 33, 56, 73, 73, 96, 127]
    assert set(pitch.tolist()) == {60}
    hits = Notes.build(np.zeros(8), np.ones(8), [35, 40, 44, 57, 22, 31, 60, 36], program=8, is_drum=True)
    program, pitch = written(hits)
    assert set(program.tolist()) == {0}
    assert pitch.tolist() == [36, 38, 42, 49, 42, 31, 60, 36]


def test_what_has_no_channel_is_counted():
    notes = Notes.concatenate([one_of_each(), one_of_each()[96:98].shift(0.5)])
    rows = encode(notes, MULTI, n_ticks=204)
    expected = {program: 1 + (program in (96, 97)) for program in EFFECTS_AND_BEYOND}
    assert {program: count for program, count in enumerate(rows.dropped.tolist()) if count} == expected
    assert not encode(notes, SINGLE, n_ticks=204, max_tokens=1024).dropped.any()


def test_a_channel_writes_only_its_programs():
    for channel in range(13):
        programs = MULTI.programs(channel)
        tokens = encode(one_of_each(), MULTI, n_ticks=204).tokens[0, channel]
        ids = tokens[(tokens >= IDS["program"].start) & (tokens < IDS["program"].stop)] - IDS["program"].start
        assert set(ids.tolist()) == set(programs.tolist())
    assert MULTI.programs(11).tolist() == [100, 101]
    assert MULTI.programs(12).tolist() == []
