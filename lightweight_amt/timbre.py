"""The timbre branch: where in the time-frequency plane a pitch sounds, which direction its instrument has.

Paper (arXiv 2509.12712): the second of the two branches. `PaperTimbreEncoder` is its layout with exactly 25,983
parameters; `TimbreEncoder` is ours, in which nothing depends on the rest of the file.
"""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from common.frontends import HarmonicStack
from lightweight_amt.decode import N_PITCHES
from lightweight_amt.levels import LocalLevel
from lightweight_amt.model import BINS_PER_PITCH, TemporalBlock

HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


class CentreNorm(nn.Module):
    """Centres every channel of a clip and scales it, without a shift of its own: directions stay around the origin."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.instance_norm(x) * self.gain


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each cell of (batch, channel, bin, frame)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return rearrange(super().forward(rearrange(input, "b c f t -> b f t c")), "b f t c -> b c f t")


class PaperTimbreEncoder(nn.Module):
    """The encoder of the paper, 25,983 parameters with dim 12.

    Its norms take their statistics from the whole clip: vectors of one window cannot be compared with another's.

    Args:
        dim: of the embedding.
    """

    def __init__(self, dim: int = 12):
        super().__init__()
        self.stack = HarmonicStack(n_bins=BINS_PER_PITCH * N_PITCHES, fill=0.0, crop_first=True)
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.shift = nn.Parameter(torch.tensor(1.0))
        n_harmonics = len(self.stack.shifts)
        self.early = nn.Sequential(
            nn.Conv2d(n_harmonics, 16, 5, padding="same"),
            nn.GroupNorm(4, 16),
            nn.LeakyReLU(0.01),
            nn.Conv2d(16, n_harmonics, (25, 3), padding=(36, 1), dilation=(3, 1)),
        )
        self.neck = nn.Sequential(
            nn.GroupNorm(2, n_harmonics), nn.Conv2d(n_harmonics, 16, 5, padding="same"), nn.PReLU()
        )
        self.residual = nn.Sequential(
            ChannelNorm(16), nn.Conv2d(16, 24, 3, padding="same"), nn.ReLU(), nn.Conv2d(24, 16, 3, padding="same")
        )
        self.norm = CentreNorm(16)
        self.head = nn.Conv2d(16, dim, (3, 5), stride=(BINS_PER_PITCH, 1), padding=(0, 2))
        self.reach = 2 + 1 + 2 + 1 + 1 + 2

    def encode(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) levelled log energies -> (batch, dim, pitch, frame), of unit length over dim."""
        x = self.stack(log_energy) * self.scale + self.shift  # (batch, harmonic, bin, frame)
        x = self.neck(x + self.early(x))
        x = self.norm(x + self.residual(x))
        return F.normalize(self.head(x), dim=1)


class TimbreEncoder(nn.Module):
    """Harmonics of a pitch, what sounds around it and a third of a second of its course -> a direction.

    Batch norms are constants when the network is used, so that a note's vector is the same in every window and file. A
    bias for each pitch lets the network know how high a note is, for timbre changes with the register.

    Args:
        dim: of the embedding.
        channels: widths of the first convolution, the one over the surrounding pitches, and the neck.
        context_pitches: height of the second convolution in semitones; odd.
        temporal_dilations: one TemporalBlock for each.
    """

    def __init__(
        self,
        dim: int = 16,
        channels: tuple[int, int, int] = (24, 16, 32),
        context_pitches: int = 13,
        temporal_dilations: tuple[int, ...] = (1, 3),
    ):
        super().__init__()
        n_bins = BINS_PER_PITCH * N_PITCHES
        self.stack = HarmonicStack(HARMONICS, n_bins=n_bins, fill=LocalLevel().log_floor, crop_first=False)
        self.scale = nn.Parameter(torch.tensor(0.3))
        self.shift = nn.Parameter(torch.tensor(3.0))
        first, context, neck = channels
        n_inputs = len(self.stack.shifts) * BINS_PER_PITCH
        self.early = nn.Sequential(
            nn.Conv2d(n_inputs, first, (1, 3), padding="same", bias=False), nn.BatchNorm2d(first), nn.LeakyReLU(0.01)
        )
        self.register = nn.Parameter(torch.zeros(first, N_PITCHES, 1))
        self.context = nn.Sequential(
            nn.Conv2d(first, context, (context_pitches, 1), padding="same", bias=False),
            nn.BatchNorm2d(context),
            nn.LeakyReLU(0.01),
        )
        self.neck = nn.Sequential(
            nn.Conv2d(first + context, neck, (1, 5), padding="same", bias=False), nn.BatchNorm2d(neck), nn.ReLU()
        )
        self.temporal = nn.Sequential(*(TemporalBlock(neck, dilation) for dilation in temporal_dilations))
        self.head = nn.Conv2d(neck, dim, (1, 3), padding="same")
        self.reach = 1 + 2 + 3 * sum(temporal_dilations) + 1

    def encode(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) levelled log energies -> (batch, dim, pitch, frame), of unit length over dim."""
        x = self.stack(log_energy) * self.scale + self.shift  # (batch, harmonic, bin, frame)
        x = rearrange(x, "batch harmonic (pitch third) frame -> batch (harmonic third) pitch frame", third=3)
        x = self.early(x) + self.register
        x = self.neck(torch.cat([x, self.context(x)], dim=1))
        return F.normalize(self.head(self.temporal(x)), dim=1)


def note_vectors(embedding: torch.Tensor, note: torch.Tensor, weight: torch.Tensor, n_notes: int) -> torch.Tensor:
    """One direction for each note of a clip: the mean of its cells, weighted by how surely they sound.

    Args:
        embedding: (dim, pitch, frame).
        note: (pitch, frame) index of the note that a cell belongs to, -1 for none.
        weight: (pitch, frame), not negative.
        n_notes: rows of the result.

    Returns:
        (note, dim) of unit length; zeros for a note without cells.
    """
    cells = note >= 0
    owner = note[cells]
    weighted = (embedding * weight)[:, cells]  # (dim, cell)
    total = torch.zeros(embedding.shape[0], n_notes, dtype=embedding.dtype, device=embedding.device)
    return F.normalize(total.index_add(1, owner, weighted), dim=0).T
