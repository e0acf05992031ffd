"""Large diffusion models of others as backbones: Stable Audio Open and AudioLDM 2, from a folder or the hub.

They are read by diffusers' own classes from safetensors; no code from a repository runs. Both hear audio, compress it
with their autoencoder and are asked once, at the wanted signal-to-noise ratio, with a prompt that says nothing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2UNet2DConditionModel
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from torch.nn.functional import pad

from common.features import fingerprint
from common.frontends import LogMel

Model = TypeVar("Model", bound=nn.Module)


class BackboneError(ValueError):
    """Weights of another's model that cannot be had, or are not whole."""


class StableAudioBackbone:
    """A diffusion transformer on latents of 44.1 kHz stereo, 21.5 a second (Z. Evans et al., 2024).

    Its noise is EDM's: x + s eps, which it sees divided by sqrt(1 + s^2), and it is told 2 / pi atan(s). That is our
    sigma, and what it sees our x_t. In training sigma was 0.19 or more (s = 0.3): below, it guesses.

    The layers are its blocks. Their maps are one row of tokens, of which the first stands for duration and noise level.

    Args:
        transformer: the network; its weights are not to change.
        vae: its autoencoder.
        projection: makes tokens of where the audio starts and ends.
        name: for tables.
    """

    takes: Literal["log_mel", "audio"] = "audio"
    time_axis: Literal[2, 3] = 3

    def __init__(
        self,
        transformer: StableAudioDiTModel,
        vae: AutoencoderOobleck,
        projection: StableAudioProjectionModel,
        name: str = "stable-audio",
    ):
        self.modules: Any = nn.ModuleDict({"transformer": transformer, "vae": vae, "projection": projection})
        self.modules.eval().requires_grad_(False)
        self.transformer: Any = transformer
        self.vae: Any = vae
        self.projection = projection
        self.name = name
        self.sample_rate: int = self.vae.config.sampling_rate

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "StableAudioBackbone":
        """From the folder of a pipeline, or its name on the hub.

        Raises:
            BackboneError: there is no such pipeline, or weights are missing.
        """
        transformer = read(StableAudioDiTModel, path, "transformer")
        projection = read(StableAudioProjectionModel, path, "projection_model")
        backbone = cls(transformer, read(AutoencoderOobleck, path, "vae"), projection, Path(path).name)
        backbone.modules.to(device)
        return backbone

    @property
    def taps(self) -> Mapping[str, nn.Module]:
        return {f"block_{i}": block for i, block in enumerate(self.transformer.transformer_blocks)}

    @property
    def device(self) -> torch.device:
        return next(self.modules.parameters()).device

    def encode(self, windows: Tensor) -> Tensor:
        """Latents (batch, dim, frame); audio is repeated on both channels, and ends in silence if a latent does not."""
        windows = pad(windows, (0, -windows.shape[1] % self.vae.hop_length))
        audio = windows[:, None].expand(-1, self.vae.config.audio_channels, -1)
        return self.vae.encode(audio).latent_dist.mode()

    def level(self, sigma: float) -> tuple[float, float]:
        """What the network is told of the noise, and the signal-to-noise ratio in dB."""
        return sigma, snr_db(sigma)

    def denoise(self, x0: Tensor, sigma: float, noise: Tensor) -> Any:
        n_windows, _, n_frames = x0.shape
        times = torch.tensor([0.0, n_frames * self.vae.hop_length / self.sample_rate], device=x0.device)
        told = self.projection(start_seconds=times[:1], end_seconds=times[1:])
        duration = torch.cat([told.seconds_start_hidden_states, told.seconds_end_hidden_states], dim=2)
        rotary = get_1d_rotary_pos_embed(
            self.transformer.config.attention_head_dim // 2,
            n_frames + 1,
            use_real=True,
            repeat_interleave_real=False,
        )
        return self.transformer(
            np.cos(sigma * np.pi / 2) * x0 + np.sin(sigma * np.pi / 2) * noise,
            torch.full((n_windows,), sigma, device=x0.device),
            # Zeros are its null prompt, and of those one is as good as many.
            encoder_hidden_states=x0.new_zeros(n_windows, 1, self.transformer.config.cross_attention_input_dim),
            global_hidden_states=duration.expand(n_windows, -1, -1),
            rotary_embedding=tuple(table.to(x0.device) for table in rotary),
        )

    def digest(self) -> str:
        return fingerprint(self.modules, [type(self).__name__])


