"""Losses: of velocities, and of label sets."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from diffusion_pir.diffusion import alpha_beta


class LabelError(ValueError):
    """Labels that a loss cannot be computed of."""


def velocity_loss(
    told: Float[Tensor, " batch bin frame"],
    target: Float[Tensor, " batch bin frame"],
    t: Int[Tensor, " batch"],
    n_frames: Int[Tensor, " batch"] | None = None,
    min_snr: float | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of velocities, of each clip and then of the batch.

    Args:
        told: by the network.
        target: see `diffusion.velocity`.
        t: timesteps.
        n_frames: of each clip, where others are padding; None means all.
        min_snr: weighs a clip by min(snr, min_snr) / (snr + 1), as Hang et al. (arXiv 2303.09556) do; None by one.
    """
    error = (told.float() - target.float()).square().mean(1)  # (batch, frame)
    if n_frames is None:
        loss = error.mean(1)
    else:
        counts = torch.arange(error.shape[1], device=error.device) < n_frames[:, None]
        loss = (error * counts).sum(1) / counts.sum(1).clamp(min=1)
    return (loss if min_snr is None else loss * min_snr_weight(t, min_snr)).mean()


def min_snr_weight(t: Int[Tensor, " batch"], most: float) -> Float[Tensor, " batch"]:
    """min(snr, most) / (snr + 1), where snr + 1 is 1 / beta^2."""
    alpha, beta = (amount.flatten() for amount in alpha_beta(t))
    return torch.minimum(alpha.square(), most * beta.square())


def bce(logits: Float[Tensor, "..."], labels: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Binary cross-entropy per clip, (..., class) -> (...): any label set, the empty one too."""
    return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(-1)


def cross_entropy(logits: Float[Tensor, "..."], labels: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Cross-entropy of a softmax per clip, (..., class) -> (...); several labels share the probability.

    Raises:
        LabelError: a clip without a label.
    """
    counts = labels.sum(-1, keepdim=True)
    if not bool((counts > 0).all()):
        raise LabelError("a clip has no label, of which a cross-entropy cannot be told: choose the loss bce or asl")
    return -(labels / counts * torch.log_softmax(logits, -1)).sum(-1)


def asymmetric(
    logits: Float[Tensor, "..."], labels: Float[Tensor, "..."], gamma: float = 4.0, margin: float = 0.05
) -> Float[Tensor, "..."]:
    """Asymmetric loss per clip, (..., class) -> (...): Ridnik et al. (arXiv 2009.14119).

    Absent classes that are nearly told apart weigh little: by their probability to the power of `gamma`, and nothing
    below `margin`.
    """
    labels = labels.to(logits.dtype)
    false = (torch.sigmoid(logits) - margin).clamp(min=0.0)
    negative = false.pow(gamma) * torch.log1p(-false.clamp(max=1.0 - 1e-6))
    return -(labels * logsigmoid(logits) + (1.0 - labels) * negative).mean(-1)


LABEL_LOSSES = {"bce": bce, "ce": cross_entropy, "asl": asymmetric}
