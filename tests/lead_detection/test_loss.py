import math

import pytest
import torch
from torch.nn import functional as F

from common.evaluation.labels import IGNORE
from lead_detection.loss import cross_entropy, instrument_target


def test_the_instrument_of_a_lead_by_hand():
    lead = torch.tensor([[0, 1, 2, IGNORE], [3, 2, 1, 0]])
    clip = torch.tensor([0, 0, 1, 1, 1])
    instrument = torch.tensor([7, 0, 4, 5, 6])
    assert instrument_target(lead, clip, instrument).tolist() == [[0, 7, IGNORE, IGNORE], [6, 5, 4, 0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_frames_that_count_count_alike(smoothing):
    """Against torch's own, which knows neither absent classes nor clips."""
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(0, 4, (3, 5), generator=torch.Generator().manual_seed(1))
    target[0, :3] = target[2, 4] = IGNORE
    expected = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORE, label_smoothing=smoothing)
    assert torch.allclose(cross_entropy(logits, target, smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_absent_classes_take_no_part(smoothing):
    """A clip of two classes among one of four: its loss and gradient are those of two classes alone."""
    logits = torch.randn(1, 6, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 1, 0, IGNORE, 1]])
    alone, padded = (logits.clone().requires_grad_() for _ in range(2))
    expected = cross_entropy(alone, target, smoothing)
    expected.backward()
    absent = torch.full((1, 6, 2), -math.inf, requires_grad=True)
    loss = cross_entropy(torch.cat([padded, absent], dim=-1), target, smoothing)
    loss.backward()
    assert torch.allclose(loss, expected)
    assert torch.allclose(padded.grad, alone.grad)
    assert torch.equal(absent.grad, torch.zeros_like(absent))


def test_a_batch_that_nobody_annotated_teaches_nothing():
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3), IGNORE))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
