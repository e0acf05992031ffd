import json
import shutil
from unittest.mock import patch

import numpy as np
import onnx
import pytest
import torch

from benchmarks.embeddings import mixture
from lightweight_amt import separation
from lightweight_amt.count import STOP_RULE, fit_stop_rule
from lightweight_amt.export import export_command
from lightweight_amt.inference import WEIGHTS, TorchModel, load

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
    graph, net = load(path), TorchModel(path.with_suffix(".safetensors"), "cpu")
    assert graph.settings == net.settings
    assert graph.context == net.context
    audio = signals(graph.grid.sample_rate)["music"].astype(np.float32)
    ours, theirs = graph(audio), net(audio)
    for name in net.outputs:
        assert np.abs(ours[name] - theirs[name]).max() <= 1e-4


def test_the_rule_of_an_exported_branch_is_fitted_anew(tiny_corpus, tmp_path, monkeypatch):
    (tmp_path / "timbre").mkdir()
    for path in (*WEIGHTS.glob("base.*"), *WEIGHTS.glob("timbre/base.*")):
        shutil.copy(path, tmp_path / path.relative_to(WEIGHTS))
    known = [(mixture(seed, k), k) for seed in range(10) for k in (1, 2, 3)]
    heard = [separation.Heard(item.notes, item.vectors, item.weights, item.notes, k) for item, k in known]
    monkeypatch.setattr("lightweight_amt.export.corpora.build", lambda *_, **__: tiny_corpus)
    monkeypatch.setattr("lightweight_amt.export.separation.hear_all", lambda *_, **__: heard)
    before = TorchModel(tmp_path / "base.safetensors", "cpu", tmp_path / "timbre" / "base.safetensors")

    command = ["--timbre", "--rule-only", "--name", "base", "--out", str(tmp_path)]
    with (
        patch("lightweight_amt.export.separation.hear_all", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        export_command(command)
    assert load(tmp_path / "base.onnx", timbre=True).rule == before.rule

    assert export_command(command) == 0

    rule = fit_stop_rule([(item.vectors, item.notes, k) for item, k in known])
    after = TorchModel(tmp_path / "base.safetensors", "cpu", tmp_path / "timbre" / "base.safetensors")
    assert rule == after.rule == load(tmp_path / "base.onnx", timbre=True).rule != STOP_RULE
    assert before.encoder
    assert after.encoder
    for name, tensor in before.encoder.state_dict().items():
        assert torch.equal(tensor, after.encoder.state_dict()[name])


@pytest.mark.parametrize("arguments", [[], ["--rule-only"], ["run.ckpt", "--timbre", "--rule-only"]])
def test_a_rule_alone_wants_no_checkpoint(arguments):
    with pytest.raises(SystemExit):
        export_command([*arguments, "--name", "base"])
