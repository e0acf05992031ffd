import warnings

import mir_eval
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchmarks.speed.metrics import as_mir_eval
from common.evaluation.frames import average_precision, f1_curve, frame_scores


@pytest.mark.parametrize("seed", range(30))
def test_differs_from_mir_eval_by_nothing(seed):
    rng = np.random.default_rng(seed)
    densities = rng.choice([0.0, 0.02, 0.2], 2)
    reference, estimate = (rng.random((88, 120)) < density for density in densities)
    estimate |= reference & (rng.random(reference.shape) < rng.random())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about empty sides
        theirs = mir_eval.multipitch.metrics(*as_mir_eval(reference), *as_mir_eval(estimate))[:7]
    ours = frame_scores(reference, estimate)
    assert tuple(ours[name] for name in ours if name != "f1") == theirs
    assert ours["f1"] == pytest.approx(mir_eval.util.f_measure(ours["precision"], ours["recall"]))


def test_hand_computed():
    reference = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)
    estimate = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 1]], bool)
    reference = np.vstack([reference, np.zeros((1, 4), bool)])
    # Frames: right; one of two missed; one taken for another; two out of nothing.
    assert frame_scores(reference, estimate) == pytest.approx(
        {
            "precision": 2 / 5,
            "recall": 2 / 4,
            "f1": 4 / 9,
            "accuracy": 2 / 7,
            "substitution": 1 / 4,
            "miss": 1 / 4,
            "false_alarm": 2 / 4,
            "total": 4 / 4,
        }
    )


def test_no_frames_and_no_pitches_score_0():
    for shape in ((88, 0), (0, 10), (88, 10)):
        assert set(frame_scores(np.zeros(shape, bool), np.zeros(shape, bool)).values()) == {0}


@pytest.mark.parametrize(
    ("reference", "estimate", "message"),
    [
        (np.zeros((2, 3), bool), np.zeros((3, 2), bool), "one shape"),
        (np.zeros((2, 3), bool), np.zeros((2, 3)), "threshold"),
        (np.zeros(3, bool), np.zeros(3, bool), "pitch, frame"),
    ],
)
def test_other_arrays_are_refused(reference, estimate, message):
    with pytest.raises(ValueError, match=message):
        frame_scores(reference, estimate)


@pytest.fixture
def graded():
    """A truth and probabilities on a coarse scale, so that many are equal, also to thresholds."""
    rng = np.random.default_rng(0)
    truth = rng.random((20, 300)) < 0.1
    return truth, np.around(np.clip(0.4 * truth + rng.normal(0.3, 0.2, truth.shape), 0, 1), 2)


def test_f1_curve_is_the_f1_at_each_threshold(graded):
    truth, probabilities = graded
    thresholds = np.array([-1, 0, 0.25, 0.3, 0.5, 0.5, 0.99, 1, 2])
    expected = [frame_scores(truth, probabilities >= threshold)["f1"] for threshold in thresholds]
    np.testing.assert_array_equal(f1_curve(truth, probabilities, thresholds), expected)
    assert not f1_curve(np.zeros_like(truth), probabilities, thresholds).any()


def test_average_precision_equals_sklearn(graded):
    truth, probabilities = graded
    assert average_precision(truth, probabilities) == pytest.approx(
        average_precision_score(truth.ravel(), probabilities.ravel()), abs=1e-12
    )


def test_average_precision_of_one_class():
    probabilities = np.array([0.1, 0.9, 0.5])
    assert average_precision(np.zeros(3, bool), probabilities) == 0
    assert average_precision(np.ones(3, bool), probabilities) == 1
    assert average_precision(np.empty(0, bool), np.empty(0)) == 0
    # By hand: ranked right, wrong, right.
    assert average_precision(np.array([True, True, False]), np.array([0.9, 0.1, 0.5])) == pytest.approx(
        0.5 * 1 + 0.5 * 2 / 3
    )


def test_probabilities_must_be_numbers_beside_a_truth():
    truth, thresholds = np.array([True, False]), np.array([0.5])
    for bad, message in ((np.array([0.5, np.nan]), "NaN"), (np.ones(3), "shape")):
        with pytest.raises(ValueError, match=message):
            f1_curve(truth, bad, thresholds)
        with pytest.raises(ValueError, match=message):
            average_precision(truth, bad)
    with pytest.raises(ValueError, match="ascend"):
        f1_curve(truth, np.ones(2), thresholds=np.array([0.5, 0.4]))
