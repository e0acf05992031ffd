"""Training: step, schedule, and the notes that are written in validation, whose score chooses the checkpoint."""

from collections import defaultdict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from common.cli import log_figure
from common.loading import gathered
from common.notes import Notes
from common.plots import piano_roll
from common.schedules import with_warmup
from yourmt3plus.data import Batch
from yourmt3plus.decode import decode
from yourmt3plus.events import EventHead, event_loss, truth
from yourmt3plus.excerpts import Excerpts
from yourmt3plus.generate import SILENT_ROW, Rows, fast
from yourmt3plus.grammar import Grammar
from yourmt3plus.loss import gate_loss, token_scores
from yourmt3plus.model import Heard, YourMT3
from yourmt3plus.moe import Routing
from yourmt3plus.reading import Reader, Thresholds
from yourmt3plus.rows import RowBatch
from yourmt3plus.salience import Maps
from yourmt3plus.tokenizer import TICKS_PER_SECOND
from yourmt3plus.validation import mean_scores


class YourMT3Task(L.LightningModule):
    """Trains a network that writes rows of tokens, or tells maps of notes, or does both.

    Args:
        net: a `yourmt3plus.model.YourMT3`, or a `yourmt3plus.listener.Listener`, which writes no tokens.
        optimizer: makes the optimiser from the parameters.
        loss_weights: of the terms in the sum, by the name under which they are logged: "token"; "gate" if the network
            has one; "balance", of the experts' load, 1 where all are equally busy; "event", see `yourmt3plus.events`.
            A term that is not named, or has weight 0, is not computed. If "event" is the only one, and the network has
            a salience, neither its encoder nor its decoder runs.
        warmup: optimiser steps over which the rate rises from half to all of the optimiser's.
        last_rate: where the cosine leads that follows.
        silent_rows: share of the silent rows that the decoder is trained on; with a gate it has few of them to write.
        told_until: step until which a network with a salience is told the truth of ever fewer segments in its place.
    """

    monitor = "val/onset_f1"
    monitor_mode = "max"

    def __init__(
        self,
        net: nn.Module,
        optimizer: OptimizerCallable,
        loss_weights: dict[str, float],
        warmup: int = 1000,
        last_rate: float = 1e-5,
        silent_rows: float = 1.0,
        told_until: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(logger=False)
        # Convolutions of few channels are faster in this layout on a CPU, and those of bfloat16 on a GPU.
        self.net: Any = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = optimizer
        self.loss_weights = {name: weight for name, weight in loss_weights.items() if weight}
        self.warmup = warmup
        self.last_rate = last_rate
        self.silent_rows = silent_rows
        self.told_until = told_until
        wanted = "event" in self.loss_weights and self.net.salience is None
        self.event_head = EventHead(self.net.decoder.dim) if wanted else None
        self.writes = "token" in self.loss_weights
        self.encodes = isinstance(net, YourMT3) and (net.salience is None or set(self.loss_weights) != {"event"})
        self.reader = None if self.net.salience is None else reader(self.net)
        self.maps: dict[int, list[np.ndarray]] = defaultdict(list)  # (map, channel, frame, key) of the same segments
        self.grammar: Grammar | None = None
        self.written: dict[int, list[Tensor]] = defaultdict(list)  # rows of the segments of each excerpt

    def step(self, batch: Batch, rows: list[RowBatch], stage: str) -> tuple[Tensor, Heard | None, Maps | None]:
        """Weighted sum of the losses, which it logs; what the decoder listened to, if it did; and maps of notes."""
        losses, values, heard = {}, {}, None
        with attention(self.device):
            if self.encodes:
                heard = self.encode(batch, stage)
                maps, anything = heard.maps, heard.memory
            else:
                maps = self.net.maps(batch["audio"])
                anything = maps.onset
            if heard is not None and self.writes:
                task = batch["task"] if self.net.n_tasks else None
                tokens = token_scores(
                    [self.net.write(heard.memory, row_batch, task) for row_batch in rows], rows, batch["annotated"]
                )
                losses["token"], values["token_accuracy"] = tokens.loss, tokens.accuracy
        losses |= self.other_losses(batch, heard, maps)
        # A batch of which nothing is known has a gradient, too, and it is 0.
        total = 0.0 * anything.float().sum()
        for name, loss in losses.items():
            total = total + self.loss_weights[name] * loss
        values |= {f"{name}_loss": loss for name, loss in losses.items()}
        values |= {"loss": total, "truncated": (batch["truncated"] > 0).float().mean()}
        self.record(values | loads(heard.routing if heard is not None else None), stage, len(batch["audio"]))
        return total, heard, maps

    def encode(self, batch: Batch, stage: str) -> Heard:
        """With a salience, some segments of a training that begins are told what notes there are."""
        share = max(0.0, 1.0 - self.global_step / self.told_until) if stage == "train" and self.told_until else 0.0
        if self.net.salience is None or not share:
            return self.net.encode(batch["audio"])
        which = torch.rand(len(batch["audio"]), device=self.device) < share
        return self.net.encode(batch["audio"], self.truth(batch), which)

    def truth(self, batch: Batch) -> Maps:
        """What the rows say, at the keys that the salience knows, if there is one."""
        net = self.net
        maps = truth(batch["tokens"], net.front_end.n_frames(net.n_samples), net.frames_per_tick)
        return maps if net.salience is None else Maps(*(part[..., net.salience.keys] for part in maps))

    def other_losses(self, batch: Batch, heard: Heard | None, maps: Maps | None) -> dict[str, Tensor]:
        """Those that need no logits of tokens."""
        losses, annotated = {}, batch["annotated"]
        if "event" in self.loss_weights and maps is not None:
            losses["event"] = event_loss(maps, self.truth(batch), annotated)
        if heard is None:
            return losses
        if "gate" in self.loss_weights:
            losses["gate"] = gate_loss(self.net.silence(heard.memory), batch["tokens"], annotated)
        if "balance" in self.loss_weights and heard.routing is not None:
            losses["balance"] = heard.routing.balance_loss()
        if self.event_head is not None:
            losses["event"] = event_loss(self.event_head(heard.memory), self.truth(batch), annotated)
        return losses

    def record(self, values: dict[str, Tensor], stage: str, n_segments: int) -> None:
        training = stage == "train"
        options = {"on_step": training, "on_epoch": not training, "sync_dist": not training, "batch_size": n_segments}
        self.log(f"{stage}/loss", values["loss"].detach(), prog_bar=True, **options)
        self.log_dict({f"{stage}/{name}": value for name, value in values.items() if name != "loss"}, **options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.step(batch, thinned(batch["rows"], self.silent_rows), "train")[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "val", "validation")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.evaluation_step(batch, "test", "test")

    def evaluation_step(self, batch: Batch, stage: str, split: str) -> None:
        _, heard, maps = self.step(batch, batch["rows"], stage)
        excerpts = batch["excerpt"].tolist()
        if heard is not None and self.writes:
            rows = self.write(heard.memory, batch["task"], self.dataset(split).max_tokens).cpu()
            for index, segment in zip(excerpts, rows, strict=True):
                self.written[index].append(segment)
        if maps is not None:
            heard_maps = torch.stack(maps, dim=1).sigmoid().half().cpu().numpy()
            for index, segment in zip(excerpts, heard_maps, strict=True):
                self.maps[index].append(segment)

    def dataset(self, split: str) -> Excerpts:
        trainer: Any = self.trainer
        return trainer.datamodule.datasets[split]

    def write(self, memory: Tensor, task: Tensor, max_tokens: int) -> Tensor:
        """The rows (batch, channel, token) that the network writes by itself."""
        if self.grammar is None:
            self.grammar = Grammar(self.net.channels, self.net.n_ticks, self.device)
        rows = Rows.of(memory, task if self.net.n_tasks else None)
        silent = (self.net.silence(memory) > 0).flatten() if self.net.gate is not None else None
        tokens = fast(self.net.decoder, rows, max_tokens, self.grammar, silent)
        return tokens.unflatten(0, memory.shape[:2])

    def on_validation_epoch_end(self) -> None:
        self.score("val", "validation")

    def on_test_epoch_end(self) -> None:
        self.score("test", "test")

    def score(self, stage: str, split: str) -> None:
        """Compare what has been written, and read from maps, of each excerpt with what is played there."""
        n_ticks = self.net.n_ticks
        if self.maps and self.reader is not None:
            maps = gathered({index: np.stack(segments, axis=1) for index, segments in self.maps.items()})
            self.maps.clear()
            excerpts = {index: self.reference(split, index, maps[index].shape[1]) for index in sorted(maps)}
            if stage == "val":
                self.reader = self.reader.chosen([maps[index] for index in excerpts], list(excerpts.values()))
            pairs = [(reference, self.reader.notes(*maps[index])) for index, reference in excerpts.items()]
            self.log_scores(f"{stage}/maps_" if self.writes else f"{stage}/", pairs)
        if self.writes:
            rows = gathered({index: torch.stack(segments).numpy() for index, segments in self.written.items()})
            self.written.clear()
            self.log_scores(
                f"{stage}/",
                [
                    (self.reference(split, index, len(rows[index])), decode(rows[index], n_ticks)[0])
                    for index in sorted(rows)
                ],
            )

    def reference(self, split: str, index: int, n_segments: int) -> Notes:
        """What is played in so many segments of an excerpt: a sanity check does not hear all of it."""
        return self.dataset(split).reference(index).crop(0.0, n_segments * self.net.n_ticks / TICKS_PER_SECOND)

    def log_scores(self, prefix: str, pairs: list[tuple[Notes, Notes]]) -> None:
        self.log_dict({f"{prefix}{name}": value for name, value in mean_scores(pairs).items()}, rank_zero_only=True)
        self.log_pictures(*pairs[0])

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        if self.reader is not None:
            checkpoint["thresholds"] = asdict(self.reader.thresholds)

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        if self.reader is not None:
            self.reader = replace(self.reader, thresholds=Thresholds(**checkpoint["thresholds"]))

    def log_pictures(self, reference: Notes, estimate: Notes) -> None:
        """Piano rolls of an excerpt, coloured by instrument: what is played, and what was written."""
        for name, notes in (("truth", reference), ("written", estimate)):
            title = f"{name}, step {self.global_step}"
            log_figure(
                self.trainer, f"piano_roll_{name}", piano_roll(notes, seconds=reference.end or None, title=title)
            )

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.parameters())
        floor = self.last_rate / optimizer.param_groups[0]["lr"]
        return with_warmup(optimizer, self.warmup, int(self.trainer.estimated_stepping_batches), floor=floor, start=0.5)


def reader(net: Any) -> Reader:
    """What reads the maps of a network with a salience."""
    return Reader(net.channels, net.salience.keys.start, net.frames_per_tick)


def attention(device: torch.device) -> AbstractContextManager:
    """How attention is computed: on a CPU plainly, as its fused form goes backwards eight times slower in bfloat16."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def thinned(rows: list[RowBatch], share: float) -> list[RowBatch]:
    """The same without a part of the silent rows, drawn anew each time."""

    def some(batch: RowBatch) -> RowBatch:
        if share == 1.0 or batch.tokens.shape[1] > len(SILENT_ROW):
            return batch
        kept = torch.randperm(len(batch.row), device=batch.row.device)[: round(share * len(batch.row))]
        return RowBatch(batch.row[kept], batch.tokens[kept])

    return [batch for batch in map(some, rows) if len(batch.row)]


def loads(routing: Routing | None) -> dict[str, Tensor]:
    """How much busier than the average the busiest expert of each layer is; 1 is best."""
    if routing is None:
        return {}
    busiest = routing.share.detach().amax(dim=-1) * routing.share.shape[-1]
    return {f"expert_load_{layer}": load for layer, load in enumerate(busiest)}
