"""Many small classifiers of one size as batched matrix products."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffusion_pir.heads import MLPHead


class StackedMLPs(nn.Module):
    """MLPs of the same size, one for each table of features and each seed, as batched matrix products.

    Args:
        means: (table, dim) of the training windows.
        stds: (table, dim) of the same.
        n_classes: labels.
        seeds: of weights and dropout.
        hidden: width.
        dropout: behind the hidden layer, the same units for all tables.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, means: Tensor, stds: Tensor, n_classes: int, seeds: Sequence[int], hidden=128, dropout=0.3):
        super().__init__()
        self.heads = [self._head(means.shape[1], n_classes, hidden, dropout, seed) for seed in seeds]
        self.means, self.stds = means, stds
        self.rate = dropout
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def stacked(parameters: list[Tensor]) -> nn.Parameter:
            return nn.Parameter(torch.stack(parameters).expand(len(means), *(-1,) * (parameters[0].ndim + 1)).clone())

        self.hidden_weight = stacked([head.hidden.weight.detach().T for head in self.heads])  # (table, seed, dim, unit)
        self.hidden_bias = stacked([head.hidden.bias.detach()[None] for head in self.heads])
        self.output_weight = stacked([head.output.weight.detach().T for head in self.heads])
        self.output_bias = stacked([head.output.bias.detach()[None] for head in self.heads])
        shape = (len(means), 1, 1, means.shape[1])
        varies = stds > 1e-6
        self.register_buffer("offset", means.view(shape), persistent=False)
        self.register_buffer("scale", torch.where(varies, 1 / stds.clamp(min=1e-6), 1.0).view(shape), persistent=False)

    @staticmethod
    def _head(dim: int, n_classes: int, hidden: int, dropout: float, seed: int) -> MLPHead:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MLPHead(dim, n_classes, hidden, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(table, seed or 1, window, dim) to logits (table, seed, window, class)."""
        x = (features - self.offset) * self.scale
        x = torch.relu(x @ self.hidden_weight + self.hidden_bias)
        if self.training and self.rate:
            kept = [torch.rand(x.shape[2:], generator=generator) >= self.rate for generator in self.generators]
            x = x * torch.stack(kept).to(x.device) / (1 - self.rate)
        return x @ self.output_weight + self.output_bias

    def unstack(self, table: int, seed: int) -> MLPHead:
        """One of them as a head of its own."""
        head = MLPHead(**self.heads[seed].init_args)
        head.standardise_by(self.means[table], self.stds[table])
        with torch.no_grad():
            for layer in ("hidden", "output"):
                getattr(head, layer).weight.copy_(getattr(self, f"{layer}_weight")[table, seed].T)
                getattr(head, layer).bias.copy_(getattr(self, f"{layer}_bias")[table, seed, 0])
        return head.eval()
