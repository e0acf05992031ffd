"""The encoder of YMT3 against transformers' T5 with the same weights."""

import pytest
import torch

from benchmarks.speed import t5_peer as oracle
from yourmt3plus.t5 import T5Encoder, attend

SIZES = {"dim": 32, "n_layers": 2, "n_heads": 3, "head_dim": 8, "ff_dim": 48}


@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_equals_t5(positions):
    torch.manual_seed(0)
    ours = T5Encoder(20, 32, positions=positions, **SIZES).eval()
    theirs = oracle.stack(ours, **SIZES)
    picture = torch.randn(2, 20, 32)
    hidden = theirs(inputs_embeds=ours.positions.add(picture, torch.arange(20))).last_hidden_state
    torch.testing.assert_close(ours(picture).latents[:, :, 0], hidden, rtol=0, atol=1e-5)


def test_maps_other_bins_to_its_size():
    encoding = T5Encoder(20, 12, **SIZES)(torch.randn(2, 20, 12))
    assert encoding.latents.shape == (2, 20, 1, 32)
    assert encoding.routing is None


def test_attention_with_bias_and_order_is_the_softmax_written_out():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 5, 4).unbind()
    bias = torch.randn(3, 5, 5)
    scores = (q @ k.mT + bias).masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf)
    truth = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(q, k, v, bias, causal=True), truth)
