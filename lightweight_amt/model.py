"""The transcription network: audio in, onset, frame and offset logits of 84 pitches out.

Paper: "A lightweight two-branch architecture for multi-instrument transcription via note-level contrastive clustering"
(arXiv 2509.12712), transcription branch. `Transcriber(**PAPER)` is its layout with exactly 18,978 trainable parameters;
the defaults are the same network as we would build it; `Transcriber(**NANO)` is smaller than Basic Pitch (16,782).
"""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from common.frontends import CQT, HarmonicStack
from lightweight_amt.decode import LOW, N_PITCHES
from lightweight_amt.levels import BatchLevel, ClipLevel, LayerLevel, Level, LinearLevel, LocalLevel, RMSLevel

BINS_PER_PITCH = 3
# One bin below C1, so that pitch p has its centre in bin 3 (p - 24) + 1 and owns the bins to either side of it.
FMIN = 440.0 * 2.0 ** ((LOW - 69) / 12 - 1 / (12 * BINS_PER_PITCH))
OUTPUTS = ("onset", "frame", "offset")
LEVELS: dict[str, type[Level]] = {
    "local": LocalLevel,
    "clip": ClipLevel,
    "linear": LinearLevel,
    "batch": BatchLevel,
    "layer": LayerLevel,
    "rms": RMSLevel,
}

PAPER = {
    "level": "clip",
    "padding": "zero",
    "crop_first": True,
    "window": "blackmanharris",
    "folded": False,
    "channels": (16, 8, 16, 7),
    "temporal_dilations": (),
    "offset": False,
}
NANO = {"channels": (8, 8, 12, 8), "context_pitches": 13, "temporal_dilations": (2,)}


class LearnableCQT(CQT):
    """The transform with its kernels as parameters (the paper's "learnable CQT"): one octave's, shared by all.

    They start as the constant ones and are then free: real parts need not stay even in time, nor imaginary ones odd.
    """

    def __init__(self, **options):
        super().__init__(**options)
        kernels = self.kernels
        del self.kernels
        self.kernels = nn.Parameter(kernels)

    def _octave(self, x: torch.Tensor, hop: int, n_frames: int) -> torch.Tensor:
        spectrum = F.conv1d(x[:, None, self.pad - self.margin :], self.kernels, stride=hop)[..., :n_frames]
        real, imaginary = spectrum.chunk(2, dim=1)
        return real * real + imaginary * imaginary


