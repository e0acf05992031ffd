import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import diffusion_pir
from diffusion_pir.__main__ import main
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import write_table

FOLDER = Path(diffusion_pir.__file__).parent / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
# name -> what it starts from, epochs, seconds of a window
CHAIN = {
    "model_0": (None, 400, 1),
    "model_a": ("model_0", 100, 2),
    "model_b": ("model_0", 100, 2),
    "model_c": ("model_a", 100, 2),
}
PARSED: dict[str, dict[str, Any]] = {}


def resolved(capsys, name: str) -> dict[str, Any]:
    """What the command line makes of a file on top of base.yaml; parsed once for all tests."""
    if name not in PARSED:
        with pytest.raises(SystemExit) as stop:
            main(["fit", f"--config={FOLDER / name}.yaml", "--print_config"])
        assert stop.value.code == 0
        PARSED[name] = yaml.safe_load(capsys.readouterr().out)
    return deepcopy(PARSED[name])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_config_builds_and_says_how_it_is_used(path, capsys, tmp_path):
    net = resolved(capsys, path.stem)["model"]["net"]["init_args"]
    if path.stem == "t5":
        table = {
            "tokens": torch.zeros(1, 1, 768).half(),
            "mask": torch.ones(1, 1).bool(),
            "codes": torch.ones(1).long(),
        }
        write_table(tmp_path / "table.safetensors", table, ["any"] * 11, "none")
        net["prompts"]["init_args"]["file"] = str(tmp_path / "table.safetensors")
    with torch.device("meta"):
        assert Denoiser(**net).n_classes == 11
    text = path.read_text()
    assert text.startswith("# ")
    assert "#   make train-diffusion" in text
    assert f"--config diffusion_pir/configs/{path.name}" in text or path.stem == "base"


@pytest.mark.parametrize("name", CHAIN)
def test_the_models_of_table_1_start_from_each_other(name, capsys):
    first, epochs, seconds = CHAIN[name]
    config = resolved(capsys, name)
    assert config["model"]["init"] == (first and f"runs/diffusion_pir/{first}-seed0/last.ckpt")
    assert config["trainer"]["max_epochs"] == epochs
    assert config["trainer"]["max_steps"] == -1
    assert config["data"]["frames"] == 50 * seconds
    assert config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"] == 64


def test_a_misspelt_key_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.prompt_droput=0.5"])
    assert stop.value.code == 2
    assert "prompt_droput" in re.sub(r"\s", "", capsys.readouterr().err)
