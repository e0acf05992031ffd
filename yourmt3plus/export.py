"""From a training checkpoint to what `transcribe` loads: the weights as safetensors, and their constants."""

import argparse
import sys
from pathlib import Path

import torch

from common.checkpoint import export_checkpoint, read_training
from yourmt3plus.inference import SILENCE, WEIGHTS
from yourmt3plus.listener import Listener
from yourmt3plus.model import YourMT3


def export(
    checkpoint: Path, name: str, folder: Path = WEIGHTS, silence: float = SILENCE, max_tokens: int | None = None
) -> Path:
    """Write `name`.safetensors from a training checkpoint.

    Weights of a `YourMT3` are stored in 16 bits, which halves the file; they load as 32. Those of a `Listener` bring
    the thresholds along that were chosen in validation.

    Args:
        checkpoint: .ckpt of a run.
        name: of the file.
        folder: for it.
        silence: probability from which on the gate, if the network has one, keeps a row from being decoded.
        max_tokens: of a row; none takes what the released networks have.

    Raises:
        CheckpointError: not a checkpoint of a `YourMT3` or a `Listener`.
    """
    path = folder / f"{name}.safetensors"
    run = read_training(checkpoint)
    if run.name == Listener.__name__:
        # Small anyway, and variances of batch norms can be too small for 16 bits.
        export_checkpoint(checkpoint, Listener, path, name=name, thresholds=run.kept["thresholds"])
        return path
    kept = {"name": name, "silence": silence} | ({"max_tokens": max_tokens} if max_tokens else {})
    export_checkpoint(checkpoint, YourMT3, path, dtype=torch.float16, **kept)
    return path


def export_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m yourmt3plus export", description=(__doc__ or "").strip())
    parser.add_argument("checkpoint", type=Path, help="a .ckpt of a run, e.g. runs/yourmt3plus/small-seed0/last.ckpt")
    parser.add_argument("--name", required=True, help="of the file")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the shipped weights)")
    parser.add_argument(
        "--silence",
        type=float,
        default=SILENCE,
        help="probability from which on the gate is believed (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens", type=int, help="of a row (default: 256, or 1024 where one row is for everything)"
    )
    options = parser.parse_args(args)
    try:
        path = export(options.checkpoint, options.name, options.out, options.silence, options.max_tokens)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path} written")
    return 0
