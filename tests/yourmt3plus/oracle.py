"""transformers' T5 with the weights of one of our stacks: the truth that encoder and decoder are held to."""

import torch
from torch import nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from yourmt3plus.decoder import Decoder
from yourmt3plus.t5 import FeedForward, SelfAttention, T5Encoder


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
    theirs = T5Stack(config).eval().to(next(ours.parameters()).dtype)
    with torch.no_grad():
        for index, block in enumerate(theirs.block):
            parts = block.layer
            if isinstance(ours, Decoder):
                layer = ours.layers[index]
                copy_self_attention(layer.tokens, parts[0])
                cross = parts[1]
                cross.layer_norm.weight.copy_(layer.memory.norm.weight)
                cross.EncDecAttention.q.weight.copy_(layer.memory.query.weight)
                copy_parts(layer.memory.key_value, cross.EncDecAttention.k, cross.EncDecAttention.v)
                cross.EncDecAttention.o.weight.copy_(layer.memory.out.weight)
                copy_feed_forward(layer.feed_forward, parts[2])
            else:
                copy_self_attention(ours.attention[index], parts[0])
                copy_feed_forward(ours.feed_forward[index], parts[1])
        distance = theirs.block[0].layer[0].SelfAttention.relative_attention_bias.weight
        distance.copy_(ours.positions.distance.weight if ours.positions.kind == "relative" else torch.zeros(()))
        theirs.final_layer_norm.weight.copy_(ours.norm.weight)
    return theirs


def copy_self_attention(ours: SelfAttention, theirs: nn.Module) -> None:
    theirs.layer_norm.weight.copy_(ours.norm.weight)
    attention = theirs.SelfAttention
    copy_parts(ours.qkv, attention.q, attention.k, attention.v)
    attention.o.weight.copy_(ours.out.weight)


def copy_feed_forward(ours: FeedForward, theirs: nn.Module) -> None:
    theirs.layer_norm.weight.copy_(ours.norm.weight)
    copy_parts(ours.gate_up, theirs.DenseReluDense.wi_0, theirs.DenseReluDense.wi_1)
    theirs.DenseReluDense.wo.weight.copy_(ours.down.weight)


def copy_parts(ours: nn.Linear, *theirs: nn.Linear) -> None:
    for part, layer in zip(ours.weight.chunk(len(theirs)), theirs, strict=True):
        layer.weight.copy_(part)
