"""Checkpoints that the paper's authors released -> ours: their names of tensors, and their variants of the networks.

Their files are Lightning's. Beside the weights they hold constants, which we compute, and those with pitch shift 200 MB
of its filters. Names are those of the authors' code, of which github.com/luck058/YourMT3 is a public copy.
"""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import checkpoint
from common.checkpoint import CheckpointError, released_tensors
from yourmt3plus.inference import WEIGHTS
from yourmt3plus.model import YourMT3

REMEDY = "give a checkpoint of the Hugging Face space mimbres/YourMT3, downloaded whole"

# Constants, filters of the pitch shift, and counters of scores.
UNUSED = re.compile(r"^(spectrogram|pitchshift|(val|test)_metrics\w*)\.|\.additive_pe\.weight$|\.rotary_emb\.freqs$")
ROTATIONS = re.compile(r"^encoder\.rotary_emb_\w+\.freqs$")

# Their names -> ours, one pattern after the other. `#i` is part i of a tensor that ours has side by side along its
# first axis, `@e` belongs to expert e of those that ours has stacked.
NAMES = (
    (r"^pre_encoder\.0\.", "encoder.pre_encoder."),
    (r"\.conv1\.", ".first."),
    (r"\.conv2\.", ".second."),
    (r"\.bn1\.", ".first_norm."),
    (r"\.bn2\.", ".second_norm."),
    (r"^encoder\.latent_array\.latents$", "encoder.latents"),
    (r"^encoder\.pos_emb\._pos_emb$", "encoder.places"),
    (r"\.spectral_cross_attention\.", ".source."),
    (r"\.local_transformer\.", ".latent."),
    (r"\.temporal_transformer\.", ".temporal."),
    (r"\.self\.layernorm1\.", ".norm."),
    (r"\.self\.layernorm2\.", ".source_norm."),
    (r"\.self\.query\.", ".query."),
    (r"\.self\.key\.(\w+)$", r".key_value.\1#0"),
    (r"\.self\.value\.(\w+)$", r".key_value.\1#1"),
    (r"\.output\.dense\.", ".out."),
    (r"\.layernorm\.", ".norm."),
    (r"\.mlp\.dense1\.", ".feed_forward.0."),
    (r"\.mlp\.dense2\.", ".feed_forward.2."),
    (r"\.mlp\.gate\.", ".feed_forward.router."),
    # What goes through SiLU comes first in ours; their "gate" is what that is multiplied by.
    (r"\.mlp\.experts\.(\d+)\.w1\.weight$", r".feed_forward.gate_up_proj#0@\1"),
    (r"\.mlp\.experts\.(\d+)\.gate\.weight$", r".feed_forward.gate_up_proj#1@\1"),
    (r"\.mlp\.experts\.(\d+)\.w2\.weight$", r".feed_forward.down_proj#0@\1"),
    (r"^pre_decoder\.0\.(linear|projection_layer)\.", "bridge.linear."),
    (r"^decoder\.decoder\.block\.(\d+)\.layer\.0\.", r"decoder.layers.\1.tokens."),
    (r"^decoder\.decoder\.block\.(\d+)\.layer\.1\.", r"decoder.layers.\1.memory."),
    (r"^decoder\.decoder\.block\.(\d+)\.layer\.2\.", r"decoder.layers.\1.feed_forward."),
    (r"^encoder\.encoder\.block\.(\d+)\.layer\.0\.", r"encoder.attention.\1."),
    (r"^encoder\.encoder\.block\.(\d+)\.layer\.1\.", r"encoder.feed_forward.\1."),
    (r"\.SelfAttention\.q\.weight$", ".qkv.weight#0"),
    (r"\.SelfAttention\.k\.weight$", ".qkv.weight#1"),
    (r"\.SelfAttention\.v\.weight$", ".qkv.weight#2"),
    (r"\.EncDecAttention\.q\.", ".query."),
    (r"\.EncDecAttention\.k\.weight$", ".key_value.weight#0"),
    (r"\.EncDecAttention\.v\.weight$", ".key_value.weight#1"),
    (r"\.(SelfAttention|EncDecAttention)\.o\.", ".out."),
    (r"\.DenseReluDense\.wi_0\.weight$", ".gate_up.weight#0"),
    (r"\.DenseReluDense\.wi_1\.weight$", ".gate_up.weight#1"),
    (r"\.DenseReluDense\.wo\.", ".down."),
    (r"\.layer_norm\.", ".norm."),
    (r"^(encoder|decoder)\.\1\.final_layer_norm\.", r"\1.norm."),
    (r"^embed_tokens\.", "decoder.embedding."),
    (r"^lm_head\.lm_head\.", "decoder.head."),
)
OURS = re.compile(r"^(encoder|bridge|decoder)\.[\w.]+(#\d)?(@\d+)?$")


def _network(front_end: str, encoder: str, n_channels: int, **init_args: Any) -> dict[str, Any]:
    return {
        "front_end": {"class_path": f"yourmt3plus.front_ends.{front_end}", "init_args": {"scale": "segment"}},
        "encoder": {"class_path": f"yourmt3plus.{encoder}", "init_args": init_args},
        "decoder": {"class_path": "yourmt3plus.decoder.Decoder", "init_args": {}},
        "n_channels": n_channels,
    }


