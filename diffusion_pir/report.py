"""The figures of a sweep, drawn from its CSV alone.

Whatever is chosen here, such as the noise level at which layers are compared, is chosen by validation.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from common.plots import CURVES, INK, PALETTE, STYLE
from common.storage import replacing
from diffusion_pir.fits import F1, SETTINGS, SUPPORT, Cell, FitsError, Row, choose, over_seeds, pinned, read_rows
from diffusion_pir.tracking import log_report, tracked

GREYS, DOTS = ("#333333", "#777777", "#aaaaaa"), (":", "-.", (0, (5, 1)))  # of floors


def classes_of(rows: Sequence[Row]) -> list[str]:
    """Names of the classes, the most frequent of the test set first."""
    names = [name.removeprefix(F1) for name in rows[0] if name.startswith(F1)]
    return sorted(names, key=lambda name: -(rows[0][f"{SUPPORT}{name}"] or 0))


def looks(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Colour and line of each model: models and controls have a colour, controls and floors are dashed."""
    roles = dict.fromkeys((row["role"], row["model"]) for row in rows)
    drawn = [(role, model) for role, model in roles if role != "floor"]
    styles = {
        model: {"color": CURVES[i % len(CURVES)], "linestyle": "-" if role == "model" else "--"}
        for i, (role, model) in enumerate(drawn)
    }
    floors = [model for role, model in roles if role == "floor"]
    return styles | {model: {"color": GREYS[i % 3], "linestyle": DOTS[i % 3]} for i, model in enumerate(floors)}


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """All figures by name; layers and heads are compared at the cell that validation chose."""
    best = choose(rows)
    rows = pinned(rows, **{name: best[name] for name in SETTINGS})
    sigma, layer, head = best["sigma"], best["layer"], best["head"]
    pictures = {
        "noise": noise_curve(pinned(rows, layer=layer, head=head)),
        "layers": bars(pinned(rows, sigma=sigma, head=head), "layer", f"layers at sigma {sigma:g}, {head}"),
        "heads": bars(pinned(rows, sigma=sigma, layer=layer), "head", f"heads at sigma {sigma:g}, {layer}"),
        "classes": class_bars(pinned(rows, sigma=sigma, layer=layer, head=head)),
        "heatmap": heat_map(pinned(rows, head=head)),
    }
    return pictures


@rc_context(STYLE)
def noise_curve(rows: Sequence[Row], score: str = "micro") -> Figure:
    """A score over the noise level: mean and deviation over seeds, a panel for each training set.

    What learned nothing is dashed; what has no noise level is a horizontal line. The upper axis has the signal-to-noise
    ratio, without which a noise level says nothing.
    """
    sets, styles = list(dict.fromkeys(row["train_set"] for row in rows)), looks(rows)
    figure = Figure(figsize=(max(5.2 * len(sets), 6.4), 3.8), layout="constrained")
    for axes, train_set in zip(figure.subplots(1, len(sets), sharey=True, squeeze=False)[0], sets, strict=True):
        cells = over_seeds(pinned(rows, train_set=train_set), score)
        for model, style in styles.items():
            curve = [cell for cell in cells.values() if cell.row["model"] == model]
            _draw_curve(axes, model, style, sorted(curve, key=lambda cell: cell.row["sigma"] or 0.0))
        axes.set(xlabel="noise level sigma", title=train_set, xlim=(-0.02, 1.02))
        _decibels(axes, [cell.row for cell in cells.values()])
        axes.grid(color="#eeeeee", linewidth=0.6)
    figure.axes[0].set_ylabel(_label(score))
    _legend(figure)
    return figure


def _draw_curve(axes: Axes, model: str, style: Mapping[str, Any], curve: Sequence[Cell]) -> None:
    sigma = np.array([cell.row["sigma"] for cell in curve if cell.row["sigma"] is not None])
    for cell in curve:
        if cell.row["sigma"] is None:
            axes.axhline(cell.mean, linewidth=1.0, label=model, **style)
    if len(sigma):
        mean, deviation = np.array([(c.mean, c.deviation) for c in curve if c.row["sigma"] is not None]).T
        axes.fill_between(sigma, mean - deviation, mean + deviation, color=style["color"], alpha=0.2, linewidth=0)
        axes.plot(sigma, mean, marker="o", markersize=3, linewidth=1.5, label=model, **style)


