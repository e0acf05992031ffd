"""Front-ends: audio (batch, time) in, a picture of bins over frames (batch, bin, frame) out, as plain torch modules."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from common.filters import HALF_TAPS, PASSBAND, WINDOWS, half_band, mel_filters, toeplitz, wavelets
from common.frames import FrameGrid

# Samples that one row of the decimating matrix product makes.
BLOCK = 32

# Samples that one matrix product or Fourier transform takes on a CPU, so that their copies stay in its cache.
TILE = 2**19


class CQT(nn.Module):
    """Constant-Q transform: energy of windowed complex exponentials whose length is inverse to their frequency.

    Bin k at frame t is |sum_n x[t hop + n] w(n / L_k) exp(-2 pi i f_k n / rate)|^2 / (sum_n w(n / L_k))^2 over the
    signal extended by zeros, with f_k = fmin 2^(k / bins_per_octave), L_k = Q rate / f_k samples (not rounded) and
    librosa's Q, 1 / Q = (r^2 - 1) / (r^2 + 1) for r = 2^(1 / bins_per_octave).

    The transform goes down octave by octave (Schoerkhuber and Klapuri, 2010): the highest octave is a product of frames
    and kernels; then the signal is halved in rate by a zero-phase half-band filter, on which the next octave has the
    very same kernels, since the lengths are not rounded. Filter and kernels are matrix products, which CPU and GPU do
    at full speed. The relative error is below 1e-4 up to the edges of the signal.

    Args:
        sample_rate: rate in Hz at which the highest octave is analysed.
        hop_length: samples at that rate between frames; a multiple of 2^(octaves - 1).
        fmin: centre of bin 0 in Hz. The default is C1 lowered by one of 36 bins per octave, so that the semitone of
            MIDI pitch p is centred on bin 3 (p - 24) + 1.
        n_bins: a multiple of `bins_per_octave`.
        bins_per_octave: resolution.
        window: "hann" or "blackmanharris".
        scale: "amplitude": a sine of amplitude A has the energy A^2 / 4 in its bin; "librosa": times L_k, the
            square of `librosa.cqt(scale=True)`.
        input_octaves: how often the input is halved in rate before the highest octave; with 1 the module takes audio
            at 2 * sample_rate.
    """

    kernels: Tensor  # (2 * bin, 1, tap) of one octave: real parts, imaginary parts
    folded: Tensor  # (2 * bin, 1 + tap // 2): their halves from the centre on
    decimator: Tensor  # (BLOCK, 1, tap)
    lengths: Tensor  # (bin, 1), samples

    def __init__(
        self,
        sample_rate: int = 22_050,
        hop_length: int = 256,
        *,
        fmin: float = 32.07955284,
        n_bins: int = 288,
        bins_per_octave: int = 36,
        window: str = "hann",
        scale: str = "amplitude",
        input_octaves: int = 0,
    ):
        super().__init__()
        n_octaves, remainder = divmod(n_bins, bins_per_octave)
        if remainder or n_octaves < 1:
            raise ValueError(f"n_bins must be a multiple of bins_per_octave, not {n_bins} of {bins_per_octave}")
        if hop_length % 2 ** (n_octaves - 1):
            raise ValueError(f"hop_length must be a multiple of {2 ** (n_octaves - 1)} for {n_octaves} octaves")
        if window not in WINDOWS or scale not in ("amplitude", "librosa"):
            raise ValueError(f"window must be one of {sorted(WINDOWS)}, scale amplitude or librosa")
        ratio = 2.0 ** (2 / bins_per_octave)
        quality = (ratio + 1) / (ratio - 1)
        frequency = fmin * 2.0 ** (np.arange(n_bins) / bins_per_octave)
        lobe = frequency[-1] / quality * len(WINDOWS[window])
        if (frequency[-1] + lobe) / sample_rate > 2 * PASSBAND:
            raise ValueError(
                f"the highest bin, {frequency[-1]:.0f} Hz, is too near to half the sample rate {sample_rate}: "
                "lower fmin or n_bins, or raise sample_rate"
            )
        self.hop_length = hop_length
        self.n_octaves = n_octaves
        self.input_octaves = input_octaves
        self.scale = scale
        self.frequency = frequency
        self.grid = FrameGrid(sample_rate << input_octaves, hop_length << input_octaves)
        lengths = quality * sample_rate / frequency
        kernels = wavelets(lengths[-bins_per_octave:], quality, WINDOWS[window])
        self.margin = margin = kernels.shape[1] // 2
        # Zeros on either side of the signal, of every octave's: what the kernels and the filter reach, in whole blocks.
        self.pad = HALF_TAPS + 2 * BLOCK * max(2, -(-(margin - HALF_TAPS) // (2 * BLOCK)))
        # Real parts are even in time and imaginary ones odd: half of each does, on sums and differences of samples.
        folded = kernels[:, margin:] * np.where(np.arange(margin + 1) == 0, 0.5, 1.0)
        _constant(self, "kernels", kernels[:, None])
        _constant(self, "folded", folded)
        _constant(self, "decimator", toeplitz(half_band(), BLOCK)[:, None])
        _constant(self, "lengths", lengths[:, None])

    @property
    def context(self) -> int:
        """Samples on either side of its centre on which a frame may depend, at the rate of the input.

        A block of audio that starts on a multiple of the hop has, further than this from its ends, the whole's frames.
        """
        step = 2 ** (self.input_octaves + self.n_octaves - 1)
        return self.margin * step + HALF_TAPS * (step - 1)

    def forward(self, audio: Tensor) -> Tensor:
        """Energies, float32 also under autocast (a power of a small amplitude has no room in fewer bits).

        Args:
            audio: (batch, time), at least one sample, at `grid.sample_rate`.

        Returns:
            (batch, bin, frame), low bins first, `grid.n_frames(time)` frames, frame i centred on sample i * hop.
        """
        n_frames = _n_frames(audio, self.grid)
        with torch.autocast(audio.device.type, enabled=False):
            x = functional.pad(audio.to(self.kernels.dtype), (self.pad, self.pad))
            for _ in range(self.input_octaves):
                x = self._halve(x)
            octaves = [self._octave(x, self.hop_length, n_frames)]
            for octave in range(1, self.n_octaves):
                x = self._halve(x)
                octaves.append(self._octave(x, self.hop_length >> octave, n_frames))
            energy = torch.cat(octaves[::-1], dim=1)
            return energy * self.lengths if self.scale == "librosa" else energy

    def _octave(self, x: Tensor, hop: int, n_frames: int) -> Tensor:
        """Energies (batch, bin, frame) of one octave of x (batch, time), whose sample `pad` is time 0."""
        x = x[:, self.pad - self.margin :]
        if torch.onnx.is_in_onnx_export():
            real, imaginary = functional.conv1d(x[:, None], self.kernels, stride=hop)[..., :n_frames].chunk(2, dim=1)
            return real * real + imaginary * imaginary
        cosines, sines = self.folded.chunk(2)
        tiles = []
        for tile in _tiles(x, self.kernels.shape[2], hop, n_frames):
            before, after = tile[..., : self.margin + 1].flip(-1), tile[..., self.margin :]
            real, imaginary = cosines @ (after + before).mT, sines @ (after - before).mT
            tiles.append(real * real + imaginary * imaginary)
        return torch.cat(tiles, dim=2)

    def _halve(self, x: Tensor) -> Tensor:
        """Half the rate of x (batch, time), whose sample `pad` is time 0, as it is in the result.

        Outside the signal the filters' tails reach less than HALF_TAPS samples at any octave. All of them is computed,
        and zeros beyond: at the edges, too, the transform is that of the signal extended by zeros.
        """
        stride = 2 * BLOCK
        missing = (self.pad + HALF_TAPS) // 2
        if torch.onnx.is_in_onnx_export():
            halved = functional.conv1d(x[:, None], self.decimator, stride=stride).transpose(1, 2)
            return functional.pad(halved.reshape(x.shape[0], -1), (missing, self.pad))
        tiles = _tiles(x, self.decimator.shape[2], stride)
        halved = [(tile.contiguous() @ self.decimator[:, 0].T).flatten(1) for tile in tiles]
        return torch.cat([x.new_zeros(len(x), missing), *halved, x.new_zeros(len(x), self.pad)], dim=1)


def _constant(module: nn.Module, name: str, value: np.ndarray) -> None:
    """A buffer that follows the module from device to device and, as it can be made anew, is in no checkpoint."""
    module.register_buffer(name, torch.from_numpy(value).float(), persistent=False)


def _n_frames(audio: Tensor, grid: FrameGrid) -> int:
    """`grid.n_frames` of audio (batch, time), counted so that a traced graph of dynamic length has it exact, too."""
    if audio.ndim != 2 or audio.shape[1] == 0:
        raise ValueError(f"audio must be (batch, time) with at least one sample, not {tuple(audio.shape)}")
    return audio[:, :: grid.hop_length].shape[1]


def _tiles(x: Tensor, taps: int, stride: int, n_frames: int | None = None) -> tuple[Tensor, ...]:
    """Overlapping stretches of x (batch, time), every `stride` samples, as views (batch, frame, tap).

    Products of them with a matrix are convolutions, which torch does 70 times slower for one channel on a CPU. There
    they come in tiles of a size whose copies stay in the cache.
    """
    frames = x.unfold(1, taps, stride)[:, :n_frames]
    return frames.split(max(1, TILE // (taps * len(x))) if x.device.type == "cpu" else frames.shape[1], dim=1)


class HarmonicStack(nn.Module):
    """The picture beside itself, shifted by harmonics: bin b of channel c holds what sounds at harmonics[c] times it.

    Args:
        harmonics: frequency ratios.
        bins_per_octave: resolution of the input; shifts are rounded to its bins.
        n_bins: height of the output, at most that of the input.
        fill: value where a shift runs out of the picture. Give the value that silence has there: in a logarithmic
            picture 0 is loud.
        crop_first: cut the input to `n_bins` before the shift, so that bins above are lost instead of used.
    """

    def __init__(
        self,
        harmonics: tuple[float, ...] = (0.5, 1, 2, 3, 4, 5, 6, 7),
        bins_per_octave: int = 36,
        n_bins: int = 252,
        fill: float = 0.0,
        crop_first: bool = False,
    ):
        super().__init__()
        self.shifts = [round(bins_per_octave * float(np.log2(h))) for h in harmonics]
        self.n_bins = n_bins
        self.fill = fill
        self.crop_first = crop_first

    def forward(self, picture: Tensor) -> Tensor:
        """(batch, bin, frame) to (batch, harmonic, n_bins, frame)."""
        if self.crop_first:
            picture = picture[:, : self.n_bins]
        below, above = max(0, -min(self.shifts)), max(0, *self.shifts)
        padded = functional.pad(picture, (0, 0, below, above), value=self.fill)
        return torch.stack([padded[:, below + s : below + s + self.n_bins] for s in self.shifts], dim=1)


class LogSpectrogram(nn.Module):
    """Logarithm of the short-time spectrum, not below that of a floor, over the signal extended by zeros.

    Args:
        sample_rate: rate in Hz.
        n_fft: samples of a transform.
        hop_length: samples between frames.
        win_length: samples of the (periodic) Hann window in the middle of a transform; all by default.
        center: frame i is centred on sample i * hop, as `grid` has it. Otherwise its window starts there.
        power: 2 for energies, 1 for magnitudes.
        floor: smallest energy or magnitude that is told from silence. A maximum, not a sum: what is above keeps its
            value, and no exporter takes it for nothing.
    """

    window: Tensor  # (n_fft,)

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        *,
        win_length: int | None = None,
        center: bool = True,
        power: int = 2,
        floor: float = 1e-7,
    ):
        super().__init__()
        win_length = win_length or n_fft
        if not 0 < win_length <= n_fft or power not in (1, 2) or floor <= 0:
            raise ValueError("win_length must be in 1..n_fft, power 1 or 2 and floor positive")
        self.grid = FrameGrid(sample_rate, hop_length)
        self.power = power
        self.floor = floor
        before = (n_fft - win_length) // 2
        self.padding = (n_fft // 2, (n_fft - 1) // 2) if center else (before, n_fft - 1 - before)
        window = np.zeros(n_fft)
        window[before : before + win_length] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
        _constant(self, "window", window)

    def forward(self, audio: Tensor) -> Tensor:
        """Natural logarithms, float32 also under autocast.

        Args:
            audio: (batch, time), at least one sample, at `grid.sample_rate`.

        Returns:
            (batch, bin, frame), low bins first, `grid.n_frames(time)` frames.
        """
        n_frames = _n_frames(audio, self.grid)
        with torch.autocast(audio.device.type, enabled=False):
            x = functional.pad(audio.to(self.window.dtype), self.padding)
            if torch.onnx.is_in_onnx_export():
                parts = functional.conv1d(x[:, None], self._fourier(), stride=self.grid.hop_length)[..., :n_frames]
                picture = self._bins(*parts.chunk(2, dim=1))
            else:
                tiles = _tiles(x, len(self.window), self.grid.hop_length, n_frames)
                spectra = (torch.fft.rfft(tile * self.window).mT for tile in tiles)
                picture = torch.cat([self._bins(spectrum.real, spectrum.imag) for spectrum in spectra], dim=2)
            return torch.log(picture.clamp(min=self.floor))

    def _bins(self, real: Tensor, imaginary: Tensor) -> Tensor:
        energy = real * real + imaginary * imaginary
        # The square root has no derivative at 0.
        return energy if self.power == 2 else energy.clamp(min=torch.finfo(energy.dtype).tiny).sqrt()

    def _fourier(self) -> Tensor:
        """The windowed transform as kernels (2 * bin, 1, tap): real parts, then imaginary ones."""
        n_fft = len(self.window)
        phase = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft * (2 * np.pi / n_fft)
        kernels = torch.from_numpy(np.concatenate([np.cos(phase), -np.sin(phase)])).to(self.window)
        return (kernels * self.window)[:, None]


class LogMel(LogSpectrogram):
    """`LogSpectrogram` summed by triangles on the mel scale, before the logarithm.

    Args:
        sample_rate: rate in Hz.
        n_fft: samples of a transform.
        hop_length: samples between frames.
        n_mels: number of bins.
        fmin: lower corner of the lowest triangle in Hz.
        fmax: upper corner of the highest triangle in Hz; half the rate by default.
        scale: "htk" (torchaudio's default) or "slaney" (librosa's).
        normalise: divide each triangle by its area in Hz (librosa's default, not torchaudio's).
        **spectrogram: further arguments of `LogSpectrogram`; power and floor are those of the spectrum and of the sums.
    """

    filters: Tensor  # (mel, bin)

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        n_mels: int,
        *,
        fmin: float = 0.0,
        fmax: float | None = None,
        scale: str = "htk",
        normalise: bool = False,
        **spectrogram,
    ):
        super().__init__(sample_rate, n_fft, hop_length, **spectrogram)
        if scale not in ("htk", "slaney"):
            raise ValueError(f"scale must be htk or slaney, not {scale}")
        triangles = mel_filters(sample_rate, n_fft, n_mels, fmin, fmax or sample_rate / 2, scale, normalise)
        _constant(self, "filters", triangles)

    def _bins(self, real: Tensor, imaginary: Tensor) -> Tensor:
        return self.filters @ super()._bins(real, imaginary)
