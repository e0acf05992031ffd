"""Batches that depend on nothing but seed, epoch and place, so that a run that was killed goes on exactly.

A dataset for `make_loader` has `__len__`, and its `__getitem__` takes a pair (epoch, index). Whatever is random in an
item it draws from `numpy.random.default_rng((seed, epoch, index))`: then it does not matter which process loads the
item, when, and after how many others.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Sampler


class EpochDataset(Protocol):
    """Items by (epoch, index)."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: tuple[int, int]) -> Any: ...


class EpochSampler(Sampler[tuple[int, int]]):
    """The keys (epoch, index) of one epoch, shared out among the processes of distributed training.

    Args:
        size: of the dataset.
        seed: of the order.
        shuffle: a new order each epoch, and the same number of items on each process; otherwise the dataset's order,
            every item once, and always epoch 0, so that evaluations can be compared.
    """

    def __init__(self, size: int, seed: int, shuffle: bool):
        self.size = size
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0
        self.skip = 0  # keys to leave out at the start of the next epoch

    def set_epoch(self, epoch: int):
        """Lightning calls this before each epoch."""
        self.epoch = epoch if self.shuffle else 0

    def share(self) -> np.ndarray:
        """Indices for this process, in order."""
        initialised = distributed.is_available() and distributed.is_initialized()
        rank, world = (distributed.get_rank(), distributed.get_world_size()) if initialised else (0, 1)
        if not self.shuffle:
            return np.arange(rank, self.size, world)
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return order[rank : self.size - self.size % world : world]

    def __len__(self) -> int:
        return len(self.share())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in self.share()[self.skip :]:
            yield self.epoch, int(index)


class ResumableLoader(DataLoader):
    """A DataLoader over an EpochSampler whose place in the epoch is part of a training checkpoint.

    Lightning finds `state_dict` and `load_state_dict` by name.
    """

    n_batches = 0  # handed out in this epoch
    resume = {"epoch": -1, "n_batches": 0}  # noqa: RUF012 -- replaced, never written to

    def __iter__(self):
        # A generator, so that nothing is drawn before the first batch is asked for: Lightning makes the iterator of a
        # resumed run before it says which epoch it is in.
        sampler = self.sampler
        self.n_batches = self.resume["n_batches"] if self.resume["epoch"] == sampler.epoch else 0
        sampler.skip = self.n_batches * self.batch_size
        for batch in super().__iter__():
            self.n_batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.sampler.epoch, "n_batches": self.n_batches}

    def load_state_dict(self, state: dict[str, int]):
        self.resume = state


def make_loader(
    dataset: EpochDataset, batch_size: int, seed: int, shuffle: bool, num_workers: int = 0
) -> ResumableLoader:
    """Batches for training (`shuffle`: a new order each epoch, full batches only) or for evaluation.

    Raises:
        ValueError: too few items for one training batch.
    """
    if shuffle and len(dataset) < batch_size:
        raise ValueError(f"{len(dataset)} training items make no batch of {batch_size}: lower data.batch_size")
    return ResumableLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), seed, shuffle),
        num_workers=num_workers,
        drop_last=shuffle,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Of its own: starting to iterate draws a number, which must not move the global generator.
        generator=torch.Generator(),
    )
