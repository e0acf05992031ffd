"""Levels: from the energies of the constant-Q transform to numbers that a network can add, whatever the loudness.

`LocalLevel` is ours. The others are what the paper (arXiv 2509.12712) compares: its EnergyNorm with and without the
logarithm, BatchNorm, LayerNorm, and the clip brought to a fixed loudness. All of these add the same EPS, since in the
paper's own tables another EPS turned the order of EnergyNorm and BatchNorm round.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

# Added to energies before the logarithm. Below 1e-8 some runtimes take it for zero.
EPS = 1.01e-8


class Level(nn.Module):
    """(batch, bin, frame) energies -> levelled, mostly logarithmic, energies of the same shape.

    Attributes:
        log_floor: the value of silence, where it is the same in every clip.
        context_frames: frames to either side on which a value depends. What depends on the whole clip has 0 here: no
            context makes it equal to another clip's.
        start: the (k, b) of the paper's affine map with which music comes out with about unit spread.
    """

    log_floor: float | None = None
    context_frames: int = 0
    start: tuple[float, float] = (1.0, 0.0)


class LocalLevel(Level):
    """Log energy against the mean energy of the surrounding two seconds, down to a floor relative to that mean.

    Scaling the input changes nothing, nor does what happens elsewhere in the file: a frame depends on `context_frames`
    to either side. Below -100 dBFS the level is held, so that digital silence is the floor and not noise pulled up.
    """

    log_floor: float
    start = (0.3, 3.0)

    def __init__(self, context_frames: int = 86, floor: float = 1e-7, quietest: float = 1e-10):
        super().__init__()
        self.context_frames = context_frames
        self.floor = floor
        self.quietest = quietest
        self.log_floor = math.log(floor)

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        total = energy.sum(dim=1, keepdim=True)  # (batch, 1, frame)
        width = 2 * self.context_frames + 1
        # Frames beyond the ends of the signal do not count, or every file would begin with a swell.
        level = F.avg_pool1d(total, width, stride=1, padding=self.context_frames, count_include_pad=False)
        return torch.log(energy / level.clamp(min=self.quietest) + self.floor)


class ClipLevel(Level):
    """EnergyNorm of the paper: log energy against the spread of the frame energies of the whole clip.

    Its absolute floor makes the result depend on the gain, its statistic on everything else in the file.
    """

    start = (0.3, 1.0)

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        return torch.log(energy + EPS) - 0.5 * torch.log(spread(energy) + EPS**2)


class LinearLevel(Level):
    """EnergyNorm without the logarithm (the paper's "noLog")."""

    log_floor = 0.0

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        return energy / torch.sqrt(spread(energy) + EPS**2)


class BatchLevel(Level):
    """Log energy stretched to 0..1 over the clip, then against the statistics of training (the paper's "BN").

    Basic Pitch's normalisation. The affine half of the batch normalisation is the (k, b) that all levels share.
    """

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        return self.norm(unit_range(energy)[:, None])[:, 0]


class LayerLevel(Level):
    """Log energy against its own mean and deviation over the whole picture of the clip (the paper's "LN")."""

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        log_energy = torch.log(energy + EPS)
        centred = log_energy - log_energy.mean(dim=(1, 2), keepdim=True)
        return centred / torch.sqrt(centred.square().mean(dim=(1, 2), keepdim=True) + 1e-9)


class RMSLevel(Level):
    """Log energy of the clip brought to -10 dBFS: gain changes nothing, the rest of the file still does.

    With the paper's window the energies of the bins of a frame sum to the mean square of the signal.
    """

    start = (0.3, 3.0)
    log_floor = math.log(EPS)

    def __init__(self, loudness_db: float = -10.0, quietest: float = 1e-10):
        super().__init__()
        self.mean_square = 10.0 ** (loudness_db / 10.0)
        self.quietest = quietest

    def forward(self, energy: torch.Tensor) -> torch.Tensor:
        level = energy.sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)  # (batch, 1, 1)
        return torch.log(energy * (self.mean_square / level.clamp(min=self.quietest)) + EPS)


def spread(energy: torch.Tensor) -> torch.Tensor:
    """(batch, bin, frame) -> (batch, 1, 1): variance over the clip of the energy of a frame, 0 for a single frame."""
    total = energy.sum(dim=1, keepdim=True)  # (batch, 1, frame)
    centred = total - total.mean(dim=2, keepdim=True)
    return centred.square().sum(dim=2, keepdim=True) / max(total.shape[2] - 1, 1)


def unit_range(energy: torch.Tensor) -> torch.Tensor:
    """(batch, bin, frame) energies -> logarithms moved and scaled to 0..1 over each clip; silence is 0."""
    log_energy = torch.log(energy + EPS)
    above = log_energy - log_energy.amin(dim=(1, 2), keepdim=True)
    return above / (above.amax(dim=(1, 2), keepdim=True) + 1e-10)
