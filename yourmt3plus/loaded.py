"""What is common to networks that are ready for use, whatever they tell."""

from typing import Any

import torch

from yourmt3plus.listener import SegmentNetwork
from yourmt3plus.tokenizer import TICKS_PER_SECOND

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Loaded:
    """A trained network with its device and its type.

    Args:
        net: in evaluation mode, on its device.
        name: of the weights.
        precision: one of PRECISIONS; none takes bfloat16 on a GPU.

    Raises:
        ValueError: no such precision, or segments that do not start on whole samples.
    """

    def __init__(self, net: SegmentNetwork, name: str = "", precision: str | None = None):
        device = next(net.parameters()).device
        precision = precision or ("bfloat16" if device.type == "cuda" else "float32")
        if precision not in PRECISIONS:
            raise ValueError(f"no precision {precision!r}; there are {', '.join(PRECISIONS)}")
        hop_length, rest = divmod(net.n_ticks * net.sample_rate, TICKS_PER_SECOND)
        if rest:
            raise ValueError(f"segments of {net.n_ticks} ticks are not whole samples at {net.sample_rate} Hz")
        self.net: Any = net
        self.name = name
        self.device = device
        self.dtype = PRECISIONS[precision]
        self.hop_length = hop_length  # samples from the start of a segment to that of the next
        self.channels = net.channels

    @property
    def sample_rate(self) -> int:
        """Of the audio that it hears, in Hz."""
        return self.net.sample_rate

    @property
    def n_ticks(self) -> int:
        """Of 10 ms that a segment has for its own."""
        return self.net.n_ticks