PLAIN: dict[str, Any] = {"n_experts": 0, "widening": 1, "residual": False, "positions": "trainable"}
PERCEIVER = "perceiver.PerceiverTF"
RELEASED = {  # the networks as released, by what their checkpoints have
    "ymt3": _network("Mel", "t5.T5Encoder", 1),
    "yptf_single": _network("Spectrum", PERCEIVER, 1, n_latents=24, **PLAIN),
    "yptf_multi": _network("Spectrum", PERCEIVER, 13, **PLAIN),
    "yptf_moe_multi": _network("Spectrum", PERCEIVER, 13, positions="released_rope"),
}


def import_checkpoint(
    path: str | Path, out: str | Path, networks: Mapping[str, dict[str, Any]] = RELEASED, **extra: Any
) -> str:
    """Write a released checkpoint as one of ours, in 16 bits.

    Args:
        path: their .ckpt.
        out: .safetensors to write.
        networks: arguments of `YourMT3` by kind of network.
        **extra: to store with it, see `common.checkpoint.save`.

    Returns:
        Which network it is, a key of RELEASED.

    Raises:
        CheckpointError: it cannot be read, or lacks tensors of the paper's networks, or has others.
    """
    state = released_tensors(path, REMEDY)
    kind = kind_of(state)
    init_args = deepcopy(networks[kind])
    check_rotations(state, init_args, path)
    tensors = renamed(state, path)
    net = YourMT3(**init_args)
    fit(tensors, net)
    net = checkpoint.rebuild(YourMT3, YourMT3.__name__, init_args, tensors, path)
    checkpoint.save(out, net, init_args, dtype=torch.float16, **extra)
    return kind


def kind_of(state: Mapping[str, Tensor]) -> str:
    """Which of RELEASED tensors of these names make."""
    if "encoder.latent_array.latents" not in state:
        return "ymt3"
    if "pre_decoder.0.linear.weight" not in state:
        return "yptf_single"
    return "yptf_moe_multi" if any(".experts." in name for name in state) else "yptf_multi"


def renamed(state: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    """Tensors under our names, side by side or stacked where ours are so."""
    parts: dict[str, dict[tuple[int, int], Tensor]] = defaultdict(dict)
    for theirs, tensor in state.items():
        if UNUSED.search(theirs) or ROTATIONS.search(theirs):
            continue
        name = theirs
        for pattern, ours in NAMES:
            name = re.sub(pattern, ours, name)
        if not OURS.match(name):
            raise CheckpointError(f"{path}: {theirs} belongs to none of the networks that were released; {REMEDY}")
        name, _, expert = name.partition("@")
        name, _, part = name.partition("#")
        parts[name][int(expert or -1), int(part or 0)] = tensor
    return {name: joined(found) for name, found in parts.items()}


def joined(parts: Mapping[tuple[int, int], Tensor]) -> Tensor:
    """One tensor of parts by (expert, part); expert -1 is none."""
    experts: dict[int, list[Tensor]] = defaultdict(list)
    for expert, part in sorted(parts):
        experts[expert].append(parts[expert, part])
    whole = [torch.cat(some) if len(some) > 1 else some[0] for some in experts.values()]
    return whole[0] if -1 in experts else torch.stack(whole)


def fit(tensors: dict[str, Tensor], net: YourMT3) -> None:
    """What is a tensor of another size or scale in theirs, in place."""
    if "encoder.places" in tensors:  # theirs have ten more, for tasks that came to nothing
        tensors["encoder.places"] = tensors["encoder.places"][: net.encoder.places.shape[0]]
    if "decoder.head.weight" in tensors:
        # Twice in training, once in the layer itself, they divide what it reads by the root of its size.
        tensors["decoder.head.weight"] = tensors["decoder.head.weight"] / net.decoder.dim


def check_rotations(state: Mapping[str, Tensor], init_args: Mapping[str, Any], path: str | Path) -> None:
    """Refuses rotations of another number of dims than "released_rope" turns: no weight would tell."""
    found = {len(tensor) for name, tensor in state.items() if ROTATIONS.search(name)}
    known = {init_args["encoder"]["init_args"].get("n_heads", 8) // 4} if found else set()
    if found != known:
        raise CheckpointError(f"{path}: turns {sorted(found)} pairs of each head, not {sorted(known)} as released")


def import_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m yourmt3plus import",
        description="Turn a checkpoint that the paper's authors released (Hugging Face space mimbres/YourMT3: YMT3+, "
        "YPTF+Single, YPTF+Multi, YPTF.MoE+Multi) into weights that `transcribe --model` loads.",
    )
    parser.add_argument("checkpoint", type=Path, help="the .ckpt, as downloaded")
    parser.add_argument("--name", required=True, help="of the file")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: that of the shipped weights)")
    options = parser.parse_args(args)
    path = options.out / f"{options.name}.safetensors"
    try:
        kind = import_checkpoint(options.checkpoint, path, name=options.name)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path} written ({kind})")
    return 0
