"""What `benchmarks.diffusion` computes of fits: means over seeds, and intervals over recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.evaluation.bootstrap import Interval
from diffusion_pir.decode import decide
from diffusion_pir.prober import Result

SCORES = ("micro", "macro", "lrap", "map", "micro_oracle")
RESAMPLES = 5_000


@dataclass(frozen=True, eq=False)
class Excerpts:
    """What is true of the excerpts of a test set.

    Args:
        labels: (excerpt, class), 0 and 1.
        groups: recording of each, drawn as a whole.
    """

    labels: np.ndarray
    groups: tuple[str, ...]


def counts(result: Result, excerpts: Excerpts) -> np.ndarray:
    """(excerpt, 3): classes that are found, true and claimed."""
    claimed = decide(result.scores, result.row["threshold"], result.row["agg"])
    truth = excerpts.labels.astype(bool)
    return np.stack([(truth & claimed).sum(1), truth.sum(1), claimed.sum(1)], axis=1)


def resampled_micro(results: Sequence[Result], excerpts: Excerpts, seed: int = 0, n: int = RESAMPLES) -> np.ndarray:
    """(n,) micro-F, a mean over seeds, of test sets whose recordings are drawn anew; systems of a seed share the draws.

    Args:
        results: one for each seed.
        excerpts: of the test set.
        seed: of the draws.
        n: how many.
    """
    names, group = np.unique(excerpts.groups, return_inverse=True)
    sums = np.zeros((len(results), len(names), 3))
    for own, result in zip(sums, results, strict=True):
        np.add.at(own, group, counts(result, excerpts))
    weights = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), n)
    found, true, claimed = np.moveaxis(np.einsum("ng,sgc->nsc", weights, sums), -1, 0)
    return (2 * found / np.maximum(true + claimed, 1)).mean(1)


def interval(mean: float, drawn: np.ndarray, level: float = 0.95) -> Interval:
    """A mean with the percentiles of its resamples."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def micro(results: Sequence[Result]) -> float:
    return float(np.mean([result.row["micro"] for result in results]))


def summary(results: Sequence[Result], excerpts: Excerpts) -> dict[str, Any]:
    """Means and deviations over seeds, the interval of the micro-F over recordings, accuracy, and F of each class."""
    row = results[0].row
    told = {name: row.get(name) for name in ("model", "noise", "layer", "head", "draws", "mixes", "agg", "params")}
    means = {}
    for name in SCORES:
        values = [result.row[name] for result in results]
        deviation = round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None
        means[name] = {"mean": round(float(np.mean(values)), 4), "deviation": deviation}
    spread = interval(micro(results), resampled_micro(results, excerpts))
    means["micro"]["interval"] = [round(spread.low, 4), round(spread.high, 4)]
    classes = [name for name in row if name.startswith("f1_")]
    return {
        **told,
        "seeds": [result.row["seed"] for result in results],
        **means,
        "accuracy": round(accuracy(results, excerpts), 4),
        "classes": {n.removeprefix("f1_"): round(float(np.mean([r.row[n] for r in results])), 4) for n in classes},
    }


def difference(ours: Sequence[Result], theirs: Sequence[Result], excerpts: Excerpts) -> list[float]:
    """Of two micro-F, a mean over seeds: it, and its interval over recordings."""
    drawn = resampled_micro(ours, excerpts) - resampled_micro(theirs, excerpts)
    return [round(value, 4) for value in interval(micro(ours) - micro(theirs), drawn)]


def accuracy(results: Sequence[Result], excerpts: Excerpts) -> float:
    """How often the class with the highest score is the one, in excerpts that have one; a mean over seeds."""
    single = excerpts.labels.sum(1) == 1
    hits = [result.scores[single].argmax(1) == excerpts.labels[single].argmax(1) for result in results]
    return float(np.mean(hits)) if single.any() else np.nan


def accuracies(systems: Mapping[Any, Sequence[Result]], excerpts: Excerpts) -> dict[Any, float]:
    return {name: accuracy(results, excerpts) for name, results in systems.items()}
