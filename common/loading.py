"""Batches that depend on nothing but seed, epoch and place, so that a run that was killed goes on exactly.

A dataset for `make_loader` or `make_budget_loader` has `__len__`, and its `__getitem__` takes a pair (epoch, index).
Whatever is random in an item it draws from `numpy.random.default_rng((seed, epoch, index))`: then it does not matter
which process loads the item, when, and after how many others.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochDataset(Protocol):
    """Items by (epoch, index)."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: tuple[int, int]) -> Any: ...


class CostedDataset(EpochDataset, Protocol):
    """Items of different size, which is told without loading them."""

    def cost(self, key: tuple[int, int]) -> int: ...


def rank_and_world() -> tuple[int, int]:
    """Rank of this process, and how many there are."""
    initialised = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if initialised else (0, 1)


def gathered(items: dict[int, Any]) -> dict[int, Any]:
    """What all processes together have, by index."""
    n_processes = rank_and_world()[1]
    if n_processes == 1:
        return items
    parts: list[Any] = [None] * n_processes
    distributed.all_gather_object(parts, items)
    return {index: item for part in parts for index, item in part.items()}


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
        rank, world = rank_and_world()
        if not self.shuffle:
            return np.arange(rank, self.size, world)
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.size)
        return order[rank : self.size - self.size % world : world]

    def __len__(self) -> int:
        return len(self.share())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in self.share()[self.skip :]:
            yield self.epoch, int(index)


class BudgetSampler(Sampler[list[tuple[int, int]]]):
    """Batches as lists of keys whose items together cost no more than a budget, shared out among the processes.

    Args:
        dataset: says what an item costs; an item that alone costs too much makes a batch of its own.
        budget: most that a batch costs.
        n_batches: in an epoch of all processes together, of which each gets as many: they take the items in order, as
            far as they come, from a dataset that draws them anew each epoch. None means evaluation: every item once,
            and always epoch 0, so that evaluations can be compared.
        most: items in a batch; none leaves it to the budget.
    """

    def __init__(self, dataset: CostedDataset, budget: int, n_batches: int | None, most: int | None = None):
        self.dataset = dataset
        self.budget = budget
        self.n_batches = n_batches
        self.most = most or budget
        self.epoch = 0
        self.skip = 0  # batches to leave out at the start of the next epoch

    def set_epoch(self, epoch: int):
        """Lightning calls this before each epoch."""
        self.epoch = epoch if self.n_batches else 0

    def batches(self) -> Iterator[list[tuple[int, int]]]:
        """Those of all processes. A batch is closed by the first item that it cannot take."""
        batch, spent = [], 0
        for index in range(len(self.dataset)):
            key = (self.epoch, index)
            cost = self.dataset.cost(key)
            if batch and (spent + cost > self.budget or len(batch) == self.most):
                yield batch
                batch, spent = [], 0
            batch.append(key)
            spent += cost
        if batch:
            yield batch

    def __len__(self) -> int:
        rank, world = rank_and_world()
        if self.n_batches:
            return self.n_batches // world
        return len(range(rank, sum(1 for _ in self.batches()), world))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rank, world = rank_and_world()
        stop = self.n_batches - self.n_batches % world if self.n_batches else None
        yield from islice(self.batches(), rank + self.skip * world, stop, world)


class Batches(Dataset):
    """Whole batches of a dataset, by lists of its keys.

    Args:
        dataset: has the items.
        collate: makes a batch of a list of them.
    """

    def __init__(self, dataset: EpochDataset, collate: Callable[[list], Any]):
        self.dataset = dataset
        self.collate = collate

    def __getitem__(self, keys: list[tuple[int, int]]) -> Any:
        return self.collate([self.dataset[key] for key in keys])


class ResumableLoader(DataLoader):
    """A DataLoader whose place in the epoch is part of a training checkpoint.

    Its sampler is an EpochSampler, or a BudgetSampler, whose batches it takes whole and then has no `batch_size`.

    Lightning finds `state_dict` and `load_state_dict` by name.
    """

    sampler: EpochSampler | BudgetSampler
    batch_size: int | None
    place = (-1, 0)  # epoch, and the batches handed out in it
    resume = (-1, 0)  # the place to go on from

    def __iter__(self):
        # A generator, so that nothing is drawn before the first batch is asked for: Lightning makes the iterator of a
        # resumed run before it says which epoch it is in.
        epoch = self.sampler.epoch
        start = self.resume[1] if self.resume[0] == epoch else 0
        self.sampler.skip = start * (self.batch_size or 1)
        self.place = (epoch, start)
        for n_batches, batch in enumerate(super().__iter__(), start + 1):
            self.place = (epoch, n_batches)
            yield batch

    def state_dict(self) -> dict[str, tuple[int, int]]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, tuple[int, int]]):
        self.resume = state["place"]


def make_loader(
    dataset: EpochDataset,
    batch_size: int,
    seed: int,
    shuffle: bool,
    num_workers: int = 0,
    collate: Callable[[list], Any] | None = None,
) -> ResumableLoader:
    """Batches for training (`shuffle`: a new order each epoch, full batches only) or for evaluation.

    Args:
        dataset: has the items.
        batch_size: items in a batch.
        seed: of the order.
        shuffle: is this for training?
        num_workers: loader processes.
        collate: makes a batch of a list of items; by default each tensor of theirs is stacked.

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
        collate_fn=collate,
        drop_last=shuffle,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Of its own: starting to iterate draws a number, which must not move the global generator.
        generator=torch.Generator(),
    )


def make_budget_loader(
    dataset: CostedDataset,
    collate: Callable[[list], Any],
    budget: int,
    n_batches: int | None,
    most: int | None = None,
    num_workers: int = 0,
) -> ResumableLoader:
    """Batches of as many items as a budget allows; for the arguments see `BudgetSampler` and `Batches`.

    Raises:
        ValueError: fewer batches in an epoch than there are processes.
    """
    if n_batches is not None and n_batches < rank_and_world()[1]:
        raise ValueError(
            f"{n_batches} batches in an epoch are too few for {rank_and_world()[1]} processes: make it more"
        )
    return ResumableLoader(
        Batches(dataset, collate),
        batch_size=None,
        sampler=BudgetSampler(dataset, budget, n_batches, most),
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),  # of its own, as above
    )
