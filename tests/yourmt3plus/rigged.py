"""A network that writes what it is told: each segment carries its number, and the rows to write are given by number."""

from pathlib import Path
from typing import Any

import torch

from common import checkpoint
from yourmt3plus.model import YourMT3
from yourmt3plus.tokenizer import EOS

SMALL: dict[str, Any] = {
    "front_end": {
        "class_path": "yourmt3plus.front_ends.Spectrum",
        "init_args": {"n_fft": 512, "hop_length": 512, "n_bins": 128},
    },
    "encoder": {
        "class_path": "yourmt3plus.perceiver.PerceiverTF",
        "init_args": {
            "channels": [8, 8],
            "pools": [4, 4],
            "n_latents": 13,
            "dim": 32,
            "n_blocks": 1,
            "n_latent_layers": 1,
            "n_temporal_layers": 1,
            "n_heads": 4,
            "n_experts": 0,
            "widening": 1,
        },
    },
    "decoder": {
        "class_path": "yourmt3plus.decoder.Decoder",
        "init_args": {"dim": 32, "n_layers": 1, "n_heads": 2, "head_dim": 16, "ff_dim": 32},
    },
    "n_channels": 13,
    "n_samples": 16_384,
}
RATE = 16_000
HOP = 102 * 160  # samples from the start of a segment to that of the next


def random_network(eos: float = 2.0, **changes: Any) -> YourMT3:
    """A network of random weights whose rows are of many lengths: it hears notes everywhere."""
    torch.manual_seed(0)
    net = YourMT3(**{**SMALL, **changes}).eval()
    with torch.no_grad():
        net.decoder.head.weight[EOS] *= eos
        net.decoder.head.weight[:] *= 4.0
    return net


def weights(path: Path, **extra: Any) -> Path:
    """The file of a network of random weights."""
    checkpoint.save(path, random_network(), SMALL, name="random", **{"max_tokens": 32, **extra})
    return path
