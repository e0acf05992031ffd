"""The course of the learning rate."""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def with_warmup(optimizer: Optimizer, warmup: int, total: int, **ends: float) -> dict[str, Any]:
    """What a Task's `configure_optimizers` returns for a rate that follows `warmup_cosine` from step to step.

    Args:
        optimizer: of the parameters.
        warmup: see there.
        total: see there.
        **ends: `floor` and `start`, see there.
    """
    schedule = LambdaLR(optimizer, warmup_cosine(warmup, total, **ends))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(warmup: int, total: int, floor: float = 0.01, start: float | None = None) -> Callable[[int], float]:
    """Factor of the learning rate of each step: a line up over `warmup` steps, then a cosine down to `floor`.

    A factor, and no lowest rate, so that slow groups fall as far as fast ones.

    Args:
        warmup: steps of the line; in a short run no more than a tenth of it.
        total: steps in all.
        floor: factor at the end.
        start: factor of the first step; `floor` by default.
    """
    warmup = min(warmup, max(total // 10, 1))
    start = floor if start is None else start

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1.0 - start) * step / warmup
        progress = min((step - warmup) / max(total - warmup, 1), 1.0)
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor
