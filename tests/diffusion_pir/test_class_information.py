"""Checks 7 to 9 of the study on a toy: what a small diffusion model has learnt of timbres, and what noise leaves of it.

Six classes are chords of the same three partials in different places, of random pitch, onset, length and level. A
network of 200 thousand parameters is trained for a few seconds; logistic regression reads its features, averaged over
time and frequency, as in table F0 of the study. Thresholds are those of section F1.
"""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diffusion_pir.backbones import Backbone, DenoiserBackbone, MelStatistics, random_weights
from diffusion_pir.diffusion import add_noise, stratified_timesteps, velocity
from diffusion_pir.features import FeatureSpec, hear
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import PromptTable

N_BINS = N_FRAMES = 16
N_CLASSES = 6
N_TRAIN, N_TEST = 1000, 400
STEPS, BATCH = 300, 32
CHANCE = 1 / N_CLASSES
PARTIALS = np.random.default_rng(5).permuted(np.tile([1.5, 1.5, 1.5, -0.5, -0.5, 0, 0], (N_CLASSES, 1)), axis=1)
UNET = {
    "sample_size": [8, 8],
    "block_out_channels": [16, 48],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "resnet_time_scale_shift": "scale_shift",
}


@cache
def clips(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (clip, bin, frame) of zero mean and unit variance, and their classes."""
    n_clips, seed = {"train": (N_TRAIN, 0), "test": (N_TEST, 1)}[split]
    rng = np.random.default_rng(seed)
    classes = rng.integers(N_CLASSES, size=n_clips)
    pictures = 0.35 * rng.standard_normal((n_clips, N_BINS, N_FRAMES))
    for picture, partials in zip(pictures, PARTIALS[classes], strict=True):
        pitch, onset, length = rng.integers(N_BINS - len(partials) + 1), rng.integers(8), rng.integers(5, 9)
        picture[pitch : pitch + len(partials), onset : onset + length] += (partials * rng.uniform(0.8, 1.2))[:, None]
    return ((pictures - pictures.mean()) / pictures.std()).astype(np.float32), classes


def train(denoiser: Denoiser) -> Denoiser:
    """A short training with a third of the prompts left out."""
    pictures, classes = clips("train")
    x, labels = torch.from_numpy(pictures), torch.eye(N_CLASSES)[classes].bool()
    optimizer = torch.optim.AdamW(denoiser.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(N_TRAIN, (BATCH,))
        t, noise = stratified_timesteps(BATCH), torch.randn(BATCH, N_BINS, N_FRAMES)
        prompt = denoiser.prompt(labels[rows], torch.rand(BATCH) < 0.3)
        error = denoiser(add_noise(x[rows], noise, t), t, prompt) - velocity(x[rows], noise, t)
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
        schedule.step()
    return denoiser.eval()


@pytest.fixture(scope="module")
def backbones() -> dict[str, Backbone]:
    """The trained network and its controls."""
    torch.manual_seed(0)
    denoiser = Denoiser(UNET, PromptTable(N_CLASSES, 16), patch=2, n_bins=N_BINS, mean=0.0, std=1.0)
    untrained = random_weights(denoiser, seed=1)
    trained = train(denoiser)
    return {
        "trained": DenoiserBackbone(trained),
        "random": DenoiserBackbone(untrained),
        "mel": MelStatistics(trained),
    }


def accuracy(backbone: Backbone, layers: tuple[str, ...], sigma: float) -> float:
    """Of logistic regression on what layers hear, null prompt and all."""
    spec = FeatureSpec(layers, (sigma,), pool="mean_std" if layers == ("mel",) else "mean")

    def features(split: str) -> np.ndarray:
        pictures = clips(split)[0]
        heard = hear(backbone, pictures, [f"{split}{i}" for i in range(len(pictures))], spec)
        return torch.cat([heard[cell] for cell in spec.cells], 1).numpy()

    reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    reader.fit(features("train"), clips("train")[1])
    return float(reader.score(features("test"), clips("test")[1]))


@pytest.fixture(scope="module")
def by_noise(backbones) -> dict[float, float]:
    return {sigma: accuracy(backbones["trained"], ("bottleneck_2",), sigma) for sigma in (0.1, 0.5, 0.7, 0.9, 0.99)}


def test_training_makes_the_bottleneck_tell_classes(backbones, by_noise):
    untrained = accuracy(backbones["random"], ("bottleneck_2",), 0.1)
    assert by_noise[0.1] >= untrained + 0.12
    assert by_noise[0.1] >= CHANCE + 0.4
    assert untrained > CHANCE + 0.06  # features of random weights tell something: without the control all seems learnt


def test_noise_destroys_what_is_told(by_noise):
    assert by_noise[0.99] <= CHANCE + 0.06
    assert by_noise[0.1] - by_noise[0.7] >= 0.08
    falling = [by_noise[sigma] for sigma in (0.1, 0.5, 0.7, 0.9)]
    assert all(after <= before + 0.03 for before, after in pairwise(falling))


def test_all_layers_tell_more_than_any_and_than_the_mel(backbones):
    layers = tuple(backbones["trained"].taps)
    single = max(accuracy(backbones["trained"], (layer,), 0.1) for layer in layers)
    together = accuracy(backbones["trained"], layers, 0.1)
    assert together >= single + 0.03
    assert together >= accuracy(backbones["mel"], ("mel",), 0.1) + 0.03
