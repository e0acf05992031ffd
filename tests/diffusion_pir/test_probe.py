import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from diffusion_pir.heads import HEADS, MLPHead, PlusHead
from diffusion_pir.loss import LabelError
from diffusion_pir.probe import FitSettings, Split, fit_head, fit_mlps, predict
from diffusion_pir.tables import Joined, moments, take

N, DIM, N_CLASSES = 240, 12, 3
SPLIT = Split(np.arange(0, 160), np.arange(160, 200))
TEST = np.arange(200, 240)


def examples(seed: int = 0, dim: int = DIM, told: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell the labels, more or less."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((N, N_CLASSES)) < 0.4).astype(np.float32)
    directions = np.random.default_rng(99).standard_normal((N_CLASSES, dim))
    features = told * labels @ directions + rng.standard_normal((N, dim)) * 1.5
    return (5 + 3 * features).astype(np.float16), labels


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - labels * logits).mean())


def test_a_grid_fitted_at_once_is_what_fitting_one_by_one_gives():
    settings = FitSettings(epochs=4, batch_size=48)
    labels = examples()[1]
    tables = {"a": examples(0)[0], "b": examples(1)[0], "c": examples(2, dim=7)[0]}
    grid = fit_mlps(tables, labels, SPLIT, seeds=(0, 3), settings=settings, dropout=0.0)
    assert set(grid) == {(name, seed) for name in tables for seed in (0, 3)}
    for (name, seed), head in grid.items():
        torch.manual_seed(seed)
        alone = fit_head(
            MLPHead(tables[name].shape[1], N_CLASSES, dropout=0.0), [tables[name]], labels, SPLIT, settings, seed
        )
        np.testing.assert_allclose(predict(head, [tables[name]]), predict(alone, [tables[name]]), atol=1e-4)


def test_with_dropout_a_fit_does_not_depend_on_what_it_is_batched_with():
    tables = {name: examples(seed)[0] for seed, name in enumerate("abc")}
    labels = examples()[1]
    settings = FitSettings(epochs=3, patience=1)
    grid = fit_mlps(tables, labels, SPLIT, seeds=(0, 1, 2), settings=settings)
    alone = fit_mlps({"b": tables["b"]}, labels, SPLIT, seeds=(2,), settings=settings)["b", 2]
    np.testing.assert_allclose(predict(grid["b", 2], [tables["b"]]), predict(alone, [tables["b"]]), atol=1e-4)


def test_seeds_differ():
    features, labels = examples()
    heads = fit_mlps({"a": features}, labels, SPLIT, seeds=(0, 1), settings=FitSettings(epochs=2))
    assert np.abs(predict(heads["a", 0], [features]) - predict(heads["a", 1], [features])).max() > 1e-2


def test_a_fitted_mlp_tells_labels_as_well_as_a_logistic_regression():
    features, labels = examples()
    head = fit_mlps({"a": features}, labels, SPLIT, settings=FitSettings(epochs=60, lr=3e-3))["a", 0]
    ours = predict(head, [features], TEST)
    x = (features - features[SPLIT.train].mean(0, dtype=np.float64)) / features[SPLIT.train].std(0, dtype=np.float64)
    theirs = [LogisticRegression(C=0.1).fit(x[SPLIT.train], column[SPLIT.train]) for column in labels.T]
    theirs = np.stack([regression.decision_function(x[TEST]) for regression in theirs], 1)
    assert log_loss(ours, labels[TEST]) < 1.15 * log_loss(theirs, labels[TEST])


