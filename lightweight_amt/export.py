"""From a training checkpoint to what is shipped: safetensors for torch, and an ONNX graph that hears raw audio."""

import argparse
import json
import os
import shutil
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from torch import nn

from common import corpus as corpora
from common.checkpoint import export_checkpoint, load
from common.storage import replacing
from lightweight_amt import separation
from lightweight_amt.calibrate import stamp, stamp_both
from lightweight_amt.count import STOP_RULE, StopRule, fit_stop_rule
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.inference import WEIGHTS
from lightweight_amt.inference import load as load_model
from lightweight_amt.model import Transcriber
from lightweight_amt.timbre import TimbreEncoder

OPSET = 17
N_BINS = 288  # of the constant-Q transform
RULE_MIXTURES = 100  # of each number of instruments


class Graph(nn.Module):
    """The network with probabilities instead of logits, and the log energies that the timbre branch reads.

    The front-end needs more of the audio around a frame than the convolutions need frames, so these see only those that
    are asked for.
    """

    def __init__(self, net: Transcriber):
        super().__init__()
        self.net = net

    def forward(self, audio: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        log_energy = self.net.log_energy(audio).index_select(2, frames)
        return *(torch.sigmoid(logit) for logit in self.net.transcribe(log_energy).values()), log_energy


class TimbreGraph(nn.Module):
    """The encoder by the name that the exporter calls."""

    def __init__(self, net: TimbreEncoder):
        super().__init__()
        self.net = net

    def forward(self, log_energy: torch.Tensor) -> torch.Tensor:
        return self.net.encode(log_energy)


def export_onnx(net: Transcriber, path: Path, name: str, settings: DecodeSettings) -> None:
    """Write the network with its front-end as one ONNX file.

    The input "audio" is (1, time) float32 of any length at the grid's rate, "frames" (frame,) int64 those of its frames
    that are wanted, one after the other; the outputs are probabilities, named as in `Transcriber`, (1, pitch, frame),
    and "log_energy", (1, bin, frame). What a caller must know stands in the metadata under "tutti", as JSON.
    """
    card = {
        "name": name,
        "sample_rate": net.grid.sample_rate,
        "hop_length": net.grid.hop_length,
        "context": net.context,
        "reach": net.trunk.reach,
        "decode": asdict(settings),
    }
    inputs = {"audio": torch.zeros(1, net.grid.sample_rate), "frames": torch.arange(80)}
    _write(Graph(net), inputs, [*net.outputs, "log_energy"], path, card)


def export_timbre_onnx(net: TimbreEncoder, path: Path, name: str, rule: StopRule) -> None:
    """Write the timbre branch: "log_energy" (1, bin, frame) -> "embedding" (1, dim, pitch, frame)."""
    inputs = {"log_energy": torch.zeros(1, N_BINS, 86)}
    _write(TimbreGraph(net), inputs, ["embedding"], path, {"name": name, "rule": asdict(rule)})


def _write(graph: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str], path: Path, card: dict) -> None:
    """A graph of which the last axis of everything is time, of any length."""
    axes = {name: {example.ndim - 1: name} for name, example in inputs.items()}
    with replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.eval(),
                tuple(inputs.values()),
                temporary,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes={**axes, **{output: {-1: "frame"} for output in outputs}},
                opset_version=OPSET,
                # The other exporter deletes an added epsilon of 1e-8 or less, and writes a graph half as large again.
                dynamo=False,
            )
        model = onnx.load(temporary)
        share_constants(model.graph)
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


def export(checkpoint: Path, name: str, folder: Path = WEIGHTS, decode: dict[str, Any] | None = None) -> None:
    """Write `name`.safetensors and `name`.onnx from a training checkpoint, with its thresholds or those of `decode`."""
    own: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)["decode"]
    settings = DecodeSettings(**(decode or own))
    path = folder / f"{name}.safetensors"
    export_checkpoint(checkpoint, Transcriber, path, name=name, decode=asdict(settings))
    net, _ = load(Transcriber, path)
    export_onnx(net, path.with_suffix(".onnx"), name, settings)


def export_timbre(checkpoint: Path, name: str, folder: Path) -> None:
    """Write timbre/`name`.safetensors and .onnx from a training checkpoint of the timbre branch.

    The rule that counts instruments is one for any encoder until `fit_rule` has written a better one.
    """
    path = folder / "timbre" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    export_checkpoint(checkpoint, TimbreEncoder, path, name=name, rule=asdict(STOP_RULE))
    net, _ = load(TimbreEncoder, path)
    export_timbre_onnx(net, path.with_suffix(".onnx"), name, STOP_RULE)


def fit_rule(name: str, folder: Path, corpus: str, soundfonts: list[str]) -> StopRule:
    """Fit how an exported timbre branch counts instruments, and write it into its files.

    The mixtures are of instruments that a SoundFont plays, as those of the test split are. Few pieces have four of
    them, so those of the training split are taken as well; a rule fitted there counts as well on new pieces as one
    fitted on new pieces (benchmarks/LOG.md).
    """
    branch = folder / "timbre" / f"{name}.onnx"
    with TemporaryDirectory() as copies:
        # Without the rule that an older version wrote; whoever stops this has the weights as they were.
        (Path(copies) / "timbre").mkdir()
        network = Path(shutil.copy(folder / f"{name}.onnx", copies))
        stamp(Path(shutil.copy(branch, network.parent / "timbre")), rule=asdict(STOP_RULE))
        model = load_model(network, timbre=True)
    built = corpora.build(corpus, soundfonts=soundfonts, jobs=os.cpu_count())
    pieces = built.pieces("train") + built.pieces("validation")
    heard = separation.hear_all(pieces, model, RULE_MIXTURES, synthesised=False)
    rule = fit_stop_rule([(item.vectors, item.notes, item.k) for item in heard])
    stamp_both(branch, rule=asdict(rule))
    return rule


def export_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m lightweight_amt export", description=export.__doc__)
    parser.add_argument(
        "checkpoint", type=Path, nargs="?", help="a .ckpt of a run, e.g. runs/lightweight_amt/base-seed0/best.ckpt"
    )
    parser.add_argument("--name", required=True, help="of the two files")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder (default: the shipped weights)")
    parser.add_argument("--decode", type=Path, help="JSON of thresholds, as `validate` writes it, instead of its own")
    parser.add_argument("--timbre", action="store_true", help="the checkpoint is one of fit-timbre")
    parser.add_argument("--rule-only", action="store_true", help="fit anew how an exported branch counts (--timbre)")
    parser.add_argument("--corpus", default="small", choices=corpora.SIZES, help="to count instruments on (--timbre)")
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files of that; may be repeated")
    options = parser.parse_args(args)
    if options.rule_only == bool(options.checkpoint) or (options.rule_only and not options.timbre):
        parser.error("give a checkpoint, or --timbre --rule-only")
    try:
        if options.timbre:
            if not options.rule_only:
                export_timbre(options.checkpoint, options.name, options.out)
            print(fit_rule(options.name, options.out, options.corpus, options.soundfont))
        else:
            decode = json.loads(options.decode.read_text()) if options.decode else None
            export(options.checkpoint, options.name, options.out, decode)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    folder = options.out / "timbre" if options.timbre else options.out
    print(f"{folder / options.name}.safetensors and .onnx written")
    return 0
