"""What a head is worth: everything that is to be chosen from the validation set, every score from the test set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.evaluation.multilabel import class_scores, f_scores, ranking_scores
from diffusion_pir.decode import (
    Calibration,
    Rule,
    aggregate,
    calibrate,
    choose_class_thresholds,
    choose_threshold,
    decide,
    softmax,
)


@dataclass(frozen=True, eq=False)
class Heard:
    """What a head says of the windows of some excerpts, and what is true.

    Args:
        logits: (window, class).
        excerpt: (window,) index of the excerpt that each belongs to.
        labels: (excerpt, class) bool, or 0 and 1.
    """

    logits: np.ndarray
    excerpt: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Decision:
    """How the windows of an excerpt become a set of labels.

    Args:
        rule: of aggregation, see `decode.aggregate`.
        thresholds: one for all classes, or one for each.
        calibration: of the logits; none means that they are those of classes that exclude each other, as the loss "ce"
            has them.
    """

    rule: Rule
    thresholds: tuple[float, ...]
    calibration: Calibration | None

    def scores(self, logits: np.ndarray, excerpt: np.ndarray, n_excerpts: int) -> np.ndarray:
        """(excerpt, class) in 0..1."""
        probabilities = self.calibration(logits) if self.calibration else softmax(np.asarray(logits, np.float64))
        return aggregate(probabilities, excerpt, n_excerpts, self.rule)

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The labels of excerpts with these scores, (excerpt, class) bool."""
        return decide(scores, np.array(self.thresholds), self.rule)


def choose(
    validation: Heard, rule: Rule = "S2", exclusive: bool = False, calibrated: bool = False, per_class: bool = False
) -> Decision:
    """The decision with the highest micro-F on a validation set.

    Args:
        validation: what a head says of it.
        rule: of aggregation.
        exclusive: the head was trained with the loss "ce".
        calibrated: fit temperature and bias first; not with `exclusive`.
        per_class: a threshold for each class.

    Raises:
        ValueError: both of `exclusive` and `calibrated`.
    """
    if exclusive and calibrated:
        raise ValueError("classes that exclude each other have no bias of their own: leave calibration out")
    calibration = None if exclusive else Calibration()
    if calibrated:
        calibration = calibrate(validation.logits, np.asarray(validation.labels)[validation.excerpt])
    trial = Decision(rule, (), calibration)
    scores = trial.scores(validation.logits, validation.excerpt, len(validation.labels))
    if per_class:
        thresholds = tuple(choose_class_thresholds(scores, validation.labels, rule).tolist())
    else:
        thresholds = (choose_threshold(scores, validation.labels, rule),)
    return Decision(rule, thresholds, calibration)


def judge(decision: Decision, test: Heard, classes: Sequence[str]) -> dict[str, float]:
    """Scores of a test set under a decision that was chosen without it.

    Args:
        decision: see `choose`.
        test: what the head says of it.
        classes: names of the columns.

    Returns:
        micro, macro, and f1_NAME of each class; lrap and map, which need no threshold; micro_oracle, what the best
        common threshold for this very set would give, for comparison with papers that chose theirs so.
    """
    scores = decision.scores(test.logits, test.excerpt, len(test.labels))
    estimate = decision(scores)
    averages = f_scores(test.labels, estimate)
    oracle = decide(scores, choose_threshold(scores, test.labels, decision.rule), decision.rule)
    per_class = class_scores(test.labels, estimate)["f1"]
    return {
        "micro": averages["micro_f1"],
        "macro": averages["macro_f1"],
        **ranking_scores(test.labels, scores),
        "micro_oracle": f_scores(test.labels, oracle)["micro_f1"],
        **{f"f1_{name}": float(value) for name, value in zip(classes, per_class, strict=True)},
    }
