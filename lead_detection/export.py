"""From a training checkpoint to what `detect` loads: safetensors with the decoder's settings."""

import argparse
import json
import pickle
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from common.checkpoint import export_checkpoint
from lead_detection.decode import DecodeSettings
from lead_detection.inference import WEIGHTS
from lead_detection.model import LeadDetector


def export(checkpoint: Path, name: str, folder: Path = WEIGHTS, decode: dict[str, Any] | None = None) -> Path:
    """Write `name`.safetensors from a training checkpoint, with its settings of the decoder or those of `decode`.

    Weights are stored in 16 bits, which halves the file; they load as 32.

    Raises:
        ValueError: not a checkpoint of a `LeadDetector`, or settings that make no sense.
    """
    kept = beside_the_weights(checkpoint)
    settings = DecodeSettings(**(decode or kept.get("decode", {})))
    path = folder / f"{name}.safetensors"
    extra = {"name": name, "decode": asdict(settings), "norm": kept.get("norm")}
    export_checkpoint(checkpoint, LeadDetector, path, dtype=torch.float16, **extra)
    return path


def beside_the_weights(checkpoint: Path) -> dict[str, Any]:
    """What the task put into a checkpoint; nothing of a file that is none, about which `export_checkpoint` says it."""
    try:
        kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        return {}
    return kept if isinstance(kept, dict) else {}


def export_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lead_detection export", description=(__doc__ or "").strip())
    parser.add_argument("checkpoint", type=Path, help="a .ckpt of a run, e.g. runs/lead_detection/base-seed0/best.ckpt")
    parser.add_argument("--name", required=True, help="of the file")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the shipped weights)")
    parser.add_argument("--decode", type=Path, help="JSON of settings, as `validate` writes it, instead of its own")
    options = parser.parse_args(args)
    try:
        decode = json.loads(options.decode.read_text()) if options.decode else None
        path = export(options.checkpoint, options.name, options.out, decode)
    except (ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path} written")
    return 0
