"""From a training checkpoint to what the other verbs load: the averaged weights as safetensors, and their constants."""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from common.checkpoint import CheckpointError, read_training, rebuild, save
from common.instruments import IRMAS
from diffusion_pir.backbones import WEIGHTS
from diffusion_pir.melstore import FRONT_END
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import TextPromptTable


def export(checkpoint: Path, name: str, folder: Path = WEIGHTS, classes: list[str] | None = None) -> Path:
    """Write `name`.safetensors from a training checkpoint.

    Weights are stored in 16 bits, which halves the file; they load as 32. A table of text prompts is in the file.

    Args:
        checkpoint: .ckpt of a run.
        name: of the file.
        folder: for it.
        classes: names of the labels; by default those that the run was trained on.

    Raises:
        CheckpointError: not a checkpoint of a `Denoiser`, or not as many classes as it has.
    """
    run = read_training(checkpoint)
    init_args = {**run.init_args, "prompts": without_file(run.init_args.get("prompts", {}))}
    net = rebuild(Denoiser, run.name, init_args, run.tensors, checkpoint)
    names = classes or run.kept.get("classes", list(IRMAS))
    if len(names) != net.n_classes:
        raise CheckpointError(f"{checkpoint}: has {net.n_classes} classes, and {len(names)} names: give --classes")
    path = folder / f"{name}.safetensors"
    save(path, net, init_args, dtype=torch.float16, name=name, classes=names, front_end=FRONT_END)
    return path


def without_file(prompts: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a table of prompts whose tensors come with the checkpoint."""
    if prompts.get("class_path", "").rpartition(".")[2] != TextPromptTable.__name__:
        return prompts
    return {**prompts, "init_args": {**prompts["init_args"], "file": None}}


def export_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m diffusion_pir export", description=(__doc__ or "").strip())
    parser.add_argument("checkpoint", type=Path, help="a .ckpt of a run, e.g. runs/diffusion_pir/small-seed0/last.ckpt")
    parser.add_argument("--name", required=True, help="of the file")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the shipped weights)")
    parser.add_argument("--classes", help="names of the labels, with commas (default: those of the run)")
    options = parser.parse_args(args)
    classes = options.classes.split(",") if options.classes else None
    try:
        path = export(options.checkpoint, options.name, options.out, classes)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path} written")
    return 0
