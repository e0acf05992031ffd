"""From a log-mel back to sound: Griffin-Lim, or a vocoder of the user's own for the same log-mel.

The log-mel is that of `common.melspec.VocoderMel`, which is also that of SoundStream's public mel decoder.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from common.melspec import HOP_LENGTH, N_BINS, SILENCE, VocoderMel

GRIFFIN_LIM = "griffin-lim"
LOUDEST = 6.0  # natural log of a mel magnitude, above what full scale reaches; a network may say more
QUIETEST = 1e-8  # magnitude, so that nothing is divided by zero
SEED = 0


class VocoderError(ValueError):
    """A vocoder that cannot be used; the text tells the remedy."""


class Vocoder(Protocol):
    """What turns log-mels into sound.

    An own one is any callable like this, made by a function without arguments that the command line names as
    `package.module:function`.
    """

    def __call__(self, log_mel: Float[Tensor, "batch bin frame"]) -> Float[Tensor, "batch time"]:
        """Audio at 16 kHz in -1..1, 320 samples for each frame, of natural log-mels as `VocoderMel` gives them."""
        ...


def open_vocoder(name: str | Path = GRIFFIN_LIM) -> Vocoder:
    """A vocoder by its name: "griffin-lim", an .onnx file, or `package.module:function`, which makes one.

    Raises:
        VocoderError: there is no such vocoder.
    """
    if str(name) == GRIFFIN_LIM:
        return GriffinLim()
    if str(name).lower().endswith(".onnx"):
        return OnnxVocoder(name)
    module, _, function = str(name).partition(":")
    try:
        return getattr(import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise VocoderError(
            f"{name}: no such vocoder ({error}); give {GRIFFIN_LIM}, an .onnx file, or package.module:function"
        ) from error


def vocode(vocoder: Vocoder, log_mel: Float[Tensor, "batch bin frame"]) -> Float[Tensor, "batch time"]:
    """What a vocoder makes of log-mels, 320 samples for each frame; it may have ended a little earlier or later.

    Raises:
        VocoderError: it made something else.
    """
    audio = torch.as_tensor(vocoder(log_mel)).detach().float().cpu()
    wanted = log_mel.shape[2] * HOP_LENGTH
    if audio.ndim != 2 or len(audio) != len(log_mel) or abs(audio.shape[1] - wanted) > 4 * HOP_LENGTH:
        raise VocoderError(
            f"the vocoder made {list(audio.shape)} of {list(log_mel.shape)}; what is wanted is (batch, time), "
            f"{HOP_LENGTH} samples for each frame at 16 kHz"
        )
    return pad(audio, (0, max(wanted - audio.shape[1], 0)))[:, :wanted]


class GriffinLim:
    """Phases that fit the magnitudes, found by going back and forth between spectrum and sound.

    D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform", 1984, with the momentum of N.
    Perraudin, P. Balazs and P. Søndergaard, "A fast Griffin-Lim algorithm", 2013. Where a bin of the mel spans several
    frequencies, its magnitude stays and how they share it follows the sound found so far: that halves the error.

    Args:
        steps: of the search for phases.
        inversion_steps: of the search for the first magnitudes, see `magnitudes`.
        momentum: how much of the last change is made once more; 0 is the algorithm of 1984.
    """

    def __init__(self, steps: int = 128, inversion_steps: int = 50, momentum: float = 0.99):
        self.steps = steps
        self.inversion_steps = inversion_steps
        self.momentum = momentum
        mel = VocoderMel()
        self.filters = mel.filters
        self.n_fft = len(mel.window)
        # The window covers two hops in the middle of a transform; where they lie in it changes but the phases.
        middle = self.n_fft // 2
        self.window = mel.window[middle - HOP_LENGTH : middle + HOP_LENGTH]

    @torch.no_grad()
    def __call__(self, log_mel: Float[Tensor, "batch bin frame"]) -> Float[Tensor, "batch time"]:
        """See `Vocoder`. The same log-mel gives the same sound."""
        mel = log_mel.detach().float().cpu().clamp(SILENCE, LOUDEST).exp()
        magnitude = magnitudes(mel, self.filters, self.inversion_steps)
        phase = 2.0 * torch.pi * torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(SEED))
        spectrum, last = torch.polar(magnitude, phase), torch.zeros(1)
        for _ in range(self.steps):
            heard = self._spectrum(self._audio(spectrum))
            magnitude = share(heard.abs(), mel, self.filters)
            ahead = heard + self.momentum * (heard - last)
            spectrum, last = torch.polar(magnitude, ahead.angle()), heard
        return self._audio(spectrum).clamp(-1.0, 1.0)

    def _spectrum(self, audio: Tensor) -> Tensor:
        """(batch, frequency, frame) of audio (batch, time) of whole hops; silence follows the end."""
        frames = pad(audio, (0, HOP_LENGTH)).unfold(1, 2 * HOP_LENGTH, HOP_LENGTH)
        return torch.fft.rfft(frames * self.window, self.n_fft).mT

    def _audio(self, spectrum: Tensor) -> Tensor:
        """(batch, time): of all sounds the one whose spectrum is nearest."""
        frames = torch.fft.irfft(spectrum.mT, self.n_fft)[..., : 2 * HOP_LENGTH] * self.window
        power = self.window.square().expand(1, frames.shape[1], -1)
        # At the start a single window rises from zero: there, a little fades in.
        return (overlap_add(frames) / overlap_add(power).clamp(min=0.1))[:, :-HOP_LENGTH]


def overlap_add(frames: Float[Tensor, "batch frame two_hops"]) -> Float[Tensor, "batch time"]:
    """Sum of frames of two hops that begin a hop apart."""
    first, second = frames.unflatten(2, (2, -1)).unbind(2)
    return (pad(first, (0, 0, 0, 1)) + pad(second, (0, 0, 1, 0))).flatten(1)


def magnitudes(
    mel: Float[Tensor, "batch bin frame"], filters: Float[Tensor, "bin frequency"], steps: int
) -> Float[Tensor, "batch frequency frame"]:
    """Magnitudes of a spectrum, none negative, that sum up to these mel magnitudes.

    Starts from the pseudo-inverse, cut at zero, and multiplies by what lessens the squared error (D. Lee and H. Seung,
    "Algorithms for non-negative matrix factorization", 2000).
    """
    found = (torch.linalg.pinv(filters) @ mel).clamp(min=QUIETEST)
    wanted, gram = filters.T @ mel, filters.T @ filters
    for _ in range(steps):
        found *= wanted / (gram @ found).clamp(min=QUIETEST)
    return found


def share(
    magnitude: Float[Tensor, "batch frequency frame"],
    mel: Float[Tensor, "batch bin frame"],
    filters: Float[Tensor, "bin frequency"],
) -> Float[Tensor, "batch frequency frame"]:
    """A step from magnitudes towards such as sum up to these mel magnitudes: each grows by the mean of its bins'."""
    magnitude = magnitude.clamp(min=QUIETEST)
    factors = mel / (filters @ magnitude).clamp(min=QUIETEST)
    return magnitude * (filters.T @ factors) / filters.sum(0)[:, None].clamp(min=QUIETEST)


class OnnxVocoder:
    """A decoder in ONNX Runtime, such as SoundStream's: (batch, frame, 128) natural log-mel in, (batch, time) out.

    Args:
        path: of the graph; its first input and output are used.

    Raises:
        VocoderError: no such file, or none that can be read.
    """

    def __init__(self, path: str | Path):
        import onnxruntime

        if not Path(path).is_file():
            raise VocoderError(f"{path}: there is no such vocoder; give an .onnx file, or {GRIFFIN_LIM}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own have no class in common but this
            raise VocoderError(f"{path}: cannot be read as ONNX ({_line(error)}); export the vocoder again") from error
        self.path = path
        self.input = self.session.get_inputs()[0].name

    def __call__(self, log_mel: Float[Tensor, "batch bin frame"]) -> Float[Tensor, "batch time"]:
        """See `Vocoder`."""
        frames = log_mel.detach().float().cpu().mT.contiguous().numpy()
        try:
            audio = self.session.run(None, {self.input: frames})[0]
        except Exception as error:
            raise VocoderError(
                f"{self.path}: does not take (batch, frame, {N_BINS}) log-mels ({_line(error)}); it may be another kind"
            ) from error
        return torch.as_tensor(audio).reshape(len(frames), -1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
