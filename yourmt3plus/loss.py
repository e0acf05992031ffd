"""Losses: of the tokens, and of the gate that tells silent channels, both only where something is known.

The paper leaves channels without annotation out of the loss; the released code scores them as if they were silent. Who
wants that has data with `masking=False`, which says of all channels that they are annotated.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from yourmt3plus.generate import SILENT_ROW
from yourmt3plus.rows import RowBatch
from yourmt3plus.tokenizer import PAD


class TokenScores(NamedTuple):
    """How well the tokens that count are foretold."""

    loss: Tensor  # mean cross-entropy, with gradient; 0 of no tokens
    accuracy: Tensor  # share that is the most probable; 0 of no tokens
    n_tokens: Tensor


def token_scores(
    logits: Sequence[Float[Tensor, "row token id"]],
    rows: Sequence[RowBatch],
    annotated: Bool[Tensor, "batch channel"],
) -> TokenScores:
    """Means over all tokens but PAD of all rows whose channel is annotated, in float32.

    The logits of other rows get a gradient of exactly 0.

    Args:
        logits: of each batch of rows.
        rows: what is right.
        annotated: the channels about which something is known.
    """
    device = rows[0].tokens.device if rows else None
    loss, n_tokens, n_right = torch.zeros(3, device=device).unbind()
    for predicted, batch in zip(logits, rows, strict=True):
        target = batch.tokens.masked_fill(~annotated.flatten()[batch.row, None], PAD)
        counts = target != PAD
        loss = loss + F.cross_entropy(
            predicted.flatten(0, 1).float(), target.flatten(), ignore_index=PAD, reduction="sum"
        )
        n_tokens = n_tokens + counts.sum()
        n_right = n_right + (counts & (predicted.detach().argmax(dim=-1) == target)).sum()
    at_least_one = n_tokens.clamp(min=1)
    return TokenScores(loss / at_least_one, n_right / at_least_one, n_tokens)


def silent_channels(tokens: Int[Tensor, "batch channel token"]) -> Bool[Tensor, "batch channel"]:
    """Whose row says that there is nothing: what the gate should tell."""
    n = len(SILENT_ROW)
    return (tokens[..., :n] == tokens.new_tensor(SILENT_ROW)).all(dim=-1)


def masked_mean(loss: Tensor, counts: Bool[Tensor, "..."]) -> Tensor:
    """Mean of a loss over what counts, of the same shape; 0 if nothing does."""
    return loss.masked_fill(~counts, 0.0).sum() / counts.sum().clamp(min=1)


def gate_loss(
    logits: Float[Tensor, "batch channel"],
    tokens: Int[Tensor, "batch channel token"],
    annotated: Bool[Tensor, "batch channel"],
) -> Tensor:
    """Mean cross-entropy of `YourMT3.silence` over the annotated channels, in float32.

    Args:
        logits: of there being nothing in a channel.
        tokens: rows of the channels.
        annotated: the channels about which something is known.
    """
    target = silent_channels(tokens).float()
    return masked_mean(F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none"), annotated)
