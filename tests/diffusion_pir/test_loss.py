import math

import pytest
import torch
from diffusers.training_utils import compute_snr

from diffusion_pir.diffusion import N_TIMESTEPS, SCHEDULER
from diffusion_pir.loss import LabelError, asymmetric, bce, cross_entropy, min_snr_weight, velocity_loss


def test_padding_does_not_count():
    told, target = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    t = torch.tensor([3, 500])
    expected = ((told[0] - target[0]).square().mean() + (told[1, :, :2] - target[1, :, :2]).square().mean()) / 2
    torch.testing.assert_close(velocity_loss(told, target, t, torch.tensor([6, 2])), expected)
    torch.testing.assert_close(velocity_loss(told, target, t), (told - target).square().mean())
    torch.testing.assert_close(velocity_loss(told, target, t, torch.tensor([6, 6])), (told - target).square().mean())


def test_min_snr_weight_is_that_of_diffusers():
    t = torch.arange(N_TIMESTEPS)
    snr = compute_snr(SCHEDULER, t)
    torch.testing.assert_close(min_snr_weight(t, 5.0), snr.clamp(max=5.0) / (snr + 1.0), atol=1e-6, rtol=1e-4)
    told = torch.ones(2, 1, 1)
    loss = velocity_loss(told, torch.zeros(2, 1, 1), t[[100, 800]], min_snr=5.0)
    torch.testing.assert_close(loss, min_snr_weight(t[[100, 800]], 5.0).mean())


def test_label_losses_on_cases_done_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])
    first, both, none = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.zeros(1, 2)
    # Sigmoids 1/2 and 3/4, softmax 1/4 and 3/4.
    torch.testing.assert_close(bce(logits, first), torch.tensor([(math.log(2) + math.log(4)) / 2]))
    torch.testing.assert_close(bce(logits, none), torch.tensor([(math.log(2) + math.log(4)) / 2]))
    torch.testing.assert_close(cross_entropy(logits, first), torch.tensor([math.log(4)]))
    torch.testing.assert_close(cross_entropy(logits, both), torch.tensor([(math.log(4) + math.log(4 / 3)) / 2]))
    negative = -(0.7**4) * math.log(0.3)
    torch.testing.assert_close(asymmetric(logits, first), torch.tensor([(math.log(2) + negative) / 2]))


def test_asymmetric_without_asymmetry_is_binary_cross_entropy():
    logits, labels = torch.randn(5, 7, 11), (torch.rand(5, 7, 11) > 0.7).float()
    torch.testing.assert_close(asymmetric(logits, labels, gamma=0.0, margin=0.0), bce(logits, labels))


def test_a_clip_without_a_label_has_no_cross_entropy():
    """Check 18: allowed under BCE, refused under CE."""
    with pytest.raises(LabelError, match="choose the loss bce or asl"):
        cross_entropy(torch.zeros(2, 3), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
