from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from common.mixing import AS_THEY_ARE, Mixing, drop_stems, mix, source_odds
from common.notes import Notes
from common.stems import DRUMS, N_KINDS, Multitrack, Stem, kinds

RATE = 1000
NOTHING_ADDED = Mixing(max_sources=0)


def stem(kind: int, number: int = 0, unknown: frozenset[int] = frozenset(), seconds: float = 1.0) -> Stem:
    """One that plays one note throughout, whose samples are like no other's."""
    samples = np.random.default_rng((kind, number)).uniform(-1, 1, int(seconds * RATE)).astype(np.float32)
    is_drum = kind == DRUMS
    notes = Notes.build([0.0], [seconds], 36 + number, program=0 if is_drum else kind, is_drum=is_drum)
    return Stem(samples, 0 if is_drum else kind, is_drum, f"{kind}", notes, unknown=unknown)


def band(*members: int | tuple[int, int]) -> Multitrack:
    """Stems of these kinds, or (kind, number)."""
    pairs = [member if isinstance(member, tuple) else (member, 0) for member in members]
    return Multitrack(tuple(stem(*pair) for pair in pairs), RATE)


def groups_in(excerpt: Multitrack) -> set[int]:
    return set(kinds(excerpt.notes).tolist())


def never_again(pool: list[Multitrack]):
    """Draws the first of the pool, then the second, and so on."""
    turn = iter(pool)
    return lambda rng: next(turn)


def test_what_is_heard_is_what_is_written_in_a_thousand_draws():
    members = (0, 33, (33, 1), 48, 73, DRUMS)
    whole = band(*members)
    rng = np.random.default_rng(0)
    kept = np.zeros(len(members))
    for _ in range(1000):
        mixed = mix(lambda rng: whole, NOTHING_ADDED, rng)
        written = groups_in(mixed)
        assert written
        there = [i for i, s in enumerate(whole.stems) if s.kinds <= written]
        gains = [s.scale for s in mixed.stems]
        assert len(gains) == len(there)
        assert all(0.8 <= gain <= 1.1 for gain in gains)
        expected = sum(gain * whole.stems[i].samples.astype(np.float64) for gain, i in zip(gains, there, strict=True))
        assert np.abs(mixed.mixture() - expected).max() <= 1e-6
        kept += [s.kinds <= written for s in whole.stems]
    assert np.abs(kept / 1000 - 0.7).max() < 0.03 + 0.7 * 0.3**5  # one of five groups stays in any case


def test_stems_of_one_kind_or_group_stay_together():
    groups = np.arange(N_KINDS)
    groups[49] = 48
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(50):
        excerpt = drop_stems(band(48, (48, 1), 49, 0), NOTHING_ADDED, rng, groups)
        seen.add(tuple(s.program for s in excerpt.stems))
    assert seen == {(48, 48, 49), (0,), (48, 48, 49, 0)}


def test_a_kind_may_have_a_probability_of_its_own():
    rng = np.random.default_rng(2)
    policy = Mixing(keep=0.3, keep_of={100: 1.0})
    drawn = [drop_stems(band(100, 0, 33), policy, rng) for _ in range(400)]
    assert all(100 in groups_in(excerpt) for excerpt in drawn)
    assert np.mean([0 in groups_in(excerpt) for excerpt in drawn]) == pytest.approx(0.3, abs=0.07)


def test_what_stays_plays_if_anything_plays():
    late = replace(stem(5), notes=Notes.build([7.0], [8.0], 60, program=5))
    excerpt = Multitrack((stem(0), late), RATE)
    rng = np.random.default_rng(3)
    for _ in range(100):
        assert 0 in groups_in(drop_stems(excerpt, Mixing(keep=0.1), rng))
    silence = Multitrack((late, late), RATE)
    assert drop_stems(silence, Mixing(keep=0.0), rng).n_samples == RATE


def test_odds_of_more_sources_follow_the_survival_curve():
    assert source_odds(Mixing()).round(3).tolist() == [0.259, 0.192, 0.142, 0.105, 0.078, 0.223]
    assert source_odds(Mixing(max_sources=2)).round(3).tolist() == [0.259, 0.192, 0.549]
    assert source_odds(NOTHING_ADDED).tolist() == [1.0]
    weibull = stats.weibull_min(2.0, scale=1 / 0.3)
    assert source_odds(Mixing(alpha=2.0))[:-1] == pytest.approx(np.diff(weibull.cdf(np.arange(6))))


