"""What the tests of use share: a tiny backbone with random weights, two timbres that it can tell apart, and a head."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import checkpoint
from common.melspec import SAMPLE_RATE, VocoderMel
from diffusion_pir import inference
from diffusion_pir.backbones import Backbone, DenoiserBackbone, open_backbone
from diffusion_pir.decode import Calibration
from diffusion_pir.features import FeatureSpec
from diffusion_pir.heads import PlusHead
from diffusion_pir.inference import Recogniser
from diffusion_pir.judge import Decision
from diffusion_pir.melstore import to_full_scale
from diffusion_pir.model import Denoiser

UNET: dict[str, Any] = {
    "sample_size": [16, 13],
    "block_out_channels": [8, 8, 8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "DownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "UpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
    "resnet_time_scale_shift": "scale_shift",
}
PROMPTS = {"class_path": "diffusion_pir.prompts.PromptTable", "init_args": {"n_classes": 11, "dim": 8}}
INIT_ARGS: dict[str, Any] = {"unet": UNET, "prompts": PROMPTS, "patch": 8}
SPEC = FeatureSpec(("bottleneck_1", "bottleneck_2"), (0.05,), pool="time")
CLASSES = ("flu", "sax")


def write_backbone(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    checkpoint.save(path, Denoiser(**INIT_ARGS), INIT_ARGS, name=path.stem)
    return path


def open_tiny(path: Path) -> DenoiserBackbone:
    backbone = open_backbone(str(path))
    assert isinstance(backbone, DenoiserBackbone)
    return backbone


def random_model(backbone: Backbone, spec: FeatureSpec = SPEC) -> Recogniser:
    """A head that has learnt nothing."""
    torch.manual_seed(1)
    head = PlusHead(16 * len(spec.sigmas), len(CLASSES)).eval()
    decision = Decision("S2", (0.5,), Calibration(2.0, (0.1, -0.1)))
    return Recogniser(backbone, head, spec, decision, CLASSES, "random")


def write_head(path: Path, backbone: Path) -> Path:
    inference.save(path, random_model(open_tiny(backbone)))
    return path


def tone(label: str, seconds: float, seed: int = 0, rate: int = SAMPLE_RATE) -> np.ndarray:
    """float32 (time,): "flu" is a few breathy sines, "sax" a buzz of many harmonics; pitches change twice a second."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    hz = rng.uniform(200, 500, int(2 * seconds) + 1)[(2 * time).astype(int)]
    phase = 2 * np.pi * np.cumsum(hz) / rate
    if label == "flu":
        audio = np.sin(phase) + 0.05 * rng.standard_normal(len(time))
    else:
        audio = sum(np.sin(k * phase) / k**0.3 for k in range(1, 12))
    return (0.2 * audio / np.abs(audio).max()).astype(np.float32)


def duet(label: str, seconds: float, seed: int = 0) -> np.ndarray:
    """The one timbre above the other, which is 12 dB below, as in recordings; float32 (time,)."""
    (other,) = set(CLASSES) - {label}
    return tone(label, seconds, seed) + 0.25 * tone(other, seconds, seed + 1000)


def picture(audio: np.ndarray) -> np.ndarray:
    """The whole log-mel (bin, frame) at once."""
    return VocoderMel()(torch.from_numpy(to_full_scale(audio))[None])[0].numpy()
