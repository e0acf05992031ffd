from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from common.sampling import WeightedSources, shares


@dataclass(frozen=True)
class Piece:
    name: str
    seconds: float


def data_sets(*sizes: int) -> list[list[Piece]]:
    return [[Piece(f"{i}.{j}", 10.0) for j in range(size)] for i, size in enumerate(sizes)]


def test_shares_are_the_weights_whatever_the_number_of_files():
    weights = [0.295, 0.19, 0.1, 0.01, 0.0, 0.405]
    sources = WeightedSources(data_sets(1559, 633, 35, 3, 50, 1), weights)
    rng = np.random.default_rng(0)
    counts = Counter(sources.draw(rng)[0] for _ in range(100_000))
    for which, weight in enumerate(weights):
        assert counts[which] / 100_000 == pytest.approx(weight, abs=0.01)


def test_released_weights_let_large_sets_drown_small_ones():
    # By hand: 0.3 * 90 * 0.1 and 0.7 * 10 * 0.9.
    assert shares([0.3, 0.7], [90, 10], "file") == pytest.approx([2.7 / 9.0, 6.3 / 9.0])
    # The study's table: Slakh has the weight .295 and gets half, URMP has .1 and gets .4 %.
    weights = [0.295, 0.19, 0.191, 0.05, 0.01, 0.004, 0.1, 0.1, 0.01, 0.05]
    files = [1559, 633, 373, 404, 3960, 35217, 35, 1099, 1872, 100]
    share = shares(weights, files, "file")
    assert share[0] == pytest.approx(0.52, abs=0.03)
    assert share[6] == pytest.approx(0.004, abs=0.001)
    assert shares([1.0], [5], "file") == [1.0]


def test_pieces_are_drawn_by_their_length():
    sources = WeightedSources([[Piece("short", 10.0), Piece("long", 30.0)]], [1.0])
    rng = np.random.default_rng(1)
    counts = Counter(sources.draw(rng)[1].name for _ in range(20_000))
    assert counts["long"] / 20_000 == pytest.approx(0.75, abs=0.01)


def test_the_same_generator_draws_the_same():
    sources = WeightedSources(data_sets(5, 7), [1.0, 2.0])
    once, again = ([sources.draw(np.random.default_rng((3, i))) for i in range(20)] for _ in range(2))
    assert once == again


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0]])
def test_weights_that_say_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="each data set needs a weight"):
        shares(weights, [3, 4])


def test_a_weight_for_nothing_is_refused_and_no_weight_is_none():
    with pytest.raises(ValueError, match="no pieces in this split"):
        shares([1.0, 1.0], [3, 0])
    assert shares([1.0, 0.0], [3, 0]).tolist() == [1.0, 0.0]