def test_as_many_sources_are_added_as_the_odds_say():
    rng = np.random.default_rng(4)
    counts = np.zeros(6)
    for _ in range(4000):
        taken = []
        mix(lambda rng: taken.append(0) or band(0), Mixing(), rng)  # noqa: B023
        counts[len(taken) - 1] += 1
    assert stats.chisquare(counts, 4000 * source_odds(Mixing())).pvalue > 0.01


def test_no_kind_comes_from_two_sources_and_all_that_was_kept_is_written():
    rng = np.random.default_rng(5)
    pool = [band(*((int(k), number) for k in rng.choice([0, 24, 33, 48, 56, 100, DRUMS], 3))) for number in range(40)]
    for _ in range(300):
        # The number of the source is in the pitch.
        mixed = mix(lambda rng: pool[rng.integers(len(pool))], Mixing(), rng)
        notes = mixed.notes
        for kind in groups_in(mixed):
            assert len(np.unique(notes.pitch[kinds(notes) == kind])) == 1
        assert sorted(zip(kinds(notes), notes.pitch - 36, strict=True)) == sorted(
            (next(iter(s.kinds)), int(s.notes.pitch[0]) - 36) for s in mixed.stems
        )
        assert (notes.onset == 0.0).all()
        assert (notes.offset == 1.0).all()


def test_times_of_what_is_added_count_from_the_start_of_the_mix():
    far = band(24, DRUMS).crop(0.5, 0.25)
    mixed = mix(never_again([band(0).crop(0.25, 0.25), far, far]), replace(AS_THEY_ARE, tau=0.0, max_sources=1), _rng())
    assert [s.program for s in mixed.stems] == [0, 24, 0]
    assert mixed.uncut_notes.onset.tolist() == [-0.25, -0.5, -0.5]
    assert mixed.notes.intervals.tolist() == [[0.0, 0.25]] * 3


def test_groups_forbid_what_is_written_alike():
    groups = np.arange(N_KINDS)
    groups[49] = 48
    always_one = replace(AS_THEY_ARE, tau=0.0, max_sources=1)
    mixed = mix(never_again([band(48), band(49, 0)]), always_one, _rng(), groups)
    assert [s.program for s in mixed.stems] == [48, 0]
    assert len(mix(never_again([band(48), band(49)]), always_one, _rng(), groups).stems) == 1


def test_nothing_is_added_to_what_is_unknown_and_nothing_unknown_to_what_plays():
    unheard = replace(stem(7), notes=Notes.empty(), unknown=frozenset({33, DRUMS}))
    accompaniment = Multitrack((stem(100), unheard), RATE)
    always_one = replace(AS_THEY_ARE, tau=0.0, max_sources=1)
    mixed = mix(never_again([accompaniment, band(33, 0, DRUMS)]), always_one, _rng())
    assert [next(iter(s.kinds), None) for s in mixed.stems] == [100, None, 0]
    assert mixed.unknown == {33, DRUMS}
    mixed = mix(never_again([band(DRUMS), accompaniment]), always_one, _rng())
    assert [next(iter(s.kinds)) for s in mixed.stems] == [DRUMS, 100]
    assert mixed.unknown == frozenset()


def test_what_is_unknown_is_dropped_by_itself():
    unheard = [replace(stem(0), notes=Notes.empty(), unknown=frozenset({number})) for number in (5, 6)]
    rng = _rng()
    left = [drop_stems(Multitrack((stem(100), *unheard), RATE), Mixing(keep_of={100: 1.0}), rng) for _ in range(300)]
    for kind in (5, 6):
        assert np.mean([kind in excerpt.unknown for excerpt in left]) == pytest.approx(0.7, abs=0.08)


def test_sources_stay_as_they_were():
    pool = [band(0, 33, DRUMS), band(24, 48), band(100)]
    before = [[(s.samples.copy(), s.notes.table.copy(), s.scale) for s in piece.stems] for piece in pool]
    rng = _rng()
    for _ in range(50):
        mix(lambda rng: pool[rng.integers(3)], Mixing(), rng).mixture()
    for piece, were in zip(pool, before, strict=True):
        for s, (samples, table, scale) in zip(piece.stems, were, strict=True):
            assert np.array_equal(s.samples, samples)
            assert np.array_equal(s.notes.table, table)
            assert s.scale == scale


def test_the_same_seed_gives_the_same_mix():
    pool = [band(0, 33, DRUMS), band(24, 48), band(100)]
    once, again = (mix(lambda rng: pool[rng.integers(3)], Mixing(), _rng()) for _ in range(2))
    assert np.array_equal(once.mixture(), again.mixture())
    assert once.notes == again.notes


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)
