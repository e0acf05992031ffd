"""AdamWScale and the course of the rate (study check 25)."""

import pytest
import torch
from torch.optim import AdamW

from common.schedules import with_warmup
from yourmt3plus.optimizer import AdamWScale

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0.1}


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(3, 4, generator=generator), 7 * torch.randn(5, generator=generator), torch.zeros(2)]
    return [torch.nn.Parameter(value.double()) for value in values]


def test_a_step_is_that_of_adamw_times_the_size_of_the_parameter():
    ours, theirs = parameters(), parameters()
    optimizer, plain = AdamWScale(ours, **SETTINGS), AdamW(theirs, **SETTINGS)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        before = [parameter.detach().clone() for parameter in ours]
        for mine, other, start in zip(ours, theirs, before, strict=True):
            mine.grad = torch.randn(mine.shape, generator=generator).double()
            other.grad = mine.grad.clone()
            other.data.copy_(start)
        optimizer.step()
        plain.step()
        for mine, other, start in zip(ours, theirs, before, strict=True):
            rms = max(1e-3, start.square().mean().sqrt().item())
            torch.testing.assert_close(mine - start, rms * (other - start), rtol=1e-6, atol=1e-15)


def test_what_has_no_gradient_stays_and_a_closure_is_called():
    moved, kept = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = AdamWScale([moved, kept], **SETTINGS)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = moved.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 2.0
    assert (moved < 1).all()
    assert (kept == 1).all()
    optimizer.zero_grad()
    assert optimizer.step() is None


def test_the_rate_starts_at_half_and_ends_where_it_should():
    optimizer = AdamWScale(parameters(), lr=1e-2)
    schedule = with_warmup(optimizer, 1000, 20_000, floor=1e-5 / 1e-2, start=0.5)["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(20_001):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.5e-2)
    assert rates[500] == pytest.approx(0.75e-2)
    assert rates[1000] == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-5)
    assert max(rates) == rates[1000]


def test_state_goes_on_where_it_was_saved():
    def train(first: int, last: int, state: dict | None = None):
        tensors = parameters() if state is None else state["tensors"]
        optimizer = AdamWScale(tensors, **SETTINGS)
        schedule = with_warmup(optimizer, 3, 10, start=0.5)["lr_scheduler"]["scheduler"]
        if state:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
        for step in range(first, last):
            for tensor in tensors:
                tensor.grad = torch.cos(tensor.detach() + step)
            optimizer.step()
            schedule.step()
        return {"tensors": tensors, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}

    whole, halves = train(0, 8), train(4, 8, train(0, 4))
    for expected, value in zip(whole["tensors"], halves["tensors"], strict=True):
        assert torch.equal(expected, value)
