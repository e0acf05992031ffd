from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from diffusion_pir.backbones import DenoiserBackbone, MelStatistics
from diffusion_pir.features import FeatureError, FeatureSpec, Listener, as_map, extract, hear, noise_of, pooled
from tests.diffusion_pir.listening import Pictures
from tests.diffusion_pir.patterns import N_BINS, N_FRAMES, denoiser


@pytest.fixture(scope="module")
def backbone() -> DenoiserBackbone:
    return DenoiserBackbone(denoiser())


def hooks(backbone: DenoiserBackbone) -> int:
    return sum(len(module._forward_hooks) for module in backbone.denoiser.modules())


def taps_of(backbone: DenoiserBackbone) -> tuple[str, ...]:
    return tuple(backbone.taps)


@pytest.mark.parametrize("pool", ["mean", "mean_std", "time", "time_std", "bands", "map"])
def test_features_are_the_activations_of_a_whole_pass(backbone, pool):
    """Check 12, against hooks of our own on a pass that nothing ends."""
    spec = FeatureSpec(taps_of(backbone), (0.1, 0.6), draws=2, pool=pool, seed=3)
    windows = Pictures(3)
    expected = {}
    x0 = backbone.encode(torch.from_numpy(windows.pictures))
    for sigma in spec.sigmas:
        kept: dict[str, list[torch.Tensor]] = {layer: [] for layer in spec.layers}
        handles = [
            module.register_forward_hook(lambda _, __, output, layer=layer, kept=kept: kept[layer].append(output))
            for layer, module in backbone.taps.items()
        ]
        for draw in range(2):
            noise = np.stack([noise_of(name, draw, 3, x0.shape[1:]) for name in windows.ids])
            with torch.no_grad():
                backbone.denoise(x0, sigma, torch.from_numpy(noise))
        for handle in handles:
            handle.remove()
        for layer, (first, second) in kept.items():
            expected[layer, sigma] = (pooled(first, spec.pool) + pooled(second, spec.pool)) / 2
    heard = hear(backbone, windows.pictures, windows.ids, spec)
    assert set(heard) == set(expected) == set(spec.cells)
    for cell, features in heard.items():
        assert torch.allclose(features, expected[cell], atol=1e-5), cell


def test_pools_are_what_they_say():
    features = torch.randn(2, 5, 4, 3)
    assert torch.allclose(pooled(features, "mean"), features.flatten(2).mean(2))
    assert torch.allclose(pooled(features, "mean_std")[:, 5:], features.flatten(2).std(2, correction=0))
    assert torch.allclose(pooled(features, "time"), features.mean(2))
    assert torch.allclose(pooled(features, "time_std")[:, 5:], features.std(2, correction=0))
    assert torch.equal(pooled(features, "bands"), features.flatten(1, 2))  # as few rows as it has stay
    tall = torch.randn(2, 3, 16, 4)
    halves = (tall[:, :, 0::2] + tall[:, :, 1::2]) / 2
    assert torch.allclose(pooled(tall, "bands"), halves.flatten(1, 2), atol=1e-6)
    assert torch.equal(pooled(features.half(), "map"), features.half().float())


def test_hooks_leave_no_trace(backbone):
    """Check 12: all removed, also where the pass ends early or fails, and the output is what it was."""
    x0 = backbone.encode(torch.from_numpy(Pictures(2).pictures))
    noise = torch.randn_like(x0)
    before = backbone.denoise(x0, 0.3, noise)
    listener = Listener(backbone.taps, lambda output: output, stop=False)
    with listener:
        outputs = []
        listener(lambda: outputs.append(backbone.denoise(x0, 0.3, noise)))
    assert torch.equal(outputs[0], before)
    extract(backbone, Pictures(2), FeatureSpec(("bottleneck_2",)))
    with pytest.raises(ZeroDivisionError), listener:
        listener(lambda: 1 / 0)
    assert hooks(backbone) == 0
    assert torch.equal(backbone.denoise(x0, 0.3, noise), before)


def test_one_pass_serves_all_layers_and_ends_behind_the_last(backbone):
    calls: dict[str, int] = {"pass": 0, "up": 0}
    unet = backbone.denoiser.unet
    counters = [
        unet.conv_in.register_forward_hook(lambda *_: calls.update({"pass": calls["pass"] + 1})),
        unet.up_blocks[0].register_forward_pre_hook(lambda *_: calls.update(up=calls["up"] + 1)),
    ]
    extract(backbone, Pictures(5), FeatureSpec(("down", "bottleneck_2"), (0.1, 0.3), draws=3), batch_size=5)
    for counter in counters:
        counter.remove()
    assert calls == {"pass": 6, "up": 0}


def test_batches_and_rows_do_not_matter(backbone):
    """Check 11."""
    spec = FeatureSpec(taps_of(backbone), (0.1, 0.9), draws=2)
    windows = Pictures(7)
    whole = extract(backbone, windows, spec, batch_size=7)
    again = extract(backbone, windows, spec, batch_size=7)
    ones = extract(backbone, windows, spec, batch_size=1)
    some = extract(backbone, windows, spec, batch_size=2, rows=np.array([5, 1, 6]))
    for cell, features in whole.items():
        assert np.array_equal(features, again[cell])
        np.testing.assert_allclose(ones[cell], features, atol=1e-4)
        np.testing.assert_allclose(some[cell], features[[5, 1, 6]], atol=1e-4)


