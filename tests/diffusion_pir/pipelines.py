"""Pipelines of others, tiny and of random weights, as they lie on a disk."""

from pathlib import Path

import torch
from diffusers import (
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    AutoencoderOobleck,
    DDIMScheduler,
    StableAudioDiTModel,
)
from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel


def write_stable_audio(folder: Path) -> Path:
    """A pipeline of Stable Audio's classes, tiny and of random weights, as it lies on a disk."""
    torch.manual_seed(0)
    transformer = StableAudioDiTModel(
        sample_size=16, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        num_key_value_attention_heads=1, cross_attention_dim=8, cross_attention_input_dim=8, time_proj_dim=8,
        global_states_input_dim=16,
    )  # fmt: skip
    vae = AutoencoderOobleck(
        encoder_hidden_size=8, downsampling_ratios=[2, 4], channel_multiples=[1, 2], decoder_channels=4,
        decoder_input_channels=4, audio_channels=2, sampling_rate=8000,
    )  # fmt: skip
    projection = StableAudioProjectionModel(text_encoder_dim=8, conditioning_dim=8, min_value=0, max_value=32)
    for part, network in (("transformer", transformer), ("vae", vae), ("projection_model", projection)):
        network.save_pretrained(folder / part)
    return folder


def write_audioldm2(folder: Path) -> Path:
    """The same of AudioLDM 2; each block attends to itself, to 8 dimensions and to 16, as the large one has it."""
    torch.manual_seed(0)
    unet = AudioLDM2UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=2,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=((None, 8, 16), (None, 8, 16)),
    )  # fmt: skip
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(8, 8, 8), latent_channels=4, norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, scaling_factor=0.4,
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.save_pretrained(folder / "scheduler")
    return folder
