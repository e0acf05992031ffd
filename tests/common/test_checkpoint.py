import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from common.checkpoint import CheckpointError, export_checkpoint, load, load_weights, part, save


class Net(nn.Module):
    """Weights, tied weights, a transposed layout, a buffer, an integer buffer and a computed constant."""

    def __init__(self, width: int = 3, names: list[str] | None = None):
        super().__init__()
        self.names = names
        self.convolution = nn.Conv2d(2, width, 3).to(memory_format=torch.channels_last)
        self.norm = nn.BatchNorm2d(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.register_buffer("window", torch.hann_window(8), persistent=False)


class Other(Net):
    pass


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    net = Net(width=5, names=["onset", "frame"])
    net.norm(torch.randn(4, 5, 2, 2))  # moves the running statistics
    return net


@pytest.fixture
def path(net, tmp_path):
    path = tmp_path / "weights" / "net.safetensors"
    save(path, net, {"width": 5, "names": ["onset", "frame"]}, thresholds={"onset": 0.5}, hours=2)
    return path


def test_round_trip_is_exact(net, path):
    loaded, extra = load(Net, path)
    assert extra == {"thresholds": {"onset": 0.5}, "hours": 2}
    assert loaded.names == ["onset", "frame"]
    assert not loaded.training
    assert list(loaded.state_dict()) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == loaded.state_dict()[name].dtype
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    assert torch.equal(loaded.window, net.window)


def test_the_file_says_which_of_several_networks_it_is(path):
    loaded, _ = load([Other, Net], path)
    assert type(loaded) is Net


def test_half_precision_halves_the_tensors_and_rounds_once(net, path, tmp_path):
    half = tmp_path / "half.safetensors"
    save(half, net, {"width": 5}, dtype=torch.float16)
    loaded, _ = load(Net, half)
    for name, tensor in net.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(rounded, loaded.state_dict()[name]), name
    n_floats = sum(tensor.numel() for tensor in net.state_dict().values() if tensor.is_floating_point())

    def tensor_bytes(path):
        data = path.read_bytes()
        return len(data) - 8 - int.from_bytes(data[:8], "little")

    assert tensor_bytes(path) - tensor_bytes(half) == 2 * n_floats


def test_saving_again_replaces_the_file_and_leaves_nothing_else(net, path):
    save(path, net, {"width": 5}, hours=3)
    assert load(Net, path)[1] == {"hours": 3}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Payload:
    """Unpickled, it makes the file it names."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def broken_files(path, net, tmp_path):
    data = path.read_bytes()
    (tmp_path / "folder").mkdir()
    save_file(net.second.state_dict(), tmp_path / "foreign")
    torch.save(net.state_dict(), tmp_path / "torch")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    (tmp_path / "truncated").write_bytes(data[:-1])
    (tmp_path / "short header").write_bytes(data[:50])
    (tmp_path / "empty").write_bytes(b"")
    # A header that claims a terabyte.
    (tmp_path / "absurd").write_bytes((1 << 40).to_bytes(8, "little") + data[8:])
    names = "missing", "folder", "foreign", "torch", "pickle", "truncated", "short header", "empty", "absurd"
    return [tmp_path / name for name in names]


def test_files_that_are_no_checkpoints_are_refused_by_name(path, net, tmp_path):
    for broken in broken_files(path, net, tmp_path):
        with pytest.raises(CheckpointError, match=broken.name):
            load(Net, broken)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_told(path, device):
    with pytest.raises(CheckpointError, match=f"device {device}: cannot be used here .*; take cpu"):
        load(Net, path, device)


def test_another_network_is_refused(path):
    with pytest.raises(CheckpointError, match="holds a Net, not a Other"):
        load(Other, path)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda tensors, args: tensors.pop("first.bias"), "first.bias"),
        (lambda tensors, args: tensors.update(third=torch.zeros(1)), "third"),
        (lambda tensors, args: args.update(width=4), "size mismatch"),
        (lambda tensors, args: args.update(height=4), "height"),
    ],
)
def test_what_does_not_fit_the_class_is_refused(net, tmp_path, change, what):
    tensors = {name: tensor.clone().contiguous() for name, tensor in net.state_dict().items()}
    args = {"width": 5}
    change(tensors, args)
    path = tmp_path / "net.safetensors"
    save_file(tensors, path, {"class": '"Net"', "init_args": json.dumps(args), "extra": "{}"})
    with pytest.raises(CheckpointError, match=f"(?s)net.safetensors.*{what}"):
        load(Net, path)


def training_checkpoint(net, **changes):
    hyper_parameters = {"net": {"class_path": "somewhere.Net", "init_args": {"width": 5}}, "lr": 0.1}
    state = {f"net.{name}": tensor for name, tensor in net.state_dict().items()} | {"loss.weight": torch.ones(2)}
    return {"state_dict": state, "hyper_parameters": hyper_parameters, "epoch": 3} | changes


def test_export_takes_the_network_out_of_a_training_checkpoint(net, tmp_path):
    torch.save(training_checkpoint(net), tmp_path / "last.ckpt")
    export_checkpoint(tmp_path / "last.ckpt", Net, tmp_path / "out.safetensors", f1=0.9)
    loaded, extra = load(Net, tmp_path / "out.safetensors")
    assert extra == {"f1": 0.9}
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_export_refuses_what_is_no_training_checkpoint_of_the_network(net, path, tmp_path):
    torch.save(training_checkpoint(net, hyper_parameters={}), tmp_path / "no config")
    torch.save(training_checkpoint(net, payload=Payload(tmp_path / "executed")), tmp_path / "malicious")
    torch.save([1, 2], tmp_path / "list")
    torch.save(training_checkpoint(Net(width=4)), tmp_path / "other width")
    files = [
        *broken_files(path, net, tmp_path),
        *(tmp_path / n for n in ("no config", "malicious", "list", "other width")),
    ]
    for broken in files:
        with pytest.raises(CheckpointError, match=broken.name) as refused:
            export_checkpoint(broken, Net, tmp_path / "out.safetensors")
        assert "weights_only" not in str(refused.value)
    torch.save(training_checkpoint(net), tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="not a Other"):
        export_checkpoint(tmp_path / "last.ckpt", Other, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    assert not (tmp_path / "executed").exists()


def test_a_network_takes_the_weights_of_another_run(net, path, tmp_path):
    torch.save(training_checkpoint(net), tmp_path / "last.ckpt")
    for source in (path, tmp_path / "last.ckpt"):
        other = Net(width=5)
        load_weights(other, source)
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
        with pytest.raises(CheckpointError, match=f"{source.name}: not the weights of this Net"):
            load_weights(Net(width=4), source)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_are_not_taken_from_what_is_no_checkpoint(net, path, tmp_path):
    for broken in broken_files(path, net, tmp_path):
        with pytest.raises(CheckpointError, match=broken.name):
            load_weights(Net(), broken)


class TestPart:
    def test_it_is_made_with_its_arguments_and_those_of_the_caller(self):
        make = part({"class_path": "somewhere.Net", "init_args": {"width": 4}}, (Net, Other))
        made = make(names=["onset"])
        assert type(made) is Net
        assert (made.first.in_features, made.names) == (4, ["onset"])
        assert type(part({"class_path": "Other"}, (Net, Other))()) is Other

    def test_a_checkpoint_cannot_name_code_of_its_own(self):
        with pytest.raises(ValueError, match=r"os.system: no part of such a network; it may be one of Net, Other"):
            part({"class_path": "os.system", "init_args": {"command": "true"}}, (Net, Other))
