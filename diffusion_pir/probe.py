"""Heads fitted to features of a frozen backbone: one of any kind, or all the MLPs of a grid as one batched model.

In a grid everything random, first weights, order of windows and dropout, depends on the seed alone. A fit is therefore
the same whatever it is batched with, and fits of one seed differ in nothing but their features.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from diffusion_pir.heads import Head, MLPHead
from diffusion_pir.loss import LABEL_LOSSES
from diffusion_pir.stacked import StackedMLPs
from diffusion_pir.tables import Table, chunks, moments, take

MOST_WEIGHTS = 2**26  # of MLPs that are fitted at once: a gigabyte with gradients and moments

Name = TypeVar("Name", bound=Hashable)
AnyHead = TypeVar("AnyHead", bound=Head)


@dataclass(frozen=True)
class FitSettings:
    """How a head is fitted.

    Args:
        loss: "bce", each class for itself; "ce", one excludes the others; "asl", asymmetric.
        lr: of AdamW.
        weight_decay: of AdamW.
        batch_size: windows of a step.
        epochs: at most.
        patience: epochs without a lower validation loss after which a fit ends; the weights of the lowest are kept.
        smoothing: probability with which a class that is not labelled is there all the same.
    """

    loss: Literal["bce", "ce", "asl"] = "bce"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    batch_size: int = 64
    epochs: int = 50
    patience: int = 8
    smoothing: float = 0.0


@dataclass(frozen=True, eq=False)
class Split:
    """Rows of a table: those that are learnt from, and those that say when to stop."""

    train: np.ndarray
    validation: np.ndarray

    def __post_init__(self):
        if not len(self.train) or not len(self.validation):
            raise ValueError(
                f"{len(self.train)} windows to learn from and {len(self.validation)} to stop by: give some"
            )


class Best:
    """The state of a model, or of each of the models stacked in it, when its validation loss was lowest.

    Args:
        model: its state's tensors begin with `shape`.
        shape: of the losses; () for one model.
        patience: see `FitSettings`.
    """

    def __init__(self, model: nn.Module, shape: Sequence[int], patience: int):
        self.model = model
        self.patience = patience
        self.loss = torch.full(tuple(shape), torch.inf)
        self.waited = torch.zeros(tuple(shape), dtype=torch.int64)
        self.state = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def update(self, loss: Tensor) -> bool:
        """Take an epoch's losses; whether any model may still get better."""
        going = self.waited < self.patience  # those that have ended stay as they are, whoever goes on
        better = going & (loss < self.loss)
        self.loss = torch.where(better, loss, self.loss)
        self.waited = torch.where(better, 0, self.waited + 1)
        for name, tensor in self.model.state_dict().items():
            mask = better.view(better.shape + (1,) * (tensor.ndim - better.ndim)).to(tensor.device)
            self.state[name] = torch.where(mask, tensor, self.state[name])
        return bool((self.waited < self.patience).any())

    def restore(self) -> None:
        self.model.load_state_dict(self.state)


