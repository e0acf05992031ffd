"""Training of the network that the paper compares with, and its scores by both rules of aggregation."""

import json
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.optim.lr_scheduler import StepLR

from common.evaluation.multilabel import f_scores
from common.loading import gathered
from common.storage import replacing
from diffusion_pir.data import Batch, Windows
from diffusion_pir.decode import Calibration, Rule
from diffusion_pir.judge import Decision, Heard, choose, judge
from diffusion_pir.loss import LABEL_LOSSES, cross_entropy
from diffusion_pir.melstore import MelStore

RULES: tuple[Rule, ...] = ("S1", "S2")


class HanTask(L.LightningModule):
    """Trains a classifier of windows of log-mel, and judges it on excerpts.

    Thresholds are chosen anew at each validation, for each rule of aggregation, and go into the checkpoint; the command
    `test-han` judges with them, and writes what it finds to scores.json in the run's folder.

    Args:
        net: see `diffusion_pir.baselines.HanCNN`.
        optimizer: makes the optimiser from the parameters.
        loss: "bce", "asl" or "ce"; or "han", the published one: a cross-entropy of sigmoids that are brought to a sum
            of one, although there may be several labels.
        halve_every: epochs after which the learning rate is halved; 0 leaves it alone.
    """

    monitor = "val/lrap"
    monitor_mode = "max"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        loss: Literal["bce", "asl", "ce", "han"] = "bce",
        halve_every: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net: Any = net
        self.optimizer = optimizer
        self.loss = loss
        self.halve_every = halve_every
        self.heard: list[np.ndarray] = []  # logits of each window of an evaluation
        self.decisions: dict[str, Decision] = {}

    def on_fit_start(self) -> None:
        trainer: Any = self.trainer
        training = trainer.datamodule.datasets["train"]
        self.net.mean.fill_(mean_of(training.clips))

    def forward(self, batch: Batch) -> Tensor:
        """Logits (batch, class)."""
        return self.net(batch["log_mel"])

    def label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over windows."""
        if self.loss == "han":
            return cross_entropy(logsigmoid(logits.float()), labels).mean()
        return LABEL_LOSSES[self.loss](logits.float(), labels).mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.label_loss(self(batch), batch["labels"])
        n_windows = len(batch["labels"])
        self.log("train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=n_windows)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "test")

    def evaluation_step(self, batch: Batch, stage: str) -> None:
        logits = self(batch)
        loss = self.label_loss(logits, batch["labels"])
        self.log(f"{stage}/loss", loss, prog_bar=True, on_epoch=True, sync_dist=True, batch_size=len(logits))
        self.heard += list(logits.float().cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        trainer: Any = self.trainer
        heard = self.collect(trainer.val_dataloaders)
        self.decisions = {rule: choose(heard, rule, exclusive=self.loss == "ce") for rule in RULES}
        for rule, decision in self.decisions.items():
            self.log_dict({f"val/{name}_{rule}": value for name, value in self.averages(decision, heard).items()})
        self.log_dict({f"val/{name}": self.judged("S1", heard)[name] for name in ("lrap", "map")}, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        trainer: Any = self.trainer
        if not self.decisions:
            raise ValueError("this checkpoint has no thresholds: give one that was written after a validation")
        heard = self.collect(trainer.test_dataloaders)
        scores = {rule: self.judged(rule, heard) for rule in RULES}
        self.log_dict({f"test/{name}_{rule}": value for rule, row in scores.items() for name, value in row.items()})
        told = {rule: {"threshold": self.decisions[rule].thresholds[0], **row} for rule, row in scores.items()}
        with replacing(Path(trainer.default_root_dir, "scores.json")) as temporary:
            temporary.write_text(json.dumps(told, indent=1))

    def judged(self, rule: str, heard: Heard) -> dict[str, float]:
        """All scores under a rule."""
        trainer: Any = self.trainer
        return judge(self.decisions[rule], heard, trainer.datamodule.classes)

    @staticmethod
    def averages(decision: Decision, heard: Heard) -> dict[str, float]:
        """micro and macro F under a decision."""
        estimate = decision(decision.scores(heard.logits, heard.excerpt, len(heard.labels)))
        scores = f_scores(heard.labels, estimate)
        return {"micro": scores["micro_f1"], "macro": scores["macro_f1"]}

    def collect(self, loader: Any) -> Heard:
        """What was said, in all processes, of the excerpts that were heard whole or in part."""
        keys = (index for _, index in loader.sampler)
        heard = gathered(dict(zip(keys, self.heard, strict=False)))  # a sanity check does not hear all
        self.heard = []
        rows = sorted(heard)
        windows: Windows = loader.dataset
        clips = [(str(store.folder), clip.id) for store, clip, _ in (windows.windows[row] for row in rows)]
        numbers = {clip: number for number, clip in enumerate(dict.fromkeys(clips))}
        excerpt = np.array([numbers[clip] for clip in clips])
        first = np.unique(excerpt, return_index=True)[1]
        return Heard(np.stack([heard[row] for row in rows]), excerpt, windows.labels[np.array(rows)[first]])

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["thresholds"] = {rule: decision.thresholds for rule, decision in self.decisions.items()}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        calibration = None if self.loss == "ce" else Calibration()
        thresholds = checkpoint["thresholds"].items()
        self.decisions = {rule: Decision(rule, tuple(own), calibration) for rule, own in thresholds}

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.net.parameters())
        if not self.halve_every:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": StepLR(optimizer, self.halve_every, 0.5)}


def mean_of(clips: list[tuple[MelStore, Any]]) -> float:
    """Mean of all log-mels of some clips of stores."""
    sums = [(store.log_mel(clip).sum(dtype=np.float64), store.log_mel(clip).size) for store, clip in clips]
    total, count = np.sum(sums, axis=0)
    return float(total / count)
