"""The table of a sweep: a row for each fit, as a CSV; and what is chosen from it, by validation alone."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.storage import replacing

# A role is "model", "control" (what learned nothing of sound) or "floor" (what has no noise level). A cell is empty
# where there is no choice, as for the layer of what is no network; so is sigma where several levels, which "noise"
# tells, are taken at once. agg is how windows become an excerpt; the threshold is chosen with it on validation.
# "micro_oracle" is the best that any threshold would have had on the test set: a bound for comparison with papers that
# chose theirs there, no result of ours.
TEXT = ("role", "model", "train_set", "test_set", "noise", "layer", "head", "agg", "loss")
NUMBERS = (
    "sigma", "t", "log_snr_db", "seed", "draws", "mixes", "threshold", "val_micro", "micro", "macro", "lrap", "map",
    "micro_oracle", "params", "seconds",
)  # fmt: skip
SETTINGS = ("test_set", "agg", "loss", "draws", "mixes")  # of which a figure shows one each
CELL = ("model", "train_set", "noise", "layer", "head", *SETTINGS)  # what seeds are averaged over
COLUMNS = (*TEXT, *NUMBERS)
F1, SUPPORT = "f1_", "n_"  # and the name of a class: its F, and in how many excerpts of the test set it is
Row = Mapping[str, Any]


class FitsError(ValueError):
    """A file that is no table of a sweep."""


def write_rows(path: str | Path, rows: Sequence[Row]) -> None:
    """Write fits as CSV; classes follow the fixed columns, and what a fit does not have stays empty."""
    names = [*COLUMNS, *dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The fits of a CSV: numbers as float, and None where a cell is empty.

    Raises:
        FitsError: a column is missing, a number is none, or there is no row.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FitsError(f"{path}: cannot be read ({error}); make it with python -m diffusion_pir sweep") from error
    if missing := [name for name in COLUMNS if not rows or name not in rows[0]]:
        reason = f"has no column {missing[0]}" if rows else "has no rows"
        raise FitsError(f"{path}: {reason}; make it with python -m diffusion_pir sweep")
    try:
        return [{name: value if name in TEXT else number(value) for name, value in row.items()} for row in rows]
    except ValueError as error:
        raise FitsError(f"{path}: {error}; make it with python -m diffusion_pir sweep") from error


def number(text: str) -> float | None:
    return float(text) if text else None


# Choosing and averaging


@dataclass(frozen=True)
class Cell:
    """One cell of the grid, over seeds: mean and deviation of a score (0 of one seed)."""

    mean: float
    deviation: float
    row: Row  # the first of them


def over_seeds(rows: Iterable[Row], score: str) -> dict[tuple, Cell]:
    """Mean and deviation of a score for each cell of the grid."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in CELL), []).append(row)
    cells = {}
    for key, group in groups.items():
        values = np.array([row[score] for row in group])
        cells[key] = Cell(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0, group[0])
    return cells


def choose(rows: Iterable[Row]) -> Row:
    """The cell that validation likes best, among those of models that have a single noise level."""
    cells = over_seeds((row for row in rows if row["role"] == "model" and row["sigma"] is not None), "val_micro")
    if not cells:
        raise FitsError("there is no fit of a model at a noise level: nothing to compare; sweep a model first")
    return max(cells.values(), key=lambda cell: cell.mean).row


def pinned(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows with these values; what has no choice of it, and is empty there, passes."""
    return [row for row in rows if all(row[name] in (value, None, "") for name, value in wanted.items())]
