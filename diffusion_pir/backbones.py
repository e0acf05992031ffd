"""What can be probed: frozen networks that take a noisy input through one step, and say where to listen in on it."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from common import checkpoint
from common.features import fingerprint
from diffusion_pir.diffusion import add_noise, log_snr_db, sigma_to_timestep
from diffusion_pir.model import Denoiser

WEIGHTS = Path(__file__).parent / "weights"
CONTROLS = ("random", "mel")


class Backbone(Protocol):
    """One frozen network, asked the same way whatever it is made of.

    Noise is given as sigma in 0..1 with x_t = cos(sigma pi / 2) x + sin(sigma pi / 2) eps on inputs of unit variance; a
    backbone with another parametrisation translates, so that the same sigma is the same signal-to-noise ratio.
    """

    name: str
    takes: Literal["log_mel", "audio"]  # windows are (batch, bin, frame), or (batch, time) at `sample_rate`
    sample_rate: int  # Hz
    time_axis: Literal[2, 3]  # of the maps (batch, dim, row, column) that the layers give

    @property
    def taps(self) -> Mapping[str, nn.Module]:
        """Modules to listen in on, by the names of layers, in the order in which a step passes them."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def encode(self, windows: Tensor) -> Tensor:
        """The clean input x0 (batch, ...) of unit variance that windows have."""
        ...

    def denoise(self, x0: Tensor, sigma: float, noise: Tensor) -> Any:
        """One step from x0 with noise of its shape, conditioned on nothing; what counts is what the taps hear."""
        ...

    def level(self, sigma: float) -> tuple[float, float]:
        """What the network is told of this noise, in its own terms, and the signal-to-noise ratio in dB that it has."""
        ...

    def digest(self) -> str:
        """Hash of all that features depend on: weights and settings."""
        ...


class DenoiserBackbone:
    """Our own diffusion model on log-mel windows, with the null prompt.

    Args:
        denoiser: its weights are not to change.
        name: for tables.
        sample_rate: of the audio that the log-mels come from, Hz.
    """

    takes: Literal["log_mel", "audio"] = "log_mel"
    time_axis: Literal[2, 3] = 3

    def __init__(self, denoiser: Denoiser, name: str = "denoiser", sample_rate: int = 16_000):
        self.denoiser = denoiser.eval().requires_grad_(False)
        self.name = name
        self.sample_rate = sample_rate

    @property
    def taps(self) -> Mapping[str, nn.Module]:
        return {name: self.denoiser.get_submodule(path) for name, path in self.denoiser.taps.items()}

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def encode(self, windows: Tensor) -> Tensor:
        return self.denoiser.standardise(windows)

    def denoise(self, x0: Tensor, sigma: float, noise: Tensor) -> Tensor:
        return self.denoiser(*_noisy(x0, sigma, noise))

    def level(self, sigma: float) -> tuple[float, float]:
        t = int(sigma_to_timestep(sigma))
        return t, float(log_snr_db(t))

    def digest(self) -> str:
        unet = {key: value for key, value in self.denoiser.unet.config.items() if not key.startswith("_")}
        return fingerprint(self.denoiser, [unet, self.denoiser.patch, self.denoiser.taps, self.sample_rate])


class MelStatistics(DenoiserBackbone):
    """A control: no network. The one layer, "mel", is the noisy log-mel itself, a dimension for each bin.

    Args:
        denoiser: whose standardisation is used, so that a sigma means the same.
        name: for tables.
        sample_rate: of the audio that the log-mels come from, Hz.
    """

    def __init__(self, denoiser: Denoiser, name: str = "mel", sample_rate: int = 16_000):
        super().__init__(denoiser, name, sample_rate)
        self.picture = nn.Identity()

    @property
    def taps(self) -> Mapping[str, nn.Module]:
        return {"mel": self.picture}

    def denoise(self, x0: Tensor, sigma: float, noise: Tensor) -> Tensor:
        return self.picture(_noisy(x0, sigma, noise)[0][:, :, None])

    def digest(self) -> str:
        scale = [self.denoiser.mean.flatten().tolist(), self.denoiser.std.flatten().tolist()]
        return fingerprint(self.picture, [type(self).__name__, scale, self.sample_rate])


def _noisy(x0: Tensor, sigma: float, noise: Tensor) -> tuple[Tensor, Tensor]:
    """x_t and the timesteps t (batch,)."""
    timesteps = torch.full((len(x0),), int(sigma_to_timestep(sigma)), dtype=torch.int64, device=x0.device)
    return add_noise(x0, noise, timesteps), timesteps


def random_weights(denoiser: Denoiser, seed: int = 0) -> Denoiser:
    """The other control: the network as it was before training, with the same standardisation."""
    control = copy.deepcopy(denoiser).cpu()  # where a seed means the same on every machine
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = set()
        for module in control.modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if reset:
                reset()
                fresh.update(map(id, module.parameters(recurse=False)))
        for parameter in control.parameters():
            if id(parameter) not in fresh:  # what no layer owns, such as the null prompt, keeps only its scale
                nn.init.normal_(parameter, std=float(parameter.detach().std()))
    return control.to(next(denoiser.parameters()).device)


def open_backbone(name: str, device: str = "cpu") -> Backbone:
    """What is probed under a name.

    Args:
        name: weights that we ship ("small") or an exported .safetensors; "random:NAME" and "mel:NAME" for the controls
            of such a network; "stable-audio:PATH" and "audioldm2:PATH" for pipelines of others.
        device: to compute on.

    Raises:
        ValueError: there are no such weights, or not whole ones.
    """
    kind, _, rest = name.rpartition(":")
    if kind in ("stable-audio", "audioldm2"):
        # diffusers' pipelines take seconds to import: only whoever asks for one waits.
        from diffusion_pir import foundation

        load = foundation.StableAudioBackbone.load if kind == "stable-audio" else foundation.AudioLDM2Backbone.load
        return load(rest, device)
    path = Path(rest if rest.endswith(".safetensors") else WEIGHTS / f"{rest}.safetensors")
    if kind not in ("", *CONTROLS) or not path.exists():
        shipped = sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
        raise checkpoint.CheckpointError(
            f"{name}: no such model; take {', '.join(shipped) or 'none that is shipped'}, the path of an exported "
            ".safetensors, random:NAME or mel:NAME of these, stable-audio:FOLDER or audioldm2:FOLDER"
        )
    denoiser, _ = checkpoint.load(Denoiser, path, device)
    if kind == "mel":
        return MelStatistics(denoiser, f"mel:{path.stem}")
    if kind == "random":
        return DenoiserBackbone(random_weights(denoiser), f"random:{path.stem}")
    return DenoiserBackbone(denoiser, path.stem)
