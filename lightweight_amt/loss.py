"""Focal loss on logits (the paper's equation for the frame and the onset map, its code's `focal_loss`)."""

import torch
from torch.nn import functional as F


def focal(logits: torch.Tensor, target: torch.Tensor, alpha: float, gamma: float = 1.0) -> torch.Tensor:
    """Element-wise focal loss: the cross-entropy, weighted by class and by how wrong the prediction is.

    For targets 0 and 1 it is the paper's -(y a (1-p)^g ln p + (1-y) (1-a) p^g ln (1-p)); a soft target y is right, and
    costs nothing in gradient, where p = y. Logits instead of probabilities need no epsilon in the logarithm.

    Args:
        logits: any shape.
        target: 0..1, same shape.
        alpha: weight of the positive class; the negative one has 1 - alpha.
        gamma: how much the easy cells are played down; 0 is plain weighted cross-entropy.
    """
    weight = alpha * target + (1.0 - alpha) * (1.0 - target)
    wrongness = (target - torch.sigmoid(logits)).abs() ** gamma
    return weight * wrongness * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def per_frame(loss: torch.Tensor) -> torch.Tensor:
    """(batch, pitch, frame) -> scalar: sum over the pitches, mean over batch and frames.

    The paper sums over everything, which ties the learning rate to the batch size and to the length of the clips.
    """
    return loss.sum(dim=1).mean()
