"""Front-ends: a segment of audio in, a picture in 0..1 out, in which silence is 0.

The networks of the paper hear a spectrum of 1,024 bins every 18.75 ms (`Spectrum`) or 512 mel bands every 8 ms (`Mel`).
In `ConstantQ` an interval is as far everywhere: a semitone of the bass has bins of its own, and 252 are enough.
The released code stretches each segment to 0..1, so that noise looks as loud as music. Ours stretches none that is
quieter than a floor; see `scale`.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from common.frames import FrameGrid
from common.frontends import CQT, LogMel, LogSpectrogram

SCALES = ("limited", "level", "segment")
# Far below what is told from silence; the logarithm needs a number. A sine has much smaller energies in a CQT.
TINY, TINY_CQT = 1e-12, 1e-24
RELEASED_OFFSET, RELEASED_MARGIN = math.log(1e-5), 0.008


class FrontEnd(nn.Module):
    """What all have in common: the transform, and how its logarithms become numbers in 0..1.

    Args:
        transform: logarithms of magnitudes or energies, (batch, time) -> (batch, bin, frame).
        margin: samples to add at both ends by reflection, for a transform that is not centred.
        sine: amplitude that a sine of full scale has in its bin.
        scale: "limited" shows the `range_db` below the loudest bin of the segment, or below `floor_db` if all is
            quieter; "level" those below a sine of full scale, whatever there is; "segment" is the released one: from
            the smallest to the largest value that there is.
        range_db: how far below 1 is 0.
        floor_db: level of a sine, relative to full scale, up to which "limited" leaves segments quiet.
    """

    def __init__(
        self,
        transform: "LogSpectrogram | LogCQT",
        margin: int,
        sine: float,
        scale: str,
        range_db: float,
        floor_db: float,
    ):
        super().__init__()
        if scale not in SCALES or range_db <= 0:
            raise ValueError(f"scale must be one of {', '.join(SCALES)} and range_db positive, not {scale}, {range_db}")
        self.transform = transform
        self.grid: FrameGrid = transform.grid
        self.margin = margin
        self.scale = scale
        nepers = transform.power * math.log(10) / 20  # of a decibel
        full_scale = transform.power * math.log(sine)
        self.range = range_db * nepers
        self.loudest = full_scale + (floor_db * nepers if scale == "limited" else 0.0)

    def n_frames(self, n_samples: int) -> int:
        return self.grid.n_frames(n_samples)

    def forward(self, audio: Float[Tensor, " batch time"]) -> Float[Tensor, " batch frame bin"]:
        """float32 in 0..1, also under autocast. The audio must be longer than half a transform."""
        if audio.shape[1] <= self.margin:
            raise ValueError(f"a segment must have more than {self.margin} samples, not {audio.shape[1]}")
        with torch.autocast(audio.device.type, enabled=False):
            mirrored = F.pad(audio[:, None], (self.margin, self.margin), mode="reflect")[:, 0]
            picture = self.bins(self.transform(mirrored)).mT[:, : self.n_frames(audio.shape[1])]
            return self.released(picture) if self.scale == "segment" else self.limited(picture)

    def bins(self, picture: Tensor) -> Tensor:
        """Those that the network sees of (batch, bin, frame)."""
        return picture

    def limited(self, picture: Tensor) -> Tensor:
        top: Tensor | float = self.loudest
        if self.scale == "limited":
            top = picture.amax(dim=(1, 2), keepdim=True).clamp(min=self.loudest)
        return ((picture - top) / self.range + 1).clamp(0, 1)

    @staticmethod
    def released(picture: Tensor) -> Tensor:
        picture = torch.logaddexp(picture, picture.new_tensor(RELEASED_OFFSET))
        low, high = picture.amin(dim=(1, 2), keepdim=True), picture.amax(dim=(1, 2), keepdim=True)
        return (picture - low) / (high - low + RELEASED_MARGIN)


class Spectrum(FrontEnd):
    """Logarithmic magnitudes of the bins above 0 Hz.

    Args:
        sample_rate: rate in Hz.
        n_fft: samples of a transform.
        hop_length: samples between frames.
        n_bins: so many of the lowest; all by default, which is half of `n_fft`.
        scale: see `FrontEnd`.
        range_db: see `FrontEnd`.
        floor_db: see `FrontEnd`.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 2048,
        hop_length: int = 300,
        n_bins: int | None = None,
        scale: str = "limited",
        range_db: float = 80.0,
        floor_db: float = -60.0,
    ):
        transform = LogSpectrogram(sample_rate, n_fft, hop_length, center=False, power=1, floor=TINY)
        # A sine of full scale sums to a quarter of the transform in its bin.
        super().__init__(transform, n_fft // 2, n_fft / 4, scale, range_db, floor_db)
        self.n_bins = n_bins or n_fft // 2

    def bins(self, picture: Tensor) -> Tensor:
        return picture[:, 1 : 1 + self.n_bins]


class Mel(FrontEnd):
    """Logarithmic energies of mel bands.

    Args:
        sample_rate: rate in Hz.
        n_fft: samples of a transform.
        hop_length: samples between frames.
        n_bins: number of bands.
        fmin: lower corner of the lowest band in Hz (MT3: 20).
        fmax: upper corner of the highest in Hz; half the rate by default.
        scale: see `FrontEnd`.
        range_db: see `FrontEnd`.
        floor_db: see `FrontEnd`.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 2048,
        hop_length: int = 128,
        n_bins: int = 512,
        fmin: float = 50.0,
        fmax: float | None = None,
        scale: str = "limited",
        range_db: float = 80.0,
        floor_db: float = -60.0,
    ):
        transform = LogMel(sample_rate, n_fft, hop_length, n_bins, fmin=fmin, fmax=fmax, center=False, floor=TINY)
        # A sine of full scale sums to a quarter of the transform in its bin.
        super().__init__(transform, n_fft // 2, n_fft / 4, scale, range_db, floor_db)
        self.n_bins = n_bins


class LogCQT(nn.Module):
    """Logarithms of the energies of a constant-Q transform."""

    power = 2

    def __init__(self, cqt: CQT):
        super().__init__()
        self.cqt = cqt
        self.grid = cqt.grid

    def forward(self, audio: Float[Tensor, " batch time"]) -> Float[Tensor, " batch bin frame"]:
        return self.cqt(audio).clamp(min=TINY_CQT).log()


class ConstantQ(FrontEnd):
    """Logarithmic energies of a constant-Q transform; pools of the encoder can make one bin of each semitone.

    Args:
        sample_rate: rate in Hz.
        hop_length: samples between frames; a multiple of 64 for seven octaves.
        n_bins: of the picture, a multiple of `bins_per_octave`.
        bins_per_octave: resolution.
        fmin: centre of the lowest bin in Hz: by default that below E1, the lowest note of a bass, so that semitones
            are centred on every third bin.
        scale: see `FrontEnd`.
        range_db: see `FrontEnd`.
        floor_db: see `FrontEnd`.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop_length: int = 384,
        n_bins: int = 252,
        bins_per_octave: int = 36,
        fmin: float = 40.417699,
        scale: str = "limited",
        range_db: float = 80.0,
        floor_db: float = -60.0,
    ):
        cqt = CQT(sample_rate, hop_length, fmin=fmin, n_bins=n_bins, bins_per_octave=bins_per_octave)
        super().__init__(LogCQT(cqt), 0, 0.5, scale, range_db, floor_db)
        self.n_bins = n_bins