def _decibels(axes: Axes, rows: Sequence[Row]) -> None:
    """An upper axis with the signal-to-noise ratio at some of the noise levels, far enough apart to be read."""
    levels = sorted({(row["sigma"], row["log_snr_db"]) for row in rows if row["sigma"] is not None})
    shown: list[tuple[float, float]] = []
    for sigma, level in levels:
        if not shown or sigma - shown[-1][0] > 0.09:
            shown.append((sigma, level))
    above = axes.secondary_xaxis("top")
    above.set_xticks([sigma for sigma, _ in shown], [f"{round(level)}" for _, level in shown])
    above.set_xlabel("signal-to-noise ratio in dB")


@rc_context(STYLE)
def bars(rows: Sequence[Row], axis: str, title: str = "", score: str = "micro") -> Figure:
    """A score for each layer or head, a bar for each model with its deviation over seeds, and floors as lines.

    Args:
        rows: equal but for this axis, models, training sets and seeds.
        axis: "layer" or "head"; heads are named with their number of parameters.
        title: in one line above.
        score: a column.
    """
    cells, styles = list(over_seeds(rows, score).values()), looks(rows)
    lines = [cell for cell in cells if cell.row["role"] == "floor" or not cell.row[axis]]
    drawn = [cell for cell in cells if cell not in lines]
    places = {cell.row[axis]: cell.row["params"] for cell in drawn}
    sets = list(dict.fromkeys(cell.row["train_set"] for cell in drawn))
    series: dict[str, list[Cell]] = {}
    for cell in drawn:
        label = cell.row["model"] if len(sets) == 1 else f"{cell.row['model']}, {cell.row['train_set']}"
        series.setdefault(label, []).append(cell)
    figure = Figure(figsize=(max(1.2 * len(places), 6.4), 3.6), layout="constrained")
    axes = figure.add_subplot()
    for i, (label, mine) in enumerate(series.items()):
        place = np.array([list(places).index(cell.row[axis]) for cell in mine])
        heights = np.array([(cell.mean, cell.deviation) for cell in mine]).T
        style = {
            "color": styles[mine[0].row["model"]]["color"],
            "alpha": 1 - 0.6 * sets.index(mine[0].row["train_set"]) / len(sets),
        }
        _draw_bars(axes, place, heights, (i, len(series)), label=label, **style)
    for cell in lines:
        axes.axhline(cell.mean, linewidth=1.0, label=cell.row["model"], **styles[cell.row["model"]])
    names = [f"{place}\n{params or 0:,.0f}" if axis == "head" else place for place, params in places.items()]
    axes.set_xticks(range(len(places)), names)
    axes.set(title=title, ylabel=_label(score))
    _legend(figure)
    return figure


def _draw_bars(axes: Axes, place: np.ndarray, heights: np.ndarray, turn: tuple[int, int], **style: Any) -> None:
    """One series of bars side by side with others: turn is which of how many; heights are means and deviations."""
    width = 0.8 / turn[1]
    axes.bar(place + (turn[0] + 0.5) * width - 0.4, heights[0], width, yerr=heights[1], ecolor=INK, **style)


