import math

import numpy as np
import pytest
import torch

from lightweight_amt.loss import basic_pitch, focal, per_frame


def paper_formula(y: float, p: float, alpha: float, gamma: float) -> float:
    positive = y * alpha * (1 - p) ** gamma * math.log(p)
    negative = (1 - y) * (1 - alpha) * p**gamma * math.log(1 - p)
    return -(positive + negative)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("y", [0.0, 1.0])
@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
def test_hard_targets_give_the_papers_formula(y, p, gamma):
    logit = torch.tensor(math.log(p / (1 - p)), dtype=torch.float64)
    loss = focal(logit, torch.tensor(y, dtype=torch.float64), alpha=0.2, gamma=gamma)
    assert loss.item() == pytest.approx(paper_formula(y, p, 0.2, gamma), rel=1e-9)


def test_a_soft_target_pulls_to_itself():
    logit = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([logit], lr=1.0)
    for _ in range(2000):
        optimizer.zero_grad()
        focal(logit, torch.tensor([0.3]), alpha=0.5).sum().backward()
        optimizer.step()
    assert torch.sigmoid(logit).item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0])
def test_gradients_are_finite_where_the_sigmoid_is_flat(value):
    logits = torch.full((2,), value, requires_grad=True)
    focal(logits, torch.tensor([0.0, 1.0]), alpha=0.06).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_loss_does_not_grow_with_batch_or_length():
    rng = np.random.default_rng(0)
    one = torch.from_numpy(rng.random((1, 84, 10)))
    assert per_frame(one.repeat(3, 1, 4)).item() == pytest.approx(per_frame(one).item())
    assert per_frame(one).item() == pytest.approx(one.sum().item() / 10)


def cross_entropy(y: float, p: float) -> float:
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


# One onset in four cells; what the network says of them, as probabilities.
TARGET = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
SAID = torch.tensor([[[0.7, 0.2], [0.1, 0.4]]], dtype=torch.float64)


def test_basic_pitchs_loss_of_frames_is_the_mean_with_labels_of_a_tenth_and_nine_tenths():
    expected = (
        cross_entropy(0.9, 0.7) + cross_entropy(0.1, 0.2) + cross_entropy(0.1, 0.1) + cross_entropy(0.1, 0.4)
    ) / 4
    assert basic_pitch("frame", torch.logit(SAID), TARGET).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["onset", "offset"])
def test_basic_pitchs_loss_of_events_counts_the_one_onset_nineteen_times_all_else(name):
    rest = (cross_entropy(0.1, 0.2) + cross_entropy(0.1, 0.1) + cross_entropy(0.1, 0.4)) / 3
    expected = 0.95 * cross_entropy(0.9, 0.7) + 0.05 * rest
    assert basic_pitch(name, torch.logit(SAID), TARGET).item() == pytest.approx(expected)


def test_a_batch_without_onsets_has_a_loss():
    rest = sum(cross_entropy(0.1, p) for p in SAID.flatten().tolist()) / 4
    loss = basic_pitch("onset", torch.logit(SAID), torch.zeros_like(TARGET))
    assert loss.item() == pytest.approx(0.05 * rest)


@pytest.mark.parametrize("name", ["onset", "frame"])
def test_basic_pitchs_gradients_are_finite_where_the_sigmoid_is_flat(name):
    logits = torch.tensor([-50.0, 50.0], requires_grad=True)
    basic_pitch(name, logits, torch.tensor([1.0, 0.0])).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad != 0).all()
