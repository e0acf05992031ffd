"""The timbre branch: where in the time-frequency plane a pitch sounds, which direction its instrument has.

Paper (arXiv 2509.12712): the second of the two branches. `PaperTimbreEncoder` is its layout with exactly 25,983
parameters, `SharedBlockEncoder` what it compares that with; `TimbreEncoder` is ours, in which nothing depends on the
rest of the file.
"""

from typing import Any

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from common import checkpoint
from common.frontends import HarmonicStack
from lightweight_amt.decode import N_PITCHES
from lightweight_amt.inference import WEIGHTS
from lightweight_amt.levels import LocalLevel
from lightweight_amt.model import BINS_PER_PITCH, TemporalBlock, Transcriber

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


class PaperTimbreBody(nn.Module):
    """What follows the first block in the paper's encoder: its neck, its residual block and its head.

    Args:
        channels: of the first block.
        dim: of the embedding.
        rows: of each pitch, 3 in the paper and 1 on 84 rows.
    """

    def __init__(self, channels: int, dim: int, rows: int = BINS_PER_PITCH):
        super().__init__()
        self.neck = nn.Sequential(nn.GroupNorm(2, channels), nn.Conv2d(channels, 16, 5, padding="same"), nn.PReLU())
        self.residual = nn.Sequential(
            ChannelNorm(16), nn.Conv2d(16, 24, 3, padding="same"), nn.ReLU(), nn.Conv2d(24, 16, 3, padding="same")
        )
        self.norm = CentreNorm(16)
        self.head = nn.Conv2d(16, dim, (3, 5), stride=(rows, 1), padding=(0 if rows == BINS_PER_PITCH else 1, 2))
        self.reach = 2 + 1 + 1 + 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channel, row, frame) -> (batch, dim, pitch, frame), of unit length over dim."""
        x = self.neck(x)
        x = self.norm(x + self.residual(x))
        return F.normalize(self.head(x), dim=1)


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
        self.body = PaperTimbreBody(n_harmonics, dim)
        self.reach = 2 + 1 + self.body.reach

    def encode(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) levelled log energies -> (batch, dim, pitch, frame), of unit length over dim."""
        x = self.stack(log_energy) * self.scale + self.shift  # (batch, harmonic, bin, frame)
        return self.body(x + self.early(x))


def load_branch(transcriber: str) -> tuple[Transcriber, dict[str, Any]]:
    """The transcription branch that is there already, not to be trained any more, and what came with its weights.

    Args:
        transcriber: the name of shipped weights, or the path of a .safetensors file.
    """
    path = transcriber if transcriber.endswith(".safetensors") else WEIGHTS / f"{transcriber}.safetensors"
    net, extra = checkpoint.load(Transcriber, path)
    return net.requires_grad_(False), extra


class OnBranch(nn.Module):
    """An encoder with a frozen transcription branch in it, on whose view of the sound it builds.

    Args:
        transcriber: see `load_branch`. The log energies are to be its own.
    """

    def __init__(self, transcriber: str):
        super().__init__()
        self.transcriber, _ = load_branch(transcriber)

    def train(self, mode: bool = True) -> "OnBranch":
        super().train(mode)
        self.transcriber.eval()  # what is frozen keeps its statistics, too
        return self


class SharedBlockEncoder(OnBranch):
    """The paper's encoder on the first block of the transcription branch instead of one of its own.

    The block stays as transcription has made it: the paper freezes that branch before it trains this one.

    Args:
        dim: of the embedding.
        transcriber: see `OnBranch`.
    """

    def __init__(self, dim: int = 12, transcriber: str = "base"):
        super().__init__(transcriber)
        trunk = self.transcriber.trunk
        n_channels = trunk.get_parameter("neck.0.weight").shape[1]
        self.body = PaperTimbreBody(n_channels, dim, trunk.rows)
        self.reach = 2 + 1 + self.body.reach

    def encode(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) levelled log energies -> (batch, dim, pitch, frame), of unit length over dim."""
        return self.body(self.transcriber.first_block(log_energy))


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
