"""Pictures: matplotlib figures in one style, made without pyplot's global state, so that threads may draw too."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from common.evaluation.notes import match_notes
from common.instruments import PROGRAM_NAMES
from common.notes import Notes

# From the palette of M. Okabe and K. Ito, which all kinds of colour vision tell apart; what was missed is an outline.
FOUND, GHOST, MISSED, TRUTH, INK = "#0072b2", "#d55e00", "#4d4d4d", "#b9d3e6", "#333333"
CURVES = (FOUND, GHOST, "#009e73", "#cc79a7")
PALETTE = colormaps["viridis"]
BLACK_KEYS = (1, 3, 6, 8, 10)
OCTAVES = (125, 500, 1000, 2000, 4000)  # Hz that are written beside a spectrogram
RANGE = 9.2  # of its colours: 80 dB as natural logarithm of a magnitude
MAX_WIDTH = 40.0  # inches; at 150 dots per inch no side of an hour's roll exceeds 6,000 pixels

STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@rc_context(STYLE)
def piano_roll(
    notes: Notes,
    reference: Notes | None = None,
    seconds: float | None = None,
    title: str = "",
    instruments: Mapping[int, str] | None = None,
) -> Figure:
    """Notes over time, drums left out.

    With a reference, what was found (onset within 50 ms), what was missed and what was not there stand apart; behind a
    note that was found lies its true extent. Without one, the colour of a note is its track, or where there is but one
    track its confidence.

    Args:
        notes: a transcription, or any notes; seconds.
        reference: the truth.
        seconds: where the time axis ends; by default with the last note.
        title: in one line above.
        instruments: program -> name. Each has a colour, the same in all pictures that are given the same ones; other
            programs are left out. It takes the place of tracks and confidence.
    """
    notes = notes.tuned()
    truth = Notes.empty() if reference is None else reference.tuned()
    figure, axes = _keyboard(
        np.concatenate([notes.pitch, truth.pitch]).astype(int), seconds or max(notes.end, truth.end, 1.0), title
    )
    if reference is not None:
        _draw_comparison(figure, axes, notes, truth)
    elif instruments is not None:
        _draw_groups(figure, axes, notes, [(name, notes.program == program) for program, name in instruments.items()])
    elif len(np.unique(notes.track)) > 1:
        _draw_tracks(figure, axes, notes)
    else:
        _draw_confidence(figure, axes, notes)
    return figure


@rc_context(STYLE)
def directions(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], names: Sequence[str]) -> Figure:
    """Embeddings as points: each panel's own plane of greatest variance (principal components).

    Args:
        panels: title -> vectors (point, dim) and groups (point,), the index of each point's name.
        names: of the groups, one colour each.
    """
    figure = Figure(figsize=(max(4.2 * len(panels), 8.4), 3.6), layout="constrained")
    for axes, (title, (vectors, groups)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        points = _plane(vectors)
        for i, colour in enumerate(_colours(len(names))):
            drawn = points[groups == i]
            axes.scatter(*drawn.T, s=12, color=colour, alpha=0.7, linewidths=0, label=names[i])
        axes.set(title=title, xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")  # panels stay of one size
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _plane(vectors: np.ndarray) -> np.ndarray:
    """Vectors (point, dim) in their two principal components, (point, 2); zero where there are fewer."""
    points = np.zeros((len(vectors), 2))
    if len(vectors) > 1:
        centred = vectors - vectors.mean(axis=0)
        components = np.linalg.svd(centred, full_matrices=False)[2][:2]
        points[:, : len(components)] = centred @ components.T
    return points


@rc_context(STYLE)
def learning_curve(rows: Sequence[Mapping[str, str]], panels: Mapping[str, Sequence[str]]) -> Figure:
    """What a training run logged, a panel for each quantity.

    Args:
        rows: of a run's metrics.csv, as text, each with a "step"; other columns may be missing or empty.
        panels: label of a vertical axis -> the columns drawn there. A column that nowhere has a value is left out.
    """
    figure = Figure(figsize=(4.5 * len(panels), 3.0), layout="constrained")
    for axes, (label, columns) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for column, colour in zip(columns, cycle(CURVES), strict=False):
            points = np.array([(float(row["step"]), float(row[column])) for row in rows if row.get(column)])
            if len(points):
                axes.plot(*points.T, color=colour, label=column, marker="o", markersize=3, linewidth=1.5)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(color="#eeeeee", linewidth=0.6)
        if axes.lines:
            axes.legend()
            values = np.concatenate([line.get_ydata() for line in axes.lines])
            if values.min() > 0 and values.max() > 10 * values.min():
                axes.set_yscale("log")  # or the first steps of a loss leave no room for the others
    return figure


@rc_context(STYLE)
def timeline(
    envelopes: np.ndarray,
    names: Sequence[str],
    edges: np.ndarray,
    tracks: np.ndarray,
    confidence: np.ndarray,
    truth: tuple[np.ndarray, np.ndarray] | None = None,
    title: str = "",
) -> Figure:
    """Who leads when: a waveform for each track, coloured where it leads, and below how sure that is.

    Args:
        envelopes: (track, frame) amplitude, from 0 s to the last edge.
        names: of the tracks.
        edges: (segment + 1,) seconds.
        tracks: (segment,) who leads; -1 for nobody.
        confidence: (segment,) 0..1.
        truth: edges and tracks of the true timeline, shown in a row of its own.
        title: in one line above.
    """
    end, n_tracks, colours = float(edges[-1]), len(names), _colours(len(names))
    rows = [*names, "truth"] if truth else list(names)
    size = np.clip(0.1 * end, 8.0, MAX_WIDTH), np.clip(0.45 * len(rows) + 1.8, 3.0, MAX_WIDTH)
    figure = Figure(figsize=size, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[size[1] - 1.5, 0.8])
    shapes = _outline(envelopes)
    times = (np.arange(shapes.shape[1]) + 0.5) * end / shapes.shape[1]
    leader = tracks[np.searchsorted(edges[1:-1], times, side="right")]
    for i, shape in enumerate(shapes):
        for drawn, style in ((shape, {"color": TRUTH}), (shape * (leader == i), {"color": colours[i]})):
            above.fill_between(times, i - drawn, i + drawn, step="mid", linewidth=0, **style)
        _spans(above, edges, tracks == i, i, color=colours[i], alpha=0.15)
        if truth:
            _spans(above, truth[0], truth[1] == i, n_tracks, color=colours[i])
    above.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, end))
    above.set_yticks(range(len(rows)), rows, parse_math=False)
    above.tick_params(axis="y", length=0)
    above.set_title(title, parse_math=False)
    below.stairs(confidence, edges, fill=True, color=TRUTH)
    below.stairs(confidence, edges, color=INK, linewidth=0.8)
    below.set(ylim=(0, 1.05), ylabel="confidence")
    _time_axis(below, end)
    return figure


@rc_context(STYLE)
def presence(
    log_mel: np.ndarray,
    hz: np.ndarray,
    probabilities: np.ndarray,
    edges: np.ndarray,
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """What is heard when: a spectrogram, below it how probable each class is, and a line along the most probable.

    Args:
        log_mel: (bin, column) natural logarithms, low bins first, from 0 s to the last edge.
        hz: (bin,) their frequencies, ascending.
        probabilities: (class, segment) 0..1; where all are 0 there is no line.
        edges: (segment + 1,) seconds, ascending.
        names: of the classes.
        title: in one line above.
    """
    end, n_classes = float(edges[-1]), len(names)
    height = np.clip(0.22 * n_classes, 1.0, MAX_WIDTH)
    figure = Figure(figsize=(np.clip(0.4 * end, 8.0, MAX_WIDTH), height + 2.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, height])
    top = float(log_mel.max(initial=0.0))
    shade = {"cmap": PALETTE, "vmin": max(top - RANGE, float(log_mel.min(initial=top - RANGE))), "vmax": top}
    above.imshow(log_mel, origin="lower", aspect="auto", extent=(0.0, end, -0.5, len(hz) - 0.5), **shade)
    above.set_yticks(np.interp(OCTAVES, hz, np.arange(len(hz))), [f"{octave:g}" for octave in OCTAVES])
    above.set(ylabel="Hz")
    above.set_title(title, parse_math=False)
    rows = np.arange(n_classes + 1) - 0.5
    mesh = below.pcolormesh(edges, rows, probabilities, cmap=PALETTE, vmin=0.0, vmax=1.0)
    first = np.where(probabilities.any(axis=0), probabilities.argmax(axis=0), np.nan)
    below.stairs(first, edges, baseline=None, color="white", linewidth=2.4)
    below.stairs(first, edges, baseline=None, color=GHOST, linewidth=1.2)
    below.set(xlim=(0, end), ylim=(n_classes - 0.5, -0.5))
    below.set_yticks(range(n_classes), names, parse_math=False)
    below.tick_params(axis="y", length=0)
    _time_axis(below, end)
    figure.colorbar(mesh, ax=below, label="probability", pad=0.01, aspect=20).outline.set_visible(False)
    return figure


def _outline(envelopes: np.ndarray, most: int = 4000) -> np.ndarray:
    """(track, column) heights up to 0.45 of at most so many columns; of tracks far below the loudest less."""
    n_frames = envelopes.shape[1]
    first = np.unique(np.arange(min(n_frames, most)) * n_frames // min(n_frames, most))
    shapes = np.maximum.reduceat(envelopes, first, axis=1)
    peaks = shapes.max(axis=1, keepdims=True)
    return 0.45 * shapes / np.maximum(peaks, max(0.01 * peaks.max(), 1e-9))


def _spans(axes: Axes, edges: np.ndarray, chosen: np.ndarray, row: float, **style) -> None:
    """Bars from edge to edge of the chosen segments."""
    spans = np.stack([edges[:-1], np.diff(edges)], axis=1)[chosen]
    axes.broken_barh([(start, length) for start, length in spans.tolist()], (row - 0.45, 0.9), linewidth=0, **style)


def _time_axis(axes: Axes, end: float) -> None:
    axes.set_xlabel("time in seconds")
    if end > 120:
        axes.set_xlabel("time in minutes")
        axes.xaxis.set_major_locator(MultipleLocator(60 * np.ceil(end / 900)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 60:.0f}")


def _keyboard(pitches: np.ndarray, end: float, title: str) -> tuple[Figure, Axes]:
    """A figure and its axes, seconds by semitones, with the rows of the black keys shaded."""
    low, high = (pitches.min() - 2, pitches.max() + 2) if len(pitches) else (48, 72)
    size = np.clip(0.4 * end, 8.0, MAX_WIDTH), np.clip(0.07 * (high - low) + 1.0, 2.5, 6.0)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, end), ylim=(low - 0.5, high + 0.5))
    _time_axis(axes, end)
    axes.set_title(title, parse_math=False)  # a dollar in the name of a file is no formula
    octaves = range(-(-low // 12), high // 12 + 1)
    axes.set_yticks([12 * octave for octave in octaves], [f"C{octave - 1}" for octave in octaves])
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    keys = [pitch for pitch in range(low, high + 1) if pitch % 12 in BLACK_KEYS]
    _bars(axes, [0.0] * len(keys), [end] * len(keys), keys, 1.0, facecolor="#f5f5f5", zorder=0)
    return figure, axes


def _draw_comparison(figure: Figure, axes: Axes, notes: Notes, truth: Notes) -> None:
    matched = match_notes(truth.intervals, truth.hz, notes.intervals, notes.hz, offset_ratio=None)
    is_found, is_right = np.zeros(len(truth), bool), np.zeros(len(notes), bool)
    is_found[matched[:, 0]], is_right[matched[:, 1]] = True, True
    layers = (
        ("truth", truth[is_found], 0.9, {"facecolor": TRUTH}),
        ("found", notes[is_right], 0.5, {"facecolor": FOUND}),
        ("missed", truth[~is_found], 0.9, {"facecolor": "white", "edgecolor": MISSED, "linewidth": 0.9}),
        ("ghost", notes[~is_right], 0.5, {"facecolor": GHOST}),
    )
    for label, drawn, height, style in layers:
        text = label if label == "truth" else f"{label} ({len(drawn)})"
        _bars(axes, drawn.onset, drawn.offset, drawn.pitch, height, label=text, **style)
    _legend(figure)


def _draw_tracks(figure: Figure, axes: Axes, notes: Notes) -> None:
    tracks = np.unique(notes.track)
    named = len(np.unique(notes.program)) > 1  # else nobody knows what they are, only that they differ
    groups = []
    for track in tracks:
        members = notes.track == track
        name = f"{track + 1} {PROGRAM_NAMES[notes.program[members][0]]}" if named else f"instrument {track + 1}"
        groups.append((name, members))
    _draw_groups(figure, axes, notes, groups)


def _draw_groups(figure: Figure, axes: Axes, notes: Notes, groups: Sequence[tuple[str, np.ndarray]]) -> None:
    """Each group, a name and (note,) bool, in its colour; one without a note has a colour, too, but is not named."""
    for (name, members), colour in zip(groups, _colours(len(groups)), strict=True):
        drawn = notes[members]
        if len(drawn):
            _bars(axes, drawn.onset, drawn.offset, drawn.pitch, 0.8, label=name, facecolor=colour)
    if len(notes):
        _legend(figure)


def _colours(count: int) -> np.ndarray:
    return PALETTE(np.linspace(0.0, 0.9, count))


def _draw_confidence(figure: Figure, axes: Axes, notes: Notes) -> None:
    colours = {"array": notes.confidence, "cmap": PALETTE.reversed(), "clim": (0, 1)}
    bars = _bars(axes, notes.onset, notes.offset, notes.pitch, 0.8, **colours)
    figure.colorbar(bars, label="confidence", pad=0.01, aspect=30).outline.set_visible(False)


def _bars(axes: Axes, start, stop, pitch, height: float, **style) -> PolyCollection:
    """Horizontal bars as one artist, however many; a thin edge keeps the shortest of them visible."""
    left, right = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    bottom = np.asarray(pitch, np.float64) - height / 2
    top = bottom + height
    corners = np.stack([left, bottom, right, bottom, right, top, left, top], axis=1).reshape(-1, 4, 2)
    style = {"edgecolor": "face", "linewidth": 0.4, "zorder": 2} | style
    bars = PolyCollection(corners, **style)  # pyright: ignore[reportArgumentType] -- an array is its fast way
    axes.add_collection(bars, autolim=False)
    return bars


def _legend(figure: Figure) -> None:
    """Below the picture, in as few rows as fit its width."""
    figure.legend(loc="outside lower center", ncols=max(int(figure.get_figwidth() // 2), 1), columnspacing=1.5)
