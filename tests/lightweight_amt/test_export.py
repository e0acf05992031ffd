import json

import numpy as np
import onnx
import pytest
import torch

from lightweight_amt.inference import WEIGHTS

# What onnxruntime-web and most other runtimes have, so that the graph can move to a browser.
ALLOWED = """
    Add AveragePool Cast Clip Concat Constant ConstantOfShape Conv Div Expand Gather Identity LeakyRelu Log MatMul Max
    Mul Pad Pow ReduceMean ReduceSum Relu Reshape Shape Sigmoid Slice Split Sqrt Squeeze Sub Transpose Unsqueeze
"""


def signals(rate: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(rate * 3) / rate
    chord = sum(np.sin(2 * np.pi * hz * time) * np.exp(-2 * (time % 1)) for hz in (110, 220.5, 277, 329.6, 1760))
    return {
        "music": 0.1 * chord,
        "noise": 0.1 * rng.standard_normal(rate * 2),
        "silence": np.zeros(rate),
        "full scale": np.sign(np.sin(2 * np.pi * 440 * time[: rate // 2 + 77])),
    }


@pytest.mark.parametrize("name", ["ours", "nano", "paper", "ours 44.1 kHz"])
def test_the_graph_computes_what_the_network_does(name, networks, graphs):
    net, graph = networks[name], graphs[name]
    assert graph.grid == net.grid
    for audio in signals(net.grid.sample_rate).values():
        audio = audio.astype(np.float32)
        with torch.no_grad():
            expected = {
                key: torch.sigmoid(logit)[0].numpy() for key, logit in net(torch.from_numpy(audio)[None]).items()
            }
        found = graph(audio)
        assert set(found) == {*expected, "log_energy"}
        assert set(graph.outputs) == set(expected)
        for key, values in expected.items():
            assert np.isfinite(found[key]).all()
            assert np.abs(found[key] - values).max() <= 1e-4


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.onnx")), ids=lambda path: path.stem)
def test_a_shipped_graph_is_small_and_plain(path):
    graph = onnx.load(path)
    assert path.stat().st_size <= 300_000
    assert graph.opset_import[0].version <= 17
    assert {node.op_type for node in graph.graph.node} <= set(ALLOWED.split())
    card = json.loads(next(entry.value for entry in graph.metadata_props if entry.key == "tutti"))
    assert card["name"] == path.stem


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.onnx")), ids=lambda path: path.stem)
def test_shipped_graph_and_safetensors_are_the_same_network(path):
    from lightweight_amt.inference import TorchModel, load

    graph, net = load(path), TorchModel(path.with_suffix(".safetensors"), "cpu")
    assert graph.settings == net.settings
    assert graph.context == net.context
    audio = signals(graph.grid.sample_rate)["music"].astype(np.float32)
    ours, theirs = graph(audio), net(audio)
    for name in net.outputs:
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-4
