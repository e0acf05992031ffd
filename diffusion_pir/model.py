"""The denoiser: a noisy log-mel, a timestep and a prompt in, the velocity of v-diffusion out.

Paper: "Leveraging diffusion models for predominant instrument recognition" (ICASSP 2025 workshops; DiffPIR). It has a
U-Net of [128, 256, 512, 1024] filters, conditioned on T5 embeddings of the instruments' names, 240 million parameters
in all, and published no code. Here it is diffusers' `UNet2DConditionModel`, whose arguments a configuration writes out.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from common.checkpoint import part
from diffusion_pir.diffusion import Prompt
from diffusion_pir.prompts import PromptTable, TextPromptTable

TABLES = (PromptTable, TextPromptTable)
FRAME_MULTIPLE = 8  # of the frames that the U-Net sees: then 2 s, 100 frames, are 104 and halve thrice without surprise
SILENCE = -11.512925  # ln 1e-5, where the front-end clips


class Denoiser(nn.Module):
    """diffusers' U-Net between standardised log-mels, with a table of prompts and a learnt null prompt.

    Args:
        unet: arguments of `UNet2DConditionModel`; channels in and out follow from `patch`.
        prompts: a `PromptTable` or `TextPromptTable`, of the U-Net's `cross_attention_dim`; or the {"class_path",
            "init_args"} that a checkpoint holds, of which only `TABLES` are built.
        patch: so many bins times so many frames become the channels of one pixel. A picture of a quarter of the height
            and width costs a sixteenth, which is what lets a small network learn on a CPU.
        n_bins: of the log-mel.
        mean: of the log-mels of the training set, natural logarithm.
        std: of the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        unet: dict[str, Any],
        prompts: nn.Module,
        patch: int = 1,
        n_bins: int = 128,
        mean: float = -0.3,
        std: float = 1.9,
    ):
        super().__init__()
        if FRAME_MULTIPLE % patch or n_bins % patch:
            raise ValueError(f"patch {patch} must divide {FRAME_MULTIPLE} frames and {n_bins} bins")
        self.prompts: Any = part(prompts, TABLES)() if isinstance(prompts, Mapping) else prompts
        self.patch = patch
        self.n_bins = n_bins
        self.unet = UNet2DConditionModel(**{**unet, "in_channels": patch**2, "out_channels": patch**2})
        self.null = nn.Parameter(torch.randn(self.prompts.dim))
        if self.unet.config["cross_attention_dim"] != self.prompts.dim:
            raise ValueError(
                f"prompts of {self.prompts.dim} dimensions for a U-Net whose cross_attention_dim is "
                f"{self.unet.config['cross_attention_dim']}: make them equal"
            )
        self.register_buffer("mean", torch.tensor(float(mean)))
        self.register_buffer("std", torch.tensor(float(std)))

    @property
    def n_classes(self) -> int:
        return self.prompts.n_classes

    @property
    def taps(self) -> dict[str, str]:
        """Layers that the paper probes, and one more, -> paths of their modules (section B2 of the study).

        Each is a ResNet and gives (batch, map, row, column). "up_0" has as many maps as the bottleneck; the paper's
        "first upsampling block", with half of them, is "up_1".
        """
        unet: Any = self.unet
        down, up = unet.down_blocks, unet.up_blocks
        last = len(down) - 1
        paths = {
            "down": f"down_blocks.{last - 1}.resnets.{len(down[last - 1].resnets) - 1}",
            "bottleneck_1": f"down_blocks.{last}.resnets.0",
            "bottleneck_2": "mid_block.resnets.0",
            "bottleneck_3": "mid_block.resnets.1",
            "up_0": f"up_blocks.0.resnets.{len(up[0].resnets) - 1}",
            "up_1": f"up_blocks.1.resnets.{len(up[1].resnets) - 1}",
        }
        return {name: f"unet.{path}" for name, path in paths.items()}

    def standardise(self, log_mel: Tensor) -> Tensor:
        """Log-mels to about zero mean and unit variance, on which alone a noise level has a meaning."""
        return (log_mel - self.mean) / self.std

    def unstandardise(self, x: Tensor) -> Tensor:
        return x * self.std + self.mean

    def knows(self, labels: Tensor) -> Bool[Tensor, " batch"]:
        """Which label sets (batch, class) have a prompt."""
        return self.prompts.known(labels.bool())

    def prompt(self, labels: Tensor | None, dropped: Bool[Tensor, " batch"] | None = None) -> Prompt | None:
        """Tokens and mask of label sets (batch, class), boolean or 0 and 1.

        Where `dropped`, where a set is empty and where the table does not have it, the null prompt. None stays None,
        which `forward` takes for null prompts.
        """
        if labels is None:
            return None
        tokens, mask = self.prompts(labels.bool())
        null = ~self.knows(labels) if dropped is None else dropped | ~self.knows(labels)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        tokens = torch.where(null[:, None, None], self.null.to(tokens.dtype), tokens)
        return tokens, torch.where(null[:, None], first, mask)

    def forward(
        self, x: Float[Tensor, " batch bin frame"], t: Int[Tensor, " batch"], prompt: Prompt | None = None
    ) -> Float[Tensor, " batch bin frame"]:
        """Velocity, float32.

        Args:
            x: standardised log-mel with noise, any number of frames.
            t: timesteps.
            prompt: from `prompt`; None is the null prompt.
        """
        n_frames = x.shape[2]
        if prompt is None:
            prompt = self.null.expand(len(x), 1, -1), torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        tokens, mask = prompt
        short = -n_frames % FRAME_MULTIPLE
        if short:
            silence = self.standardise(x.new_full((1, 1, 1), SILENCE))
            x = torch.cat([x, silence.expand(len(x), self.n_bins, short)], 2)
        pixels = pixel_unshuffle(x[:, None], self.patch)
        v = self.unet(pixels, t, tokens.to(x.dtype), encoder_attention_mask=mask, return_dict=False)[0]
        return pixel_shuffle(v.float(), self.patch)[:, 0, :, :n_frames]
