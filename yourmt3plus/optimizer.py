"""AdamW whose steps are as long as what they change: the optimiser of YourMT3+, after nanoT5 (arXiv 2309.02373)."""

# Operations on lists of tensors have no public name.
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import AdamW


class AdamWScale(AdamW):
    """AdamW's step times the root mean square of the parameter, but at least times `least`.

    A learning rate is then a relative change, and the same for all layers (the paper: 1e-2).

    Args:
        params: as torch's optimisers take them.
        lr: learning rate.
        betas: of the running means of gradients and their squares.
        eps: added to the root of the latter.
        weight_decay: of the decoupled decay; its step is scaled, too.
        least: root mean square that parameters have at least in the eyes of the optimiser.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        least: float = 1e-3,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=True)
        self.least = least

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return loss
        before = [parameter.clone() for parameter in parameters]
        super().step()
        torch._foreach_sub_(parameters, before)
        torch._foreach_mul_(parameters, scales(before, self.least))
        torch._foreach_add_(parameters, before)
        return loss


def scales(parameters: list[Tensor], least: float) -> list[Tensor]:
    """Root mean square of each, a tensor without axes."""
    norms = torch._foreach_norm(parameters)
    torch._foreach_mul_(norms, [parameter.numel() ** -0.5 for parameter in parameters])
    torch._foreach_clamp_min_(norms, least)
    return list(norms)
