"""Heads for the cells of a sweep, fitted and judged: a row of the table for each."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.evaluation.multilabel import f_scores
from diffusion_pir.backbones import CONTROLS, open_backbone
from diffusion_pir.bank import Bank, Beside
from diffusion_pir.fits import SUPPORT
from diffusion_pir.grid import CONSTANT, Point
from diffusion_pir.heads import HEADS, Head
from diffusion_pir.inference import Recogniser
from diffusion_pir.judge import Decision, Heard, choose, judge
from diffusion_pir.probe import FitSettings, Split, fit_head, fit_mlps, predict
from diffusion_pir.probe_sets import Part, open_set

CALIBRATED = ("plus",)  # heads whose probabilities are calibrated before a threshold is chosen
MIXES_SEED = 0  # mixes are data, and the same for every seed of the heads


@dataclass(frozen=True)
class Result:
    """One fit.

    Args:
        row: of the table; see `fits.COLUMNS`.
        scores: (excerpt, class) of the test set, from which anything else can be computed.
        model: the head with all that it needs to be used; a constant has none.
    """

    row: dict[str, Any]
    scores: np.ndarray
    model: Recogniser | None = None


class Prober:
    """The cells of one model, one training set and one way to take features.

    Args:
        first: any of the cells; the others are equal in model, train, test, draws and mixes.
        root: of the caches of features.
        device: to compute on.
        settings: how heads are fitted; each cell says the loss.
    """

    def __init__(self, first: Point, root: Path, device: str = "cpu", settings: FitSettings | None = None):
        self.device = device
        self.settings = settings or FitSettings()
        self.data = open_set(first.train, first.test, first.mixes, MIXES_SEED)
        self.bank = None if first.model == CONSTANT else Bank(open_backbone(first.model, device), root, first.draws)

    def key(self, point: Point) -> str:
        """What the files of a fit are called: told by the cell, its features and the settings."""
        features = self.bank.digest(self.data.parts, point) if self.bank else [part.groups for part in self.data.parts]
        parts = json.dumps([asdict(point), asdict(self.settings), features])
        return blake2b(parts.encode(), digest_size=10).hexdigest()

    def extract(self, points: Sequence[Point], shard: int = 0, n_shards: int = 1) -> None:
        """Take the features of cells; see `FeatureCache.extract`."""
        if self.bank:
            self.bank.extract(self.data.parts, points, shard, n_shards)

    def results(self, points: Sequence[Point]) -> list[Result]:
        """Fit and judge cells."""
        if self.bank is None:
            return [self._constant(point) for point in points]
        fitted = self._fit(self.bank, points)
        return [self._judge(self.bank, point, *fitted[_fit_key(point)]) for point in points]

    def _fit(self, bank: Bank, points: Sequence[Point]) -> dict[Point, tuple[Head, float]]:
        """Heads and the seconds that each took. Cells that differ in aggregation alone share one; MLPs are batched."""
        waiting = list(dict.fromkeys(map(_fit_key, points)))
        fitted: dict[Point, tuple[Head, float]] = {}
        for loss in dict.fromkeys(point.loss for point in waiting):
            mlps = [point for point in waiting if (point.head, point.loss) == ("mlp", loss)]
            fitted |= self._fit_mlps(bank, mlps) if mlps else {}
        return fitted | {point: self._fit_one(bank, point) for point in waiting if point not in fitted}

    def _fit_mlps(self, bank: Bank, points: Sequence[Point]) -> dict[Point, tuple[Head, float]]:
        tables = {(point.layer, point.sigma): Beside(bank.tables(self._learnt, point)) for point in points}
        seeds = list(dict.fromkeys(point.seed for point in points))
        settings = replace(self.settings, loss=points[0].loss)
        start = time.monotonic()
        heads = fit_mlps(tables, self._labels, self._split, seeds, settings, device=self.device)
        seconds = (time.monotonic() - start) / len(heads)
        return {point: (heads[(point.layer, point.sigma), point.seed], seconds) for point in points}

    def _fit_one(self, bank: Bank, point: Point) -> tuple[Head, float]:
        tables = bank.tables(self._learnt, point)
        start = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(point.seed)
            head = HEADS[point.head](sum(table.shape[1] for table in tables), len(self.data.classes))
        settings = replace(self.settings, loss=point.loss)
        fit_head(head, tables, self._labels, self._split, settings, point.seed, self.device)
        return head, time.monotonic() - start

    @property
    def _learnt(self) -> list[Part]:
        return [*self.data.train, *self.data.validation]

    @property
    def _labels(self) -> np.ndarray:
        return np.concatenate([part.labels[part.clip] for part in self._learnt])

    @property
    def _split(self) -> Split:
        n_train, n_all = (sum(len(part.clip) for part in parts) for parts in (self.data.train, self._learnt))
        return Split(np.arange(n_train), np.arange(n_train, n_all))

    def _judge(self, bank: Bank, point: Point, head: Head, seconds: float) -> Result:
        def heard(parts: Sequence[Part]) -> Heard:
            tables = bank.tables(parts, point)
            table = [Beside(tables)] if point.head == "mlp" else tables
            return together(parts, predict(head, table, device=self.device))

        level: dict[str, Any] = {}
        if len(point.sigmas) == 1:
            t, log_snr_db = bank.backbone.level(point.sigmas[0])
            level = {"sigma": point.sigmas[0], "t": t, "log_snr_db": log_snr_db}
        control = point.model.partition(":")[0] in CONTROLS
        row = {
            "role": "control" if control else "model",
            "model": bank.backbone.name,
            **level,
            "params": sum(parameter.numel() for parameter in head.parameters()),
            "seconds": round(seconds, 3),
        }
        decision, result = self._result(point, row, heard(self.data.deciding), heard([self.data.test]))
        classes = self.data.classes
        return replace(
            result, model=Recogniser(bank.backbone, head, bank.spec(point), decision, classes, name_of(point))
        )

    def _constant(self, point: Point) -> Result:
        """How often classes are in the excerpts of the validation, for every clip: the best that hears nothing."""
        often = np.concatenate([part.labels for part in self.data.deciding]).mean(0).clip(1e-3, 1 - 1e-3)

        def heard(parts: Sequence[Part]) -> Heard:
            logits = np.log(often / (1 - often))
            return together(parts, np.tile(logits, (sum(len(part.clip) for part in parts), 1)))

        row = {"role": "floor", "model": CONSTANT, "params": 0, "seconds": 0.0}
        return self._result(point, row, heard(self.data.deciding), heard([self.data.test]))[1]

    def _result(self, point: Point, row: dict[str, Any], validation: Heard, test: Heard) -> tuple[Decision, Result]:
        decision = choose(validation, point.agg, point.loss == "ce", calibrated=point.head in CALIBRATED)  # pyright: ignore[reportArgumentType] -- a checked point has such a rule
        chosen = decision(decision.scores(validation.logits, validation.excerpt, len(validation.labels)))
        floor = row["role"] == "floor"
        row = row | {
            **{name: getattr(point, name) for name in ("layer", "head", "agg", "loss", "seed")},
            **{"train_set": point.train, "test_set": point.test, "noise": point.sigma},
            **({} if floor else {"draws": point.draws, "mixes": point.mixes}),
            "threshold": decision.thresholds[0],
            "val_micro": f_scores(validation.labels, chosen)["micro_f1"],
            **judge(decision, test, self.data.classes),
            **{
                f"{SUPPORT}{name}": int(count)
                for name, count in zip(self.data.classes, test.labels.sum(0), strict=True)
            },
        }
        return decision, Result(row, decision.scores(test.logits, test.excerpt, len(test.labels)))


def name_of(point: Point) -> str:
    """What a head is called that was kept of a sweep."""
    return f"{point.head}-{point.layer}-{point.sigma}-seed{point.seed}"


def _fit_key(point: Point) -> Point:
    """A cell with what its head does not depend on set to one value."""
    return replace(point, agg="")


def together(parts: Sequence[Part], logits: np.ndarray) -> Heard:
    """What a head says of several parts, one after the other, as of one."""
    first = np.cumsum([0, *(len(part.labels) for part in parts)]).tolist()
    excerpt = np.concatenate([part.clip + start for part, start in zip(parts, first, strict=False)])
    return Heard(logits, excerpt, np.concatenate([part.labels for part in parts]))
