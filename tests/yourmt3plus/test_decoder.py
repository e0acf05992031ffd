"""The decoder against transformers' T5 with the same weights, and step by step against itself."""

import pytest
import torch

from benchmarks.speed import t5_peer as oracle
from tests.yourmt3plus.networks import DECODER
from yourmt3plus.decoder import Decoder
from yourmt3plus.positions import KINDS
from yourmt3plus.tokenizer import N_TOKENS, PAD, SHIFT

SIZES = {"dim": 64, "n_layers": 2, "n_heads": 4, "head_dim": 16, "ff_dim": 128}


def decoder(positions: str = "sinusoidal", **options) -> Decoder:
    torch.manual_seed(0)
    return DECODER(positions=positions, **options).eval()


def rows(n_rows: int = 3, n_tokens: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, N_TOKENS, (n_rows, n_tokens), generator=generator)
    return tokens, torch.randn(n_rows, 10, 64, generator=generator)


@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_logits_are_those_of_t5(positions):
    ours = decoder(positions)
    theirs = oracle.stack(ours, **SIZES)
    tokens, memory = rows()
    before = torch.cat([torch.full((3, 1), PAD), tokens[:, :-1]], dim=1)
    embedded = ours.positions.add(ours.embedding(before), torch.arange(12))
    hidden = theirs(inputs_embeds=embedded, encoder_hidden_states=memory).last_hidden_state
    torch.testing.assert_close(ours(tokens, memory), ours.head(hidden), rtol=0, atol=1e-5)


def step_by_step(net: Decoder, tokens: torch.Tensor, memory: torch.Tensor, room: int, extra: int = 0, task=None):
    cache = net.begin(memory, room)
    token = net.first(len(tokens), task, tokens.device)
    logits = []
    for place in range(tokens.shape[1]):
        extent = min(place + 1 + extra, room)
        logits.append(net.step(cache, token, torch.tensor([place]), extent, masked=extra > 0))
        token = tokens[:, place]
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("positions", KINDS)
@pytest.mark.parametrize("extra", [0, 5])
@pytest.mark.parametrize("follow", [False, True])
@torch.inference_mode()
def test_steps_with_a_cache_give_the_logits_of_whole_rows(positions, extra, follow):
    net = decoder(positions, follow=follow)
    tokens, memory = rows(64, 12)
    tokens[:, ::3] = SHIFT + torch.arange(4) * 5  # times go on
    torch.testing.assert_close(step_by_step(net, tokens, memory, 16, extra), net(tokens, memory), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_a_cache_can_grow_and_lose_and_gain_rows():
    net = decoder()
    tokens, memory = rows(5)
    whole = net(tokens, memory)
    cache, other = net.begin(memory[:2], 4), net.begin(memory[2:], 4)
    for place in range(4):
        token = tokens[:, place - 1] if place else torch.full((5,), PAD)
        for part, which in ((cache, slice(2)), (other, slice(2, 5))):
            net.step(part, token[which], torch.tensor([place]), place + 1)
    kept = torch.tensor([4, 1])
    joined = type(cache).join([cache, other]).select(kept).grown(9)
    assert joined.capacity == 9
    logits = net.step(joined, tokens[kept, 3], torch.tensor([4]), 5)
    torch.testing.assert_close(logits, whole[kept, 4], rtol=0, atol=1e-5)
    larger = net.begin(memory, 9)
    larger.copy_(joined)
    logits = net.step(larger, torch.cat([tokens[kept, 3], tokens[:3, 0]]), torch.tensor([4]), 5)
    torch.testing.assert_close(logits[:2], whole[kept, 4], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_weights_laid_out_for_steps_are_the_same_weights():
    net = decoder()
    tokens, memory = rows()
    before, state = net(tokens, memory), {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert not net.arrange_for_steps().head.weight.is_contiguous()
    torch.testing.assert_close(net(tokens, memory), before, rtol=0, atol=1e-5)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


def test_no_token_hears_a_later_one_or_another_row():
    net = decoder("relative")
    tokens, memory = rows()
    changed = tokens.clone()
    changed[0, 7] = 5
    before, after = net(tokens, memory), net(changed, memory)
    torch.testing.assert_close(after[1:], before[1:])
    torch.testing.assert_close(after[0, :8], before[0, :8])
    assert (after[0, 8:] - before[0, 8:]).abs().amax(dim=1).min() > 1e-4


@torch.inference_mode()
def test_a_follower_hears_the_frames_near_the_time_written_last():
    """With nothing but the bias to tell frames apart, the tick of the last shift says which is heard."""
    net = decoder(follow=True)
    assert net.following is not None
    net.following.frames_per_tick = 0.5
    net.following.distance.weight.fill_(-100.0)[0] = 100.0  # class 0: the very frame
    _, memory = rows()
    for tick, frame in ((0, 0), (4, 2), (18, 9)):
        tokens = torch.full((3, 3), SHIFT + tick)
        other = memory.clone()
        other[:, [i for i in range(1, 10) if i != frame]] += 1.0  # frame 0 is heard before the first shift
        torch.testing.assert_close(net(tokens, other)[:, 1:], net(tokens, memory)[:, 1:])
        other[:, frame] += 1.0
        assert (net(tokens, other) - net(tokens, memory))[:, 1:].abs().max() > 1e-3


def test_tasks_stand_before_the_first_token():
    net = decoder(n_tasks=3)
    assert (net.embedding.num_embeddings, net.head.out_features) == (N_TOKENS + 3, N_TOKENS)
    tokens, memory = rows()
    task = torch.tensor([0, 1, 2])
    logits = net(tokens, memory, task)
    assert not torch.allclose(logits, net(tokens, memory))
    with torch.inference_mode():
        torch.testing.assert_close(step_by_step(net, tokens, memory, 12, task=task), logits, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="n_tasks"):
        decoder()(tokens, memory, task)
