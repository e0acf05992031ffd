"""A teacher for the encoder: onsets and sounding notes of every frame, told from the memory of each channel.

Rows of tokens teach an encoder only through a decoder that first has to learn where to listen, for which the paper had
25 million segments. What the rows say, as maps over the frames, teaches it at once. The head that reads the maps from
the memory is used in training alone.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from yourmt3plus.salience import N_KEYS, Maps
from yourmt3plus.tokenizer import DRUM, IDS, PITCH, SHIFT, TIE, VELOCITY

PRIOR = -5.0  # logit of an onset at the start: they are rare


class EventHead(nn.Module):
    """Reads maps from memories, all channels alike.

    Args:
        dim: of the memory.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.RMSNorm(dim)
        self.linear = nn.Linear(dim, 2 * N_KEYS)
        nn.init.constant_(self.linear.bias, PRIOR)

    def forward(self, memory: Float[Tensor, "batch channel frame dim"]) -> Maps:
        """Logits."""
        return Maps(*self.linear(self.norm(memory)).chunk(2, dim=-1))


def truth(tokens: Int[Tensor, "batch channel token"], n_frames: int, frames_per_tick: float) -> Maps:
    """What rows say, as float32 maps of 0 and 1.

    Args:
        tokens: PAD after EOS.
        n_frames: of a segment.
        frames_per_tick: how many frames a tick of 10 ms has; frame f is centred on tick f / frames_per_tick.
    """
    rows = tokens.flatten(0, 1)
    before = (rows == TIE).cumsum(dim=1) == 0
    shift = torch.where(_is("shift", rows), rows - SHIFT, 0).cummax(dim=1).values
    frame = (shift * frames_per_tick).round().long().clamp(max=n_frames - 1)
    place = torch.arange(rows.shape[1], device=rows.device)
    latest = torch.where(_is("velocity", rows), place, -1).cummax(dim=1).values
    starts = (latest >= 0) & (rows.gather(1, latest.clamp(min=0)) == VELOCITY + 1) & ~before
    is_pitch, is_hit = _is("pitch", rows), _is("drum", rows)
    key = torch.where(is_pitch, rows - PITCH, torch.where(is_hit, rows - DRUM, 0))
    begins = is_pitch & (starts | before)

    def tally(chosen: Tensor, sign: int = 1) -> Tensor:
        """How many of the chosen tokens there are at each frame and key, times the sign."""
        counts = torch.zeros(len(rows), n_frames * N_KEYS, device=rows.device)
        return counts.scatter_add_(1, frame * N_KEYS + key, sign * chosen.float()).unflatten(1, (n_frames, N_KEYS))

    onset = tally((is_pitch | is_hit) & starts)
    sounding = (tally(begins) + tally(is_pitch & ~starts & ~before, -1)).cumsum(dim=1)
    shape = tokens.shape[:2]
    return Maps(*((counts > 0).float().unflatten(0, shape) for counts in (onset, sounding + onset)))


def _is(name: str, tokens: Tensor) -> Tensor:
    return (tokens >= IDS[name].start) & (tokens < IDS[name].stop)


def event_loss(predicted: Maps, target: Maps, annotated: Bool[Tensor, "batch channel"]) -> Tensor:
    """Cross-entropy in float32: sum over keys and maps, mean over frames and annotated channels."""
    terms = (
        F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none").sum(dim=-1).mean(dim=-1)
        for logits, wanted in zip(predicted, target, strict=True)
    )
    loss = torch.stack(list(terms)).sum(dim=0)
    return loss.masked_fill(~annotated, 0.0).sum() / annotated.sum().clamp(min=1)
