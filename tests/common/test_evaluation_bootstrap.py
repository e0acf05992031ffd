import numpy as np
import pytest

from common.evaluation.bootstrap import Interval, bootstrap_difference, bootstrap_interval


@pytest.mark.parametrize(("level", "low"), [(0.95, 1 / 8), (0.5, 3 / 8)])
def test_fair_coins_by_hand(level, low):
    """The mean of eight draws from four zeros and four ones is binomial: P(<=0, 1, 2, 3) = .004, .035, .145, .363."""
    assert bootstrap_interval([0, 0, 0, 0, 1, 1, 1, 1], level) == Interval(0.5, low, 1 - low)


def test_covers_the_true_mean_as_often_as_it_claims():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(3, 1, 40), level=0.9, n=300) for _ in range(300)]
    covered = np.mean([interval.low <= 3 <= interval.high for interval in intervals])
    # 300 sets put a deviation of 0.017 on 0.9; percentile intervals of 40 values are a little narrow.
    assert 0.83 < covered < 0.95


def test_pairing_takes_out_what_pieces_share():
    easy_and_hard = np.linspace(0.1, 0.9, 20)
    difference = bootstrap_difference(easy_and_hard + 0.01, easy_and_hard)
    assert difference == pytest.approx((0.01, 0.01, 0.01))
    assert bootstrap_difference(easy_and_hard, easy_and_hard[::-1]).low < 0


def test_seed_decides():
    values = np.random.default_rng(0).random(10)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_one_piece_has_no_spread():
    assert bootstrap_interval([0.7]) == (0.7, 0.7, 0.7)


@pytest.mark.parametrize("values", [[], [0.5, np.nan], [[0.5, 0.6]]])
def test_values_without_a_mean_are_refused(values):
    with pytest.raises(ValueError, match="one score per piece"):
        bootstrap_interval(values)


def test_other_misuse_is_refused():
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="same pieces"):
        bootstrap_difference([1.0, 2.0], [1.0])