def fit_head(
    head: AnyHead,
    features: Sequence[Table],
    labels: np.ndarray,
    split: Split,
    settings: FitSettings = FitSettings(),
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> AnyHead:
    """Fit one head; its first weights are those that it has.

    Args:
        head: fitted in place.
        features: of each layer and noise level that it takes, see `heads.concatenate`.
        labels: (window, class).
        split: rows of both.
        settings: how.
        seed: of order and dropout.
        device: to fit on.

    Returns:
        The head, in evaluation mode, with the statistics of its training windows.

    Raises:
        LabelError: a window without a label, under the loss "ce".
    """
    head.to(device)
    head.standardise_by(*moments(features, split.train))
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        torch.manual_seed(seed)
        _descend(
            head,
            lambda rows: take(features, rows, device),
            torch.as_tensor(labels, dtype=torch.float32, device=device),
            split,
            settings,
            order=lambda epoch: np.random.default_rng((seed, epoch)).permutation(split.train),
            jobs=(),
        )
    return head.eval()


def fit_mlps(
    features: Mapping[Name, Table],
    labels: np.ndarray,
    split: Split,
    seeds: Sequence[int] = (0,),
    settings: FitSettings = FitSettings(),
    hidden: int = 128,
    dropout: float = 0.3,
    device: str | torch.device = "cpu",
) -> dict[tuple[Name, int], MLPHead]:
    """Fit an MLP to each table of features with each seed, as many at once as memory takes.

    Args:
        features: tables (window, dim) by name, of the same windows; dimensions may differ.
        labels: (window, class).
        split: rows of all of them.
        seeds: of first weights, order and dropout.
        settings: how.
        hidden: width of the MLPs.
        dropout: of the MLPs.
        device: to fit on.

    Returns:
        Heads by name and seed, in evaluation mode, on the CPU.

    Raises:
        LabelError: a window without a label, under the loss "ce".
    """
    by_dim: dict[int, list[Name]] = {}
    for name, table in features.items():
        by_dim.setdefault(table.shape[1], []).append(name)
    heads = {}
    for dim, names in by_dim.items():
        at_once = max(1, MOST_WEIGHTS // (dim * hidden * len(seeds)))
        for first in range(0, len(names), at_once):
            group = names[first : first + at_once]
            tables = [features[name] for name in group]
            stack = _fit_stack(tables, labels, split, seeds, settings, hidden, dropout, device)
            pairs = [(i, j) for i in range(len(group)) for j in range(len(seeds))]
            heads |= {(group[i], seeds[j]): stack.unstack(i, j) for i, j in pairs}
    return heads


def _fit_stack(
    tables: Sequence[Table],
    labels: np.ndarray,
    split: Split,
    seeds: Sequence[int],
    settings: FitSettings,
    hidden: int,
    dropout: float,
    device: str | torch.device,
) -> StackedMLPs:
    """MLPs on tables of one dimension, on the CPU when they are done."""

    def read(rows: np.ndarray) -> Tensor:
        rows = np.atleast_2d(rows)  # validation is the same for every seed
        return torch.from_numpy(np.stack([np.asarray(table[rows], np.float32) for table in tables])).to(device)

    means, stds = (
        torch.stack(values) for values in zip(*(moments([table], split.train) for table in tables), strict=True)
    )
    stack = StackedMLPs(means, stds, labels.shape[1], seeds, hidden, dropout).to(device)
    _descend(
        stack,
        read,
        torch.as_tensor(labels, dtype=torch.float32, device=device),
        split,
        settings,
        order=lambda epoch: np.stack([np.random.default_rng((s, epoch)).permutation(split.train) for s in seeds]),
        jobs=(len(tables), len(seeds)),
    )
    return stack.cpu()


def _descend(
    model: nn.Module,
    read: Callable[[np.ndarray], Tensor],
    labels: Tensor,
    split: Split,
    settings: FitSettings,
    order: Callable[[int], np.ndarray],
    jobs: tuple[int, ...],
) -> None:
    """Gradient descent until no model gets better; each ends with its best weights.

    Args:
        model: `read`'s features to logits (*jobs, window, class).
        read: features of rows.
        labels: (window, class), on the model's device.
        split: rows.
        settings: how.
        order: epoch -> training rows (..., window), as they come.
        jobs: shape of the models stacked in it.
    """
    label_loss = LABEL_LOSSES[settings.loss]
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, weight_decay=settings.weight_decay)
    best = Best(model, jobs, settings.patience)
    for epoch in range(settings.epochs):
        model.train()
        rows = order(epoch)
        for batch in np.split(rows, range(settings.batch_size, rows.shape[-1], settings.batch_size), axis=-1):
            logits = model(read(batch))
            target = labels[torch.from_numpy(batch)].clamp(min=settings.smoothing)
            loss = label_loss(logits, target.expand_as(logits)).mean(-1)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
        if not best.update(_mean_loss(model, read, labels, split.validation, label_loss, settings.batch_size)):
            break
    best.restore()


@torch.inference_mode()
def _mean_loss(
    model: nn.Module,
    read: Callable[[np.ndarray], Tensor],
    labels: Tensor,
    rows: np.ndarray,
    label_loss: Callable[[Tensor, Tensor], Tensor],
    batch_size: int,
) -> Tensor:
    """Of the rows, under each of the models."""
    model.eval()
    parts = []
    for batch in np.split(rows, range(batch_size, len(rows), batch_size)):
        logits = model(read(batch))
        parts.append(label_loss(logits, labels[torch.from_numpy(batch)].expand_as(logits)))
    return torch.cat(parts, -1).mean(-1).cpu()


@torch.inference_mode()
def predict(
    head: Head, features: Sequence[Table], rows: np.ndarray | None = None, device: str | torch.device = "cpu"
) -> np.ndarray:
    """Logits of windows, float32 (window, class).

    Args:
        head: in evaluation mode.
        features: of each layer and noise level that it takes.
        rows: which windows; none means all.
        device: to compute on.
    """
    rows = np.arange(len(features[0])) if rows is None else rows
    head.to(device)
    return np.concatenate([head(take(features, chunk, device)).cpu().numpy() for chunk in chunks(features, rows)])
