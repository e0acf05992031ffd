import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks import diffusion_scores
from benchmarks.diffusion_scores import Excerpts, accuracy, difference, resampled_micro, summary
from diffusion_pir.decode import decide
from diffusion_pir.prober import Result


def result(scores, threshold=0.5, seed=0, **row) -> Result:
    rest = {"macro": 0.2, "lrap": 0.3, "map": 0.4, "micro_oracle": 0.5, "f1_a": 0.1, "model": "net", **row}
    return Result({"threshold": threshold, "agg": "S1", "seed": seed, "micro": 0.0, **rest}, np.asarray(scores, float))


@pytest.fixture
def excerpts():
    rng = np.random.default_rng(0)
    return Excerpts((rng.random((12, 3)) < 0.4).astype(float), tuple("aabbccddeeff"))


def scored(seed: int) -> np.ndarray:
    return np.random.default_rng(100 + seed).random((12, 3))


def test_resamples_draw_recordings_with_all_their_excerpts(excerpts):
    """Each by hand with scikit-learn: the same draws, excerpts repeated as often as their recording is drawn."""
    results = [result(scored(seed), seed=seed) for seed in range(2)]
    drawn = resampled_micro(results, excerpts, seed=3, n=20)
    weights = np.random.default_rng(3).multinomial(6, np.full(6, 1 / 6), 20)
    for value, weight in zip(drawn, weights, strict=True):
        rows = np.repeat(np.arange(12), np.repeat(weight, 2))
        per_seed = [
            f1_score(excerpts.labels[rows], decide(r.scores, 0.5, "S1")[rows], average="micro", zero_division=0)
            for r in results
        ]
        assert value == pytest.approx(np.mean(per_seed))


def test_a_system_does_not_differ_from_itself_and_a_better_one_does(excerpts):
    bad = [result(1 - excerpts.labels, micro=0.0)]
    good = [result(excerpts.labels, micro=1.0)]
    assert difference(good, good, excerpts) == [0.0, 0.0, 0.0]
    mean, low, high = difference(good, bad, excerpts)
    assert mean == 1.0
    assert low == high == 1.0


def test_accuracy_counts_excerpts_with_one_class():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], float)
    scores = np.array([[0.9, 0.5, 0], [0.9, 0.5, 0], [0, 0, 0.9], [0, 0.1, 0.2]])
    assert accuracy([result(scores)], Excerpts(labels, tuple("abcd"))) == pytest.approx(2 / 3)
    assert np.isnan(accuracy([result(scores[2:3])], Excerpts(labels[2:3], ("c",))))


def test_a_summary_has_means_deviations_and_the_interval(excerpts):
    results = [result(scored(seed), seed=seed, micro=micro) for seed, micro in enumerate((0.5, 0.6, 0.7))]
    told = summary(results, excerpts)
    assert told["seeds"] == [0, 1, 2]
    assert (told["micro"]["mean"], told["micro"]["deviation"]) == (0.6, 0.1)
    low, high = told["micro"]["interval"]
    drawn = resampled_micro(results, excerpts, n=diffusion_scores.RESAMPLES)
    assert [low, high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-4)
    assert told["classes"] == {"a": 0.1}
    assert summary(results[:1], excerpts)["micro"]["deviation"] is None
