import time
from itertools import islice

import numpy as np
import pytest
import torch
from torch import distributed

from common.loading import EpochSampler, make_loader


class Keys(torch.utils.data.Dataset):
    """Items that say what was asked for, and a number drawn as the protocol wants it."""

    def __init__(self, size: int, slow: bool = False):
        self.size = size
        self.slow = slow

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        epoch, index = key
        if self.slow and index % 3 == 0:
            time.sleep(0.01)  # the workers then finish out of turn
        return epoch, index, np.random.default_rng((0, epoch, index)).random()


def batches(loader, epoch: int) -> list[list]:
    """What the loader hands out in an epoch, as Lightning would ask for it."""
    iterator = iter(loader)
    loader.sampler.set_epoch(epoch)
    return [torch.stack([column.double() for column in batch]).tolist() for batch in iterator]


def test_training_orders_are_permutations_that_differ_by_epoch_and_seed():
    orders = []
    for seed in (0, 1):
        sampler = EpochSampler(50, seed, shuffle=True)
        for epoch in (0, 1, 2):
            sampler.set_epoch(epoch)
            keys = list(sampler)
            assert [key[0] for key in keys] == [epoch] * 50
            assert sorted(key[1] for key in keys) == list(range(50))
            orders.append(tuple(key[1] for key in keys))
    assert len(set(orders)) == 6


def test_evaluation_has_every_item_in_order_and_always_the_same_ones():
    loader = make_loader(Keys(10), batch_size=4, seed=0, shuffle=False)
    assert len(loader) == 3
    first = batches(loader, epoch=0)
    assert [index for batch in first for index in batch[1]] == list(range(10))
    assert batches(loader, epoch=7) == first


def test_training_batches_are_full():
    loader = make_loader(Keys(10), batch_size=4, seed=0, shuffle=True)
    assert [len(batch[0]) for batch in batches(loader, 0)] == [4, 4]
    assert len(loader) == 2


def test_too_few_items_for_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"3 training items.*data.batch_size"):
        make_loader(Keys(3), batch_size=4, seed=0, shuffle=True)
    assert len(make_loader(Keys(3), batch_size=4, seed=0, shuffle=False)) == 1


def test_workers_change_nothing():
    alone = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True)
    helped = make_loader(Keys(40, slow=True), batch_size=4, seed=3, shuffle=True, num_workers=2)
    for epoch in (0, 1):
        assert batches(helped, epoch) == batches(alone, epoch)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 3, 10])
def test_a_restored_loader_goes_on_where_the_saved_one_was(taken, num_workers):
    whole = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True)
    expected = [batches(whole, epoch) for epoch in (0, 1, 2)]

    saved = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True, num_workers=num_workers)
    batches(saved, 0)
    saved.sampler.set_epoch(1)
    iterator = iter(saved)  # kept, or the worker processes would end
    assert len(list(islice(iterator, taken))) == taken
    state = saved.state_dict()

    restored = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True, num_workers=num_workers)
    restored.load_state_dict(state)
    assert batches(restored, 1) == expected[1][taken:]
    assert batches(restored, 2) == expected[2]


def test_a_state_of_a_finished_epoch_leaves_the_next_one_whole():
    loader = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True)
    expected = batches(loader, 5)
    batches(loader, 4)
    restored = make_loader(Keys(40), batch_size=4, seed=3, shuffle=True)
    restored.load_state_dict(loader.state_dict())
    assert batches(restored, 5) == expected


def test_iterating_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    batches(make_loader(Keys(10), batch_size=4, seed=0, shuffle=True), 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_an_epoch_without_overlap(monkeypatch, shuffle):
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        sampler = EpochSampler(11, seed=0, shuffle=shuffle)
        shares.append([index for _, index in sampler])
        assert len(sampler) == len(shares[-1])
    indices = [index for share in shares for index in share]
    assert len(set(indices)) == len(indices)
    # In training all have equally many, or one would wait for ever; in evaluation each item counts exactly once.
    assert sorted(map(len, shares)) == ([3, 3, 3] if shuffle else [3, 4, 4])
