"""Prepared data that takes a second: clips of low or high tones, and excerpts with one of them or both."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import checkpoint
from diffusion_pir.melstore import Clip, MelStore, Source, write_store
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import PromptTable
from tests.diffusion_pir.patterns import UNET

CLASSES = ("low", "high")
PROMPTS = {"n_classes": 2, "dim": 16}
INIT_ARGS: dict[str, Any] = {
    "unet": {**UNET, "block_out_channels": [8, 16]},
    "prompts": {"class_path": "diffusion_pir.prompts.PromptTable", "init_args": PROMPTS},
    "patch": 8,
    "mean": -6.0,
    "std": 2.5,
}


def tone(labels: tuple[str, ...], seconds: float, seed: int, sample_rate: int) -> np.ndarray:
    """One tone in the band of each label, in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    hz = {"low": rng.uniform(200, 500), "high": rng.uniform(1500, 4000)}
    audio = sum(np.sin(2 * np.pi * hz[label] * time) for label in labels)
    return (audio + 0.05 * rng.standard_normal(len(time))).astype(np.float32)


def sources(split: str, count: int, seconds: float, several: bool = False, first: int = 0) -> list[Source]:
    """Clips of one tone and then the other; with `several` every third has both."""
    made = []
    for i in range(count):
        labels = CLASSES if several and i % 3 == 2 else (CLASSES[i % 2],)
        name = f"{split}{first + i}"
        clip = Clip(name, name, split, tuple(labels), None, f"{name}.wav")
        made.append(Source(clip, partial(tone, clip.labels, seconds, 1000 * len(split) + first + i)))
    return made


def make_store(folder: Path, validation_excerpts: int = 6) -> MelStore:
    """Clips of 3 s to learn from and to stop by, excerpts of 5 s to decide by (or none) and to be judged on."""
    excerpts = sources("validation", validation_excerpts, 5.0, several=True, first=100)
    clips = [*sources("train", 12, 3.0), *sources("validation", 6, 3.0), *excerpts, *sources("test", 9, 5.0, True)]
    return write_store(folder, clips, CLASSES, progress=False)


def write_weights(path: Path, seed: int = 0) -> Path:
    """An untrained network."""
    torch.manual_seed(seed)
    net = Denoiser(**{**INIT_ARGS, "prompts": PromptTable(**PROMPTS)})
    checkpoint.save(path, net, INIT_ARGS)
    return path
