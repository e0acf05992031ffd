"""The sweep: features once, then a head for every cell of a grid, then the table and its figures.

    python -m diffusion_pir extract benchmarks/sweeps/diffusion-noise.yaml --shard 0/4     # on each of four machines
    python -m diffusion_pir sweep benchmarks/sweeps/diffusion-noise.yaml                   # what is missing, and heads
    python -m diffusion_pir report runs/diffusion_pir/diffusion-noise                      # figures anew

What is done is not done again: a sweep that was stopped goes on when the same command is given again. Its folder has
for each fit a JSON (fits/) and the scores of all test excerpts (scores/), with --keep-heads the head (heads/), then the
table of all (fits.csv), figures and the W&B runs. Thresholds are chosen by validation alone.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.storage import replacing
from diffusion_pir import inference
from diffusion_pir.fits import write_rows
from diffusion_pir.grid import Grid, Point, add_options, from_options
from diffusion_pir.prober import Prober, Result
from diffusion_pir.tracking import log_rows, tracked

SHARED = ("model", "train", "test", "draws", "mixes")  # what a prober's cells have in common


@dataclass(frozen=True)
class Places:
    """Where a sweep reads and writes.

    Args:
        folder: of its results.
        features: root of all caches of features.
        device: it computes on.
        heads: keep new heads too, for use.
    """

    folder: Path
    features: Path
    device: str = "cpu"
    heads: bool = False


def groups(points: Sequence[Point]) -> list[list[Point]]:
    """Cells of one prober together, in the order in which they first come."""
    found: dict[tuple, list[Point]] = {}
    for point in points:
        found.setdefault(tuple(getattr(point, name) for name in SHARED), []).append(point)
    return list(found.values())


def extract(grid: Grid, places: Places, shard: int = 0, n_shards: int = 1) -> None:
    """First stage: take the features of all cells, or the share of one of several machines.

    Raises:
        ValueError: a value of the grid makes no sense, or a model or data are not there.
    """
    with tracked(places.folder, grid.name, "extract", {**grid.values, "shard": f"{shard}/{n_shards}"}):
        for points in groups(grid.points()):
            Prober(points[0], places.features, places.device).extract(points, shard, n_shards)


def fit(grid: Grid, places: Places) -> list[dict[str, Any]]:
    """Second stage: fit and judge the cells that are not done; the rows of all. Errors are those of `extract`."""
    with tracked(places.folder, grid.name, "heads", grid.values) as run:
        points = grid.points()
        found = fit_points(points, places, lambda row: log_rows(run, [row]))
        return [found[point].row for point in points]


def fit_points(
    points: Sequence[Point], places: Places, tell: Callable[[dict[str, Any]], None] = lambda row: None
) -> dict[Point, Result]:
    """Results of cells, without their models; what is done is read, what is not is done, group by group, and kept.

    Args:
        points: cells, checked.
        places: where.
        tell: is given the row of each new fit.
    """
    results = {}
    for group in groups(points):
        prober = Prober(group[0], places.features, places.device)
        keys = {point: prober.key(point) for point in group}
        missing = [point for point in group if not fit_path(places, keys[point]).exists()]
        print(f"{group[0].model} on {group[0].train}: {len(missing)} of {len(group)} fits to do", flush=True)
        if missing:
            prober.extract(missing)
            for point, result in zip(missing, prober.results(missing), strict=True):
                keep(places, keys[point], point, result)
                tell(result.row)
        results |= {point: read(places, key) for point, key in keys.items()}
    return results


def fit_path(places: Places, key: str) -> Path:
    return places.folder / "fits" / f"{key}.json"


def keep(places: Places, key: str, point: Point, result: Result) -> None:
    """Write a fit, the JSON last: where it is, all is there."""
    if places.heads and result.model:
        inference.save(places.folder / "heads" / f"{key}.safetensors", result.model, torch.float16, row=result.row)
    with replacing(places.folder / "scores" / f"{key}.npy") as temporary:
        np.save(temporary, result.scores.astype(np.float32))
    with replacing(fit_path(places, key)) as temporary:
        temporary.write_text(json.dumps({"point": asdict(point), "row": result.row}, indent=1))


def read(places: Places, key: str) -> Result:
    """A fit that was kept."""
    row = json.loads(fit_path(places, key).read_text())["row"]
    return Result(row, np.load(places.folder / "scores" / f"{key}.npy"))


# The commands


def build_parser(verb: str, text: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m diffusion_pir {verb}", description=text)
    add_options(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--features", type=Path, help="root of the kept features (default: $TUTTI_DATA/features)")
    return parser


def places_of(options: argparse.Namespace, grid: Grid) -> Places:
    folder = Path(os.environ.get("TUTTI_RUNS", "runs"), "diffusion_pir", grid.name).absolute()
    features = options.features or Path(os.environ.get("TUTTI_DATA", "data"), "features")
    return Places(folder, features, options.device)


def extract_command(args: list[str]) -> int:
    parser = build_parser(
        "extract", "Take the features that a sweep needs; `sweep` does so too where they are missing."
    )
    parser.add_argument("--shard", type=shard_of, default=(0, 1), metavar="I/N", help="the part I, from 0, of N")
    options = parser.parse_args(args)
    try:
        grid = from_options(options)
        extract(grid, places_of(options, grid), *options.shard)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def shard_of(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise argparse.ArgumentTypeError(f"a part and the number of parts, such as 0/4, not {text!r}")
    return int(first), int(second)


def sweep_command(args: list[str]) -> int:
    parser = build_parser("sweep", "Fit and judge a head for every cell of a grid; see benchmarks/sweeps.")
    parser.add_argument(
        "--keep-heads", action="store_true", help="write new heads too, as `recognise --head` takes them"
    )
    parser.add_argument("--fits-only", action="store_true", help="for agents: leave table and figures to who collects")
    options = parser.parse_args(args)
    try:
        grid = from_options(options)
        places = replace(places_of(options, grid), heads=options.keep_heads)
        rows = fit(grid, places)
        if not options.fits_only:
            from diffusion_pir.report import make_report  # matplotlib takes a second

            write_rows(places.folder / "fits.csv", rows)
            make_report(places.folder)
            print(places.folder / "fits.csv")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
