"""transformers' T5 with the weights of one of our stacks: the truth for tests, and the peer for speed."""

from typing import Any

import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5Stack

from yourmt3plus.decoder import Decoder
from yourmt3plus.t5 import FeedForward, SelfAttention, T5Encoder
from yourmt3plus.tokenizer import PAD


def stack(ours: Decoder | T5Encoder, dim: int, n_layers: int, n_heads: int, head_dim: int, ff_dim: int) -> T5Stack:
    """T5's encoder or decoder, without its own embedding and with no bias by distance unless ours has one."""
    is_decoder = isinstance(ours, Decoder)
    config = T5Config(
        vocab_size=8,
        d_model=dim,
        d_kv=head_dim,
        d_ff=ff_dim,
        num_layers=n_layers,
        num_heads=n_heads,
        feed_forward_proj="gated-gelu",
        is_decoder=is_decoder,
        is_encoder_decoder=False,
        use_cache=False,
    )
    theirs: Any = T5Stack(config).eval()
    theirs.to(next(ours.parameters()).dtype)
    with torch.no_grad():
        for index, block in enumerate(theirs.block):
            parts = block.layer
            if isinstance(ours, Decoder):
                layer: Any = ours.layers[index]
                copy_self_attention(layer.tokens, parts[0])
                cross = parts[1]
                cross.layer_norm.weight.copy_(layer.memory.norm.weight)
                cross.EncDecAttention.q.weight.copy_(layer.memory.query.weight)
                copy_parts(layer.memory.key_value, cross.EncDecAttention.k, cross.EncDecAttention.v)
                cross.EncDecAttention.o.weight.copy_(layer.memory.out.weight)
                copy_feed_forward(layer.feed_forward, parts[2])
            else:
                attention: Any = ours.attention[index]
                feed_forward: Any = ours.feed_forward[index]
                copy_self_attention(attention, parts[0])
                copy_feed_forward(feed_forward, parts[1])
        distance = theirs.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        distance.copy_(ours.positions.distance.weight if ours.positions.kind == "relative" else torch.zeros(()))
        theirs.final_layer_norm.weight.copy_(ours.norm.weight)
    return theirs


class Generator:
    """transformers' greedy `generate` with the weights of a decoder that knows no places, or distances only.

    It takes no decoder without an encoder, nor one of another depth; so it has an encoder that nobody asks. Its
    embedding is also its head, and so is that of the decoder from now on.
    """

    def __init__(self, ours: Decoder, n_heads: int, head_dim: int, ff_dim: int):
        config = T5Config(
            vocab_size=ours.n_tokens,
            d_model=ours.dim,
            d_kv=head_dim,
            d_ff=ff_dim,
            num_layers=len(ours.layers),
            num_heads=n_heads,
            feed_forward_proj="gated-gelu",
        )
        config.decoder_start_token_id = PAD  # pyright: ignore[reportAttributeAccessIssue]
        self.net: Any = T5ForConditionalGeneration(config).eval()
        ours.head.weight.data = ours.embedding.weight.data * ours.dim**-0.5  # it divides what the head reads
        self.net.shared.weight.data.copy_(ours.embedding.weight)
        weights = stack(ours, ours.dim, len(ours.layers), n_heads, head_dim, ff_dim).state_dict()
        del weights["embed_tokens.weight"]  # it is the one above
        self.net.decoder.load_state_dict(weights, strict=False)

    @torch.inference_mode()
    def __call__(self, memory: torch.Tensor, n_tokens: int) -> torch.Tensor:
        """(row, token) after memory (row, frame, dim), without an end."""
        heard = BaseModelOutput(last_hidden_state=memory)
        options = {"max_new_tokens": n_tokens, "min_new_tokens": n_tokens, "do_sample": False, "num_beams": 1}
        return self.net.generate(encoder_outputs=heard, **options)[:, 1:]


def copy_self_attention(ours: SelfAttention, theirs: Any) -> None:
    theirs.layer_norm.weight.copy_(ours.norm.weight)
    attention = theirs.SelfAttention
    copy_parts(ours.qkv, attention.q, attention.k, attention.v)
    attention.o.weight.copy_(ours.out.weight)


def copy_feed_forward(ours: FeedForward, theirs: Any) -> None:
    theirs.layer_norm.weight.copy_(ours.norm.weight)
    copy_parts(ours.gate_up, theirs.DenseReluDense.wi_0, theirs.DenseReluDense.wi_1)
    theirs.DenseReluDense.wo.weight.copy_(ours.down.weight)


def copy_parts(ours: nn.Linear, *theirs: Any) -> None:
    for part, layer in zip(ours.weight.chunk(len(theirs)), theirs, strict=True):
        layer.weight.copy_(part)
