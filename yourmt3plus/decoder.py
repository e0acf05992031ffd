"""The decoder: a T5 (version 1.1) without what it does not need, and with a cache that is laid out beforehand.

One decoder writes all rows; a row listens to its own memory and to its own tokens, never to other rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from yourmt3plus.positions import Following, Positions
from yourmt3plus.t5 import FeedForward, SelfAttention, attend, linear
from yourmt3plus.tokenizer import MAX_TICKS, N_TOKENS, PAD, SHIFT


@dataclass
class Cache:
    """What has been projected of tokens and memory, (layer, row, head, place, head_dim), and what time it is.

    Attributes:
        keys: of the tokens so far, with room for more; written in place by `Decoder.step`.
        values: of the same.
        memory_keys: of the frames, projected once.
        memory_values: of the same.
        now: (1, row) int64, ticks that each row has written last; written in place.
    """

    keys: Tensor
    values: Tensor
    memory_keys: Tensor
    memory_values: Tensor
    now: Tensor

    @property
    def capacity(self) -> int:
        """Tokens that there is room for."""
        return self.keys.shape[3]

    def select(self, rows: Tensor) -> "Cache":
        """A cache of these rows, (row,) int64, alone."""
        return Cache(*(part.index_select(1, rows) for part in self._parts()))

    @staticmethod
    def join(parts: "Sequence[Cache]") -> "Cache":
        """The rows of caches of equal capacity, one after the other."""
        return Cache(*(torch.cat(tensors, dim=1) for tensors in zip(*(part._parts() for part in parts), strict=True)))

    def grown(self, capacity: int) -> "Cache":
        """The same with room for more tokens."""
        keys, values = (
            torch.cat([part, part.new_empty(*part.shape[:3], capacity - self.capacity, part.shape[4])], dim=3)
            for part in (self.keys, self.values)
        )
        return replace(self, keys=keys, values=values)

    def copy_(self, other: "Cache") -> None:
        """Take over the rows and tokens of a cache that is not larger, in place."""
        for mine, theirs in zip(self._parts(), other._parts(), strict=True):
            mine[tuple(map(slice, theirs.shape))].copy_(theirs)

    def _parts(self) -> tuple[Tensor, ...]:
        return self.keys, self.values, self.memory_keys, self.memory_values, self.now


class CrossAttention(nn.Module):
    """Tokens of a row listen to the frames of its memory; norm before, residual left to the caller."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, dropout: float):
        super().__init__()
        inner = n_heads * head_dim
        self.head_dim = head_dim
        self.dropout = dropout
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.query = linear(dim, inner, (dim * head_dim) ** -0.5)
        self.key_value = linear(dim, 2 * inner, dim**-0.5)
        self.out = linear(inner, dim, inner**-0.5)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(row, frame, dim) -> keys and values (row, head, frame, head_dim)."""
        k, v = self.key_value(memory).unflatten(-1, (2, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        q = self.query(self.norm(x)).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        return self.out(attend(q, k, v, bias, dropout=self.dropout if self.training else 0.0))


class DecoderLayer(nn.Module):
    """Tokens hear those before them, then the memory, then think."""

    def __init__(self, dim: int, n_heads: int, head_dim: int, ff_dim: int, dropout: float):
        super().__init__()
        self.tokens = SelfAttention(dim, n_heads, head_dim, dropout)
        self.memory = CrossAttention(dim, n_heads, head_dim, dropout)
        self.feed_forward = FeedForward(dim, ff_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: Tensor, turn: Tensor | None, bias: Tensor | None, follow: Tensor | None
    ) -> Tensor:
        """Whole rows at once: x (row, token, dim), memory (row, frame, dim)."""
        x = x + self.dropout(self.tokens(x, turn, bias, causal=True))
        return self.listen(x, *self.memory.project(memory), follow)

    def listen(self, x: Tensor, k: Tensor, v: Tensor, follow: Tensor | None) -> Tensor:
        """What follows after tokens heard one another, with projected memory."""
        x = x + self.dropout(self.memory(x, k, v, follow))
        return x + self.dropout(self.feed_forward(x))


class Decoder(nn.Module):
    """Memories in, tokens out.

    Args:
        dim: of tokens and memory.
        n_layers: how many.
        n_heads: of their attentions.
        head_dim: of each head.
        ff_dim: inside the feed-forward parts.
        positions: one of `positions.KINDS`.
        dropout: of inputs, of attention and after each part.
        n_tasks: what a row can be asked for: the task stands before its first token. With 0 nothing is asked, and PAD
            stands there, as in the released models.
        n_tokens: size of the vocabulary.
        follow: let the attention to the memory know how far frames are from the time written last, see
            `positions.Following`.
    """

    def __init__(
        self,
        dim: int = 512,
        n_layers: int = 8,
        n_heads: int = 6,
        head_dim: int = 64,
        ff_dim: int = 1024,
        positions: str = "sinusoidal",
        dropout: float = 0.05,
        n_tasks: int = 0,
        n_tokens: int = N_TOKENS,
        follow: bool = False,
    ):
        super().__init__()
        self.dim = dim
        self.n_tokens = n_tokens
        self.n_tasks = n_tasks
        self.embedding = nn.Embedding(n_tokens + n_tasks, dim)
        self.positions = Positions(positions, dim, n_heads, head_dim)
        self.following = Following(n_heads) if follow else None
        self.layers = nn.ModuleList(DecoderLayer(dim, n_heads, head_dim, ff_dim, dropout) for _ in range(n_layers))
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, n_tokens, bias=False)
        self.dropout = nn.Dropout(dropout)

    def first(self, n_rows: int, task: Tensor | None, device: torch.device) -> Tensor:
        """(row,) ids of what stands before the first token: the task (row,) asked for, or PAD."""
        if task is None:
            return torch.full((n_rows,), PAD, dtype=torch.int64, device=device)
        if not self.n_tasks:
            raise ValueError("this decoder knows no tasks; make it with n_tasks")
        return self.n_tokens + task

    def forward(
        self,
        tokens: Int[Tensor, " row token"],
        memory: Float[Tensor, " row frame dim"],
        task: Int[Tensor, " row"] | None = None,
    ) -> Float[Tensor, " row token id"]:
        """Logits of every token, given memory, task and the tokens before it."""
        before = torch.cat([self.first(len(tokens), task, tokens.device)[:, None], tokens[:, :-1]], dim=1)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        turn, bias = self.positions.turn(places), self.positions.bias(places, places)
        x = self.dropout(self.positions.add(self.embedding(before), places))
        follow = (
            None if self.following is None else self.following.bias(times(before).cummax(dim=1).values, memory.shape[1])
        )
        for layer in self.layers:
            x = layer(x, memory, turn, bias, follow)
        return self.head(self.dropout(self.norm(x)))

    def begin(self, memory: Float[Tensor, " row frame dim"], capacity: int) -> Cache:
        """The cache of rows without tokens yet, with room for `capacity`."""
        projected = [layer.memory.project(memory) for layer in self._layers()]
        keys, values = (torch.stack(parts) for parts in zip(*projected, strict=True))
        shape = (*keys.shape[:3], capacity, keys.shape[4])
        now = torch.zeros(1, len(memory), dtype=torch.int64, device=memory.device)
        return Cache(keys.new_zeros(shape), keys.new_zeros(shape), keys, values, now)

    def step(
        self, cache: Cache, token: Int[Tensor, " row"], place: Int[Tensor, " 1"], extent: int, masked: bool = False
    ) -> Tensor:
        """Logits (row, id) of what comes next.

        Args:
            cache: written at `place`.
            token: of each row; first `first`, then what was chosen.
            place: where the tokens stand, the same for all rows; on the device, so that nobody has to ask for it.
            extent: places to listen to: `place` and those before it.
            masked: the extent is larger than that, and what is beyond `place` is not heard.
        """
        seen = torch.arange(extent, device=token.device)
        turn, bias = self.positions.turn(place), self.positions.bias(place, seen)
        if masked:
            silenced = self.head.weight.new_zeros(1, extent).masked_fill(seen > place, -torch.inf)
            bias = silenced if bias is None else bias + silenced
        follow = None
        if self.following is not None:
            torch.maximum(cache.now, times(token), out=cache.now)
            follow = self.following.bias(cache.now.mT, cache.memory_keys.shape[3])
        x = self.positions.add(self.embedding(token)[:, None], place)
        for index, layer in enumerate(self._layers()):
            q, k, v = layer.tokens.project(x, turn)
            keys = cache.keys[index].index_copy_(2, place, k)[:, :, :extent]
            values = cache.values[index].index_copy_(2, place, v)[:, :, :extent]
            x = x + layer.tokens.out(attend(q, keys, values, bias))
            x = layer.listen(x, cache.memory_keys[index], cache.memory_values[index], follow)
        return self.head(self.norm(x))[:, 0]

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def arrange_for_steps(self) -> "Decoder":
        """Store the weights' columns side by side, in which order a CPU reads them half as fast again for few rows.

        Values and state dict stay what they are. Do it when training is over: an optimiser would have to follow.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data = layer.weight.data.t().contiguous().t()
        return self


def times(tokens: Tensor) -> Tensor:
    """Ticks that shifts say, 0 for other tokens."""
    ticks = tokens - SHIFT
    return ticks.where((ticks >= 0) & (ticks < MAX_TICKS), 0)