class TemporalBlock(nn.Module):
    """Residual look along time within a pitch: depthwise 1x7, then across channels."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, (1, 7), padding=(0, 3 * dilation), dilation=(1, dilation), groups=channels, bias=False
        )
        self.norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.pointwise(F.relu(self.norm(self.depthwise(x))))


class Trunk(nn.Module):
    """The convolutions of the branch, in the paper's order (its Table 1): early pair, neck, frame head, onset head.

    The paper keeps three rows for each pitch to the end, where its heads take every third. Folded, the three bins of a
    pitch become channels at the start, so that all rows are pitches: the two-octave convolution then needs no dilation.
    """

    def __init__(self, n_harmonics, folded, channels, context_pitches, dilated, temporal_dilations, offset):
        super().__init__()
        first, context, neck, head = channels
        self.rows = rows = 1 if folded else BINS_PER_PITCH  # of each pitch
        n_inputs = n_harmonics * BINS_PER_PITCH // rows
        # Frequency x time. What a kernel spans in semitones is about the same in both layouts.
        early, frame, branch = ((3, 5), (3, 5), (3, 3)) if folded else ((5, 5), (5, 5), (7, 3))

        self.early = nn.Sequential(
            nn.Conv2d(n_inputs, first, early, padding="same", bias=False),
            nn.BatchNorm2d(first),
            nn.LeakyReLU(0.01),
        )
        # Either one row in each pitch, or all of them.
        height, step = (context_pitches, rows) if dilated else (context_pitches * rows, 1)
        self.context = nn.Sequential(
            nn.Conv2d(first, context, (height, 3), padding=(height // 2 * step, 1), dilation=(step, 1)),
            nn.BatchNorm2d(context),
        )
        self.skip = nn.Identity() if n_inputs == context else nn.Conv2d(n_inputs, context, 1, bias=False)
        self.neck = nn.Sequential(
            nn.Conv2d(context, neck, 5, padding="same", bias=False), nn.BatchNorm2d(neck), nn.ReLU()
        )
        self.temporal = nn.Sequential(*(TemporalBlock(neck, dilation) for dilation in temporal_dilations))
        self.frame = nn.Conv2d(neck, 1, frame, stride=(rows, 1), padding=(1, 2))
        self.branch = nn.Sequential(
            nn.Conv2d(neck, head, branch, stride=(rows, 1), padding=(1 if folded else 2, 1), bias=False),
            nn.BatchNorm2d(head),
            nn.ReLU(),
        )
        self.events = nn.Conv2d(1 + head, 2 if offset else 1, (3, 5), padding="same")
        # Most cells are silent: starting from that, the first steps need not learn it.
        nn.init.constant_(self.get_parameter("frame.bias"), -3.0)
        nn.init.constant_(self.get_parameter("events.bias"), -5.0)
        # Frames to either side that an output depends on: kernels of 5, 3, 5, 7 dilated, 5 (the head's, or 3 and the
        # branch's) and 5 frames, one after the other.
        self.reach = 2 + 1 + 2 + 3 * sum(temporal_dilations) + 2 + 2

    def first_block(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, harmonic, bin, frame) -> (batch, channel, row, frame): what the early pair makes of the harmonics."""
        if self.rows == 1:
            x = rearrange(x, "batch harmonic (pitch third) frame -> batch (harmonic third) pitch frame", third=3)
        return F.relu(self.skip(x) + self.context(self.early(x)))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, harmonic, bin, frame) -> logits by output name, each (batch, pitch, frame)."""
        x = self.temporal(self.neck(self.first_block(x)))
        frame = self.frame(x)  # (batch, 1, pitch, frame)
        events = self.events(torch.cat([torch.sigmoid(frame), self.branch(x)], dim=1))
        logits = torch.cat([events[:, :1], frame, events[:, 1:]], dim=1)
        return dict(zip(OUTPUTS, logits.unbind(dim=1), strict=False))


class Transcriber(nn.Module):
    """Constant-Q harmonics -> two octaves of context -> onset, frame and offset of each pitch.

    Args:
        level: "local" (gain-invariant, streams), "clip" (the paper's EnergyNorm) or another one of
            `lightweight_amt.levels`.
        padding: what stands where a harmonic lies beyond the highest bin: "floor" (the value of silence, or the lowest
            one in the clip where silence has no fixed value) or "zero" (the paper's, which is louder than almost every
            real value).
        crop_first: drop the highest octave before the harmonics are shifted (the paper's) instead of after.
        window: of the constant-Q kernels, "hann" or "blackmanharris" (the paper's).
        folded: work on 84 rows with the three bins of a pitch as channels (2.8 times fewer multiplications), or on 252
            rows with stride 3 at the end (the paper's).
        channels: widths of the first convolution, the two-octave convolution, the neck and the onset branch.
        context_pitches: height of the second convolution, in semitones; odd.
        dilated: let that convolution look at one bin in each semitone, not at all three; folded has no such choice.
        temporal_dilations: one TemporalBlock for each; none in the paper.
        offset: also predict where notes end, which the paper's network does not.
        input_octaves: 1 takes audio at 44,100 Hz and halves the rate first.
        learnable_cqt: train the kernels of the front-end, too.
    """

    def __init__(
        self,
        level: str = "local",
        padding: str = "floor",
        crop_first: bool = False,
        window: str = "hann",
        folded: bool = True,
        channels: tuple[int, int, int, int] = (16, 12, 24, 16),
        context_pitches: int = 25,
        dilated: bool = True,
        temporal_dilations: tuple[int, ...] = (1, 3, 9),
        offset: bool = True,
        input_octaves: int = 0,
        learnable_cqt: bool = False,
    ):
        super().__init__()
        if level not in LEVELS or padding not in ("floor", "zero"):
            raise ValueError(
                f"level must be one of {', '.join(LEVELS)} and padding floor or zero, not {level!r} and {padding!r}"
            )
        transform = LearnableCQT if learnable_cqt else CQT
        self.cqt = transform(fmin=FMIN, window=window, input_octaves=input_octaves)
        self.grid = self.cqt.grid
        self.outputs = OUTPUTS if offset else OUTPUTS[:2]
        self.level = LEVELS[level]()
        self.pads_lowest = padding == "floor" and self.level.log_floor is None
        fill = 0.0 if padding == "zero" else self.level.log_floor or 0.0
        self.stack = HarmonicStack(n_bins=BINS_PER_PITCH * N_PITCHES, fill=fill, crop_first=crop_first)
        # (k, b) of the paper's affine map.
        scale, shift = self.level.start
        self.scale = nn.Parameter(torch.tensor(scale))
        self.shift = nn.Parameter(torch.tensor(shift))
        self.trunk = Trunk(
            len(self.stack.shifts), folded, channels, context_pitches, dilated, temporal_dilations, offset
        )

    @property
    def context(self) -> int:
        """Samples on either side on which a frame depends."""
        return self.cqt.context + (self.trunk.reach + self.level.context_frames) * self.grid.hop_length

    def log_energy(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, time) audio in -1..1 -> (batch, bin, frame) levelled log energies: nothing to learn but kernels."""
        return self.level(self.cqt(audio))

    def harmonics(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) -> (batch, harmonic, bin, frame), padded where they run out of bins."""
        if not self.pads_lowest:
            return self.stack(log_energy)
        lowest = log_energy.amin(dim=(1, 2), keepdim=True)
        return self.stack(log_energy - lowest) + lowest[:, None]

    def first_block(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) -> (batch, channel, row, frame): the beginning of `transcribe`."""
        return self.trunk.first_block(self.harmonics(log_energy) * self.scale + self.shift)

    def transcribe(self, log_energy: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, bin, frame) -> logits by output name, each (batch, pitch, frame): all that is learnt."""
        return self.trunk(self.harmonics(log_energy) * self.scale + self.shift)

    def forward(self, audio: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, time) audio in -1..1 -> logits by output name, each (batch, pitch, frame)."""
        return self.transcribe(self.log_energy(audio))
