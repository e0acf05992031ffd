import math

import numpy as np
import pytest
import torch

from lightweight_amt.loss import focal, per_frame


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
