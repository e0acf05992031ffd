"""Every configuration is whole; those of the paper have its sizes (study check 16)."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import yourmt3plus
from common.checkpoint import part
from tests.yourmt3plus.test_model import millions
from yourmt3plus.__main__ import main
from yourmt3plus.listener import Listener, SegmentNetwork
from yourmt3plus.model import YourMT3

FOLDER = Path(yourmt3plus.__file__).parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
MILLIONS = {"ymt3": 45.73, "yptf_single": 30.40, "yptf_multi": 28.99, "yptf_moe_multi": 47.08, "base": 47.08}


def resolved(capsys, *args: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def build(config: dict[str, Any]) -> SegmentNetwork:
    """The network of a resolved configuration, without memory for its weights."""
    with torch.device("meta"):
        return part(config["model"]["net"], [YourMT3, Listener])()  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_whole_and_says_how_it_is_used(path, capsys):
    config = resolved(capsys, "--config", str(path))
    net = build(config)
    assert net.channels.names  # there is a table of who is written where
    weights = config["model"]["loss_weights"]
    if isinstance(net, YourMT3):
        assert set(weights) == {"token", "gate", "balance", "event"}
        assert bool(weights["gate"]) == (net.gate is not None)
    else:
        assert set(weights) == {"event"}
    assert "make train-yourmt3" in path.read_text().split("\n\n")[0]
    if path.stem in MILLIONS:
        assert millions(net) == pytest.approx(MILLIONS[path.stem], rel=0.01)
    else:
        assert 2 * millions(net) < 16  # megabytes of float16


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--model.net.init_args.encoder.init_args.norm=rms"], "norm"),
        (["--model.net.init_args.encoder.init_args.n_latents=many"], "n_latents"),
        (["--model.rotary=true"], "rotary"),
    ],
)
def test_an_unknown_key_is_an_error_with_its_name(words, complaint, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", *words])
    assert stop.value.code == 2
    assert complaint in capsys.readouterr().err
