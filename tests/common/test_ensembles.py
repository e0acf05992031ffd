from collections import Counter

import numpy as np
import pytest

from common.composer import compose
from common.corpus import FIRST_SEED, SIZES
from common.ensembles import NOBODY, PAUSE, Passage, _led, _runs
from common.instruments import HELD_OUT_PROGRAMS, TRAIN_PROGRAMS
from common.scores import Score

TIMES = np.arange(0.5, 59.5, 0.25)


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return [compose(seed, "ensemble", seconds=60.0, programs=TRAIN_PROGRAMS) for seed in range(60)]


def leaders(score: Score) -> np.ndarray:
    """Who leads at TIMES, NOBODY where nobody does."""
    label = np.full(len(TIMES), NOBODY)
    for start, end, part in score.lead:
        label[(start <= TIMES) & (end > TIMES)] = part
    return label


def sounding(score: Score) -> np.ndarray:
    """Whether each part has a note within half a second of TIMES, bool (part, time)."""
    rows = []
    for part in score.parts:
        begins, ends = part.notes.onset[:, None] < TIMES + 0.5, part.notes.offset[:, None] > TIMES - 0.5
        rows.append((begins & ends).any(axis=0))
    return np.array(rows)


def variety(score: Score, reach: float = 2.5) -> np.ndarray:
    """How many different turns of three single notes each part plays around TIMES, int (part, time)."""
    counts = np.zeros((len(score.parts), len(TIMES)), np.int64)
    for row, part in zip(counts, score.parts, strict=True):
        onset = part.notes.onset
        single = np.array([np.count_nonzero(np.abs(onset - at) < 0.06) == 1 for at in onset])
        onset, pitch = onset[single & ~part.notes.is_drum], part.notes.pitch[single & ~part.notes.is_drum].tolist()
        for i, (first, last) in enumerate(np.searchsorted(onset, [TIMES - reach, TIMES + reach]).T):
            near = pitch[first:last]
            row[i] = len(set(zip(near[:-2], near[1:-1], near[2:], strict=True))) if len(near) > 2 else 0
    return counts


def test_three_to_eight_play(scores):
    sizes = Counter(len(score.parts) for score in scores)
    assert set(sizes) == {3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("seconds", [4.0, SIZES["lead-tiny"].seconds])
def test_three_to_eight_play_in_a_short_piece_too(seconds):
    """Of which a solo without accompaniment may be all."""
    sizes = {len(compose(seed, "ensemble", seconds, TRAIN_PROGRAMS).parts) for seed in range(60)}
    sizes |= {len(compose(FIRST_SEED["test"] + i, "ensemble", seconds, HELD_OUT_PROGRAMS).parts) for i in range(30)}
    assert sizes == {3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize(
    ("seed", "parts"),
    [(FIRST_SEED["test"], [(57, 3343), (308, 15814), (116, 8206), (184, 6320)]), (395, [(82, 5926), (119, 7130)])],
)
def test_pieces_of_the_lead_corpus_are_what_they_were(seed, parts):
    """Their ids do not tell by which composer: who changes them has to raise pieces.VERSION. 395 has but two parts."""
    score = compose(seed, "ensemble", SIZES["lead"].seconds, TRAIN_PROGRAMS)
    assert [(len(part.notes), part.notes.pitch.sum()) for part in score.parts] == parts


def test_all_kinds_of_parts_lead_and_none_is_the_one_that_does(scores):
    led = Counter(score.parts[part].role for score in scores for _, _, part in score.lead)
    assert {"melody", "voice", "comping", "bass", "drums"} <= set(led)
    several = [score for score in scores if sum(part.role in ("melody", "voice") for part in score.parts) > 1]
    first = np.mean([part == 0 for score in several for _, _, part in score.lead])
    assert first < 0.6
    assert np.mean([len({part for *_, part in score.lead}) > 1 for score in scores]) > 0.8


def test_players_answer_each_other(scores):
    turns = [[part for *_, part in score.lead] for score in scores]
    fours = (parts[i : i + 4] for parts in turns for i in range(len(parts) - 3))
    assert any(a == c != b == d for a, b, c, d in fours)


def test_nobody_leads_for_stretches_with_all_with_drums_alone_and_with_nothing(scores):
    shares, alone, nothing, longest = [], 0, 0, 0.0
    for score in scores:
        free, sounds = leaders(score) == NOBODY, sounding(score)
        drums = np.array([part.is_drum for part in score.parts])
        shares.append(free.mean())
        alone += np.count_nonzero(free & sounds[drums].any(axis=0) & ~sounds[~drums].any(axis=0))
        nothing += np.count_nonzero(free & ~sounds.any(axis=0))
        ends = [0.0, *(end for _, end, _ in score.lead)]
        starts = [*(start for start, _, _ in score.lead), 59.5]
        longest = max(longest, *(start - end for start, end in zip(starts, ends, strict=True)))
    assert 0.1 < np.mean(shares) < 0.3
    assert min(alone, nothing) * 0.25 > 20  # seconds in an hour
    assert longest > 10


def test_who_plays_does_not_tell_who_leads(scores):
    lead, aside = [], []
    for score in scores:
        label, sounds = leaders(score), sounding(score)
        for i, part in enumerate(score.parts):
            lead.append(sounds[i, label == i])
            if part.role in ("melody", "voice"):
                aside.append(sounds[i, (label != i) & (label != NOBODY)])
    assert np.concatenate(lead).mean() > 0.98
    assert np.concatenate(aside).mean() > 0.4


def test_notes_tell_the_lead_far_better_than_chance_and_not_perfectly(scores):
    right, chance, frames = 0, 0.0, 0
    for score in scores[:30]:
        label = leaders(score)
        led = label != NOBODY
        right += np.count_nonzero(variety(score).argmax(axis=0)[led] == label[led])
        chance += led.sum() / len(score.parts)
        frames += led.sum()
    assert right / frames > chance / frames + 0.3
    assert right / frames < 0.9


def test_what_led_is_silent_or_below_after_the_hand_over(scores):
    """The notes of a lead end with it: no line of it goes on into the next."""
    before, after = [], []
    for score in scores[:30]:
        counts, label = variety(score, reach=1.0), leaders(score)
        for start, end, part in score.lead:
            if end - start > 6 and end < 55 and not score.parts[part].is_drum:
                at = np.searchsorted(TIMES, end)
                if not (label[at : at + 14] == part).any():
                    before.append(counts[part, at - 8])
                    after.append(counts[part, at + 8])
    assert len(before) > 50
    assert np.mean(after) < 0.35 * np.mean(before)


def test_a_run_of_background_goes_on_under_changing_leads():
    form = [Passage(0, 4, 0, frozenset((1, 2))), Passage(4, 8, 1, frozenset((0, 2))), Passage(8, 9, 0, frozenset((1,)))]
    assert _runs(form, 2) == [(0, 8)]
    assert _runs(form, 1) == [(0, 4), (8, 9)]


def test_a_leader_who_pauses_does_not_lead():
    passage = Passage(0.0, 20.0, 3, frozenset())
    events = [(0.0, 2.0, 60, 80), (3.0, 1.0, 62, 80), (10.0, 1.0, 60, 80), (18.0, 1.0, 60, 80)]
    assert _led(events, passage, PAUSE) == [(0.0, 4.0, 3), (10.0, 11.0, 3), (18.0, 20.0, 3)]
    assert _led(events, passage, 7.0) == [(0.0, 20.0, 3)]
    assert _led([], passage, PAUSE) == []
