"""A mixture of experts in place of a feed-forward layer: each token goes to the few experts that a router picks.

Weights are laid out like transformers' `MixtralExperts`. Tokens are sorted by expert, so that all experts are one
grouped matrix product; nothing asks the device for a value. No token is dropped.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALIGNMENT = 16  # bytes, of which a row of a grouped product must be a multiple


class Routing(NamedTuple):
    """How busy the experts of one layer, (expert,), or of several, (layer, expert), are; each sums to 1."""

    share: Tensor  # of the tokens' places that went to each; without gradient
    probability: Tensor  # mean of what the router gave to each, over all tokens

    @staticmethod
    def stack(layers: "list[Routing]") -> "Routing | None":
        """One for all layers, None of none."""
        return Routing(*map(torch.stack, zip(*layers, strict=True))) if layers else None

    def balance_loss(self) -> Tensor:
        """The auxiliary loss of Switch Transformers, mean over layers: 1 if all experts are equally busy, else more."""
        return self.share.shape[-1] * (self.share * self.probability).sum(dim=-1).mean()


class MixtureOfExperts(nn.Module):
    """Gated experts (SiLU), the `top_k` most probable for each token, weighted by their renormalised probabilities.

    Args:
        dim: of tokens.
        hidden: inside each expert.
        n_experts: how many.
        top_k: to how many a token goes.
    """

    def __init__(self, dim: int, hidden: int, n_experts: int = 8, top_k: int = 2):
        super().__init__()
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k must be in 1..n_experts, not {top_k} of {n_experts}")
        self.top_k = top_k
        self.router = nn.Linear(dim, n_experts, bias=False)
        self.gate_up_proj = nn.Parameter(torch.randn(n_experts, 2 * hidden, dim) * dim**-0.5)
        self.down_proj = nn.Parameter(torch.randn(n_experts, dim, hidden) * hidden**-0.5)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Routing]:
        """Experts (token, top_k) of tokens (token, dim), their weights, and how busy that makes all; no fewer bits
        than float32."""
        logits = self.router(x)
        probability = logits.softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        weight, expert = probability.topk(self.top_k, dim=-1)
        weight = weight / weight.sum(dim=-1, keepdim=True)
        count = torch.zeros_like(probability[0]).index_add(0, expert.flatten(), torch.ones_like(weight).flatten())
        return expert, weight, Routing(count / expert.numel(), probability.mean(dim=0))

    def forward(self, x: Tensor) -> tuple[Tensor, Routing]:
        """(..., dim) -> the same shape, and how busy the experts were."""
        tokens = x.flatten(0, -2)
        expert, weight, routing = self.route(tokens)
        order = expert.flatten().argsort(stable=True)
        token = order // self.top_k  # that each place in sorted order has
        n_experts = len(self.gate_up_proj)
        ends = torch.searchsorted(
            expert.flatten()[order], torch.arange(n_experts, device=x.device), right=True, out_int32=True
        )
        gate, up = grouped_linear(tokens[token], self.gate_up_proj, ends).chunk(2, dim=-1)
        heard = grouped_linear(F.silu(gate) * up, self.down_proj, ends) * weight.flatten()[order, None].to(x.dtype)
        # Back to the order of tokens, where the places of a token are neighbours: a sum in a fixed order.
        back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
        return heard[back].unflatten(0, (-1, self.top_k)).sum(dim=1).view_as(x), routing


def grouped_linear(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """x (place, in), sorted into groups, times the transposed weight (group, out, in) of each place's group.

    Args:
        x: rows of group 0, then of group 1, and so on; a group may have none.
        weight: of each group.
        ends: (group,) int32, where each group ends.
    """
    if torch.is_autocast_enabled(x.device.type):  # which does not know this product
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if x.dtype != torch.float64 and all(size * x.element_size() % ALIGNMENT == 0 for size in weight.shape[1:]):
        return F.grouped_mm(x, weight.mT, offs=ends)
    return looped_linear(x, weight, ends)


def looped_linear(x: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    """`grouped_linear`, group by group: for types and sizes that the grouped product does not take."""
    groups = x.tensor_split(ends[:-1].tolist())
    return torch.cat([group @ matrix.T for group, matrix in zip(groups, weight, strict=True)])
