"""The layers of T5 (version 1.1) that encoder and decoder share, and the encoder of YMT3 made of them.

No biases, RMS norms before each part, scores that are not divided by the root of the head's size, gated GELU.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from yourmt3plus.moe import Routing
from yourmt3plus.positions import Positions, rotate


class Encoding(NamedTuple):
    """What an encoder makes of a segment."""

    latents: Tensor  # (batch, frame, latent, dim)
    routing: Routing | None  # of all its layers with experts, if it has such


def linear(n_inputs: int, n_outputs: int, std: float) -> nn.Linear:
    layer = nn.Linear(n_inputs, n_outputs, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return layer


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """(row, head, token, head_dim) each -> (row, token, head * head_dim); scores are not scaled."""
    if q.shape[2] == 1 and q.device.type == "cpu" and not dropout:  # one query: half as long again by the fused product
        scores = q @ k.mT
        scores = scores if bias is None else scores + bias
        return (scores.softmax(dim=-1) @ v).flatten(1)[:, None]
    if causal and bias is not None:
        later = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).triu(1)
        bias, causal = bias.masked_fill(later, -torch.inf), False
    bias = None if bias is None else bias.to(q.dtype)
    heard = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=causal, dropout_p=dropout, scale=1.0)
    return heard.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Tokens of a row hear one another; norm before, residual left to the caller."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, dropout: float):
        super().__init__()
        inner = n_heads * head_dim
        self.head_dim = head_dim
        self.dropout = dropout
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.qkv = linear(dim, 3 * inner, dim**-0.5)
        nn.init.normal_(self.qkv.weight[:inner], std=(dim * head_dim) ** -0.5)
        self.out = linear(inner, dim, inner**-0.5)

    def project(self, x: Tensor, turn: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """(row, token, dim) -> queries, keys and values (row, head, token, head_dim), turned to their places."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        return rotate(q, turn), rotate(k, turn), v

    def forward(self, x: Tensor, turn: Tensor | None, bias: Tensor | None, causal: bool = False) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return self.out(attend(*self.project(x, turn), bias, causal, dropout))


class FeedForward(nn.Module):
    """Gated GELU; norm before, residual left to the caller."""

    def __init__(self, dim: int, ff_dim: int, dropout: float):
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.gate_up = linear(dim, 2 * ff_dim, dim**-0.5)
        self.down = linear(ff_dim, dim, ff_dim**-0.5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(self.norm(x)).chunk(2, dim=-1)
        return self.down(self.dropout(F.gelu(gate, approximate="tanh") * up))


class T5Encoder(nn.Module):
    """Frames of a picture hear one another (YMT3, YMT3+): one latent for each frame.

    Args:
        n_frames: of a segment; accepted for the sake of encoders that have a weight for each.
        n_bins: of a frame; others than `dim` are mapped to it.
        dim: of the layers.
        n_layers: how many.
        n_heads: of their attention.
        head_dim: of each head.
        ff_dim: inside the feed-forward part.
        positions: one of `positions.KINDS`.
        dropout: of inputs, of attention and after each part.
    """

    n_latents = 1

    def __init__(
        self,
        n_frames: int,
        n_bins: int,
        dim: int = 512,
        n_layers: int = 8,
        n_heads: int = 6,
        head_dim: int = 64,
        ff_dim: int = 1024,
        positions: str = "sinusoidal",
        dropout: float = 0.05,
    ):
        super().__init__()
        self.dim = dim
        self.project = nn.Identity() if n_bins == dim else nn.Linear(n_bins, dim)
        self.positions = Positions(positions, dim, n_heads, head_dim, bidirectional=True)
        self.attention = nn.ModuleList(SelfAttention(dim, n_heads, head_dim, dropout) for _ in range(n_layers))
        self.feed_forward = nn.ModuleList(FeedForward(dim, ff_dim, dropout) for _ in range(n_layers))
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, picture: Float[Tensor, " batch frame bin"]) -> Encoding:
        places = torch.arange(picture.shape[1], device=picture.device)
        turn, bias = self.positions.turn(places), self.positions.bias(places, places)
        x = self.dropout(self.positions.add(self.project(picture), places))
        for attention, feed_forward in zip(self.attention, self.feed_forward, strict=True):
            x = x + self.dropout(attention(x, turn, bias))
            x = x + self.dropout(feed_forward(x))
        return Encoding(self.dropout(self.norm(x))[:, :, None], None)
