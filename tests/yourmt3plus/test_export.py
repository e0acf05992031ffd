import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import torch

from tests.yourmt3plus.rigged import SMALL, random_network
from yourmt3plus.export import export, export_command
from yourmt3plus.inference import SILENCE, load
from yourmt3plus.listener import Listener
from yourmt3plus.listening import MapModel
from yourmt3plus.model import YourMT3
from yourmt3plus.reading import Thresholds


def trained(path: Path, net: YourMT3, class_path: str = "yourmt3plus.model.YourMT3") -> Path:
    """A training checkpoint as Lightning writes it."""
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    config = {"class_path": class_path, "init_args": SMALL}
    torch.save({"state_dict": state, "hyper_parameters": {"net": config}}, path)
    return path


def test_an_exported_network_is_the_trained_one_in_16_bits(tmp_path):
    net = random_network()
    path = trained(tmp_path / "last.ckpt", net)
    options = ["--name", "mine", "--out", str(tmp_path), "--silence", "0.9", "--max-tokens", "40"]
    assert export_command([str(path), *options]) == 0
    model = load(tmp_path / "mine.safetensors")
    torch.testing.assert_close(model.net.state_dict(), net.state_dict(), atol=1e-3, rtol=1e-3)
    assert (model.name, model.silence, model.max_tokens) == ("mine", 0.9, 40)
    assert (tmp_path / "mine.safetensors").stat().st_size < 0.6 * path.stat().st_size


def test_rows_are_as_long_as_the_released_ones_unless_told(tmp_path):
    model = load(export(trained(tmp_path / "last.ckpt", random_network()), "mine", tmp_path))
    assert (model.max_tokens, model.silence) == (256, SILENCE)


def test_a_listener_brings_its_thresholds_along(tmp_path):
    front_end = {"class_path": "yourmt3plus.front_ends.ConstantQ", "init_args": {"hop_length": 384}}
    config = {"class_path": "yourmt3plus.listener.Listener", "init_args": {"front_end": front_end, "salience": 4}}
    torch.manual_seed(0)
    net = Listener(**config["init_args"]).eval()
    chosen = {"onset": 0.25, "sounding": 0.4, "hit": 0.6}
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"net": config}, "thresholds": chosen}, path)
    assert export_command([str(path), "--name", "mine", "--out", str(tmp_path)]) == 0
    model = load(tmp_path / "mine.safetensors")
    assert isinstance(model, MapModel)
    assert model.reader.thresholds == Thresholds(**chosen)
    audio = 0.1 * torch.randn(2, 32_640, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net.maps(audio).onset.sigmoid().numpy()
    np.testing.assert_allclose(model.maps(audio.numpy())[0], expected, atol=1e-6)


@pytest.mark.parametrize("text", ["gone.ckpt", "os.system"])
def test_what_is_no_checkpoint_of_ours_is_refused(text, tmp_path, capsys):
    path = tmp_path / "gone.ckpt" if text == "gone.ckpt" else trained(tmp_path / "x.ckpt", random_network(), text)
    assert export_command([str(path), "--name", "mine", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert path.name in error


def test_neither_lightning_nor_wandb_is_needed():
    code = (
        "import sys, yourmt3plus\n"
        "assert 'torch' not in sys.modules\n"
        "import yourmt3plus.files, yourmt3plus.export, yourmt3plus.importer\n"
        "sys.exit(' '.join({'lightning', 'wandb', 'matplotlib', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
