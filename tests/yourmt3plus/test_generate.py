"""Study check 19: both paths write the same tokens, whatever is batched or dropped.

In double precision, so that the order of sums cannot decide between two tokens.
"""

from dataclasses import dataclass, field
from functools import partial

import pytest
import torch

from tests.yourmt3plus.networks import rows, talkative
from tests.yourmt3plus.test_grammar import assert_legal
from yourmt3plus.decoder import Cache, Decoder
from yourmt3plus.generate import PlainSteps, Rows, fast, simple
from yourmt3plus.grammar import Grammar
from yourmt3plus.positions import KINDS
from yourmt3plus.programs import MULTI
from yourmt3plus.tokenizer import EOS, PAD, PITCH, PROGRAM, TIE

MAX_TOKENS = 24


def lengths(tokens: torch.Tensor) -> list[int]:
    return (tokens != PAD).sum(dim=1).tolist()


@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("legal", [True, False])
def test_both_paths_write_the_same(positions, legal):
    decoder = talkative(positions)
    grammar = Grammar(MULTI, 204) if legal else None
    truth = simple(decoder, rows(), MAX_TOKENS, grammar)
    assert len(set(lengths(truth))) > 3  # rows of many lengths, or there is nothing to drop
    for options in ({}, {"compact": False}, {"max_rows": 7}, {"max_rows": 7, "compact": False}):
        assert torch.equal(fast(decoder, rows(), MAX_TOKENS, grammar, **options), truth), options


@pytest.mark.parametrize("legal", [True, False])
def test_a_row_does_not_depend_on_the_others(legal):
    decoder, grammar = talkative(), Grammar(MULTI, 204) if legal else None
    together = fast(decoder, rows(), MAX_TOKENS, grammar)
    for index in range(0, 65, 8):
        alone = fast(decoder, rows().select(torch.tensor([index])), MAX_TOKENS, grammar)
        assert torch.equal(alone[0], together[index])


def test_with_a_grammar_every_row_is_legal_and_ends():
    for row, channel in zip(
        fast(talkative(eos=0.0), rows(), 12, Grammar(MULTI, 204)).tolist(), rows().channel, strict=True
    ):
        assert_legal(row, MULTI, int(channel))


@pytest.mark.parametrize("write", [simple, fast, partial(fast, compact=False)])
def test_eos_as_the_first_token_ends_a_row(write):
    decoder = talkative()
    decoder.forward = lambda tokens, memory, task=None: logits.expand(len(tokens), tokens.shape[1], -1)
    decoder.step = lambda cache, token, place, extent: logits.expand(len(token), -1)
    logits = torch.zeros(596, dtype=torch.float64)
    logits[EOS] = 1.0
    tokens = write(decoder, rows(1), 5)
    assert tokens.tolist() == [[EOS, PAD, PAD, PAD, PAD]] * 13


def test_rows_that_never_end_fill_their_room():
    decoder = talkative(eos=0.0)
    tokens = fast(decoder, rows(1), 40)  # a cache begins with room for 32
    assert torch.equal(tokens, simple(decoder, rows(1), 40))
    assert lengths(tokens).count(40) > 6


def test_silent_rows_are_written_down_unheard():
    decoder, grammar = talkative(), Grammar(MULTI, 204)
    silent = torch.arange(65) % 3 == 0
    tokens = fast(decoder, rows(), MAX_TOKENS, grammar, silent=silent)
    assert tokens[silent, :3].tolist() == [[TIE, EOS, PAD]] * 22
    assert torch.equal(tokens[~silent], fast(decoder, rows(), MAX_TOKENS, grammar)[~silent])
    assert lengths(fast(decoder, rows(), MAX_TOKENS, silent=torch.ones_like(silent))) == [2] * 65


def test_prologues_are_written_as_given_and_go_on_from_there():
    decoder, grammar = talkative(), Grammar(MULTI, 204)
    start = torch.tensor([[PROGRAM, PITCH + 60, PITCH + 64, TIE], [TIE, PAD, PAD, PAD]])
    prologue = start[torch.arange(65) % 2]
    prologue[rows().channel != 0] = torch.tensor([TIE, PAD, PAD, PAD])
    asked = rows()._replace(prologue=prologue)
    tokens = fast(decoder, asked, MAX_TOKENS, grammar)
    assert torch.equal(tokens, simple(decoder, asked, MAX_TOKENS, grammar))
    assert torch.equal(tokens[:, :4].masked_fill(prologue == PAD, PAD), prologue)
    free = fast(decoder, rows(), MAX_TOKENS, grammar)
    already = (free[:, :4].masked_fill(prologue == PAD, PAD) == prologue).all(dim=1)
    assert torch.equal(tokens[already], free[already])
    assert already.any()
    assert not already.all()


def test_tasks_reach_the_decoder():
    decoder = talkative(n_tasks=2)
    memory = rows().memory.unflatten(0, (5, 13))
    asked = [Rows.of(memory, torch.full((5,), task)) for task in (0, 1)]
    first, second = (fast(decoder, each, MAX_TOKENS) for each in asked)
    assert torch.equal(first, simple(decoder, asked[0], MAX_TOKENS))
    assert not torch.equal(first, second)


@dataclass
class Counted:
    """Steps that count the rows they are for."""

    decoder: Decoder
    sizes: list[int] = field(default_factory=list)

    def load(self, cache: Cache) -> PlainSteps:
        steps, sizes = PlainSteps(self.decoder, cache), self.sizes

        class Counting:
            cache = property(lambda self: steps.cache)

            def __call__(self, token, place):
                sizes.append(len(token))
                return steps(token, place)

        return Counting()


def test_compaction_leaves_little_but_the_rows_still_going():
    decoder = talkative()
    counted = Counted(decoder)
    tokens = fast(decoder, rows(), MAX_TOKENS, load=counted.load)
    kept = Counted(decoder)
    fast(decoder, rows(), MAX_TOKENS, compact=False, load=kept.load)
    assert kept.sizes == [65] * max(lengths(tokens))
    assert sum(counted.sizes) < 1.25 * sum(lengths(tokens))
