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

    sampler: EpochSampler
    batch_size: int
    place = (-1, 0)  # epoch, and the batches handed out in it
    resume = (-1, 0)  # the place to go on from

    def __iter__(self):
        # A generator, so that nothing is drawn before the first batch is asked for: Lightning makes the iterator of a
        # resumed run before it says which epoch it is in.
        epoch = self.sampler.epoch
        start = self.resume[1] if self.resume[0] == epoch else 0
        self.sampler.skip = start * self.batch_size
        self.place = (epoch, start)
        for n_batches, batch in enumerate(super().__iter__(), start + 1):
            self.place = (epoch, n_batches)
            yield batch

    def state_dict(self) -> dict[str, tuple[int, int]]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, tuple[int, int]]):
        self.resume = state["place"]


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
        dataset,  # pyright: ignore[reportArgumentType] -- torch's own class asks for no more than this
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), seed, shuffle),
        num_workers=num_workers,
        drop_last=shuffle,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Of its own: starting to iterate draws a number, which must not move the global generator.
        generator=torch.Generator(),
    )
