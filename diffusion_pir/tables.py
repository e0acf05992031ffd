"""Features (window, ...) that are read row by row: arrays, memory maps, and several of them as one."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from diffusion_pir.heads import concatenate

MOST_VALUES = 2**24  # that are read at once where the order does not matter


class Table(Protocol):
    """Features (window, ...), of which rows can be had: an array, a memory map, or `Joined`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class Joined:
    """Tables one after the other, without reading them: windows of several data sets, and mixes.

    Args:
        tables: of the same features.
    """

    def __init__(self, tables: Sequence[Table]):
        self.tables = tables
        self.ends = np.cumsum([len(table) for table in tables])
        self.shape = (int(self.ends[-1]), *tables[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        found = np.empty((*rows.shape, *self.shape[1:]), np.float32)
        owner = np.searchsorted(self.ends, rows, side="right")
        for index in np.unique(owner).tolist():
            mine = owner == index
            found[mine] = self.tables[index][rows[mine] - (self.ends[index] - len(self.tables[index]))]
        return found


def chunks(features: Sequence[Table], rows: np.ndarray) -> list[np.ndarray]:
    """Rows in order, as many at a time as memory should take."""
    size = max(1, MOST_VALUES // sum(int(np.prod(table.shape[1:])) for table in features))
    return np.split(rows, range(size, len(rows), size))


def take(features: Sequence[Table], rows: np.ndarray, device: str | torch.device = "cpu") -> Tensor:
    """Features of rows, layers and noise levels concatenated, float32."""
    return concatenate([torch.from_numpy(np.asarray(table[rows], np.float32)).to(device) for table in features])


def moments(features: Sequence[Table], rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (dim,) of features, over all rows and places."""
    sums = squares = torch.zeros(())
    count = 0
    for chunk in chunks(features, rows):
        values = take(features, chunk).double()
        values = values.reshape(*values.shape[:2], -1)
        sums, squares = sums + values.sum((0, 2)), squares + values.square().sum((0, 2))
        count += values.shape[0] * values.shape[2]
    mean = sums / count
    return mean.float(), (squares / count - mean.square()).clamp(min=0.0).sqrt().float()
