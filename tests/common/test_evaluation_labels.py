import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support
from torchmetrics.functional.classification import binary_calibration_error

from common.evaluation.labels import (
    IGNORE,
    accuracy,
    calibration_error,
    class_scores,
    clip_scores,
    leave_out,
    null_scores,
    pooled_macro_f1,
    relabel,
)


@pytest.fixture(scope="module")
def clips() -> tuple[np.ndarray, np.ndarray]:
    """A thousand clips with few or many classes, few or many faults, and frames that do not count."""
    rng = np.random.default_rng(0)
    n_classes = rng.integers(1, 12, (1000, 1))
    truth = np.sort(rng.integers(0, 12, (1000, 60)) % n_classes, axis=1)
    wrong = rng.random(truth.shape) < rng.random((1000, 1)) ** 2
    estimate = np.where(wrong, rng.integers(0, 14, truth.shape), truth)
    return np.where(rng.random(truth.shape) < 0.1, IGNORE, truth), estimate


def test_a_thousand_clips_agree_with_sklearn(clips):
    ours = clip_scores(*clips)
    for i, (truth, estimate) in enumerate(zip(*clips, strict=True)):
        known = truth != IGNORE
        theirs = f1_score(truth[known], estimate[known], average="macro")
        assert ours["macro_f1"][i] == pytest.approx(theirs, abs=1e-9)
        assert ours["accuracy"][i] == pytest.approx(np.mean(truth[known] == estimate[known]), abs=1e-9)


def test_classes_agree_with_sklearn(clips):
    truth, estimate = clips
    known = truth != IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes that are never true
        theirs = precision_recall_fscore_support(truth[known], estimate[known], labels=np.arange(14), zero_division=0)
    ours = class_scores(truth, estimate)
    for name, values in zip(("precision", "recall", "f1", "n_frames"), theirs, strict=True):
        np.testing.assert_allclose(ours[name], values, atol=1e-12)
    of_truth = np.unique(truth[known])
    assert pooled_macro_f1(truth, estimate) == pytest.approx(
        f1_score(truth[known], estimate[known], labels=of_truth, average="macro"), abs=1e-12
    )
    assert accuracy(truth, estimate) == pytest.approx(np.mean(truth[known] == estimate[known]), abs=1e-12)
    assert null_scores(truth, estimate) == pytest.approx(
        {"null_precision": theirs[0][0], "null_recall": theirs[1][0], "null_f1": theirs[2][0]}
    )


def test_one_wrong_frame_halves_a_clip_of_one_class():
    truth = np.full((1, 375), 3)
    estimate = truth.copy()
    estimate[0, 200] = 1
    assert clip_scores(truth, estimate)["macro_f1"][0] == pytest.approx(0.4993, abs=5e-5)
    assert clip_scores(truth, estimate)["accuracy"][0] == pytest.approx(374 / 375)
    # F1 of class 3: 2 * 374 / (375 + 374); class 1 is never right.
    assert clip_scores(truth, estimate)["macro_f1"][0] == pytest.approx(374 / 749)
    assert pooled_macro_f1(truth, estimate) == pytest.approx(2 * 374 / 749)


def test_truth_and_estimate_change_places(clips):
    truth, estimate = (labels % 14 for labels in clips)
    assert clip_scores(truth, estimate).keys() == {"accuracy", "macro_f1"}
    for name, values in clip_scores(truth, estimate).items():
        np.testing.assert_array_equal(values, clip_scores(estimate, truth)[name])


def test_what_is_estimated_in_ignored_frames_does_not_matter(clips):
    truth, estimate = clips
    other = np.where(truth == IGNORE, IGNORE, estimate)
    for name, values in clip_scores(truth, estimate).items():
        np.testing.assert_array_equal(values, clip_scores(truth, other)[name])


def test_nothing_to_score():
    nothing = np.full((2, 5), IGNORE)
    zeros = np.zeros((2, 5), int)
    assert all(np.isnan(values).all() for values in clip_scores(nothing, zeros).values())
    assert np.isnan(accuracy(nothing, zeros))
    assert pooled_macro_f1(nothing, zeros) == 0
    assert null_scores(nothing, zeros) == {"null_precision": 0, "null_recall": 0, "null_f1": 0}
    assert clip_scores(zeros[:0], zeros[:0])["accuracy"].shape == (0,)
    assert calibration_error(np.empty(0), np.empty(0, bool)) == 0


@pytest.mark.parametrize(
    ("truth", "estimate", "message"),
    [
        (np.zeros((1, 3)), np.zeros((1, 3), int), "integers"),
        (np.zeros(3, int), np.zeros(3, int), "by clip"),
        (np.zeros((1, 3), int), np.zeros((1, 4), int), "one shape"),
        (np.full((1, 3), -1), np.zeros((1, 3), int), "0 or more"),
        (np.zeros((1, 3), int), np.full((1, 3), IGNORE), "0 or more"),
    ],
)
def test_other_arrays_are_refused(truth, estimate, message):
    with pytest.raises(ValueError, match=message):
        clip_scores(truth, estimate)


def test_a_slice_without_some_classes():
    truth, estimate = np.array([[0, 1, 2, 2, IGNORE]]), np.array([[0, 1, 2, 1, 1]])
    np.testing.assert_array_equal(leave_out(truth, [0, 1]), [[IGNORE, IGNORE, 2, 2, IGNORE]])
    assert accuracy(leave_out(truth, [0, 1]), estimate) == 0.5


def test_tracks_become_instruments():
    labels = np.array([0, 2, 1, IGNORE])
    np.testing.assert_array_equal(relabel(labels, [0, 7, 5]), [0, 5, 7, IGNORE])


def test_calibration_error_equals_torchmetrics():
    import torch

    rng = np.random.default_rng(0)
    confidence = np.r_[rng.random(500), 0.0, 1.0]
    correct = rng.random(len(confidence)) < confidence**2
    theirs = binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct).int(), n_bins=15)
    assert calibration_error(confidence, correct) == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_error_by_hand():
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    correct = np.array([True, True, True, False, True, False])
    # Four answers promise 0.9 and hold 0.75; two promise 0.5 and hold it.
    assert calibration_error(confidence, correct) == pytest.approx(4 / 6 * 0.15)


@pytest.mark.parametrize("bad", [[0.5, np.nan], [0.5, 1.1], [0.5]])
def test_confidences_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="confidence"):
        calibration_error(np.array(bad), np.array([True, False]))
