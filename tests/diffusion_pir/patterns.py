"""Pictures of two classes that a small network learns in seconds, as `PIRData` would give them."""

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from common.loading import make_loader
from diffusion_pir.data import Batch
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import PromptTable

N_BINS, N_FRAMES = 16, 16
UNET: dict[str, Any] = {
    "sample_size": [8, 8],
    "block_out_channels": [16, 24],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 16,
    "attention_head_dim": 2,
    "norm_num_groups": 8,
    "resnet_time_scale_shift": "scale_shift",
}
PROMPTS = {"n_classes": 2, "dim": 16}
INIT_ARGS: dict[str, Any] = {
    "unet": UNET,
    "prompts": {"class_path": "diffusion_pir.prompts.PromptTable", "init_args": PROMPTS},
    "patch": 2,
    "n_bins": N_BINS,
    "mean": -4.0,
    "std": 2.5,
}


def denoiser(seed: int = 0, **options: Any) -> Denoiser:
    torch.manual_seed(seed)
    return Denoiser(**{**INIT_ARGS, "prompts": PromptTable(**PROMPTS), **options})


def picture(label: int, rng: np.random.Generator) -> np.ndarray:
    """Class 0 has stripes along time and class 1 along frequency, at a random place; natural logarithm."""
    wave = np.sin(np.arange(N_BINS) * np.pi / 4 + rng.uniform(0, 2 * np.pi))
    stripes = np.broadcast_to(wave[:, None] if label == 0 else wave[None], (N_BINS, N_FRAMES))
    return (3.0 * stripes + 0.3 * rng.standard_normal(stripes.shape) - 4.0).astype(np.float32)


class Pictures:
    """Class 0 and class 1 in turn, anew in each epoch."""

    def __init__(self, size: int, seed: int):
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        label = key[1] % 2
        return {
            "log_mel": torch.from_numpy(picture(label, np.random.default_rng((self.seed, *key)))),
            "labels": torch.eye(2)[label],
            "frames": torch.tensor(N_FRAMES),
        }


class PictureData(L.LightningDataModule):
    """In the place of `PIRData`."""

    classes = ("time", "frequency")

    def __init__(self, n_train: int = 32, n_validation: int = 8, batch_size: int = 8):
        super().__init__()
        self.sizes = {"train": n_train, "validation": n_validation}
        self.batch_size = batch_size

    def train_dataloader(self):
        return make_loader(Pictures(self.sizes["train"], seed=0), self.batch_size, seed=0, shuffle=True)

    def val_dataloader(self):
        return make_loader(Pictures(self.sizes["validation"], seed=1), self.batch_size, seed=0, shuffle=False)

    test_dataloader = val_dataloader


def batch(n_clips: int = 8, seed: int = 0) -> Batch:
    items = [Pictures(n_clips, seed)[0, index] for index in range(n_clips)]
    return {key: torch.stack([item[key] for item in items]) for key in items[0]}  # pyright: ignore[reportReturnType]
