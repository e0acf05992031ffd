"""Where a token or a frame stands: sinusoids that are added, rotations of queries and keys, biases by distance."""

import math

import torch
from torch import Tensor, nn

KINDS = ("sinusoidal", "rope", "relative")
BASE = 10_000.0  # ratio of the longest to the shortest wave
CLOCK_BASE = 100.0  # the same ratio for times in a segment
N_DISTANCES = 32  # classes of distances that have a bias of their own
MAX_POSITIONS = 1034  # places that the released models have sinusoids for


class Positions(nn.Module):
    """The position of T5-like layers, in one of three ways.

    Args:
        kind: "sinusoidal" is added to the input once (as released), "rope" turns queries and keys by their places,
            "relative" adds T5's learnt bias for each distance to the scores of all layers.
        dim: of the input.
        n_heads: of the attention.
        head_dim: of each head; even.
        bidirectional: whether keys may come after their query, which the buckets of "relative" tell apart.
    """

    table: Tensor  # (place, dim) of "sinusoidal"; constants, in no checkpoint
    turns: Tensor  # (2, place, pair) of "rope"

    def __init__(self, kind: str, dim: int, n_heads: int, head_dim: int, bidirectional: bool = False):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"positions must be one of {', '.join(KINDS)}, not {kind}")
        self.kind = kind
        self.bidirectional = bidirectional
        if kind == "sinusoidal":
            self.register_buffer("table", sinusoids(MAX_POSITIONS, dim), persistent=False)
        if kind == "rope":
            self.register_buffer("turns", rope(MAX_POSITIONS, head_dim // 2), persistent=False)
        if kind == "relative":
            self.distance = nn.Embedding(N_DISTANCES, n_heads)
            nn.init.normal_(self.distance.weight, std=dim**-0.5)

    def add(self, x: Tensor, places: Tensor) -> Tensor:
        """(row, token, dim) input of the first layer, whose tokens stand at places (token,) int64."""
        return x + self.table[places] if self.kind == "sinusoidal" else x

    def turn(self, places: Tensor) -> Tensor | None:
        """(2, token, pair) for `rotate`, of queries and keys at these places, if they are turned at all."""
        return self.turns[:, places] if self.kind == "rope" else None

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """(head, query, key) to add to the scores, if anything, of queries and keys at these places."""
        if self.kind != "relative":
            return None
        return self.distance(buckets(keys[None] - queries[:, None], self.bidirectional)).permute(2, 0, 1)


class Following(nn.Module):
    """A learnt bias for each distance of a frame from the time that a row has written last.

    Rows tell events in the order of time, so what comes next is heard at that time or soon after it. Without, a decoder
    has to find out from examples which of hundreds of frames it has to listen to.

    Args:
        n_heads: of the attention to the memory.
        frames_per_tick: frames in 10 ms.
    """

    SLOPE = 0.3  # by how much a class of distances starts out quieter than the one before

    def __init__(self, n_heads: int, frames_per_tick: float = 1.0):
        super().__init__()
        self.frames_per_tick = frames_per_tick
        self.distance = nn.Embedding(N_DISTANCES, n_heads)
        with torch.no_grad():
            far = torch.arange(N_DISTANCES) % (N_DISTANCES // 2)
            self.distance.weight.copy_(-self.SLOPE * far[:, None].expand_as(self.distance.weight))

    def bias(self, now: Tensor, n_frames: int) -> Tensor:
        """(row, head, token, frame) to add to the scores; `now` (row, token) int64 ticks from the segment's start."""
        frames = torch.arange(n_frames, device=now.device)
        here = (now * self.frames_per_tick).round().long()
        return self.distance(buckets(frames - here[..., None], bidirectional=True)).permute(0, 3, 1, 2)


def sinusoids(n_places: int, dim: int) -> Tensor:
    """(place, dim): sines in the first half, cosines in the second (Marian's order)."""
    cosines, sines = rope(n_places, dim // 2)
    return torch.cat([sines, cosines], dim=1)


def rope(n_places: int, n_pairs: int) -> Tensor:
    """(2, place, pair) cosines and sines: pair i goes round once in 2 pi BASE^(i / n_pairs) places."""
    pair = torch.arange(n_pairs, dtype=torch.float64)
    return _cosines_and_sines(torch.arange(n_places)[:, None] * BASE ** (-pair / n_pairs))


def clock(ticks: Tensor, dim: int) -> Tensor:
    """(time, dim) sinusoids of times in ticks: the shortest wave has 2 pi of them, the longest three segments."""
    wave = CLOCK_BASE ** (torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angle = ticks[:, None] / wave
    return torch.cat([angle.sin(), angle.cos()], dim=1).float()


def pixel_rope(n_places: int, n_pairs: int) -> Tensor:
    """`rope` of the released models' axes that are not time: places from -1 to 1, pairs of 1 to 5 half turns."""
    place, pair = (torch.linspace(*ends, dtype=torch.float64) for ends in ((-1, 1, n_places), (1, 5, n_pairs)))
    return _cosines_and_sines(place[:, None] * pair * math.pi)


def _cosines_and_sines(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()]).float()


def rotate(x: Tensor, turn: Tensor | None) -> Tensor:
    """Turn neighbouring dims of x (..., place, dim) in their planes.

    Args:
        x: queries or keys.
        turn: (2, place, pair) cosines and sines; dims beyond 2 * pair stay as they are, and with None all do.
    """
    if turn is None:
        return x
    turned, rest = x.tensor_split([2 * turn.shape[-1]], dim=-1)
    a, b = turned.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = turn.to(x.dtype)
    return torch.cat([torch.stack([a * cosine - b * sine, a * sine + b * cosine], -1).flatten(-2), rest], dim=-1)


def buckets(distance: Tensor, bidirectional: bool, n_buckets: int = N_DISTANCES, reach: int = 128) -> Tensor:
    """T5's classes of key place minus query place: near ones one by one, then logarithmic up to `reach`.

    Args:
        distance: int64, any shape.
        bidirectional: give half of the classes to keys after the query; otherwise those count as distance 0.
        n_buckets: classes in all.
        reach: distance from which on all share the last class.
    """
    offset: Tensor | int = 0
    if bidirectional:
        n_buckets //= 2
        offset = n_buckets * (distance > 0)
        distance = distance.abs()
    else:
        distance = -distance.clamp(max=0)
    exact = n_buckets // 2
    growth = torch.log(distance.clamp(min=exact) / exact) / math.log(reach / exact)
    far = exact + (growth * (n_buckets - exact)).long()
    return offset + torch.where(distance < exact, distance, far.clamp(max=n_buckets - 1))
