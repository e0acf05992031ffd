import numpy as np
import pytest

from common.composer import STYLES, compose
from common.grooves import GROOVES
from common.instruments import RANGES, TRAIN_PROGRAMS
from common.phrases import BASSES, BLOCKS, BROKEN, PICKED, STRUMS
from common.scores import ROLES, SHORTEST


@pytest.fixture(scope="module")
def pieces():
    return [compose(seed, style, seconds=12.0) for style in STYLES for seed in range(40)]


def test_a_seed_is_a_piece_to_the_bit():
    for style in (None, *STYLES):
        first, again, other = (compose(seed, style, seconds=10.0) for seed in (7, 7, 8))
        assert first == again
        assert first.notes != other.notes


def test_notes_are_playable(pieces):
    for score in pieces:
        assert score.parts, score.title
        for index, part in enumerate(score.parts):
            notes = part.notes
            assert part.role in ROLES
            assert part.is_drum == (part.role == "drums")
            assert np.all(notes.track == index)
            assert np.all(notes.program == part.program)
            assert np.all(notes.is_drum == part.is_drum)
            assert notes.onset.min() >= 0
            assert notes.end <= score.seconds
            assert np.min(notes.offset - notes.onset) >= SHORTEST
            assert notes == notes.without_overlaps()
            assert notes.velocity.min() >= 1
            assert notes.velocity.max() <= 127
            if not part.is_drum:
                low, high = RANGES[part.program]
                assert low <= notes.pitch.min()
                assert notes.pitch.max() <= high


def test_leads_are_disjoint_and_sound(pieces):
    bands = [score for score in pieces if score.title.startswith("band")]
    for score in bands:
        ends = [0.0, *(end for _, end, _ in score.lead)]
        for before, (start, end, index) in zip(ends, score.lead, strict=False):
            assert before <= start < end <= score.seconds
            assert len(score.parts[index].notes.crop(start, end))
    led = sum(end - start for score in bands for start, end, _ in score.lead) / sum(score.seconds for score in bands)
    assert 0.5 < led < 0.95  # mostly somebody leads, sometimes nobody


def test_programs_come_from_the_pool():
    for seed in range(30):
        assert {p.program for p in compose(seed, seconds=5.0, programs=TRAIN_PROGRAMS).parts if not p.is_drum} <= set(
            TRAIN_PROGRAMS
        )
    assert {p.program for p in compose(3, "band", programs=(40,)).parts if not p.is_drum} == {40}


def test_bars_are_full():
    figures = [
        *BLOCKS,
        *BROKEN,
        *STRUMS,
        *PICKED,
        *BASSES,
        *(steps for kit in GROOVES.values() for steps in kit.values()),
    ]
    assert {len(steps) for steps in figures} == {16}


@pytest.mark.parametrize("arguments", [{"style": "polka"}, {"seconds": 1.0}, {"programs": (127,)}, {"programs": ()}])
def test_refuses_what_it_cannot_write(arguments):
    with pytest.raises(ValueError, match="compose wants"):
        compose(1, **arguments)
