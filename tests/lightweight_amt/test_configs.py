from pathlib import Path

import pytest
import yaml

import lightweight_amt
from lightweight_amt.__main__ import main
from lightweight_amt.model import NANO, PAPER, Transcriber

CONFIGS = sorted(Path(lightweight_amt.__file__).parent.glob("configs/*.yaml"))


def resolved(capsys, *args: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        main(["fit", *args, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_whole_and_says_how_it_is_used(path, capsys):
    config = resolved(capsys, "--config", str(path))
    Transcriber(**config["model"]["net"]["init_args"])
    assert set(config["model"]["loss_weights"]) <= set(config["model"]["alpha"])
    assert "make train-amt" in path.read_text().split("\n\n")[0]


@pytest.mark.parametrize(("name", "options"), [("base", {}), ("paper", PAPER), ("nano", NANO)])
def test_configs_and_code_mean_the_same_networks(name, options, capsys):
    arguments = resolved(capsys, "--config", str(CONFIGS[0].with_name(f"{name}.yaml")))["model"]["net"]["init_args"]
    assert str(Transcriber(**arguments)) == str(Transcriber(**options))


def test_a_misspelt_key_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.net.chanels=[8,8,8,8]"])
    assert stop.value.code == 2
    assert "chanels" in capsys.readouterr().err
