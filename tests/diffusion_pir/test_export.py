import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import torch

from common import checkpoint
from diffusion_pir.__main__ import main
from diffusion_pir.melstore import FRONT_END
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import TextPromptTable, write_table
from tests.diffusion_pir.patterns import INIT_ARGS, denoiser


def trained(path: Path, net: Denoiser, init_args: dict[str, Any], **kept: Any) -> Path:
    """A training checkpoint as Lightning writes it with averaged weights."""
    averaged = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    raw = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in averaged.items()}
    config = {"class_path": "diffusion_pir.model.Denoiser", "init_args": init_args}
    given = {"state_dict": averaged, "current_model_state": raw, "hyper_parameters": {"net": config}, **kept}
    torch.save(given, path)
    return path


def test_an_exported_network_is_the_average_in_16_bits(tmp_path):
    """Check 13: whoever loads it has the averaged weights."""
    net = denoiser(2).eval()
    path = trained(tmp_path / "last.ckpt", net, INIT_ARGS, classes=["a", "b"])
    assert main(["export", str(path), "--name", "mine", "--out", str(tmp_path)]) == 0
    again, extra = checkpoint.load(Denoiser, tmp_path / "mine.safetensors")
    torch.testing.assert_close(again.state_dict(), net.state_dict(), atol=2e-3, rtol=1e-3)
    assert extra == {"name": "mine", "classes": ["a", "b"], "front_end": FRONT_END}
    assert (tmp_path / "mine.safetensors").stat().st_size < 0.6 * path.stat().st_size / 2


def test_a_table_of_text_comes_along(tmp_path):
    table = {"tokens": torch.randn(2, 3, 16).half(), "mask": torch.ones(2, 3).bool(), "codes": torch.tensor([1, 2])}
    write_table(tmp_path / "prompts.safetensors", table, ["a", "b"], "none")
    options = {"n_classes": 2, "dim": 16, "file": str(tmp_path / "prompts.safetensors")}
    prompts = {"class_path": "diffusion_pir.prompts.TextPromptTable", "init_args": options}
    net = denoiser(prompts=TextPromptTable(**options))
    path = trained(tmp_path / "last.ckpt", net, {**INIT_ARGS, "prompts": prompts}, classes=["a", "b"])
    (tmp_path / "prompts.safetensors").unlink()
    assert main(["export", str(path), "--name", "text", "--out", str(tmp_path)]) == 0
    again, _ = checkpoint.load(Denoiser, tmp_path / "text.safetensors")
    assert again.prompts.tokens.equal(table["tokens"])


@pytest.mark.parametrize("classes", [[], ["--classes", "a,b,c"]])
def test_names_that_are_not_as_many_as_the_classes(tmp_path, capsys, classes):
    path = trained(tmp_path / "last.ckpt", denoiser(), INIT_ARGS)
    assert main(["export", str(path), "--name", "mine", "--out", str(tmp_path), *classes]) == 2
    assert "has 2 classes" in capsys.readouterr().err
    assert main(["export", str(path), "--name", "mine", "--out", str(tmp_path), "--classes", "a,b"]) == 0


def test_what_is_no_checkpoint(tmp_path, capsys):
    assert main(["export", str(tmp_path / "gone.ckpt"), "--name", "mine"]) == 2
    assert "gone.ckpt" in capsys.readouterr().err


def test_neither_lightning_nor_wandb_is_needed_to_load():
    code = (
        "import sys; import diffusion_pir, diffusion_pir.export, diffusion_pir.diffusion, diffusion_pir.loss\n"
        "sys.exit(' '.join({'lightning', 'wandb', 'transformers.models.t5'} & set(sys.modules)) or 0)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