@rc_context(STYLE)
def class_bars(rows: Sequence[Row]) -> Figure:
    """F of each class for every model, the most frequent class of the test set first.

    Args:
        rows: of one noise level, layer and head; of several training sets the first is shown.
    """
    names, styles = classes_of(rows), looks(rows)
    first = next(row["train_set"] for row in rows if row["role"] == "model")
    shown = pinned(rows, train_set=first)
    models = list(dict.fromkeys(row["model"] for row in shown))
    figure = Figure(figsize=(max(0.9 * len(names), 6.4), 3.6), layout="constrained")
    axes = figure.add_subplot()
    for i, model in enumerate(models):
        scores = np.array([[row[F1 + name] for name in names] for row in shown if row["model"] == model])
        deviation = scores.std(axis=0, ddof=1) if len(scores) > 1 else np.zeros(len(names))
        heights = np.stack([scores.mean(axis=0), deviation])
        _draw_bars(axes, np.arange(len(names)), heights, (i, len(models)), label=model, color=styles[model]["color"])
    support = [f"{name}\n{rows[0][SUPPORT + name] or 0:.0f}" for name in names]
    axes.set_xticks(range(len(names)), support)
    axes.set(ylabel="F", xlabel="class, and how many excerpts of the test set have it", title=first)
    _legend(figure)
    return figure


@rc_context(STYLE)
def heat_map(rows: Sequence[Row], score: str = "micro") -> Figure:
    """A score over noise level and layer, a panel for each model that has both; all panels share their colours."""
    cells = over_seeds([row for row in rows if row["sigma"] is not None and row["layer"]], score)
    models = list(dict.fromkeys(cell.row["model"] for cell in cells.values()))
    layers = list(dict.fromkeys(cell.row["layer"] for cell in cells.values()))
    sigmas = sorted({cell.row["sigma"] for cell in cells.values()})
    values = np.full((len(models), len(layers), len(sigmas)), np.nan)
    for cell in cells.values():
        place = models.index(cell.row["model"]), layers.index(cell.row["layer"]), sigmas.index(cell.row["sigma"])
        if np.isnan(values[place]):  # of several training sets the first
            values[place] = cell.mean
    size = max(0.5 * len(sigmas) * len(models) + 2.5, 6.4), 0.4 * len(layers) + 1.6
    figure = Figure(figsize=size, layout="constrained")
    limits = {"vmin": np.nanmin(values), "vmax": np.nanmax(values), "cmap": PALETTE, "aspect": "auto"}
    image = None
    for axes, model, panel in zip(
        figure.subplots(1, len(models), sharey=True, squeeze=False)[0], models, values, strict=True
    ):
        image = axes.imshow(panel, **limits)
        axes.set(title=model, xlabel="noise level sigma")
        axes.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
        axes.set_yticks(range(len(layers)), layers)
        axes.spines[:].set_visible(False)
    assert image is not None
    figure.colorbar(image, ax=figure.axes, label=_label(score), pad=0.01, aspect=20).outline.set_visible(False)
    return figure


def _label(score: str) -> str:
    return f"{score}-F" if score in ("micro", "macro") else score


def _legend(figure: Figure) -> None:
    """Below the picture; of entries that several panels have, one."""
    entries = {
        text: handle for axes in figure.axes for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)


# The command


def make_report(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of a sweep's folder, or of a CSV, and tell W&B.

    Args:
        folder: with fits.csv, or the CSV itself.
        out: folder of the pictures; `figures` beside the CSV by default.

    Returns:
        The pictures.

    Raises:
        FitsError: see `read_rows`.
    """
    path = folder / "fits.csv" if folder.is_dir() else folder
    rows = read_rows(path)
    drawn = {}
    for name, figure in figures(rows).items():
        drawn[name] = (out or path.parent / "figures") / f"{name}.png"
        with replacing(drawn[name]) as temporary:
            figure.savefig(temporary)
    with tracked(path.parent, path.parent.name, "report", {"rows": len(rows)}) as run:
        log_report(run, rows, drawn, path)
    return list(drawn.values())


def report_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_pir report", description="Draw the figures of a sweep from its CSV alone."
    )
    parser.add_argument("sweep", type=Path, help="folder of a sweep (runs/diffusion_pir/NAME), or its CSV")
    parser.add_argument("-o", "--out", type=Path, help="folder for the pictures (default: figures, beside the CSV)")
    options = parser.parse_args(args)
    try:
        for path in make_report(options.sweep, options.out):
            print(path)
    except FitsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
