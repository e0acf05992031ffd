"""Study check 19: what is recorded writes the same. On a CPU the slots are the same and nothing is recorded."""

import pytest
import torch

from tests.yourmt3plus.networks import rows, talkative
from yourmt3plus.generate import fast
from yourmt3plus.grammar import Grammar
from yourmt3plus.graphs import GraphPool, power_of_two
from yourmt3plus.positions import KINDS
from yourmt3plus.programs import MULTI

MAX_TOKENS = 24
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("positions", KINDS)
def test_recorded_steps_write_the_same(positions, device):
    decoder, grammar = talkative(positions).to(device), Grammar(MULTI, 204, device)
    pool = GraphPool(decoder, MAX_TOKENS)
    for seed in (0, 1):  # the second time in used slots
        asked = rows(seed=seed, device=device)
        truth = fast(decoder, asked, MAX_TOKENS, grammar)
        assert torch.equal(fast(decoder, asked, MAX_TOKENS, grammar, max_rows=20, load=pool.load), truth)
    assert {n_rows for n_rows, _ in pool.slots} >= {8, 32}


def test_powers_of_two():
    assert [power_of_two(n) for n in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 4, 8, 1024]