def test_noise_is_that_of_the_window_whatever_the_model_level_and_layer(backbone):
    seen = []

    class Recorder(MelStatistics):
        def denoise(self, x0, sigma, noise):
            seen.append(noise.clone())
            return super().denoise(x0, sigma, noise)

    for seed, sigmas in ((0, (0.1,)), (5, (0.7,))):
        extract(Recorder(denoiser(seed)), Pictures(3, seed), FeatureSpec(("mel",), sigmas, draws=2))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


def test_noise_is_standard_normal_and_different_for_everybody():
    names = [(window, draw, seed) for window in ("a@0", "a@50", "b@0") for draw in (0, 1) for seed in (0, 1)]
    noise = np.stack([noise_of(*name, (128, 100)) for name in names]).reshape(len(names), -1)
    np.testing.assert_allclose(noise.mean(1), 0, atol=0.04)
    np.testing.assert_allclose(noise.std(1), 1, atol=0.03)
    assert np.abs(np.corrcoef(noise) - np.eye(len(names))).max() < 0.05


def test_mel_statistics_are_those_of_the_noisy_picture():
    backbone = MelStatistics(denoiser())
    windows = Pictures(3)
    features = extract(backbone, windows, FeatureSpec(("mel",), (0.0,), pool="mean_std"))["mel", 0.0]
    x0 = backbone.encode(torch.from_numpy(windows.pictures)).numpy()
    assert features.shape == (3, 2 * N_BINS)
    np.testing.assert_allclose(features, np.concatenate([x0.mean(2), x0.std(2)], 1), atol=0.02)  # a noise of -44 dB
    over_time = extract(backbone, windows, FeatureSpec(("mel",), (0.0,), pool="time"))["mel", 0.0]
    np.testing.assert_allclose(over_time, x0, atol=0.05)
    assert over_time.shape == (3, N_BINS, N_FRAMES)


def test_maps_whose_rows_are_time_are_turned():
    class Turned(MelStatistics):
        time_axis: Literal[2, 3] = 2

        def denoise(self, x0, sigma, noise):
            return self.picture(x0[:, None].mT)

    x0 = Turned(denoiser()).encode(torch.from_numpy(Pictures(2).pictures))
    over_time = extract(Turned(denoiser()), Pictures(2), FeatureSpec(("mel",), (0.3,), pool="time"))["mel", 0.3]
    np.testing.assert_allclose(over_time[:, 0], x0.mean(1), atol=1e-5)


def test_outputs_of_blocks_and_transformers_become_maps():
    maps = torch.randn(2, 5, 4, 3)
    assert as_map((maps, ("skip",))) is maps
    tokens = torch.randn(2, 7, 5)
    assert torch.equal(as_map((tokens,))[:, :, 0], tokens.mT)


def test_a_layer_that_a_pass_does_not_come_by_is_told(backbone):
    taps = {**backbone.taps, "elsewhere": nn.Identity()}
    x0 = backbone.encode(torch.from_numpy(Pictures(1).pictures))
    with pytest.raises(FeatureError, match="elsewhere"), Listener(taps, lambda output: output) as listener:
        listener(lambda: backbone.denoise(x0, 0.1, torch.zeros_like(x0)))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"layers": ()}, "layers"),
        ({"layers": ("a", "a")}, "layers"),
        ({"layers": ("a",), "sigmas": (1.5,)}, "0..1"),
        ({"layers": ("a",), "draws": 0}, "draws"),
        ({"layers": ("a",), "pool": "max"}, "pool"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused(options, fault):
    with pytest.raises(FeatureError, match=fault):
        FeatureSpec(**options)


def test_what_is_not_there_is_told_with_what_is(backbone):
    with pytest.raises(FeatureError, match=r"no layer middle; it has down"):
        extract(backbone, Pictures(1), FeatureSpec(("middle",)))
    with pytest.raises(FeatureError, match="at least one clip"):
        extract(backbone, Pictures(1), FeatureSpec(("down",)), rows=np.arange(0))


def test_the_digest_of_a_spec_is_stable_and_tells_specs_apart():
    spec = FeatureSpec(("a", "b"), (0.1, 0.2), 2, "mean", 0)
    assert spec.digest() == FeatureSpec(["a", "b"], [0.1, 0.2], 2).digest()  # pyright: ignore[reportArgumentType]
    assert spec.digest() == "663987520df95eb6c707ff39"
    others = [
        FeatureSpec(("a",), (0.1, 0.2), 2),
        FeatureSpec(("a", "b"), (0.1, 0.3), 2),
        FeatureSpec(("a", "b"), (0.1, 0.2), 3),
        FeatureSpec(("a", "b"), (0.1, 0.2), 2, "mean_std"),
        FeatureSpec(("a", "b"), (0.1, 0.2), 2, "mean", 1),
    ]
    assert len({spec.digest(), *(other.digest() for other in others)}) == 6
