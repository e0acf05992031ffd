"""PerceiverTF: a few latents per frame listen to the spectrum, to one another, and along time.

Lu et al., "Multitrack music transcription with a time-frequency perceiver" (ICASSP 2023), as YourMT3+ (arXiv
2407.04822) builds it, with or without a mixture of experts in its layers. The released code gives its rotation the
number of heads where their size belongs, turns queries only, and does so on all three axes: scores then depend on
absolute places. `positions="rope"` turns all of queries and keys along time, `"released_rope"` is theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from yourmt3plus.moe import MixtureOfExperts, Routing
from yourmt3plus.positions import MAX_POSITIONS, pixel_rope, rope, rotate
from yourmt3plus.pre_encoder import PreEncoder
from yourmt3plus.t5 import Encoding

POSITIONS = ("trainable", "rope", "released_rope")


class Turns(NamedTuple):
    """How the attentions of a block turn queries (and keys), (2, place, pair) or None; see `positions.rotate`."""

    along: Tensor | None  # time
    across: Tensor | None  # the latents of a frame, also when they listen to the spectrum


class Attention(nn.Module):
    """Queries of x listen to a source, or to x; norms before, residual left to the caller.

    Args:
        dim: of x.
        n_heads: heads.
        source_dim: of the source; None for attention of x to itself.
        dropout: of the weights.
        turn_keys: turn keys as well as queries to their places.
        norm_source: of a source too.
    """

    def __init__(
        self,
        dim: int,
        n_heads: int,
        source_dim: int | None,
        dropout: float,
        turn_keys: bool,
        norm_source: bool = True,
    ):
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        self.turn_keys = turn_keys
        self.norm = nn.LayerNorm(dim)
        self.source_norm = nn.LayerNorm(source_dim) if source_dim and norm_source else nn.Identity()
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(source_dim or dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, source: Tensor | None = None, turn: Tensor | None = None) -> Tensor:
        """(row, place, dim), and a source (row, place, source_dim) -> (row, place, dim)."""
        x = self.norm(x)
        source = x if source is None else self.source_norm(source)
        q = rearrange(self.query(x), "row place (head dim) -> row head place dim", head=self.n_heads)
        k, v = rearrange(
            self.key_value(source), "row place (part head dim) -> part row head place dim", part=2, head=self.n_heads
        )
        if self.turn_keys:
            k = rotate(k, turn)
        heard = F.scaled_dot_product_attention(rotate(q, turn), k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out(rearrange(heard, "row head place dim -> row place (head dim)"))


class Layer(nn.Module):
    """Self-attention, then a feed-forward part or experts, each added to what it heard.

    Args:
        dim: of x.
        n_heads: heads.
        widening: size inside the feed-forward part, or each expert, over `dim`.
        n_experts: 0 for a feed-forward part.
        top_k: experts for each place.
        dropout: of the attention.
        turn_keys: see `Attention`.
    """

    def __init__(
        self, dim: int, n_heads: int, widening: int, n_experts: int, top_k: int, dropout: float, turn_keys: bool
    ):
        super().__init__()
        self.attention = Attention(dim, n_heads, None, dropout, turn_keys)
        self.norm = nn.LayerNorm(dim)
        hidden = widening * dim
        self.feed_forward = (
            MixtureOfExperts(dim, hidden, n_experts, top_k)
            if n_experts
            else nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        )

    def forward(self, x: Tensor, turn: Tensor | None, routings: list[Routing]) -> Tensor:
        """(row, place, dim) -> the same; how busy its experts were goes to the end of the list."""
        x = x + self.attention(x, turn=turn)
        heard = self.feed_forward(self.norm(x))
        if isinstance(self.feed_forward, MixtureOfExperts):
            heard, routing = heard
            routings.append(routing)
        return x + heard


class Block(nn.Module):
    """Latents listen to the spectrum of their frame, to one another in it, and each to itself at other times.

    Args:
        source: attention to the spectrum.
        residual: add what the latents were before that.
        latent: layers across the latents of a frame.
        temporal: layers along time.
    """

    def __init__(self, source: Attention, residual: bool, latent: Sequence[Layer], temporal: Sequence[Layer]):
        super().__init__()
        self.source = source
        self.residual = residual
        self.latent = nn.ModuleList(latent)
        self.temporal = nn.ModuleList(temporal)

    def forward(self, x: Tensor, source: Tensor, turns: Turns, routings: list[Routing]) -> Tensor:
        """(batch, frame, latent, dim) and (batch * frame, place, source_dim) -> (batch, frame, latent, dim)."""
        batch = len(x)
        x = x.flatten(0, 1)
        heard = self.source(x, source, turns.across)
        x = x + heard if self.residual else heard
        for layer in self.latent:
            x = layer(x, turns.across, routings)
        x = rearrange(x, "(batch frame) latent dim -> (batch latent) frame dim", batch=batch)
        for layer in self.temporal:
            x = layer(x, turns.along, routings)
        return rearrange(x, "(batch latent) frame dim -> batch frame latent dim", batch=batch)


class PerceiverTF(nn.Module):
    """Convolutions, then blocks of attention to the spectrum, across latents and along time.

    Args:
        n_frames: of a segment; with trainable positions none may be longer.
        n_bins: of a frame.
        channels: of the convolutions, see `PreEncoder`.
        pools: how many bins each makes one of.
        n_latents: of each frame: 24 for one decoder, 2 for each channel of 13.
        dim: of a latent.
        n_blocks: how many.
        n_latent_layers: of each block.
        n_temporal_layers: of each block.
        n_heads: of all attentions.
        widening: size inside the feed-forward parts, or inside each expert, over `dim`.
        n_experts: of each layer; 0 for a feed-forward part.
        top_k: experts for each latent.
        attend_to: what the latents of a frame listen to: "channel", its maps, each with all bins (as released), or
            "bin", its bins, each with all maps.
        residual: add what the latents were to what they hear of the spectrum (as released with experts only).
        positions: "trainable" (as released without experts), "rope" or "released_rope".
        dropout: of the attentions.
        norm_source: norms before attention to the spectrum (as released). They make the maps of a silent frame as loud
            as those of a full one; the convolutions have norms of their own.
        harmonics: see `PreEncoder`.
        bins_per_octave: see there.
    """

    along: Tensor | None  # (2, frame, pair); constants, in no checkpoint
    across: Tensor | None  # (2, latent, pair)

    def __init__(
        self,
        n_frames: int,
        n_bins: int,
        channels: Sequence[int] = (128, 128, 128),
        pools: Sequence[int] = (2, 2, 2),
        n_latents: int = 26,
        dim: int = 128,
        n_blocks: int = 3,
        n_latent_layers: int = 2,
        n_temporal_layers: int = 2,
        n_heads: int = 8,
        widening: int = 4,
        n_experts: int = 8,
        top_k: int = 2,
        attend_to: str = "channel",
        residual: bool = True,
        positions: str = "rope",
        dropout: float = 0.05,
        norm_source: bool = True,
        harmonics: Sequence[float] = (),
        bins_per_octave: int = 36,
    ):
        super().__init__()
        if positions not in POSITIONS or attend_to not in ("channel", "bin"):
            raise ValueError(
                f"positions must be one of {', '.join(POSITIONS)} and attend_to channel or bin, "
                f"not {positions} and {attend_to}"
            )
        self.n_latents = n_latents
        self.dim = dim
        self.pre_encoder = PreEncoder(n_bins, channels, pools, harmonics, bins_per_octave)
        self.attend_to = attend_to
        source_dim = self.pre_encoder.n_bins if attend_to == "channel" else self.pre_encoder.n_channels
        self.latents = nn.Parameter(torch.randn(n_latents, dim))
        self.places = nn.Parameter(torch.randn(n_frames, n_latents, dim)) if positions == "trainable" else None
        n_pairs = n_heads // 4 if positions == "released_rope" else dim // n_heads // 2
        if dim % n_heads or 2 * n_pairs > dim // n_heads:
            raise ValueError(f"dim {dim} must be a multiple of {n_heads} heads, of {2 * n_pairs} each or more")
        along = None if positions == "trainable" else rope(max(n_frames, MAX_POSITIONS), n_pairs)
        self.register_buffer("along", along, persistent=False)
        across = pixel_rope(n_latents, n_pairs) if positions == "released_rope" else None
        self.register_buffer("across", across, persistent=False)
        turn_keys = positions == "rope"

        def layers(n: int) -> list[Layer]:
            return [Layer(dim, n_heads, widening, n_experts, top_k, dropout, turn_keys) for _ in range(n)]

        self.blocks = nn.ModuleList(
            Block(
                Attention(dim, n_heads, source_dim, dropout, turn_keys, norm_source),
                residual,
                layers(n_latent_layers),
                layers(n_temporal_layers),
            )
            for _ in range(n_blocks)
        )

    def forward(self, picture: Float[Tensor, " batch frame bin"]) -> Encoding:
        source = self.pre_encoder(picture)
        batch, _, n_frames, _ = source.shape
        order = "(batch frame) channel bin" if self.attend_to == "channel" else "(batch frame) bin channel"
        source = rearrange(source, f"batch channel frame bin -> {order}")
        x = repeat(self.latents, "latent dim -> batch frame latent dim", batch=batch, frame=n_frames)
        if self.places is not None:
            if n_frames > len(self.places):
                raise ValueError(f"trainable positions are for {len(self.places)} frames, not {n_frames}")
            x = x + self.places[:n_frames]
        turns = Turns(None if self.along is None else self.along[:, :n_frames], self.across)
        routings: list[Routing] = []
        for block in self.blocks:
            x = block(x, source, turns, routings)
        return Encoding(x, Routing.stack(routings))
