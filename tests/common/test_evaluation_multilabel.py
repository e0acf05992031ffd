import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    label_ranking_average_precision_score,
    precision_recall_fscore_support,
)

from common.evaluation.multilabel import (
    class_average_precision,
    class_scores,
    f_scores,
    mean_average_precision,
    ranking_precision,
    ranking_scores,
)
from common.instruments import IRMAS

# The label list of IRMAS's test set, counted: 2874 excerpts, 4917 labels.
N_EXCERPTS = 2874
COUNTS = (111, 62, 163, 535, 942, 361, 995, 326, 167, 211, 1044)  # in IRMAS's order


def cases():
    """Few or many clips and classes, classes that are never or always true, scores with and without ties."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = (int(rng.integers(1, 40)), int(rng.integers(2, 13)))
        truth = rng.random(shape) < rng.random(shape[1]) ** 2
        scores = np.where(truth, 0.3, 0.0) + rng.random(shape)
        yield truth, np.round(scores, int(rng.integers(0, 4))) if rng.random() < 0.7 else scores


@pytest.mark.filterwarnings("ignore")  # about classes that are never true or never estimated
def test_f_scores_are_those_of_sklearn():
    for truth, scores in cases():
        estimate = scores > 0.6
        theirs = np.array(precision_recall_fscore_support(truth, estimate))
        ours = class_scores(truth, estimate)
        np.testing.assert_allclose(
            [ours[name] for name in ("precision", "recall", "f1", "n_clips")], theirs, atol=1e-12
        )
        ours = f_scores(truth, estimate)
        for average in ("micro", "macro"):
            theirs = precision_recall_fscore_support(truth, estimate, average=average)
            for name, value in zip(("precision", "recall", "f1"), theirs, strict=False):
                assert ours[f"{average}_{name}"] == pytest.approx(value, abs=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_rankings_are_those_of_sklearn():
    for truth, scores in cases():
        theirs = [average_precision_score(*columns) for columns in zip(truth.T, scores.T, strict=True)]
        np.testing.assert_allclose(class_average_precision(truth, scores), theirs, atol=1e-12)
        assert mean_average_precision(truth, scores) == pytest.approx(np.mean(theirs), abs=1e-12)
        assert ranking_precision(truth, scores) == pytest.approx(
            label_ranking_average_precision_score(truth, scores), abs=1e-12
        )


def test_the_constant_answer_of_the_three_commonest_has_the_floor_of_the_study():
    truth = np.arange(N_EXCERPTS)[:, None] < np.array(COUNTS)
    constant = np.tile([name in ("voi", "pia", "gel") for name in IRMAS], (N_EXCERPTS, 1))
    assert truth.sum() == 4917
    assert f_scores(truth, constant)["micro_f1"] == pytest.approx(0.440, abs=5e-4)
    assert f_scores(truth, constant)["macro_f1"] == pytest.approx(0.140, abs=5e-4)
    everything = f_scores(truth, np.ones_like(truth))
    assert everything["macro_f1"] == pytest.approx(0.250, abs=5e-4)
    assert everything["micro_f1"] == pytest.approx(0.269, abs=5e-4)


def test_without_clips_every_score_is_0():
    nothing = np.zeros((0, 11), bool)
    assert set(f_scores(nothing, nothing).values()) == {0.0}
    assert ranking_scores(nothing, nothing.astype(float)) == {"lrap": 0.0, "map": 0.0}


@pytest.mark.parametrize(
    ("truth", "estimate", "fault"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), "one shape"),
        (np.full((2, 3), 2), np.zeros((2, 3)), "0 and 1"),
        (np.zeros(3), np.zeros(3), "clip, class"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "0 and 1"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(truth, estimate, fault):
    with pytest.raises(ValueError, match=fault):
        f_scores(truth, estimate)


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        ranking_scores(np.zeros((1, 2)), np.array([[0.5, np.nan]]))
