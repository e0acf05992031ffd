"""From a training checkpoint to what is shipped: safetensors for torch, and an ONNX graph that hears raw audio."""

import argparse
import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import onnx
import torch
from torch import nn

from common.checkpoint import export_checkpoint, load
from common.storage import replacing
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.inference import WEIGHTS
from lightweight_amt.model import Transcriber

OPSET = 17


class Graph(nn.Module):
    """The network with probabilities instead of logits, as a tuple that the exporter can name."""

    def __init__(self, net: Transcriber):
        super().__init__()
        self.net = net

    def forward(self, audio: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(torch.sigmoid(logit) for logit in self.net(audio).values())


def export_onnx(net: Transcriber, path: Path, name: str, settings: DecodeSettings) -> None:
    """Write the network with its front-end as one ONNX file.

    The input "audio" is (1, time) float32 of any length at the grid's rate; the outputs are probabilities, named as in
    `Transcriber`, (1, pitch, frame). What a caller must know stands in the metadata under "tutti", as JSON.
    """
    graph = Graph(net).eval()
    with replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                (torch.zeros(1, net.grid.sample_rate),),
                temporary,
                input_names=["audio"],
                output_names=list(net.outputs),
                dynamic_axes={"audio": {1: "time"}, **{output: {2: "frame"} for output in net.outputs}},
                opset_version=OPSET,
                # The other exporter deletes an added epsilon of 1e-8 or less, and writes a graph half as large again.
                dynamo=False,
            )
        model = onnx.load(temporary)
        share_constants(model.graph)
        card = {
            "name": name,
            "sample_rate": net.grid.sample_rate,
            "hop_length": net.grid.hop_length,
            "context": net.context,
            "decode": asdict(settings),
        }
        onnx.helper.set_model_props(model, {"tutti": json.dumps(card)})
        onnx.save(model, temporary)


def share_constants(graph: onnx.GraphProto) -> None:
    """Store equal constants once: tracing repeats the kernels of the front-end for each octave."""
    stored: dict[bytes, str] = {}
    renamed = {}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = node.attribute[0].t
        key = bytes(str(list(tensor.dims)), "ascii") + tensor.raw_data
        if key not in stored:
            stored[key] = tensor.name = node.output[0]
            graph.initializer.append(tensor)
        renamed[node.output[0]] = stored[key]
        graph.node.remove(node)
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)


def export(checkpoint: Path, name: str, folder: Path = WEIGHTS) -> None:
    """Write `name`.safetensors and `name`.onnx from a training checkpoint, thresholds included."""
    decode = torch.load(checkpoint, map_location="cpu", weights_only=True)["decode"]
    export_checkpoint(checkpoint, Transcriber, folder / f"{name}.safetensors", name=name, decode=decode)
    net, _ = load(Transcriber, folder / f"{name}.safetensors")
    export_onnx(net, folder / f"{name}.onnx", name, DecodeSettings(**decode))


def export_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lightweight_amt export", description=export.__doc__)
    parser.add_argument(
        "checkpoint", type=Path, help="a .ckpt of a run, e.g. runs/lightweight_amt/base-seed0/best.ckpt"
    )
    parser.add_argument("--name", required=True, help="of the two files")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the shipped weights)")
    options = parser.parse_args(args)
    try:
        export(options.checkpoint, options.name, options.out)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out / options.name}.safetensors and .onnx written")
    return 0
