"""Training: noise at random timesteps, the loss of velocities, averaged weights, samples to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from common.checkpoint import load_weights
from common.cli import log_figure
from common.schedules import with_warmup
from diffusion_pir.averaging import RunningAverage
from diffusion_pir.data import Batch
from diffusion_pir.diffusion import add_noise, ddim, sigma_to_timestep, stratified_timesteps, velocity
from diffusion_pir.loss import velocity_loss
from diffusion_pir.plots import spectrograms

VALIDATION_SIGMAS = (0.05, 0.2, 0.4, 0.6, 0.8)


class DiffusionTask(L.LightningModule):
    """Trains a denoiser on log-mels and the instruments that they are labelled with.

    What is validated, chosen and exported is the running average of the weights.

    Args:
        net: see `diffusion_pir.model.Denoiser`.
        optimizer: makes the optimiser from the parameters.
        init: checkpoint of another run (.ckpt, or exported .safetensors) of the same network to start from: weights
            only, averaged ones. A run that is resumed does not read it again.
        prompt_dropout: probability that a clip has the null prompt; 1 trains without labels altogether.
        min_snr: see `velocity_loss`.
        warmup: optimiser steps over which the rate rises to the cosine.
        ema: decay of the running average of the weights.
        compile: compile the U-Net.
        channels_last: keep the U-Net in this memory format; faster on GPUs and slower on CPUs.
        gradient_checkpointing: keep fewer activations, and compute them again for the gradient.
        sample_steps: of DDIM for the pictures that each validation draws, one per class; 0 draws none.
        guidance: of these.
    """

    monitor = "val/loss"
    monitor_mode = "min"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        init: str | None = None,
        prompt_dropout: float = 0.1,
        min_snr: float | None = None,
        warmup: int = 1000,
        ema: float = 0.9995,
        compile: bool = False,
        channels_last: bool = False,
        gradient_checkpointing: bool = False,
        sample_steps: int = 20,
        guidance: float = 2.0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net: Any = net
        self.optimizer = optimizer
        self.init = init
        self.prompt_dropout = prompt_dropout
        self.min_snr = min_snr
        self.warmup = warmup
        self.ema = ema
        self.compile_net = compile
        self.sample_steps = sample_steps
        self.guidance = guidance
        if channels_last:
            self.net.unet.to(memory_format=torch.channels_last)
        if gradient_checkpointing:
            self.net.unet.enable_gradient_checkpointing()

    def configure_callbacks(self) -> Sequence[L.Callback]:
        # Elsewhere Lightning would warn that there is nothing to average.
        return [RunningAverage(self.ema)] if self.trainer.state.fn == "fit" else []

    def on_fit_start(self) -> None:
        # The average takes the weights over at its first step.
        if self.init and not self.trainer.ckpt_path:
            load_weights(self.net, Path(self.init))
        if self.compile_net:
            self.net.unet.compile()

    def forward(self, batch: Batch, t: Tensor, eps: Tensor, dropped: Tensor) -> Tensor:
        """Loss of a batch at given timesteps, noise and dropped prompts."""
        x = self.net.standardise(batch["log_mel"])
        told = self.net(add_noise(x, eps, t), t, self.net.prompt(batch["labels"], dropped))
        return velocity_loss(told, velocity(x, eps, t), t, batch["frames"], self.min_snr)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        n_clips = len(batch["log_mel"])
        t = stratified_timesteps(n_clips, self.device)
        dropped = torch.rand(n_clips, device=self.device) < self.prompt_dropout
        loss = self(batch, t, torch.randn_like(batch["log_mel"]), dropped)
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=n_clips)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, batch_idx, "test")

    def evaluation_step(self, batch: Batch, batch_idx: int, stage: str) -> None:
        """Loss at a few noise levels, with noise that is the same in every validation of every run."""
        n_clips = len(batch["log_mel"])
        options: Any = {"on_epoch": True, "sync_dist": True, "batch_size": n_clips}
        dropped = torch.full((n_clips,), self.prompt_dropout >= 1.0, device=self.device)
        losses = []
        for sigma in VALIDATION_SIGMAS:
            generator = torch.Generator().manual_seed(batch_idx)
            eps = torch.randn(batch["log_mel"].shape, generator=generator).to(self.device)
            t = torch.full((n_clips,), int(sigma_to_timestep(sigma)), device=self.device)
            losses.append(self(batch, t, eps, dropped))
            self.log(f"{stage}/loss_sigma_{sigma}", losses[-1], **options)
        self.log(f"{stage}/loss", torch.stack(losses).mean(), prog_bar=True, **options)

    def on_validation_epoch_end(self) -> None:
        if self.sample_steps and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            self.log_samples()

    def log_samples(self) -> None:
        """A picture of what the network makes of each class out of the same noise, 2 s."""
        labels = torch.eye(self.net.n_classes, dtype=torch.bool, device=self.device)
        noise = torch.randn(self.net.n_bins, 100, generator=torch.Generator().manual_seed(0)).to(self.device)
        noise = noise.expand(len(labels), -1, -1)
        told = None if self.prompt_dropout >= 1.0 else labels
        x = ddim(self.net, noise, self.sample_steps, self.guidance, told)
        trainer: Any = self.trainer
        title = f"samples, step {self.global_step}"
        log_figure(trainer, "samples", spectrograms(x.float().cpu().numpy(), trainer.datamodule.classes, title))

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        trainer: Any = self.trainer
        checkpoint["classes"] = list(trainer.datamodule.classes)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.net.parameters())
        return with_warmup(optimizer, self.warmup, int(self.trainer.estimated_stepping_batches))
