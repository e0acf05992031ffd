"""Learned thresholds, the paper's third open question: a rule fitted on validation pieces, judged on test pieces.

What helped is a threshold of its own for notes that are struck again (`restrikes`). Thresholds that follow the
recording (the one of the best expected F, or a regression on statistics of its activations) did not: see
benchmarks/LOG.md.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from common import corpus as corpora
from common.evaluation.notes import match_notes, note_scores
from common.notes import Notes
from lightweight_amt.evaluate import Clip, decode_clip, hear
from lightweight_amt.inference import Model
from lightweight_amt.restrikes import RestrikeRule, evidence, follows

Found = tuple[Notes, Notes]  # the notes that were found in a piece, and those that are in it
CANDIDATES = np.arange(0.1, 0.75, 0.05)


def fit(pieces: Sequence[Found]) -> RestrikeRule:
    """Weights of the most likely logistic model; of the thresholds the best for note F with and without offsets."""
    struck_again = [follows(found) for found, _ in pieces]
    columns = [evidence(found)[again] for (found, _), again in zip(pieces, struck_again, strict=True)]
    real = [is_real(found, truth)[again] for (found, truth), again in zip(pieces, struck_again, strict=True)]
    weights = logistic_regression(np.concatenate(columns), np.concatenate(real))
    rule = RestrikeRule(*np.round(weights, 3).tolist(), threshold=0.5)
    choices = [replace(rule, threshold=round(float(value), 3)) for value in CANDIDATES]
    goodness = np.array([sum(score(pieces, choice).values()) for choice in choices])
    equals = np.flatnonzero(goodness == goodness.max())
    return choices[equals[len(equals) // 2]]


def is_real(found: Notes, truth: Notes) -> np.ndarray:
    """(note,) which of the found notes are true ones, offsets aside."""
    pairs = match_notes(truth.intervals, truth.hz, found.intervals, found.hz, offset_ratio=None)
    real = np.zeros(len(found), bool)
    real[pairs[:, 1]] = True
    return real


def logistic_regression(columns: np.ndarray, labels: np.ndarray, steps: int = 25) -> np.ndarray:
    """Bias and weights by Newton's method.

    Args:
        columns: (row, column).
        labels: (row,) bool.
        steps: more than it takes to converge.
    """
    x = np.column_stack([np.ones(len(columns)), columns])
    weights = np.zeros(x.shape[1])
    # Where a line separates the labels the most likely weights are infinite: a little is charged for their size.
    ridge = 1e-3 * np.eye(x.shape[1])
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-x @ weights))
        hessian = (x * (p * (1.0 - p))[:, None]).T @ x + ridge
        weights += np.linalg.solve(hessian, x.T @ (labels - p) - ridge @ weights)
    return weights


def score(pieces: Sequence[Found], rule: RestrikeRule | None = None) -> dict[str, float]:
    """Mean note F, without and with offsets, with the rule or without."""
    rows = [note_scores(truth, rule(found) if rule else found) for found, truth in pieces]
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("note_f1", "note_offset_f1")}


def found_in(pieces: list[corpora.Piece], model: Model) -> list[Found]:
    """What a model finds in whole pieces with the thresholds of its decoder alone."""

    def found(clip: Clip) -> Found:
        return decode_clip(clip, model.settings, model.grid), clip.notes

    return [found(hear(piece, model)) for piece in tqdm(pieces, unit="piece")]


def learn(model: Model, corpus: corpora.Corpus) -> tuple[RestrikeRule, dict[str, Any]]:
    """The rule of a model, and note F on validation and test pieces without it and with it."""
    pieces = {split: found_in(corpus.pieces(split), model) for split in ("validation", "test")}
    rule = fit(pieces["validation"])
    scores = {split: {"without": score(found), "with": score(found, rule)} for split, found in pieces.items()}
    return rule, {"rule": asdict(rule), **scores}
