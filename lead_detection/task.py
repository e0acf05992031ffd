"""Training: step, parameter groups, schedule, and the scores of validation that choose the checkpoint."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from common.cli import log_figure
from common.loading import gathered
from common.schedules import with_warmup
from common.storage import replacing
from lead_detection.data import Batch
from lead_detection.decode import DecodeSettings
from lead_detection.loss import cross_entropy, instrument_target
from lead_detection.optimizer import Groups, parameter_groups
from lead_detection.validation import Window, choose_settings, label, picture, score, song_scores, told


class LeadTask(L.LightningModule):
    """Trains a network that says of each frame which track leads, or which instrument, or that nobody does.

    The loss is a mean over the annotated frames of a batch. Batches are ragged, with more clips where these have fewer
    tracks: in an accumulation every batch counts alike, hence frames of small batches more.

    Temperature and null bias of the decoder are chosen anew at each validation and go into the checkpoint with the
    weights; the command `validate` writes them to decode.json in the run's folder.

    Args:
        net: see `lead_detection.model.LeadDetector`.
        optimizer: makes the optimiser from the parameters.
        groups: options of the optimiser by the beginning of the parameters' names; see `parameter_groups`.
        decay_all: decay biases, norms and embeddings too.
        freeze: parts of the network that do not learn, by name; they stay in evaluation mode.
        schedule: "cosine" after a warm-up, or "plateau", the paper's: half the rate whenever four validations in a row
            have not been better than the best before.
        warmup: optimiser steps over which the rate rises to the cosine.
        smoothing: probability that the true class gives away to all.
        monitor: the score that chooses the checkpoint.
    """

    monitor_mode: Literal["max"] = "max"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        groups: Groups,
        decay_all: bool = False,
        freeze: list[str] | None = None,
        schedule: Literal["cosine", "plateau"] = "cosine",
        warmup: int = 200,
        smoothing: float = 0.0,
        monitor: str = "val/track_accuracy",
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net: Any = net
        self.optimizer = optimizer
        self.groups = groups
        self.decay_all = decay_all
        self.schedule = schedule
        self.warmup = warmup
        self.smoothing = smoothing
        self.monitor = monitor
        self.frozen = [net.get_submodule(name).requires_grad_(False) for name in freeze or ()]
        self.train()
        self.settings = DecodeSettings()
        self.heard: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # logits, lead, instruments of each window
        self.song_scores: dict[str, dict[str, float]] = {}
        self.plateau: ReduceLROnPlateau | None = None
        self.plateau_state: dict[str, Any] | None = None

    def train(self, mode: bool = True) -> "LeadTask":
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (batch, frame, class)."""
        return self.net(batch["audio"], batch["clip"], batch["instrument"], batch["mixture"])

    def loss(self, logits: torch.Tensor, batch: Batch, stage: str) -> torch.Tensor:
        """Mean over the annotated frames; logs it."""
        target = batch["lead"]
        if self.net.classifies == "instrument":
            target = instrument_target(target, batch["clip"], batch["instrument"])
        loss = cross_entropy(logits, target, self.smoothing)
        training = stage == "train"
        self.log(
            f"{stage}/loss",
            loss,
            prog_bar=True,
            on_step=training,
            on_epoch=True,
            sync_dist=not training,
            batch_size=len(logits),
        )
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self.loss(self(batch), batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "test")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        logits = self(batch)
        self.loss(logits, batch, stage)
        self.heard += told(logits, batch, self.net.classifies)

    def on_validation_epoch_end(self) -> None:
        trainer: Any = self.trainer
        windows = self.collect(trainer.val_dataloaders)
        self.settings = choose_settings(windows, DecodeSettings(), self.net.classifies)
        if trainer.state.fn == "validate":  # there is no checkpoint to come that would hold them
            with replacing(Path(trainer.default_root_dir, "decode.json")) as temporary:
                temporary.write_text(json.dumps(asdict(self.settings)))
        if self.net.classifies == "track":
            title = f"{windows[0].song.id}, step {self.global_step}"
            log_figure(self.trainer, "timeline", picture(windows, self.net.grid, self.settings, title))
        scores = self.log_scores(windows, "val")
        if self.plateau and not trainer.sanity_checking:
            self.plateau.step(scores[self.monitor.removeprefix("val/")])

    def on_test_epoch_end(self) -> None:
        trainer: Any = self.trainer
        self.log_scores(self.collect(trainer.test_dataloaders), "test")

    def collect(self, loader: Any) -> list[Window]:
        """The windows that all processes have heard in this epoch, in the order of the songs."""
        keys = [index for batch in loader.sampler for _, index in batch]
        heard = gathered(dict(zip(keys, self.heard, strict=False)))  # a sanity check does not hear all
        self.heard = []
        places, hop_length = loader.dataset.dataset.windows, self.net.grid.hop_length
        return [Window(places[i][0], places[i][1] // hop_length, *heard[i]) for i in sorted(heard)]

    def log_scores(self, windows: list[Window], stage: str) -> dict[str, float]:
        labels = label(windows, self.settings, self.net.classifies)
        self.song_scores = song_scores(windows, labels)
        scores = score(windows, labels, self.settings, self.net.classifies)
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})
        return scores

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        trainer: Any = self.trainer
        checkpoint["decode"] = asdict(self.settings)
        checkpoint["norm"] = trainer.datamodule.norm
        checkpoint["plateau"] = self.plateau.state_dict() if self.plateau else None

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.settings = DecodeSettings(**checkpoint["decode"])
        self.plateau_state = checkpoint["plateau"]

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(parameter_groups(self.net, self.groups, self.decay_all))
        if self.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(optimizer, self.monitor_mode, factor=0.5, patience=4)
            if self.plateau_state:
                self.plateau.load_state_dict(self.plateau_state)
            return optimizer
        return with_warmup(optimizer, self.warmup, int(self.trainer.estimated_stepping_batches))
