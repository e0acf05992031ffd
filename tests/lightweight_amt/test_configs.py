from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

import lightweight_amt
from lightweight_amt.__main__ import main
from lightweight_amt.model import NANO, PAPER, Transcriber

FOLDER = Path(lightweight_amt.__file__).parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
ABLATIONS = sorted(FOLDER.glob("ablation/*.yaml"))


def resolved(capsys, *args: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def build(net: dict) -> torch.nn.Module:
    """The network of a resolved configuration."""
    module, name = net["class_path"].rsplit(".", 1)
    return getattr(import_module(module), name)(**net.get("init_args", {}))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_whole_and_says_how_it_is_used(path, capsys):
    config = resolved(capsys, "--config", str(path))
    net = build(config["model"]["net"])
    assert set(net.outputs) <= set(config["model"]["loss_weights"]) <= set(config["model"]["alpha"])
    assert "make train-amt" in path.read_text().split("\n\n")[0]


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_changes_what_it_names_in_the_papers_network(path, capsys):
    paper = ["--config", str(FOLDER / "paper.yaml")]
    before, after = resolved(capsys, *paper), resolved(capsys, *paper, "--config", str(path))
    build(after["model"]["net"])
    named = yaml.safe_load(path.read_text())["model"]
    arguments = named.pop("net", {}).get("init_args", {})
    for name, value in arguments.items():
        assert before["model"]["net"]["init_args"].pop(name) != value
        assert after["model"]["net"]["init_args"].pop(name) == value
    for name, value in named.items():
        assert before["model"].pop(name) != value
        assert after["model"].pop(name) == value
    assert arguments or named
    assert after == before
    command = f"--config lightweight_amt/configs/paper.yaml --config lightweight_amt/configs/ablation/{path.name}"
    assert f'make train-amt ARGS="{command}"' in path.read_text()


@pytest.mark.parametrize(
    ("name", "network", "size", "loss"),
    [
        ("basic_pitch", "BasicPitch", 16_782, "basic_pitch"),
        ("basic_pitch_focal", "BasicPitch", 16_782, "focal"),
        ("basic_pitch_56k", "BasicPitch", 56_517, "basic_pitch"),
        ("basic_pitch_56k_focal", "BasicPitch", 56_517, "focal"),
        ("onsets_frames", "OnsetsAndFrames", 1_714_076, "focal"),
        ("onsets_frames_focal", "OnsetsAndFrames", 1_714_076, "focal"),
    ],
)
def test_the_baselines_of_the_paper(name, network, size, loss, capsys):
    model = resolved(capsys, "--config", str(FOLDER / f"{name}.yaml"))["model"]
    net = build(model["net"])
    assert type(net).__name__ == network
    assert sum(parameter.numel() for parameter in net.parameters()) == size
    assert model["loss_function"] == loss
    assert model["loss_weights"]["onset"] == model["loss_weights"]["frame"]


@pytest.mark.parametrize(("name", "options"), [("base", {}), ("paper", PAPER), ("nano", NANO)])
def test_configs_and_code_mean_the_same_networks(name, options, capsys):
    arguments = resolved(capsys, "--config", str(FOLDER / f"{name}.yaml"))["model"]["net"]["init_args"]
    assert str(Transcriber(**arguments)) == str(Transcriber(**options))


def test_a_misspelt_key_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.net.chanels=[8,8,8,8]"])
    assert stop.value.code == 2
    assert "chanels" in capsys.readouterr().err


def test_a_loss_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.loss_function=mse"])
    assert stop.value.code == 2
    assert "basic_pitch" in capsys.readouterr().err
