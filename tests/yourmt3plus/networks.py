"""Networks small enough for tests."""

from functools import partial

import torch

from yourmt3plus.decoder import Decoder
from yourmt3plus.front_ends import Spectrum
from yourmt3plus.generate import Rows
from yourmt3plus.model import YourMT3
from yourmt3plus.perceiver import PerceiverTF
from yourmt3plus.tokenizer import EOS

# Study section F: 1.024 s, 32 frames of 128 bins, one block of 8 latents, two layers that write.
FRONT_END = partial(Spectrum, n_fft=512, hop_length=512, n_bins=128)
ENCODER = partial(
    PerceiverTF,
    channels=(16, 32),
    pools=(4, 2),
    n_latents=8,
    dim=32,
    n_blocks=1,
    n_latent_layers=1,
    n_temporal_layers=1,
    n_heads=4,
    widening=2,
    n_experts=4,
    dropout=0.0,
)
DECODER = partial(Decoder, dim=64, n_layers=2, n_heads=4, head_dim=16, ff_dim=128, dropout=0.0)
N_SAMPLES = 16_384


def tiny(n_channels: int = 4, decoder: dict | None = None, gate: bool = False, **encoder) -> YourMT3:
    torch.manual_seed(0)
    return YourMT3(
        FRONT_END(), partial(ENCODER, **encoder), DECODER(**(decoder or {})), n_channels, N_SAMPLES, gate
    ).eval()


def talkative(positions: str = "sinusoidal", eos: float = 3.0, **options) -> Decoder:
    """A decoder of random weights, exact to 1e-15, that ends rows now and then: the larger `eos`, the sooner."""
    torch.manual_seed(1)
    decoder = DECODER(positions=positions, **options).double().eval()
    with torch.no_grad():
        decoder.head.weight[EOS] *= eos
    return decoder


def rows(n_segments: int = 5, seed: int = 0, device: str = "cpu") -> Rows:
    """65 rows of random memories: 5 segments of 13 channels."""
    generator = torch.Generator().manual_seed(seed)
    memory = 3 * torch.randn(n_segments, 13, 6, 64, generator=generator, dtype=torch.float64)
    return Rows.of(memory.to(device))
