from pathlib import Path

import pytest
import torch

from lightweight_amt.decode import DecodeSettings
from lightweight_amt.export import export_onnx
from lightweight_amt.inference import OnnxModel, load
from lightweight_amt.model import NANO, PAPER, Transcriber


@pytest.fixture(scope="session")
def networks() -> dict[str, Transcriber]:
    """Every layout with random weights: what the graph computes does not depend on what it has learnt."""
    torch.manual_seed(0)
    nets = {"ours": Transcriber(), "nano": Transcriber(**NANO), "paper": Transcriber(**PAPER)}
    nets["ours 44.1 kHz"] = Transcriber(input_octaves=1)
    for net in nets.values():
        # Untrained, a network is biased to silence; here it is to hear notes everywhere.
        for name in ("trunk.frame.bias", "trunk.events.bias"):
            torch.nn.init.zeros_(net.get_parameter(name))
        # Statistics that batch normalisation has not seen would let a graph that ignores them pass.
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
        net.eval()
    return nets


@pytest.fixture(scope="session")
def graph_files(networks, tmp_path_factory) -> dict[str, Path]:
    files = {name: tmp_path_factory.mktemp("graphs") / f"{name}.onnx" for name in networks}
    for name, net in networks.items():
        export_onnx(net, files[name], name, DecodeSettings(onset_threshold=0.4))
    return files


@pytest.fixture(scope="session")
def graphs(graph_files) -> dict[str, OnnxModel]:
    return {name: load(path) for name, path in graph_files.items()}
