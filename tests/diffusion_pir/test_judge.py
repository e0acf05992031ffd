import numpy as np
import pytest
from sklearn.metrics import f1_score

from diffusion_pir.decode import sigmoid
from diffusion_pir.judge import Heard, choose, judge

CLASSES = ("a", "b", "c", "d")


def heard(seed: int, n_excerpts: int = 120) -> Heard:
    """Excerpts of one to four windows, each of at least one label, and logits that tell something of it."""
    rng = np.random.default_rng(seed)
    labels = rng.random((n_excerpts, 4)) < 0.35
    labels[np.arange(n_excerpts), rng.integers(0, 4, n_excerpts)] = True
    excerpt = np.repeat(np.arange(n_excerpts), rng.integers(1, 5, n_excerpts))
    logits = 2.5 * labels[excerpt] - 2 + rng.standard_normal((len(excerpt), 4)) + np.linspace(-1, 1, 4)
    return Heard(logits, excerpt, labels)


OPTIONS = [
    {"rule": rule, **more}
    for rule in ("S1", "S2")
    for more in ({}, {"exclusive": True}, {"calibrated": True}, {"per_class": True})
]


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_that_is_chosen_depends_on_the_labels_of_the_test(options):
    """Check 20: garbage for test labels changes scores, and neither thresholds nor decisions."""
    validation, test = heard(0), heard(1)
    garbage = Heard(test.logits, test.excerpt, np.random.default_rng(2).random(test.labels.shape) < 0.5)
    decisions, rows = [], []
    for data in (test, garbage):
        decisions.append(choose(validation, **options))
        rows.append(judge(decisions[-1], data, CLASSES))
    assert decisions[0] == decisions[1]
    assert rows[0]["micro"] > rows[1]["micro"] + 0.1


@pytest.mark.parametrize("options", OPTIONS)
def test_scores_are_those_of_the_sets_that_are_decided(options):
    decision, test = choose(heard(0), **options), heard(1)
    row = judge(decision, test, CLASSES)
    estimate = decision(decision.scores(test.logits, test.excerpt, len(test.labels)))
    assert row["micro"] == pytest.approx(f1_score(test.labels, estimate, average="micro"))
    assert row["macro"] == pytest.approx(f1_score(test.labels, estimate, average="macro"))
    assert row["f1_b"] == pytest.approx(f1_score(test.labels[:, 1], estimate[:, 1]))


def test_the_oracle_is_named_so_and_at_least_as_good():
    decision = choose(heard(0))
    for seed in range(1, 6):
        row = judge(decision, heard(seed), CLASSES)
        assert row["micro_oracle"] >= row["micro"]


def test_calibration_and_thresholds_of_classes_help_where_classes_are_biased():
    test = heard(1, 600)
    plain = judge(choose(heard(0, 600), "S1"), test, CLASSES)["micro"]
    for options in ({"calibrated": True}, {"per_class": True}):
        assert judge(choose(heard(0, 600), "S1", **options), test, CLASSES)["micro"] > plain + 0.01


def test_a_decision_worked_by_hand():
    logits = np.log(np.array([[0.8, 0.2], [0.4, 0.2]]) / (1 - np.array([[0.8, 0.2], [0.4, 0.2]])))
    validation = Heard(logits, np.array([0, 0]), np.array([[True, False]]))
    decision = choose(validation, "S1")
    np.testing.assert_allclose(decision.scores(logits, validation.excerpt, 1), [[0.6, 0.2]])
    assert 0.2 < decision.thresholds[0] <= 0.6
    np.testing.assert_allclose(sigmoid(logits)[0], [0.8, 0.2])


def test_exclusive_classes_are_not_calibrated():
    with pytest.raises(ValueError, match="leave calibration out"):
        choose(heard(0), exclusive=True, calibrated=True)
