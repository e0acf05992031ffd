"""Rows of tokens for training, cut to the lengths that they have: nine channels in ten are silent, two tokens long.

Padded to 256 tokens, 13 channels cost a decoder 14 times what these rows do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from yourmt3plus.tokenizer import PAD

WIDTHS = (2, 16, 32, 64, 128, 256, 512, 1024)


class RowBatch(NamedTuple):
    """Rows of about the same length, of any segments and channels of a batch."""

    row: Tensor  # (row,) int64, segment * n_channels + channel
    tokens: Tensor  # (row, token) int64, PAD after EOS


def bucket(
    tokens: Int[Tensor, "batch channel token"],
    kept: Bool[Tensor, "batch channel"] | None = None,
    widths: Sequence[int] = WIDTHS,
) -> list[RowBatch]:
    """Rows by length, each bucket cut to its longest; made where batches are, on a CPU.

    Args:
        tokens: PAD after EOS.
        kept: rows to decode at all; those that the loss leaves out anyway need not be.
        widths: a bucket holds rows that are longer than one width and not longer than the next.
    """
    rows = tokens.flatten(0, 1)
    written = rows != PAD
    length = rows.shape[1] - written.flip(1).int().argmax(dim=1)
    wanted = written.any(dim=1) if kept is None else written.any(dim=1) & kept.flatten()
    which = torch.bucketize(length, torch.tensor(widths))
    batches = []
    for width in which[wanted].unique():
        row = torch.nonzero(wanted & (which == width))[:, 0]
        batches.append(RowBatch(row, rows[row, : int(length[row].max())]))
    return batches
