"""Training of the transcription branch: step, schedule, and the score that chooses the checkpoint."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from common.cli import log_figure
from common.frames import FrameGrid
from common.plots import piano_roll
from common.schedules import with_warmup
from common.storage import replacing
from lightweight_amt.data import Batch
from lightweight_amt.decode import DecodeSettings, decode
from lightweight_amt.evaluate import Clip, choose_settings, score_clips
from lightweight_amt.loss import basic_pitch, focal, per_frame


class AMTTask(L.LightningModule):
    """Trains a network whose outputs are onset, frame and (perhaps) offset logits.

    The thresholds of the decoder are chosen anew at each validation and go into the checkpoint with the weights; the
    command `validate` writes them to decode.json in the run's folder.

    Args:
        net: audio in, logits by output name out; see `lightweight_amt.model.Transcriber`.
        optimizer: makes the optimiser from the parameters.
        alpha: weight of the positive class in the focal loss of each output.
        loss_weights: of the outputs in the sum; the keys are what is logged.
        gamma: focusing exponent of the focal loss.
        warmup: optimiser steps over which the learning rate rises; from there a cosine leads to a hundredth of it.
        loss_function: "focal", or "basic_pitch", which has neither alpha nor gamma.
    """

    monitor = "val/note_f1"
    monitor_mode = "max"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        alpha: dict[str, float],
        loss_weights: dict[str, float],
        gamma: float = 1.0,
        warmup: int = 200,
        loss_function: Literal["focal", "basic_pitch"] = "focal",
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        # With 8 to 16 channels a convolution is 1.2 to 1.6 times faster in this layout, forwards and backwards.
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = optimizer
        self.alpha = alpha
        self.loss_weights = loss_weights
        self.gamma = gamma
        self.warmup = warmup
        self.loss_function = loss_function
        self.settings = DecodeSettings()
        self.clips: list[Clip] = []

    @property
    def grid(self) -> FrameGrid:
        """Clock of the frames that the data must have targets for."""
        return self.net.grid

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Logits of the frames that have targets, each (batch, pitch, frame)."""
        log_energy = self.net.log_energy(batch["audio"])  # (batch, bin, frame)
        margin = (log_energy.shape[2] - batch["frame"].shape[2]) // 2
        return self.net.transcribe(log_energy[:, :, margin : log_energy.shape[2] - margin])

    def loss(self, logits: dict[str, torch.Tensor], batch: Batch, stage: str) -> torch.Tensor:
        """Weighted sum of the outputs' losses; logs it and its terms."""
        losses = {name: self.output_loss(name, logit.float(), batch[name]) for name, logit in logits.items()}
        total = torch.stack([self.loss_weights[name] * loss for name, loss in losses.items()]).sum()
        options = {"batch_size": len(batch["audio"]), "on_epoch": True, "on_step": stage == "train"}
        self.log_dict({f"{stage}/{name}_loss": loss for name, loss in losses.items()}, **options)
        self.log(f"{stage}/loss", total, prog_bar=True, **options)
        return total

    def output_loss(self, name: str, logit: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.loss_function == "basic_pitch":
            return basic_pitch(name, logit, target)
        return per_frame(focal(logit, target, self.alpha[name], self.gamma))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self.loss(self(batch), batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "test")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        logits = self(batch)
        self.loss(logits, batch, stage)
        probabilities = {name: torch.sigmoid(logit).float().cpu().numpy() for name, logit in logits.items()}
        trainer: Any = self.trainer
        dataset = trainer.datamodule.datasets["validation" if stage == "val" else stage]
        for row in range(len(batch["audio"])):
            activations = {name: values[row] for name, values in probabilities.items()}
            self.clips.append(Clip(activations, dataset.reference(len(self.clips))))

    def on_validation_epoch_end(self) -> None:
        self.settings = choose_settings(self.clips, self.net.grid, self.settings)
        trainer: Any = self.trainer
        if trainer.state.fn == "validate":  # there is no checkpoint to come that would hold them
            with replacing(Path(trainer.default_root_dir, "decode.json")) as temporary:
                temporary.write_text(json.dumps(asdict(self.settings)))
        self.log_picture(self.clips[0])
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        self.log_scores("test")

    def log_picture(self, clip: Clip) -> None:
        """Piano roll of a validation clip: truth, found, missed and ghosts."""
        maps = clip.activations
        found = decode(maps["onset"], maps["frame"], maps.get("offset"), self.settings, self.net.grid)
        log_figure(self.trainer, "piano_roll", piano_roll(found, clip.notes, title=f"step {self.global_step}"))

    def log_scores(self, stage: str) -> None:
        scores = score_clips(self.clips, self.settings, self.net.grid)
        self.clips.clear()
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["decode"] = asdict(self.settings)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.settings = DecodeSettings(**checkpoint["decode"])

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.net.parameters())
        return with_warmup(optimizer, self.warmup, int(self.trainer.estimated_stepping_batches))
