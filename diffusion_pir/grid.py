"""A grid of probes: which models, training sets, noise levels, layers, heads and seeds a sweep goes through.

A grid is a W&B sweep file, whose agents ask for one cell at a time (`wandb sweep FILE`), and `python -m diffusion_pir
sweep FILE` takes all cells of the same file at once; both by the same options. See benchmarks/sweeps/diffusion-*.yaml.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from diffusion_pir.heads import HEADS

ALL = "all"  # as a layer: every tap of the model, concatenated
JOIN = "+"  # between layers, noise levels or training sets that are taken together
CONSTANT = "constant"  # as a model: what says the same of every clip


class GridError(ValueError):
    """A grid that cannot be read, or a cell that makes no sense."""


@dataclass(frozen=True)
class Point:
    """One cell: a head on features.

    Args:
        model: see `backbones.open_backbone`; or "constant".
        train: prepared data whose training clips are learnt from and whose validation clips choose; several by "+".
        test: prepared data whose test clips are scored.
        sigma: noise level; several at once by "+".
        layer: tap of the model; several at once by "+", or "all".
        head: of `heads.HEADS`.
        seed: of the head's weights, order and dropout.
        draws: of noise, over which features are averaged.
        mixes: windows of two training clips at once, for each single one.
        agg: how windows become an excerpt, S1 or S2.
        loss: of the labels: bce, ce or asl.
    """

    model: str = "small"
    train: str = "predominance"
    test: str = "predominance"
    sigma: str = "0.1"
    layer: str = "bottleneck_2"
    head: str = "mlp"
    seed: int = 0
    draws: int = 1
    mixes: float = 0.0
    agg: str = "S2"
    loss: str = "bce"

    @property
    def sigmas(self) -> tuple[float, ...]:
        return tuple(float(sigma) for sigma in self.sigma.split(JOIN))

    def checked(self) -> "Point":
        """The same in its one spelling: without choices that the model does not have.

        Raises:
            GridError: no such head, noise level, rule or loss.
        """
        if self.model == CONSTANT:
            point = replace(self, sigma="", layer="", head="", seed=0, draws=1, mixes=0.0, loss="")
        else:
            point = replace(self, sigma=JOIN.join(f"{sigma:g}" for sigma in self._sigmas()))
            # The mel has no layers to choose from, and no map for other heads.
            point = replace(point, layer="", head="mlp") if self.model.startswith("mel:") else point
            if point.head not in HEADS:
                raise GridError(f"head {self.head}: choose {', '.join(HEADS)}")
        if point.agg not in ("S1", "S2") or point.loss not in ("", "bce", "ce", "asl") or point.draws < 1:
            raise GridError(f"{self}: agg is S1 or S2, loss bce, ce or asl, draws 1 or more")
        return point

    def _sigmas(self) -> tuple[float, ...]:
        try:
            sigmas = self.sigmas
        except ValueError as error:
            raise GridError(f"sigma {self.sigma}: noise levels are numbers, several joined by {JOIN}") from error
        if not all(0 <= sigma <= 1 for sigma in sigmas):
            raise GridError(f"sigma {self.sigma}: a noise level is in 0..1")
        return sigmas


AXES = {field.name: type(field.default) for field in fields(Point)}


@dataclass(frozen=True)
class Grid:
    """All cells of some values.

    Args:
        name: of the sweep; its results go to a folder of that name.
        values: of each axis of `Point`; axes that are left out have the default.
    """

    name: str
    values: Mapping[str, tuple[Any, ...]]

    @classmethod
    def read(cls, path: str | Path) -> "Grid":
        """The grid of a W&B sweep file.

        Raises:
            GridError: the file is missing, or no grid of ours.
        """
        path = Path(path)
        try:
            parameters = yaml.safe_load(path.read_text(encoding="utf-8"))["parameters"]
            values = {name: entry.get("values", [entry.get("value")]) for name, entry in parameters.items()}
            name = values.pop("name", [path.stem])[0]
            return cls(str(name), {axis: tuple(of_type(axis, value) for value in values[axis]) for axis in values})
        except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
            told = f"not a grid ({error!r}); take the files of benchmarks/sweeps as a model"
            raise GridError(f"{path}: {told}") from error

    def changed(self, name: str | None = None, **values: Sequence[Any] | None) -> "Grid":
        """The same with another name, or other values where some are given."""
        return Grid(name or self.name, {**self.values, **{axis: tuple(v) for axis, v in values.items() if v}})

    def tiny(self) -> "Grid":
        """A sketch of it, in two minutes: the smallest data, at most three noise levels, two seeds and one draw."""
        sigmas = self.values.get("sigma", ())
        thin = sigmas if len(sigmas) <= 3 else (sigmas[0], sigmas[len(sigmas) // 2], sigmas[-1])
        seeds = self.values.get("seed", (0,))[:2]
        data = ("predominance-tiny",)
        return self.changed(f"{self.name}-tiny", train=data, test=data, draws=(1,), sigma=thin, seed=seeds)

    def points(self) -> list[Point]:
        """Every cell once, those of one model and data together.

        Raises:
            GridError: a value makes no sense.
        """
        axes = list(self.values)
        cells = (Point(**dict(zip(axes, cell, strict=True))) for cell in product(*self.values.values()))
        return list(dict.fromkeys(cell.checked() for cell in cells))


def of_type(axis: str, value: Any) -> Any:
    """A value as the axis has it.

    Raises:
        GridError: there is no such axis, or it takes no such value.
    """
    if axis not in AXES:
        raise GridError(f"{axis}: no axis of a sweep; they are {', '.join(AXES)}")
    if isinstance(value, float) and AXES[axis] is str:
        return f"{value:g}"
    try:
        return AXES[axis](value)
    except (TypeError, ValueError) as error:
        raise GridError(f"{axis}: {value!r} is no {AXES[axis].__name__}") from error


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a grid: a file, and axes, which go before what the file says."""
    parser.add_argument("grid", nargs="?", type=Path, help="a grid, one of benchmarks/sweeps/diffusion-*.yaml")
    parser.add_argument(
        "--name", help="of the sweep: what is done under a name is not done again (default: the file's)"
    )
    parser.add_argument("--tiny", action="store_true", help="a sketch in two minutes, on the smallest data")
    for axis, default in asdict(Point()).items():
        parser.add_argument(
            f"--{axis}", nargs="+", metavar="X", help=f"one or more; without a grid {default}; instead of the grid's"
        )


def from_options(options: argparse.Namespace) -> Grid:
    """The grid that a command line asks for.

    Raises:
        GridError: no such file, axis or value.
    """
    grid = Grid.read(options.grid) if options.grid else Grid("sweep", {})
    given = {axis: getattr(options, axis) for axis in AXES}
    grid = grid.tiny() if options.tiny else grid
    values = {axis: [of_type(axis, value) for value in words] for axis, words in given.items() if words}
    return grid.changed(options.name, **values)
