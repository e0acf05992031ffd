import json

import numpy as np
import pytest
import torch

from benchmarks import harness
from benchmarks.speed import diffusion
from common import checkpoint
from diffusion_pir.backbones import DenoiserBackbone
from diffusion_pir.model import Denoiser
from tests.diffusion_pir.tones import INIT_ARGS, write_weights


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny network in the place of both."""
    path = write_weights(tmp_path / "tiny.safetensors")

    def network(name, device="cpu"):
        if device == "meta":
            with torch.device("meta"):
                return DenoiserBackbone(Denoiser(**INIT_ARGS), name)
        return DenoiserBackbone(checkpoint.load(Denoiser, path)[0], name)

    monkeypatch.setattr(diffusion, "network", network)
    monkeypatch.setattr(diffusion, "PAIRS", {1: (1, 1), 2: (2, 1)})
    return network


def test_the_papers_network_costs_what_the_study_counted():
    counted = diffusion.count_operations("base")
    assert counted["full"] == pytest.approx(421, rel=0.01)
    # A third up to the end of the middle block; the tap is its last ResNet.
    assert counted["full / stopped"] == pytest.approx(1 / 0.327, rel=0.01)


def test_the_ways_differ_in_passes_and_how_far_they_go(tiny):
    backbone = tiny("small")
    windows = diffusion.Noise(2, 24)
    ran = {"begun": 0, "ended": 0}
    backbone.denoiser.unet.conv_in.register_forward_pre_hook(lambda *_: ran.update(begun=ran["begun"] + 1))
    backbone.denoiser.unet.conv_out.register_forward_hook(lambda *_: ran.update(ended=ran["ended"] + 1))
    counts = {}
    for way, run in diffusion.passes(backbone, windows).items():
        ran.update(begun=0, ended=0)
        run()
        counts[way] = (ran["begun"], ran["ended"])
    assert counts == {
        "stopped at bottleneck_3": (1, 0),
        "full": (1, 1),
        "all taps at once": (1, 0),
        "a pass per tap": (6, 6),
        "a pass per tap, each stopped": (6, 0),
    }


def test_the_record_has_all_ratios_and_their_goals(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(diffusion, "pin_threads", lambda: None)
    monkeypatch.setattr("sys.argv", ["diffusion", "--rounds", "1", "--networks", "small"])
    diffusion.main()
    record = json.loads((tmp_path / "diffusion.json").read_text())
    assert [row.get("at_least", row.get("at_most")) for row in record["goals"]] == [2.7, 2.7, 2.7, 4.0, 1.1]
    assert set(record["results"]) == {"operations", "small", "sweep"}
    assert (tmp_path / "diffusion.png").exists()
    assert "full pass" in capsys.readouterr().out
    assert np.isfinite(record["results"]["small"]["full / stopped"]["median"])
