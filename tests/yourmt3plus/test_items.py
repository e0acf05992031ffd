import numpy as np
import pytest

from common.instruments import YOURMT3_CHANNELS
from common.notes import Notes
from common.stems import DRUMS
from yourmt3plus.decode import decode
from yourmt3plus.items import EVERYTHING, TASKS, Shape, draw_task, make_item
from yourmt3plus.programs import MULTI, SINGLE
from yourmt3plus.tokenizer import EOS, TIE

MULTI_SHAPE = Shape(16_000, 32_767, 204, MULTI)
SINGLE_SHAPE = Shape(16_000, 32_767, 204, SINGLE, n_tasks=3)
SILENCE = np.zeros(32_767, np.float32)
ROWS = {name: i for i, name in enumerate(YOURMT3_CHANNELS)}
SINGING, DRUM_TASK = 1, 2

SONG = Notes.build(
    [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8], [60, 36, 64, 50], program=[0, 33, 100, 0], is_drum=[0, 0, 0, 1]
)


def test_segments_follow_one_another_on_the_clock_of_the_ticks():
    audio = np.arange(32_640 * 2 + 100, dtype=np.float32)
    cut = MULTI_SHAPE.cut(audio, 3)
    assert cut.shape == (3, 32_767)
    assert cut[:, 0].tolist() == [0, 32_640, 65_280]
    assert cut[2, 99] == 65_379
    assert not cut[2, 100:].any()


def test_a_channel_is_known_if_nothing_unknown_belongs_to_it():
    known = MULTI_SHAPE.known(frozenset({33, DRUMS, 110}))
    assert np.flatnonzero(~known).tolist() == [ROWS["Bass"], ROWS["Drums"]]
    assert MULTI_SHAPE.known(frozenset()).all()
    assert not SINGLE_SHAPE.known(frozenset({7})).any()


def test_only_singing_is_known_where_only_singing_is_annotated():
    known = MULTI_SHAPE.known(TASKS[EVERYTHING] - TASKS[SINGING])
    assert np.flatnonzero(known).tolist() == [ROWS["Singing"]]


def test_rows_say_what_is_known_of_each_channel_and_count_what_is_lost():
    notes = Notes.concatenate([SONG, Notes.build([0.1], [0.2], 60, program=110)])
    item = make_item(MULTI_SHAPE, SILENCE, notes, frozenset({40}), max_tokens=256, excerpt=3, lost=2)
    assert np.flatnonzero(~item.annotated[0]).tolist() == [ROWS["Strings + Ensemble"]]
    assert (item.excerpt, item.dropped, item.truncated.tolist()) == (3, 3, [0])
    silent = [list(row[row > 0]) == [TIE, EOS] for row in item.tokens[0]]
    assert [name for name, i in ROWS.items() if not silent[i]] == ["Piano", "Bass", "Singing", "Drums"]


@pytest.mark.parametrize(("task", "programs"), [(EVERYTHING, [0, 33, 100, 0]), (SINGING, [100]), (DRUM_TASK, [0])])
def test_a_single_row_holds_what_it_is_asked_for(task, programs):
    item = make_item(SINGLE_SHAPE, SILENCE, SONG, frozenset(), max_tokens=1024, excerpt=0, task=task)
    notes, _ = decode(item.tokens, 204)
    assert notes.program.tolist() == programs
    assert item.annotated.tolist() == [[True]]


def test_what_is_known_depends_on_what_is_asked():
    drums_alone = TASKS[EVERYTHING] - {DRUMS}
    for task, known in ((EVERYTHING, False), (DRUM_TASK, True), (SINGING, False)):
        item = make_item(SINGLE_SHAPE, SILENCE, SONG, drums_alone, max_tokens=1024, excerpt=0, task=task)
        assert item.annotated.tolist() == [[known]]


def test_a_task_is_drawn_of_which_all_is_known():
    rng = np.random.default_rng(0)
    unknown = TASKS[EVERYTHING] - {DRUMS}
    assert {draw_task(unknown, 3, rng) for _ in range(20)} == {DRUM_TASK}
    assert {draw_task(TASKS[EVERYTHING], 3, rng) for _ in range(20)} == {EVERYTHING}
    assert {draw_task(unknown, 0, rng) for _ in range(20)} == {EVERYTHING}
    known = np.bincount([draw_task(frozenset(), 3, rng) for _ in range(2000)]) / 2000
    assert known == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
