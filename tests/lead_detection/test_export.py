import json

import pytest
import torch

from common.checkpoint import CheckpointError
from lead_detection.__main__ import main
from lead_detection.export import export
from lead_detection.inference import load
from lead_detection.model import LeadDetector

NET = {
    "class_path": "lead_detection.model.LeadDetector",
    "init_args": {
        "encoder": {
            "class_path": "common.encoders.LogMelEncoder",
            "init_args": {"dim": 16, "channels": [4, 4, 4], "dilations": [1], "n_mels": 40},
        },
        "head": {"class_path": "lead_detection.heads.PointerHead", "init_args": {"hidden": 16, "dilations": [1]}},
    },
}


@pytest.fixture
def checkpoint(tmp_path):
    """As a run writes it, with what the task adds."""
    torch.manual_seed(0)
    net = LeadDetector(**NET["init_args"])
    content = {
        "state_dict": {f"net.{name}": value for name, value in net.state_dict().items()},
        "hyper_parameters": {"net": NET},
        "decode": {"temperature": 1.5, "null_bias": -0.5, "min_length": 0.25},
        "norm": "stem_peak",
    }
    torch.save(content, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_weights_settings_and_norm_come_back(checkpoint, tmp_path):
    path = export(checkpoint, "mine", tmp_path / "out")
    model = load(path)
    assert (model.name, model.norm) == ("mine", "stem_peak")
    assert (model.settings.temperature, model.settings.null_bias, model.settings.min_length) == (1.5, -0.5, 0.25)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, value in model.net.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[f"net.{name}"].half().float())


def test_what_16_bits_leave_out_is_not_heard(checkpoint, tmp_path):
    exact = LeadDetector(**NET["init_args"]).eval()
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    exact.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
    audio = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    given = audio, torch.tensor([0, 0]), torch.tensor([1, 2]), audio.sum(dim=0, keepdim=True)
    with torch.no_grad():
        found, expected = load(export(checkpoint, "mine", tmp_path)).net(*given), exact(*given)
    assert torch.allclose(found, expected, atol=0.01)


def test_settings_can_be_given(checkpoint, tmp_path, capsys):
    (tmp_path / "decode.json").write_text(json.dumps({"temperature": 2.0}))
    words = ["export", str(checkpoint), "--name=mine", f"--out={tmp_path}", f"--decode={tmp_path / 'decode.json'}"]
    assert main(words) == 0
    assert str(tmp_path / "mine.safetensors") in capsys.readouterr().out
    assert load(tmp_path / "mine.safetensors").settings.temperature == 2.0


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"other\.ckpt"):
        export(path, "mine", tmp_path)


def test_what_is_wrong_is_one_line(checkpoint, tmp_path, capsys):
    assert main(["export", str(tmp_path / "none.ckpt"), "--name=mine", f"--out={tmp_path}"]) == 2
    (tmp_path / "decode.json").write_text(json.dumps({"temprature": 2.0}))
    words = ["export", str(checkpoint), "--name=mine", f"--out={tmp_path}", f"--decode={tmp_path / 'decode.json'}"]
    assert main(words) == 2
    missing, misspelt = capsys.readouterr().err.strip().splitlines()
    assert "none.ckpt" in missing
    assert "temprature" in misspelt
