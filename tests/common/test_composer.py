import numpy as np
import pytest

from common.composer import LOOPS, SCALES, STYLES, compose
from common.grooves import GROOVES, KITS
from common.instruments import HELD_OUT_PROGRAMS, RANGES, TRAIN_PROGRAMS
from common.notes import Notes
from common.phrases import BASSES, BLOCKS, BROKEN, PICKED, STRUMS
from common.scores import ROLES, SHORTEST


@pytest.fixture(scope="module")
def pieces():
    """Style -> forty pieces."""
    return {style: [compose(seed, style, seconds=15.0) for seed in range(40)] for style in STYLES}


@pytest.fixture(scope="module")
def scores(pieces):
    return [score for style in pieces.values() for score in style]


def polyphony(notes: Notes, times: np.ndarray) -> np.ndarray:
    return np.sum((notes.onset[:, None] <= times) & (times < notes.offset[:, None]), axis=0)


def test_a_seed_is_a_piece_to_the_bit():
    for style in (None, *STYLES):
        first, again, other = (compose(seed, style, seconds=10.0) for seed in (7, 7, 8))
        assert first == again
        assert first.notes != other.notes


def test_a_seed_makes_the_piece_that_it_always_made():
    """Corpora that weights were trained on are named by seeds; sums over what was composed before styles had names."""
    expected = {
        0: ("keys 0", 54, 3910, 155.710, 171.106, 3298),
        1: ("keys 1", 125, 7353, 385.896, 423.713, 7838),
        2: ("band 2", 58, 3110, 185.138, 228.521, 3884),
        1_000_000: ("solo 1000000", 13, 740, 42.970, 47.443, 1143),
    }
    for seed, (title, count, pitch, onset, offset, velocity) in expected.items():
        score = compose(seed, seconds=6.0, programs=TRAIN_PROGRAMS)
        assert (score.title, len(score.notes), score.notes.pitch.sum()) == (title, count, pitch)
        assert score.notes.velocity.sum(dtype=int) == velocity
        assert score.notes.onset.sum() == pytest.approx(onset, abs=1e-3)
        assert score.notes.offset.sum() == pytest.approx(offset, abs=1e-3)


def test_notes_are_playable(scores):
    for score in scores:
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
            assert 1 <= notes.velocity.min() <= notes.velocity.max() <= 127
            low, high = (27, 87) if part.is_drum else RANGES[part.program]
            assert low <= notes.pitch.min() <= notes.pitch.max() <= high


@pytest.mark.parametrize("style", ["band", "ensemble"])
def test_leads_are_disjoint_and_sound(pieces, style):
    for score in pieces[style]:
        ends = [0.0, *(end for _, end, _ in score.lead)]
        for before, (start, end, index) in zip(ends, score.lead, strict=False):
            assert before <= start < end <= score.seconds
            assert len(score.parts[index].notes.crop(start, end))
    total = sum(score.seconds for score in pieces[style])
    assert 0.5 < sum(end - start for score in pieces[style] for start, end, _ in score.lead) / total < 0.95


def test_the_lead_changes_hands(pieces):
    handovers = [
        (before, after)
        for score in (compose(seed, "band", seconds=60.0) for seed in range(40))
        for before, after in zip(score.lead[:-1], score.lead[1:], strict=True)
    ]
    assert len(handovers) > 40
    touching = [(before, after) for before, after in handovers if before[1] == after[0]]
    assert touching
    assert all(before[2] != after[2] for before, after in touching)


def test_every_style_is_drawn_and_a_band_mostly_has_drums(pieces):
    drawn = {compose(seed, seconds=2.0).title.split()[0] for seed in range(100)}
    assert drawn == set(STYLES) - {"ensemble"}
    drums = [any(part.is_drum for part in score.parts) for score in pieces["band"]]
    assert 0.5 < np.mean(drums) < 1.0
    without = set(STYLES) - {"band", "ensemble"}
    assert not any(part.is_drum for style in without for score in pieces[style] for part in score.parts)


def test_the_pieces_together_teach_what_is_to_be_heard(pieces, scores):
    notes = Notes.concatenate(score.notes.tuned() for score in scores)
    assert set(range(24, 108)) <= set(notes.pitch.tolist())
    lengths = notes.offset - notes.onset
    assert np.quantile(lengths, 0.01) < 0.08  # seconds: trills
    assert np.quantile(lengths, 0.99) > 1.5
    assert notes.velocity.max() - notes.velocity.min() > 70
    times = np.arange(1, 14, 0.05)
    most = {style: [polyphony(s.notes.tuned(), times).max() for s in pieces[style]] for style in STYLES}
    assert max(most["solo"]) <= 2  # one voice, legato
    assert max(most["texture"]) == 8
    assert max(most["keys"]) >= 8
    for score in pieces["chamber"]:
        assert 2 <= len(score.parts) <= 5
    assert len({part.program for score in scores for part in score.parts}) > 70


@pytest.mark.parametrize("pool", [TRAIN_PROGRAMS, HELD_OUT_PROGRAMS, (40,)])
def test_programs_come_from_the_pool(pool):
    for style in STYLES:
        for seed in range(5):
            for part in compose(seed, style, seconds=5.0, programs=pool).parts:
                assert part.program in (KITS if part.is_drum else pool)


def test_tables_are_well_formed():
    figures = [
        *BLOCKS,
        *BROKEN,
        *STRUMS,
        *PICKED,
        *BASSES,
        *(steps for kit in GROOVES.values() for steps in kit.values()),
    ]
    assert {len(steps) for steps in figures} == {16}
    assert all(len(scale) == 7 and list(scale) == sorted(set(scale)) and scale[-1] < 12 for scale in SCALES.values())
    assert all(0 <= degree < 7 for loop in LOOPS for degree in loop)


@pytest.mark.parametrize("arguments", [{"style": "polka"}, {"seconds": 1.0}, {"programs": (127,)}, {"programs": ()}])
def test_refuses_what_it_cannot_write(arguments):
    with pytest.raises(ValueError, match="compose wants"):
        compose(1, **arguments)
