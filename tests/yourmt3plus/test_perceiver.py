"""PerceiverTF against loops over frames and latents that spell out what listens to what."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from tests.yourmt3plus.networks import ENCODER
from yourmt3plus.moe import MixtureOfExperts
from yourmt3plus.perceiver import Attention, PerceiverTF

N_FRAMES, N_BINS = 6, 128
PLAIN = partial(ENCODER, N_FRAMES, N_BINS, n_latents=3, dim=16, n_heads=4)


def net(**options) -> PerceiverTF:
    torch.manual_seed(0)
    return PLAIN(**options).eval()


def picture(n_frames: int = N_FRAMES) -> torch.Tensor:
    return torch.rand(2, n_frames, N_BINS, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("attend_to", ["channel", "bin"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("n_experts", [0, 4])
def test_each_axis_hears_itself_alone(attend_to, residual, n_experts):
    ours = net(attend_to=attend_to, residual=residual, n_experts=n_experts, positions="trainable")
    maps = ours.pre_encoder(picture())  # (batch, channel, frame, bin)
    block = ours.blocks[0]

    def layer(which, x):
        part = which[0]
        x = x + part.attention(x)
        heard = part.feed_forward(part.norm(x))
        return x + (heard[0] if n_experts else heard)

    truth = torch.empty(2, N_FRAMES, 3, 16)
    for batch in range(2):
        for frame in range(N_FRAMES):
            latents = (ours.latents + ours.places[frame])[None]
            source = maps[batch, :, frame][None]  # (1, channel, bin)
            heard = block.source(latents, source if attend_to == "channel" else source.mT)
            truth[batch, frame] = layer(block.latent, latents + heard if residual else heard)[0]
        for latent in range(3):
            truth[batch, :, latent] = layer(block.temporal, truth[batch, :, latent].clone()[None])[0]
    encoding = ours(picture())
    torch.testing.assert_close(encoding.latents, truth, rtol=0, atol=1e-5)
    assert (encoding.routing is None) == (not n_experts)


def test_attention_is_torchs():
    torch.manual_seed(0)
    ours = Attention(16, 4, 24, dropout=0.0, turn_keys=False)
    theirs = torch.nn.MultiheadAttention(16, 4, kdim=24, vdim=24, batch_first=True)
    with torch.no_grad():
        theirs.q_proj_weight.copy_(ours.query.weight)
        theirs.k_proj_weight.copy_(ours.key_value.weight[:16])
        theirs.v_proj_weight.copy_(ours.key_value.weight[16:])
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, source = torch.randn(2, 5, 16), torch.randn(2, 7, 24)
    normed = F.layer_norm(source, (24,))
    torch.testing.assert_close(ours(x, source), theirs(F.layer_norm(x, (16,)), normed, normed)[0], rtol=0, atol=1e-6)


def shifted(positions: str, by: int = 7) -> float:
    """How much a frame hears another way if all frames come later."""
    ours = net(positions=positions, dim=64, n_heads=8)
    x = torch.randn(2, 20, 64)
    attention = ours.blocks[0].temporal[0].attention
    now, later = (attention(x, turn=ours.along[:, start : start + 20]) for start in (0, by))
    return (now - later).abs().max().item()


def test_rope_does_not_care_when_it_is_and_the_released_one_does():
    assert shifted("rope") < 1e-5
    assert shifted("released_rope") > 1e-3


def test_rope_tells_times_apart_that_look_the_same():
    ours = net(positions="rope")
    x = picture()
    mirrored = ours(x.flip(1)).latents.flip(1)
    assert (ours(x).latents - mirrored).abs().max() > 1e-4


def test_what_is_turned():
    """Released: 4 of 16 dims with 8 heads, on all three axes; ours: all 16, along time."""
    make = partial(PerceiverTF, 10, 64, channels=(4,), pools=(2,), n_blocks=1)
    released, ours, plain = (make(positions=kind) for kind in ("released_rope", "rope", "trainable"))
    assert (released.along.shape[2], released.across.shape) == (2, (2, 26, 2))
    assert (ours.along.shape[2], ours.across) == (8, None)
    assert (plain.along, plain.across) == (None, None)


def test_experts_report_how_busy_they_are_layer_by_layer():
    routing = net(n_latent_layers=2)(picture()).routing
    assert routing.share.shape == routing.probability.shape == (3, 4)
    torch.testing.assert_close(routing.share.sum(1), torch.ones(3))
    routing.balance_loss().backward()


def test_every_parameter_learns():
    for positions in ("trainable", "rope"):
        ours = net(positions=positions).train()
        ours(picture()).latents.square().sum().backward()
        assert all(parameter.grad is not None for parameter in ours.parameters())


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="trainable, rope, released_rope"):
        net(positions="sinusoidal")
    with pytest.raises(ValueError, match="of 4 each or more"):
        net(positions="released_rope", n_heads=8)
    with pytest.raises(ValueError, match="6 frames, not 7"):
        net(positions="trainable")(picture(7))


def test_experts_stand_where_feed_forward_parts_would():
    assert isinstance(net().blocks[0].latent[0].feed_forward, MixtureOfExperts)
    assert not any(isinstance(part, MixtureOfExperts) for part in net(n_experts=0).modules())


def test_without_norms_of_the_source_a_louder_spectrum_is_louder():
    torch.manual_seed(0)
    latents, source = torch.randn(2, 3, 16), torch.randn(2, 5, 24)
    kept, levelled = (Attention(16, 4, 24, 0.0, False, norm_source=norm) for norm in (False, True))
    truth = F.linear(F.layer_norm(latents, (16,)), kept.query.weight, kept.query.bias)
    keys, values = F.linear(source, kept.key_value.weight, kept.key_value.bias).chunk(2, dim=-1)
    q, k, v = (x.unflatten(-1, (4, 4)).transpose(1, 2) for x in (truth, keys, values))
    heard = ((q @ k.mT / 2).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(kept(latents, source), kept.out(heard), rtol=0, atol=1e-5)
    torch.testing.assert_close(levelled(latents, 9 * source), levelled(latents, source), rtol=0, atol=1e-4)
    assert not torch.allclose(kept(latents, 9 * source), kept(latents, source), atol=0.1)