def test_a_fit_ends_with_the_weights_of_its_best_epoch_and_not_with_its_last():
    """With labels that are chance, the longer it learns the worse it gets."""
    features, _ = examples(told=0.0)
    labels = examples(5)[1]
    long = FitSettings(epochs=60, lr=1e-2, patience=60)
    head = fit_mlps({"a": features}, labels, SPLIT, settings=long, dropout=0.0)["a", 0]
    first = fit_mlps({"a": features}, labels, SPLIT, settings=FitSettings(epochs=1, lr=1e-2), dropout=0.0)["a", 0]
    rows = SPLIT.validation
    assert log_loss(predict(head, [features], rows), labels[rows]) <= log_loss(
        predict(first, [features], rows), labels[rows]
    )


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_learns_from_maps(kind):
    labels = examples()[1]
    features = examples()[0].astype(np.float32)[:, :, None, None] * np.ones((1, 1, 2, 3), np.float32)
    features += np.random.default_rng(3).standard_normal(features.shape).astype(np.float32)
    torch.manual_seed(0)
    head = fit_head(HEADS[kind](DIM, N_CLASSES, 32), [features], labels, SPLIT, FitSettings(epochs=15, lr=3e-3))
    prior = np.log(labels[SPLIT.train].mean(0) / (1 - labels[SPLIT.train].mean(0)))
    constant = log_loss(np.broadcast_to(prior, (len(TEST), N_CLASSES)), labels[TEST])
    assert log_loss(predict(head, [features], TEST), labels[TEST]) < 0.85 * constant


def test_a_fit_is_the_same_again_and_leaves_the_global_generator_alone():
    features, labels = examples()
    columns = np.repeat(features[:, :, None], 3, 2)
    torch.manual_seed(1)
    heads = []
    for _ in range(2):
        torch.manual_seed(1)
        head = PlusHead(DIM, N_CLASSES, 16)
        state = torch.get_rng_state()
        heads.append(fit_head(head, [columns], labels, SPLIT, FitSettings(epochs=2), seed=4))
        assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(predict(heads[0], [columns]), predict(heads[1], [columns]))


def test_layers_are_concatenated_for_a_head_that_takes_several():
    (a, labels), b = examples(), examples(1, dim=5)[0]
    head = fit_head(MLPHead(DIM + 5, N_CLASSES), [a, b], labels, SPLIT, FitSettings(epochs=1))
    assert torch.allclose(head.mean[DIM:], torch.tensor(b[SPLIT.train].mean(0, dtype=np.float64)).float(), atol=1e-3)


def test_a_window_without_labels_is_welcome_to_bce_alone():
    features, labels = examples()
    labels[0] = 0
    fit_mlps({"a": features}, labels, SPLIT, settings=FitSettings("bce", epochs=1))
    with pytest.raises(LabelError, match="bce"):
        fit_mlps({"a": features}, labels, SPLIT, settings=FitSettings("ce", epochs=1))


def test_smoothing_keeps_a_head_from_being_sure_that_a_class_is_not_there():
    features, labels = examples(told=3.0)
    settings = [FitSettings(epochs=40, lr=5e-3, patience=40, smoothing=s) for s in (0.0, 0.2)]
    lowest = []
    for own in settings:
        head = fit_mlps({"a": features}, labels, SPLIT, settings=own, dropout=0.0)["a", 0]
        lowest.append(predict(head, [features], SPLIT.train).min())
    assert lowest[0] < -4 < lowest[1]


def test_a_split_without_validation_is_refused():
    with pytest.raises(ValueError, match="0 to stop by"):
        Split(np.arange(4), np.arange(0))


def test_joined_tables_are_one_after_the_other():
    parts = [np.random.default_rng(i).standard_normal((n, 2, 3)).astype(np.float16) for i, n in enumerate((4, 1, 6))]
    joined, whole = Joined(parts), np.concatenate(parts)
    assert len(joined) == 11
    assert joined.shape == whole.shape
    rows = np.array([[10, 0, 4], [3, 5, 5]])
    assert np.array_equal(joined[rows], whole[rows])
    assert torch.equal(take([joined], rows[0]), torch.from_numpy(whole[rows[0]]).float())


def test_moments_are_over_windows_and_places():
    maps = np.random.default_rng(0).standard_normal((50, 4, 2, 3)).astype(np.float32)
    mean, std = moments([maps], np.arange(7, 40))
    np.testing.assert_allclose(mean, maps[7:40].mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std, maps[7:40].std((0, 2, 3)), atol=1e-6)
