"""Training of the timbre branch: notes of one instrument together, notes of different ones apart."""

from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from common.notes import Notes
from common.schedules import with_warmup
from lightweight_amt.contrastive import affinity_mse, info_nce, sample_balanced
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.evaluate import Clip
from lightweight_amt.timbre import load_branch, note_vectors
from lightweight_amt.timbre_data import TimbreBatch
from lightweight_amt.timbre_scores import purities, track_f1

SCORES = ("purity", "frame_purity", "track_f1", "frame_track_f1")


class TimbreTask(L.LightningModule):
    """Trains an encoder on the log energies and the frame activations of a transcription branch that stays as it is.

    Args:
        net: has `encode`; see `lightweight_amt.timbre.TimbreEncoder`.
        optimizer: makes the optimiser from the parameters.
        transcriber: shipped weights by name, or a .safetensors file: the branch that is there already.
        loss_function: "info_nce" or "affinity_mse" (deep clustering).
        temperature: of InfoNCE.
        note_weight: of the loss between whole notes.
        cell_weight: of the loss between single cells, the paper's.
        cells: at most so many cells of a clip are compared, as many of each instrument as can be.
        warmup: optimiser steps over which the learning rate rises; from there a cosine leads to a hundredth of it.
    """

    monitor = "val/purity"
    monitor_mode = "max"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        transcriber: str = "base",
        loss_function: Literal["info_nce", "affinity_mse"] = "info_nce",
        temperature: float = 0.15,
        note_weight: float = 1.0,
        cell_weight: float = 0.5,
        cells: int = 512,
        warmup: int = 200,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.net: Any = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = optimizer
        self.loss_function = loss_function
        self.temperature = temperature
        self.note_weight = note_weight
        self.cell_weight = cell_weight
        self.cells = cells
        self.warmup = warmup
        branch, card = load_branch(transcriber)
        # In a list, so that it is no part of this module: neither trained nor saved with it.
        self.frozen = [branch]
        self.settings = DecodeSettings(**card["decode"])
        self.rows: list[dict[str, float]] = []  # the scores of each clip

    @property
    def grid(self):
        return self.frozen[0].grid

    def hear(self, batch: TimbreBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Log energies (batch, bin, frame) and probabilities, each (batch, pitch, frame), where there are labels."""
        transcriber = self.frozen[0] = self.frozen[0].to(self.device)
        with torch.no_grad():
            log_energy = transcriber.log_energy(batch["audio"])
            margin = (log_energy.shape[2] - batch["note"].shape[2]) // 2
            log_energy = log_energy[:, :, margin : log_energy.shape[2] - margin]
            logits = transcriber.transcribe(log_energy)
            return log_energy, {name: torch.sigmoid(logit.float()) for name, logit in logits.items()}

    def contrast(self, vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.loss_function == "affinity_mse":
            return affinity_mse(vectors, labels[:, None] == labels.unique())
        return info_nce(vectors, labels, self.temperature)

    def training_step(self, batch: TimbreBatch, batch_idx: int) -> torch.Tensor:
        log_energy, maps = self.hear(batch)
        embeddings = self.net.encode(log_energy).float()  # (batch, dim, pitch, frame)
        losses = []
        for embedding, weight, note, instrument in zip(
            embeddings, maps["frame"], batch["note"], batch["instrument"], strict=True
        ):
            labelled = instrument >= 0
            vectors = note_vectors(embedding, note, weight, len(instrument))[labelled]
            loss = self.note_weight * self.contrast(vectors, instrument[labelled])
            if self.cell_weight:
                cells = torch.nonzero((note >= 0) & labelled[note.clamp(min=0)])
                labels = instrument[note[cells[:, 0], cells[:, 1]]]
                chosen = sample_balanced(labels, self.cells)
                pitch, time = cells[chosen].T
                loss = loss + self.cell_weight * self.contrast(embedding[:, pitch, time].T, labels[chosen])
            losses.append(loss)
        total = torch.stack(losses).mean()
        self.log("train/loss", total, prog_bar=True, batch_size=len(losses))
        return total

    def validation_step(self, batch: TimbreBatch, batch_idx: int) -> None:
        self.evaluation_step(batch, "val")

    def test_step(self, batch: TimbreBatch, batch_idx: int) -> None:
        self.evaluation_step(batch, "test")

    def evaluation_step(self, batch: TimbreBatch, stage: str) -> None:
        """Scores each clip of several instruments, their number known."""
        log_energy, maps = self.hear(batch)
        maps["embedding"] = self.net.encode(log_energy).float()
        trainer: Any = self.trainer
        dataset = trainer.datamodule.datasets["validation" if stage == "val" else stage]
        for i, (note, instrument) in enumerate(zip(batch["note"], batch["instrument"], strict=True)):
            own = {name: values[i] for name, values in maps.items()}
            reference = dataset.reference(len(self.rows))
            self.rows.append(self.scores(own, note, instrument, reference))

    def scores(
        self, maps: dict[str, torch.Tensor], note: torch.Tensor, instrument: torch.Tensor, reference: Notes
    ) -> dict[str, float]:
        """Of one clip, see `timbre_scores`; none where there is but one instrument."""
        labelled = instrument >= 0
        k = len(instrument[labelled].unique())
        if k < 2:
            return {}
        vectors = note_vectors(maps["embedding"], note, maps["frame"], len(instrument))[labelled]
        cells = (note >= 0) & labelled[note.clamp(min=0)]
        arrays = vectors, instrument[labelled], maps["embedding"][:, cells].T, instrument[note[cells]]
        clip = Clip({name: values.cpu().numpy() for name, values in maps.items()}, reference)
        return purities(*(array.cpu().numpy() for array in arrays)) | track_f1(clip, self.settings, self.grid, k)

    def on_validation_epoch_end(self) -> None:
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        self.log_scores("test")

    def log_scores(self, stage: str) -> None:
        rows = [row for row in self.rows if row]
        self.rows.clear()
        means = {name: float(np.mean([row[name] for row in rows])) if rows else 0.0 for name in SCORES}
        self.log_dict({f"{stage}/{name}": mean for name, mean in means.items()}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.net.parameters())
        return with_warmup(optimizer, self.warmup, int(self.trainer.estimated_stepping_batches))
