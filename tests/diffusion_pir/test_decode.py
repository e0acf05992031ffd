import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from common.evaluation.multilabel import f_scores
from diffusion_pir.decode import (
    GRID,
    Calibration,
    aggregate,
    calibrate,
    choose_class_thresholds,
    choose_threshold,
    decide,
    fit_bias,
    sigmoid,
    softmax,
)

WINDOWS = np.array([[0.2, 0.6, 0.1], [0.4, 0.2, 0.1], [0.0, 0.3, 0.9]])
EXCERPT = np.array([0, 0, 1])


def test_aggregation_worked_by_hand():
    np.testing.assert_allclose(aggregate(WINDOWS, EXCERPT, 2, "S1"), [[0.3, 0.4, 0.1], [0.0, 0.3, 0.9]])
    np.testing.assert_allclose(aggregate(WINDOWS, EXCERPT, 2, "S2"), [[0.75, 1.0, 0.25], [0.0, 1 / 3, 1.0]])


def test_decisions_worked_by_hand():
    s1, s2 = aggregate(WINDOWS, EXCERPT, 2, "S1"), aggregate(WINDOWS, EXCERPT, 2, "S2")
    assert decide(s1, 0.35, "S1").tolist() == [[False, True, False], [False, False, True]]
    assert decide(s1, 0.95, "S1").tolist() == [[False] * 3] * 2
    assert decide(s2, 0.5, "S2").tolist() == [[True, True, False], [False, False, True]]
    assert decide(s2, [0.8, 2.0, 0.2], "S2").tolist() == [[False, True, True], [False, False, True]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 11), st.floats(0.0, 5.0))
def test_s2_never_leaves_a_set_empty(seed, n_windows, n_classes, threshold):
    rng = np.random.default_rng(seed)
    excerpt = np.sort(rng.integers(0, 4, n_windows))
    excerpt = np.unique(excerpt, return_inverse=True)[1]
    n_excerpts = int(excerpt.max()) + 1
    scores = aggregate(rng.random((n_windows, n_classes)) ** 9 * rng.integers(0, 2), excerpt, n_excerpts, "S2")
    assert scores.max() == 1.0
    assert decide(scores, threshold, "S2").any(1).all()


def test_windows_of_no_excerpt_are_refused():
    for excerpt, n_excerpts in (([0, 0, 2], 3), ([0, 1, 2], 2)):
        with pytest.raises(ValueError, match="of each of"):
            aggregate(WINDOWS, np.array(excerpt), n_excerpts)
    with pytest.raises(ValueError, match="S1 or S2"):
        aggregate(WINDOWS, EXCERPT, 2, "S3")  # pyright: ignore[reportArgumentType]


def validation(seed: int = 0, n: int = 300, n_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores that tell something of the labels; classes differ in how much they claim."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n, n_classes)) < 0.3
    logits = 3 * labels + 1.5 * rng.standard_normal((n, n_classes)) + np.linspace(-3, 0, n_classes)
    return logits, labels


@pytest.mark.parametrize("rule", ["S1", "S2"])
def test_no_threshold_is_better_on_validation(rule):
    logits, labels = validation()
    scores = aggregate(sigmoid(logits), np.arange(len(logits)), len(logits), rule)
    chosen = choose_threshold(scores, labels, rule)
    best = max(f1_score(labels, decide(scores, threshold, rule), average="micro") for threshold in GRID)
    assert f1_score(labels, decide(scores, chosen, rule), average="micro") == pytest.approx(best)


def test_thresholds_of_classes_are_worth_more_where_classes_differ():
    logits, labels = validation()
    scores = sigmoid(logits)
    common = f_scores(labels, decide(scores, choose_threshold(scores, labels, "S1"), "S1"))["micro_f1"]
    each = f_scores(labels, decide(scores, choose_class_thresholds(scores, labels, "S1"), "S1"))["micro_f1"]
    assert each > common + 0.02


def test_a_class_of_which_nothing_is_known_keeps_the_common_threshold():
    logits, labels = validation()
    scores = np.concatenate([sigmoid(logits), np.zeros((len(logits), 1))], 1)
    labels = np.concatenate([labels, np.zeros((len(labels), 1), bool)], 1)
    assert choose_class_thresholds(scores, labels, "S1")[-1] == choose_threshold(scores, labels, "S1")


def test_calibration_undoes_what_was_done_to_true_logits():
    rng = np.random.default_rng(1)
    true_logits = rng.standard_normal((6000, 3)) * 2
    labels = rng.random(true_logits.shape) < sigmoid(true_logits)
    calibration = calibrate(2.5 * (true_logits - np.array([1.0, 0.0, -1.0])), labels)
    assert calibration.temperature == pytest.approx(2.5, rel=0.1)
    np.testing.assert_allclose(calibration.bias, [1.0, 0.0, -1.0], atol=0.15)
    assert calibrate(2.5 * true_logits, labels, per_class=False).temperature == pytest.approx(2.5, rel=0.1)


def test_the_bias_is_that_of_a_logistic_regression_with_nothing_but_an_intercept():
    labels = np.array([[1], [0], [0], [0], [1]])
    regression = LogisticRegression(C=np.inf, tol=1e-9).fit(np.zeros((5, 1)), labels[:, 0])
    assert fit_bias(np.zeros((5, 1)), labels, 0.0) == pytest.approx(regression.intercept_, abs=1e-6)


def test_a_class_that_validation_never_has_stays_finite():
    logits, labels = validation()
    labels[:, 0] = False
    probabilities = calibrate(logits, labels)(logits)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 0].max() < 0.05


def test_probabilities_of_extreme_logits():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert softmax(np.array([[1e4, 0.0], [3.0, 3.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert Calibration(2.0, (1.0,))(np.array([2.0, -2.0])).tolist() == pytest.approx([1 / (1 + np.exp(-2.0)), 0.5])
