"""Which piece an example is taken from, when there are several data sets of very different size."""

from collections.abc import Sequence
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

Rule = Literal["data_set", "file"]


class Timed(Protocol):
    """Something to take examples from: how long it sounds."""

    @property
    def seconds(self) -> float: ...


Source = TypeVar("Source", bound=Timed)


def shares(weights: Sequence[float], n_files: Sequence[int], rule: Rule = "data_set") -> np.ndarray:
    """(data set,) probability with which an example comes from each data set.

    Args:
        weights: of the data sets.
        n_files: in each of them.
        rule: "data_set": the share is the weight, however many files there are. "file": the code released with
            YourMT3+ gives each file of set d the weight w_d (1 - n_d / N), so that large sets drown small ones; here
            to compare.

    Raises:
        ValueError: a weight is negative or all are 0, or a set that has one is empty.
    """
    weight, n = np.asarray(weights, np.float64), np.asarray(n_files, np.float64)
    if len(weight) != len(n) or not len(weight) or (weight < 0).any() or not (weight > 0).any():
        raise ValueError(f"each data set needs a weight of at least 0, and one of them more; got {list(weights)}")
    if ((weight > 0) & (n == 0)).any():
        raise ValueError(f"a data set with a weight has no pieces in this split: weights {list(weights)}, {list(n)}")
    if rule == "file":
        weight = weight * n * (1.0 - n / n.sum()) if len(weight) > 1 else weight
    return weight / weight.sum()


class WeightedSources(Generic[Source]):
    """Data sets to draw from: first the set by its share, then the piece by its length.

    Args:
        data_sets: pieces of each.
        weights: see `shares`.
        rule: see there.
    """

    def __init__(self, data_sets: Sequence[Sequence[Source]], weights: Sequence[float], rule: Rule = "data_set"):
        self.data_sets = data_sets
        edges = np.cumsum(shares(weights, [len(pieces) for pieces in data_sets], rule))
        self.edges = edges / edges[-1]  # the last is 1 to the bit
        self.ends = [np.cumsum([piece.seconds for piece in pieces]) for pieces in data_sets]

    def draw(self, rng: np.random.Generator) -> tuple[int, Source]:
        """The index of a data set, and one of its pieces."""
        which = int(np.searchsorted(self.edges, rng.random(), side="right"))
        ends = self.ends[which]
        return which, self.data_sets[which][int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]
