"""The running average of the weights, which is what samples, what is probed and what is shipped."""

from functools import partial

from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class RunningAverage(WeightAveraging):
    """Exponential moving average over optimiser steps, of which the beginning forgets faster.

    After n steps the decay is min(decay, (1 + n) / (10 + n)): a constant one would remember the random weights of the
    start for thousands of steps. The checkpoint's `state_dict` has the average, `current_model_state` the weights that
    are trained.

    Args:
        decay: of each step, in the end.
    """

    def __init__(self, decay: float):
        # All our buffers are constants.
        super().__init__(use_buffers=False, multi_avg_fn=partial(step, decay=decay))


def step(average: list[Tensor], weights: list[Tensor], n_averaged: Tensor, decay: float):
    """Move each average towards its weights."""
    n = float(n_averaged)
    share = 1.0 - min(decay, (1.0 + n) / (10.0 + n))
    for mean, weight in zip(average, weights, strict=True):
        mean.lerp_(weight, share)
