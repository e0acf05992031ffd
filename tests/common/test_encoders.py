import math

import pytest
import torch

from common.encoders import LogMelEncoder, SSLEncoder
from common.pretrained import EncoderError

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0),
}
BASE, LARGE = {}, {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


def noise(n_clips: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_clips, n_samples, generator=torch.Generator().manual_seed(seed))


def ssl(**options) -> SSLEncoder:
    torch.manual_seed(0)
    return SSLEncoder(config=TINY, **options)


def gradients(encoder: torch.nn.Module, audio: torch.Tensor) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    features = encoder(audio)
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Within 1e-5 of the largest gradient of each parameter."""
    return one.keys() == other.keys() and all(
        (one[name] - other[name]).abs().max() <= 1e-5 * max(1.0, one[name].abs().max().item()) for name in one
    )


@pytest.mark.parametrize(("n_samples", "n_frames"), [(120_000, 374), (120_320, 375), (240_320, 750), (720_320, 2250)])
def test_frames_of_ssl_encoders_are_those_of_the_paper(n_samples, n_frames):
    encoder = ssl()
    assert encoder.n_frames(n_samples) == n_frames
    assert n_samples < 120_320 or encoder.n_samples(n_frames) == n_samples
    length = n_samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        length = (length - kernel) // stride + 1
    assert length == n_frames


@pytest.mark.parametrize("encoder", [LogMelEncoder(dilations=()), ssl(), ssl(pool=3)], ids=["mel", "ssl", "pooled"])
def test_so_many_frames_as_asked_for_and_no_more(encoder):
    for n_frames in (1, 2, 7):
        n_samples = encoder.n_samples(n_frames)
        for extra in (0, 1, encoder.grid.hop_length - 1):
            assert encoder(noise(2, n_samples + extra)).shape == (2, n_frames, encoder.dim)
    assert torch.isfinite(encoder(torch.zeros(1, encoder.n_samples(3)))).all()
    with pytest.raises(EncoderError, match=str(encoder.n_samples(1))):
        encoder(noise(1, encoder.n_samples(1) - 1))


@pytest.mark.parametrize(("config", "size"), [(BASE, 94_371_712), (LARGE, 315_428_992)], ids=["95M", "330M"])
def test_sizes_are_those_of_mert(config, size):
    with torch.device("meta"):
        encoder = SSLEncoder(config={**config, "do_stable_layer_norm": config is LARGE})
    assert sum(parameter.numel() for parameter in encoder.parameters()) == size


def test_the_default_is_small():
    assert sum(parameter.numel() for parameter in LogMelEncoder().parameters()) == 348_368


def test_the_mel_encoder_does_not_hear_the_gain():
    encoder, audio = LogMelEncoder().eval(), noise(1, 48_000)
    for gain in (0.05, 4.0):
        assert torch.allclose(encoder(gain * audio), encoder(audio), atol=1e-4)
    # Silence is not noise pulled up.
    assert torch.allclose(encoder(1e-6 * audio), encoder(0 * audio), atol=1e-3)


def test_a_frame_hears_as_far_to_either_side_of_its_middle():
    encoder, frame = LogMelEncoder(), 80
    audio = noise(1, encoder.n_samples(160)).requires_grad_()
    encoder(audio)[0, frame, 0].backward()
    reached = audio.grad[0].nonzero()
    assert (reached.min() + reached.max()) / 2 == pytest.approx((frame + 0.5) * 960, abs=2)


@pytest.mark.parametrize("encoder", [LogMelEncoder(dilations=(1,)), ssl(), ssl(layers="weighted", freeze="none")])
def test_clips_in_parts_give_the_same_gradient(encoder):
    audio = noise(7, encoder.n_samples(6))
    whole, features = gradients(encoder, audio), encoder(audio)
    encoder.micro_batch = 3
    assert torch.allclose(encoder(audio), features, atol=1e-6)
    assert close(gradients(encoder, audio), whole)
    with torch.no_grad():
        assert torch.allclose(encoder(audio), features, atol=1e-6)


def test_layers_computed_again_give_the_same_gradient():
    audio = noise(2, 3520)
    assert close(gradients(ssl(gradient_checkpointing=True), audio), gradients(ssl(), audio))


def test_a_weighted_mean_of_all_hidden_states():
    encoder, audio = ssl(layers="weighted").eval(), noise(2, 3520)
    states = encoder.network(audio, output_hidden_states=True).hidden_states  # of a post-norm network
    assert len(states) == TINY["num_hidden_layers"] + 1
    assert torch.allclose(encoder(audio), torch.stack(states).mean(0)[:, :10], atol=1e-6)
    with torch.no_grad():
        encoder.weights[1] = math.log(5.0)
    assert torch.allclose(encoder(audio), (sum(states) + 4 * states[1])[:, :10] / 8, atol=1e-6)


def test_pooled_frames_are_means():
    audio = noise(1, 320 * 7)
    fine, coarse = ssl().eval()(audio), ssl(pool=3).eval()(audio)
    assert ssl(pool=3).grid.rate == 25
    assert torch.allclose(coarse[0, 1], fine[0, 3:6].mean(0), atol=1e-6)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize(
    ("freeze", "learns"),
    [
        ("none", {"feature_extractor", "feature_projection", "pos_conv_embed", "layer_norm", "0", "1", "2"}),
        ("conv", {"feature_projection", "pos_conv_embed", "layer_norm", "0", "1", "2"}),
        ("all_but_k", {"1", "2"}),
        ("all", set()),
    ],
)
def test_what_is_frozen_stays_as_it_is(freeze, learns, stable):
    torch.manual_seed(0)
    config = {**TINY, "do_stable_layer_norm": stable, "hidden_dropout": 0.1, "feat_proj_dropout": 0.1}
    encoder = SSLEncoder(config=config, layers="weighted", freeze=freeze, unfrozen_layers=2)
    encoder.eval().train()
    if freeze == "all_but_k" and stable:
        learns = learns | {"layer_norm"}  # the norm after the last layer
    before = {name: parameter.clone() for name, parameter in encoder.named_parameters()}
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0)
    encoder(noise(2, 3520)).square().mean().backward()
    optimizer.step()
    changed = {name for name, parameter in encoder.named_parameters() if not torch.equal(parameter, before[name])}
    parts = {name.removeprefix("network.").removeprefix("encoder.").removeprefix("layers.") for name in changed}
    assert {part.partition(".")[0] for part in parts} - {"weights"} == learns
    assert "weights" in changed
    assert changed <= {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    for part in encoder.frozen:
        assert not any(module.training for module in part.modules())


def test_a_frozen_encoder_builds_no_graph_and_draws_nothing():
    encoder = ssl(freeze="all").train()
    audio = noise(1, 3520)
    assert not encoder(audio).requires_grad
    assert torch.equal(encoder(audio), encoder(audio))


def test_masks_and_dropped_layers_only_when_asked_for():
    audio = noise(2, 320 * 101)
    calm = ssl().train()
    assert torch.equal(calm(audio), calm(audio))
    for options in ({"spec_augment": 0.3}, {"layerdrop": 0.5}):
        encoder = ssl(**options).train()
        seen = [encoder(audio) for _ in range(8)]
        assert not all(torch.equal(seen[0], features) for features in seen)
    assert ssl(spec_augment=0.3).network.masked_spec_embed.requires_grad
    assert not calm.network.masked_spec_embed.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"config": None},
        {"path": "somewhere"},
        {"freeze": "all", "spec_augment": 0.1},
        {"freeze": "all_but_k", "layerdrop": 0.1},
        {"freeze": "all_but_k", "unfrozen_layers": 4},
        {"freeze": "half"},
        {"layers": "weighted", "layerdrop": 0.1},
        {"micro_batch": -1},
    ],
)
def test_contradictions_are_refused(options):
    with pytest.raises(EncoderError):
        SSLEncoder(**{"config": TINY, **options})


def test_normalised_clips_have_no_gain():
    audio = noise(1, 3520)
    encoder = ssl(normalise=True).eval()
    assert torch.allclose(encoder(0.01 * audio + 0.5), encoder(audio), atol=1e-3)


def test_settings_rebuild_the_encoder_without_its_folder():
    encoder = ssl(sample_rate=16_000, normalise=True, pool=2).eval()
    again = SSLEncoder(**encoder.settings, pool=2).eval()
    again.load_state_dict(encoder.state_dict())
    assert again.grid == encoder.grid
    assert torch.equal(again(noise(1, 3520)), encoder(noise(1, 3520)))
