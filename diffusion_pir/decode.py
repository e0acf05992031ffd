"""Probabilities of windows to the set of instruments of an excerpt; pure numpy.

Aggregation as Han et al. (2017): S1 is the mean of an excerpt's windows, S2 their sum divided by the class that has
most, so that the greatest claim is 1 and a threshold up to 1 always leaves one. What is chosen here, thresholds and
calibration, is chosen from the validation set: no function takes anything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Rule = Literal["S1", "S2"]
GRID = np.arange(1, 100) / 100  # thresholds to choose from
STEEPNESS = np.linspace(-3.0, 3.0, 61)  # natural logarithms of temperatures to choose from


@dataclass(frozen=True)
class Calibration:
    """How logits become probabilities: sigmoid(logits / temperature + bias).

    Args:
        temperature: above 1 makes the head less sure of itself.
        bias: for each class, or one for all.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = (0.0,)

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of logits (..., class), float64."""
        return sigmoid(np.asarray(logits, np.float64) / self.temperature + np.asarray(self.bias))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis; what logits mean of a head that was trained with a cross-entropy."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def aggregate(probabilities: np.ndarray, excerpt: np.ndarray, n_excerpts: int, rule: Rule = "S2") -> np.ndarray:
    """Scores of excerpts from the probabilities of their windows.

    Args:
        probabilities: (window, class).
        excerpt: (window,) index of the excerpt each belongs to.
        n_excerpts: each has at least one window.
        rule: "S1", the mean; "S2", the sum divided by that of the greatest class, which gets 1.

    Returns:
        (excerpt, class) float64 in 0..1.

    Raises:
        ValueError: an excerpt without a window, or another rule.
    """
    if rule not in ("S1", "S2"):
        raise ValueError(f"windows are aggregated by S1 or S2, not {rule}")
    counts = np.bincount(excerpt, minlength=n_excerpts)
    if len(counts) > n_excerpts or not counts.all():
        raise ValueError(f"windows must be of each of {n_excerpts} excerpts and of no other")
    sums = np.zeros((n_excerpts, probabilities.shape[1]))
    np.add.at(sums, excerpt, probabilities)
    if rule == "S1":
        return sums / counts[:, None]
    greatest = sums.max(1, keepdims=True)
    # Where nothing at all is claimed every class is as likely as the greatest.
    return np.divide(sums, greatest, out=np.ones_like(sums), where=greatest > 0)


def decide(scores: np.ndarray, thresholds: float | Sequence[float] | np.ndarray, rule: Rule = "S2") -> np.ndarray:
    """The label sets of excerpts, (excerpt, class) bool, or (trial, excerpt, class).

    Under S2 the greatest class is always in, also where thresholds of classes would leave it out: no set is empty.

    Args:
        scores: (excerpt, class), see `aggregate`.
        thresholds: one for all classes, or one for each; what reaches it is in. Several trials are (trial, 1, class).
        rule: by which the scores were aggregated.
    """
    chosen = scores >= np.asarray(thresholds)
    if rule == "S2":
        chosen[..., np.arange(len(scores)), scores.argmax(1)] = True
    return chosen


def choose_threshold(scores: np.ndarray, labels: np.ndarray, rule: Rule = "S2", grid: np.ndarray = GRID) -> float:
    """The threshold with the highest micro-F on a validation set; of several that reach it, the middle one.

    Args:
        scores: (excerpt, class) of the validation set.
        labels: (excerpt, class) bool, of the same.
        rule: by which the scores were aggregated.
        grid: thresholds to choose from, ascending.
    """
    best = _best(scores, labels, grid[:, None, None], rule)
    return float(grid[best[len(best) // 2]])


def choose_class_thresholds(
    scores: np.ndarray, labels: np.ndarray, rule: Rule = "S2", grid: np.ndarray = GRID, rounds: int = 3
) -> np.ndarray:
    """A threshold for each class, by turns, from the common one on: each as good as it gets for the micro-F of all.

    Args:
        scores: (excerpt, class) of the validation set.
        labels: (excerpt, class) bool, of the same.
        rule: by which the scores were aggregated.
        grid: thresholds to choose from, ascending.
        rounds: turns of each class.

    Returns:
        (class,) float64.
    """
    thresholds = np.full(scores.shape[1], choose_threshold(scores, labels, rule, grid))
    for _ in range(rounds):
        before = thresholds.copy()
        for index in range(len(thresholds)):
            trials = np.tile(thresholds, (len(grid), 1, 1))
            trials[:, 0, index] = grid
            best = _best(scores, labels, trials, rule)
            # Of equals the nearest: a class of which validation says nothing keeps the common one.
            thresholds[index] = grid[best[np.abs(grid[best] - thresholds[index]).argmin()]]
        if (before == thresholds).all():
            break
    return thresholds


def _best(scores: np.ndarray, labels: np.ndarray, trials: np.ndarray, rule: Rule) -> np.ndarray:
    """Indices of the trials (trial, 1, class) of thresholds that have the highest micro-F."""
    labels = np.asarray(labels, bool)
    chosen = decide(scores, trials, rule)
    micro = 2 * (chosen & labels).sum((1, 2)) / np.maximum(chosen.sum((1, 2)) + labels.sum(), 1)
    return np.flatnonzero(micro >= micro.max() - 1e-12)


def calibrate(logits: np.ndarray, labels: np.ndarray, per_class: bool = True, strength: float = 1e-2) -> Calibration:
    """The temperature and bias under which a validation set is likeliest.

    Args:
        logits: (excerpt or window, class) of the validation set.
        labels: (excerpt or window, class) bool, of the same.
        per_class: a bias for each class; otherwise the temperature alone.
        strength: of what pulls a bias to 0, in clips: keeps a class finite that validation never or always has.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)

    def unlikelihood(calibration: Calibration) -> float:
        claims = logits / calibration.temperature + np.asarray(calibration.bias)
        return float((np.logaddexp(0.0, claims) - labels * claims).mean())

    def at(temperature: float) -> Calibration:
        bias = fit_bias(logits / temperature, labels, strength) if per_class else np.zeros(1)
        return Calibration(temperature, tuple(bias.tolist()))

    return min((at(float(temperature)) for temperature in np.exp(STEEPNESS)), key=unlikelihood)


def fit_bias(logits: np.ndarray, labels: np.ndarray, strength: float, steps: int = 50) -> np.ndarray:
    """(class,) what to add to logits so that each class is claimed as often as it is there; damped Newton steps."""
    bias = np.zeros(logits.shape[1])
    for _ in range(steps):
        claimed = sigmoid(logits + bias)
        slope = (claimed - labels).sum(0) + strength * bias
        step = slope / ((claimed * (1 - claimed)).sum(0) + strength)
        bias -= np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return bias
