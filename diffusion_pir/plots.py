"""Pictures of log-mels."""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from common.plots import PALETTE, STYLE


@rc_context(STYLE)
def spectrograms(log_mels: np.ndarray, names: Sequence[str], title: str = "", columns: int = 4) -> Figure:
    """Log-mels (clip, bin, frame) side by side, low bins below, on one scale of colour.

    Args:
        log_mels: any unit.
        names: of the clips.
        title: above all.
        columns: of the grid.
    """
    columns = min(columns, len(log_mels))
    rows = -(-len(log_mels) // columns)
    figure = Figure(figsize=(2.2 * columns, 1.9 * rows + 0.4), layout="constrained")
    low, high = np.percentile(log_mels, [1, 99.5])
    for axes, log_mel, name in zip(figure.subplots(rows, columns, squeeze=False).flat, log_mels, names, strict=False):
        axes.imshow(log_mel, origin="lower", aspect="auto", cmap=PALETTE, vmin=low, vmax=high)
        axes.set_title(name)
    for axes in figure.axes:
        axes.set_axis_off()
    figure.suptitle(title)
    return figure