class AudioLDM2Backbone:
    """A U-Net on latents of a 64-bin log-mel at 16 kHz, 25 a second (H. Liu et al., 2023).

    The layers are its blocks, at their outputs. Prompts are zeros unless others are given: what its own encoders make
    of "" are those of `AudioLDM2Pipeline.encode_prompt`.

    Args:
        unet: the network; its weights are not to change.
        vae: its autoencoder.
        scheduler: whose table of noise levels it was trained with.
        name: for tables.
        prompt: tokens (1, token, dim) of the language model and of T5.
    """

    takes: Literal["log_mel", "audio"] = "audio"
    time_axis: Literal[2, 3] = 2
    sample_rate = 16_000

    def __init__(
        self,
        unet: AudioLDM2UNet2DConditionModel,
        vae: AutoencoderKL,
        scheduler: DDIMScheduler,
        name: str = "audioldm2",
        prompt: tuple[Tensor, Tensor] | None = None,
    ):
        # What its authors' front-end computes, but for the edges: there they mirror the audio, where we add silence.
        mel = LogMel(16_000, 1024, 160, 64, scale="slaney", normalise=True, power=1, floor=1e-5)
        self.modules: Any = nn.ModuleDict({"unet": unet, "vae": vae, "mel": mel}).eval().requires_grad_(False)
        self.unet: Any = unet
        self.vae: Any = vae
        self.mel = mel
        powers = scheduler.alphas_cumprod.double().numpy()
        self.sigmas = np.arctan2(np.sqrt(1 - powers), np.sqrt(powers)) * 2 / np.pi  # of its timesteps
        # A block attends to itself, to the language model and to T5, in this order.
        _, *dims = unet.mid_block.cross_attention_dim  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
        self.prompt = prompt or tuple(torch.zeros(1, 1, dim) for dim in dims)
        self.name = name

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "AudioLDM2Backbone":
        """From the folder of a pipeline, or its name on the hub.

        Raises:
            BackboneError: there is no such pipeline, or weights are missing.
        """
        unet, vae = read(AudioLDM2UNet2DConditionModel, path, "unet"), read(AutoencoderKL, path, "vae")
        try:
            scheduler: Any = DDIMScheduler.from_pretrained(str(path), subfolder="scheduler")
        except (OSError, ValueError) as error:
            raise BackboneError(f"{path}: no scheduler of an AudioLDM 2 pipeline there; download it whole") from error
        backbone = cls(unet, vae, scheduler, Path(path).name)
        backbone.modules.to(device)
        return backbone

    @property
    def taps(self) -> Mapping[str, nn.Module]:
        down = {f"down_{i}": block for i, block in enumerate(self.unet.down_blocks)}
        up = {f"up_{i}": block for i, block in enumerate(self.unet.up_blocks)}
        return {**down, "bottleneck": self.unet.mid_block, **up}

    @property
    def device(self) -> torch.device:
        return next(self.modules.parameters()).device

    def encode(self, windows: Tensor) -> Tensor:
        """Latents (batch, dim, frame, bin), of windows that were brought to the level that it was trained on."""
        centred = windows - windows.mean(1, keepdim=True)
        level = centred.abs().amax(1, keepdim=True) + 1e-8
        picture = self.mel(0.5 * centred / level).mT[:, None]
        return self.vae.encode(picture).latent_dist.mode() * self.vae.config.scaling_factor

    def timestep(self, sigma: float) -> int:
        """That of its own whose noise level is nearest."""
        return int(np.abs(self.sigmas - sigma).argmin())

    def level(self, sigma: float) -> tuple[float, float]:
        """What the network is told of the noise, and the signal-to-noise ratio in dB; both are its nearest."""
        t = self.timestep(sigma)
        return t, snr_db(self.sigmas[t])

    def denoise(self, x0: Tensor, sigma: float, noise: Tensor) -> Any:
        t = self.timestep(sigma)
        angle = self.sigmas[t] * np.pi / 2
        language, t5 = (tokens.to(x0).expand(len(x0), -1, -1) for tokens in self.prompt)
        return self.unet(
            np.cos(angle) * x0 + np.sin(angle) * noise, t, encoder_hidden_states=language, encoder_hidden_states_1=t5
        )

    def digest(self) -> str:
        prompt = [tokens.flatten().tolist() for tokens in self.prompt]
        return fingerprint(self.modules, [type(self).__name__, self.sigmas.tolist(), prompt])


def snr_db(sigma: float) -> float:
    """Signal-to-noise ratio of x_t = cos(sigma pi / 2) x + sin(sigma pi / 2) eps, dB; infinite without noise."""
    with np.errstate(divide="ignore"):
        return float(-20 * np.log10(np.tan(sigma * np.pi / 2)))


def read(kind: type[Model], path: str | Path, part: str) -> Model:
    """One network of a pipeline, in float32.

    Args:
        kind: diffusers' class of it.
        path: folder of the pipeline, or its name on the hub.
        part: its folder there.

    Raises:
        BackboneError: it is not there, or not whole.
    """
    remedy = f"give a folder with {part}/config.json and safetensors, or a hub id and a connection"
    loader: Any = kind
    try:
        network, found = loader.from_pretrained(
            str(path),
            subfolder=part,
            use_safetensors=True,
            output_loading_info=True,
            torch_dtype=torch.float32,
            low_cpu_mem_usage=False,  # else it wants another package
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BackboneError(f"{path}: {part} of the pipeline cannot be read ({reason}); {remedy}") from error
    if missing := sorted(found["missing_keys"]):
        raise BackboneError(f"{path}: {part} lacks {len(missing)} weights, {missing[0]} the first; {remedy}")
    return network
