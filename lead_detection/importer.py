"""Checkpoints that the paper's authors released -> ours: their names of tensors, their order of classes."""

import argparse
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from common import checkpoint
from common.checkpoint import CheckpointError, released_tensors
from lead_detection.inference import WEIGHTS
from lead_detection.model import LeadDetector
from lead_detection.taxonomy import MIX, MJN_VOCABULARY, UNKNOWN, VOCABULARY

TRACKS = {
    "model.mert.": "encoder.network.",
    "model.inst_emb.": "head.instrument.",
    "model.ch_emb.": "head.track.",
    "model.channel_attn.": "head.attention.",
    "model.ln.": "head.norm.",
    "model.ch_cls_head.": "head.classifier.",
}
SEGMENTS = {"model.mert.": "encoder.network.", "model.inst_cls_head.": "head.classifier."}
REMEDY = "give a .ckpt of huggingface.co/LongshenOu, downloaded whole"
UNUSED = "model.ln2."  # a norm that their code makes and never calls


def import_checkpoint(path: str | Path, out: str | Path, config: dict[str, Any] | None = None, **extra: Any) -> None:
    """Write a released checkpoint as one of ours.

    Args:
        path: their .ckpt.
        out: .safetensors to write.
        config: of the encoder where it is not MERT-v1-95M, settings of `transformers.HubertConfig`.
        **extra: to store with it, see `common.checkpoint.save`.

    Raises:
        CheckpointError: it cannot be read, or lacks tensors of the paper's networks, or has others.
    """
    tensors = released_tensors(path, REMEDY)
    state = {key: value for key, value in tensors.items() if not key.startswith(UNUSED)}
    classifies_tracks = "model.ch_cls_head.weight" in state
    tensors = renamed(state, TRACKS if classifies_tracks else SEGMENTS, path)
    encoder: dict[str, Any] = {"config": config or {}, "freeze": "none"}
    if classifies_tracks:
        head = {"class_path": "lead_detection.heads.AttentionHead", "init_args": track_head(tensors, path)}
    else:
        head = {"class_path": "lead_detection.baselines.SegmentHead", "init_args": {}}
    init_args = {"encoder": {"class_path": "common.encoders.SSLEncoder", "init_args": encoder}, "head": head}
    net = checkpoint.rebuild(LeadDetector, LeadDetector.__name__, init_args, tensors, path)
    checkpoint.save(out, net, init_args, norm="stem_peak", **extra)


def renamed(state: dict[str, Tensor], names: dict[str, str], path: str | Path) -> dict[str, Tensor]:
    """Tensors under our names."""
    tensors = {}
    for key, value in state.items():
        theirs = next((prefix for prefix in names if key.startswith(prefix)), None)
        if theirs is None:
            raise CheckpointError(
                f"{path}: {key} belongs to none of the networks that the paper's authors released; give a .ckpt of "
                "huggingface.co/LongshenOu"
            )
        tensors[names[theirs] + key.removeprefix(theirs)] = value
    return tensors


def track_head(tensors: dict[str, Tensor], path: str | Path) -> dict[str, Any]:
    """Arguments of the head; brings its tensors into our order of classes and of instruments."""
    try:
        n_classes, instruments = len(tensors["head.classifier.weight"]), tensors["head.instrument.weight"]
    except KeyError as error:
        raise CheckpointError(f"{path}: lacks {error}; download it again") from error
    # Theirs: nobody, the mixture, the stems. Ours: nobody, the stems, the mixture.
    order = [0, *range(2, n_classes), 1]
    for name in ("head.classifier.weight", "head.classifier.bias"):
        tensors[name] = tensors[name][order]
    vocabularies = {len(vocabulary): vocabulary for vocabulary in (VOCABULARY, MJN_VOCABULARY)}
    if len(instruments) not in vocabularies:
        raise CheckpointError(f"{path}: knows {len(instruments) - 1} instruments, in a vocabulary that is not ours")
    theirs = vocabularies[len(instruments)]
    # Row 0 is that of tracks that pad a batch. What their vocabulary does not have is taken for such a one.
    tensors["head.instrument.weight"] = instruments[[UNKNOWN, *(theirs.id(name) for name in VOCABULARY.names)]]
    return {"max_tracks": n_classes - 1, "n_instruments": len(VOCABULARY) - 1, "mixture_id": MIX}


def import_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m lead_detection import",
        description="Turn a checkpoint that the paper's authors released (Hub: LongshenOu/lead-inst-track-cls-mjn, "
        "-medleydb, -mjn-medleydb) into weights that `detect` loads, or guitar-solo-segment-cls-mjn into such that "
        "`segments` loads.",
    )
    parser.add_argument("checkpoint", type=Path, help="the .ckpt, as downloaded")
    parser.add_argument("--name", required=True, help="of the file")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: that of the shipped weights)")
    options = parser.parse_args(args)
    path = options.out / f"{options.name}.safetensors"
    try:
        import_checkpoint(options.checkpoint, path, name=options.name)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path} written")
    return 0
