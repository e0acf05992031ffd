"""Losses on logits: focal (the paper's, for the frame and the onset map), and what Basic Pitch is trained with."""

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


def basic_pitch(name: str, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss of Basic Pitch (Bittner et al., ICASSP 2022) for one output, a mean over its cells.

    Cross-entropy with smoothed labels; for events (onsets, offsets), which are rare, the positive cells count 0.95 and
    all the others together 0.05.
    """
    loss = smoothed_cross_entropy(logits, target)
    return loss.mean() if name == "frame" else balanced_mean(loss, target >= 0.5)


def smoothed_cross_entropy(logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.2) -> torch.Tensor:
    """Element-wise cross-entropy with targets 0..1 drawn towards a half: 0.1..0.9."""
    return F.binary_cross_entropy_with_logits(logits, target * (1.0 - smoothing) + 0.5 * smoothing, reduction="none")


def balanced_mean(loss: torch.Tensor, positive: torch.Tensor, positive_weight: float = 0.95) -> torch.Tensor:
    """Mean over the positive cells and mean over the others, weighted; a side without cells adds nothing."""
    means = [(loss * side).sum() / side.sum().clamp(min=1) for side in (positive, ~positive)]
    return positive_weight * means[0] + (1.0 - positive_weight) * means[1]
