import time
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from torch import distributed

from common.loading import BudgetSampler, EpochSampler, gathered, make_budget_loader, make_loader


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


class Costly(Keys):
    """Items that cost from 2 to 9, and say it."""

    def cost(self, key):
        return int(np.random.default_rng((1, *key)).integers(2, 10))

    def __getitem__(self, key):
        return *super().__getitem__(key), self.cost(key)


def budget_loader(size=1000, n_batches: int | None = 12, num_workers=0, most=None, budget=20):
    collate = torch.utils.data.default_collate
    return make_budget_loader(Costly(size, num_workers > 0), collate, budget, n_batches, most, num_workers)


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


def test_batches_of_a_budget_are_as_full_as_can_be_and_never_fuller():
    for n_batches in (12, None):
        loader = budget_loader(60, n_batches)
        found = batches(loader, 0)
        assert len(found) == len(loader)
        costs = [batch[3] for batch in found]
        assert all(sum(cost) <= 20 for cost in costs)
        # The first item of the next batch would not have fitted.
        assert all(sum(cost) + following[0] > 20 for cost, following in pairwise(costs))
        indices = [index for batch in found for index in batch[1]]
        assert indices == list(range(len(indices)))
        assert len(indices) == 60 or n_batches


def test_an_item_beyond_the_budget_is_a_batch_of_its_own():
    for batch in batches(budget_loader(60, None, budget=5), 0):
        assert sum(batch[3]) <= 5 or len(batch[3]) == 1


def test_a_batch_may_be_limited_by_its_items_too():
    sizes = [len(batch[0]) for batch in batches(budget_loader(most=2), 0)]
    assert max(sizes) == 2
    assert sizes.count(2) > 8


def test_epochs_of_a_budget_differ_in_training_alone():
    training, evaluation = budget_loader(), budget_loader(60, None)
    assert batches(training, 0) != batches(training, 1)
    assert batches(evaluation, 0) == batches(evaluation, 1)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 5, 12])
def test_a_restored_budget_goes_on_where_the_saved_one_was(taken, num_workers):
    whole = budget_loader()
    expected = [batches(whole, epoch) for epoch in (0, 1, 2)]
    saved = budget_loader(num_workers=num_workers)
    saved.sampler.set_epoch(1)
    iterator = iter(saved)  # kept, or the worker processes would end
    assert len(list(islice(iterator, taken))) == taken
    restored = budget_loader(num_workers=num_workers)
    restored.load_state_dict(saved.state_dict())
    assert batches(restored, 1) == expected[1][taken:]
    assert batches(restored, 2) == expected[2]


@pytest.mark.parametrize("n_batches", [11, None])
def test_processes_share_batches_without_overlap(monkeypatch, n_batches):
    whole = list(BudgetSampler(Costly(60), 20, n_batches))
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        sampler = BudgetSampler(Costly(60), 20, n_batches)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
        sampler.skip = 2
        assert list(sampler) == shares[-1][2:]
    assert shares == [(whole[:9] if n_batches else whole)[rank::3] for rank in range(3)]


def test_fewer_batches_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    with pytest.raises(ValueError, match="2 batches in an epoch are too few for 3 processes"):
        budget_loader(n_batches=2)


def test_what_processes_have_is_put_together(monkeypatch):
    assert gathered({3: "c"}) == {3: "c"}
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    others = {0: "a", 2: "b"}
    monkeypatch.setattr(
        distributed, "all_gather_object", lambda parts, own: parts.__setitem__(slice(None), [own, others])
    )
    assert gathered({1: "c", 3: "d"}) == {0: "a", 1: "c", 2: "b", 3: "d"}


def test_a_loader_makes_batches_as_it_is_told():
    loader = make_loader(Keys(5), batch_size=2, seed=0, shuffle=False, collate=lambda items: [i[1] for i in items])
    assert list(loader) == [[0, 1], [2, 3], [4]]
