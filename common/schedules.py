"""The course of the learning rate."""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def with_warmup(optimizer: Optimizer, warmup: int, total: int) -> dict[str, Any]:
    """What a Task's `configure_optimizers` returns for a rate that follows `warmup_cosine` from step to step."""
    schedule = LambdaLR(optimizer, warmup_cosine(warmup, total))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def warmup_cosine(warmup: int, total: int, floor: float = 0.01) -> Callable[[int], float]:
    """Factor of the learning rate of each step: a line up over `warmup` steps, then a cosine down to `floor`.

    A factor, and no lowest rate, so that slow groups fall as far as fast ones.
    """
    warmup = min(warmup, max(total // 10, 1))

    def factor(step: int) -> float:
        if step < warmup:
            return floor + (1.0 - floor) * step / warmup
        progress = min((step - warmup) / max(total - warmup, 1), 1.0)
        return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor
