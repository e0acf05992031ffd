"""What a network is trained to say: the class of each frame, and the cross-entropy of those that count."""

import torch
from torch.nn import functional as F

from common.evaluation.labels import IGNORE


def instrument_target(lead: torch.Tensor, clip: torch.Tensor, instrument: torch.Tensor) -> torch.Tensor:
    """The leading instrument instead of the leading track.

    Args:
        lead: (batch, frame) 0 nobody, 1 + i the clip's i-th track, IGNORE.
        clip: (track,) the clip of each track, ascending.
        instrument: (track,) ids, 0 = unknown.

    Returns:
        (batch, frame) 0 nobody, an id, or IGNORE; IGNORE too where an unknown instrument leads.
    """
    first = torch.searchsorted(
        clip, torch.arange(len(lead), device=clip.device)
    )  # (batch,) row of the clip's first track
    played = lead > 0
    leader = instrument[torch.where(played, first[:, None] + lead - 1, 0)]
    return torch.where(played, torch.where(leader > 0, leader, IGNORE), lead)


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean over the frames that count; 0 where none does.

    Every annotated frame of a batch counts alike, whatever clip it is in. Lightning divides it by the number of batches
    of an accumulation: there, batches count alike, not frames.

    Args:
        logits: (batch, frame, class); -inf for a class that the clip does not have, which then takes no part.
        target: (batch, frame) class, or IGNORE for a frame that does not count.
        smoothing: probability that the target gives away to all classes of the clip in equal parts.
    """
    log_probability = F.log_softmax(logits.float(), dim=-1)
    present = log_probability.isfinite()
    log_probability = log_probability.masked_fill(~present, 0.0)
    counts = target != IGNORE
    hit = log_probability.gather(-1, target.clamp(min=0)[..., None])[..., 0]
    loss = -(1.0 - smoothing) * hit - smoothing * log_probability.sum(-1) / present.sum(-1)
    return (loss * counts).sum() / counts.sum().clamp(min=1)
