"""A regression that trains in a second, with all that makes a resumed run differ from one that was never killed:
dropout, noise, augmentation, shuffling, momentum, running statistics and a schedule."""

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from common.loading import make_loader


class ToyNet(nn.Module):
    def __init__(self, width: int = 4, n_inputs: int = 3):
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, not {width}")
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, width), nn.BatchNorm1d(width), nn.Dropout(0.5), nn.Linear(width, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class ToyTask(L.LightningModule):
    monitor = "val/loss"
    monitor_mode = "min"

    def __init__(self, net: nn.Module, optimizer: OptimizerCallable):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net = net
        self.optimizer = optimizer

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = (self.net(x + 0.1 * torch.randn_like(x)) - y).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val/loss", (self.net(x + 0.1 * torch.randn_like(x)) - y).square().mean(), batch_size=len(x))

    def configure_optimizers(self):
        optimizer = self.optimizer(self.parameters())
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class ToyDataset(torch.utils.data.Dataset):
    def __init__(self, size: int, n_inputs: int, seed: int):
        self.size = size
        self.n_inputs = n_inputs
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, int]):
        epoch, index = key
        x = np.random.default_rng((self.seed, index)).normal(size=self.n_inputs)
        noise = np.random.default_rng((self.seed, epoch, index)).normal(size=self.n_inputs)
        return np.float32(x + 0.1 * noise), np.float32([x.sum()])


class ToyData(L.LightningDataModule):
    """34 items: 8 batches of 4 in an epoch, and 2 items left over."""

    def __init__(self, batch_size: int = 4, num_workers: int = 0, n_inputs: int = 3):
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_inputs = n_inputs

    def train_dataloader(self):
        return make_loader(ToyDataset(34, self.n_inputs, 0), self.batch_size, 0, True, self.num_workers)

    def val_dataloader(self):
        return make_loader(ToyDataset(10, self.n_inputs, 1), self.batch_size, 0, False, self.num_workers)
