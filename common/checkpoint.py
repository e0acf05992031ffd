"""A trained network as one safetensors file: constructor arguments and tensors, so that loading it runs no pickle."""

import json
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from common.storage import replacing

Net = TypeVar("Net", bound=nn.Module)
PREFIX = "net."  # a Task calls its network `net`


class CheckpointError(ValueError):
    """A file that is not a checkpoint of the network asked for."""


def save(path: str | Path, net: nn.Module, init_args: dict, *, dtype: torch.dtype | None = None, **extra: Any):
    """Write a network so that `load` can rebuild it.

    Args:
        path: file to write, whole or not at all; .safetensors.
        net: its `state_dict` is stored.
        init_args: what its class is called with; numbers, strings, lists, dicts and None only.
        dtype: for the floating-point tensors, e.g. `torch.float16` to halve the file; they load as what the network
            declares. None keeps each as it is.
        **extra: more to know at use, such as thresholds; plain types as well.
    """
    metadata = {"class": type(net).__name__, "init_args": init_args, "extra": extra}
    tensors = {
        # Cloned: safetensors refuses tensors that share memory, as tied weights do.
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None, copy=True).contiguous()
        for name, tensor in net.state_dict().items()
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, {key: json.dumps(value) for key, value in metadata.items()})


def load(
    net_class: type[Net] | Sequence[type[Net]], path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Net, dict[str, Any]]:
    """The network of a file written by `save`, in evaluation mode, and the extra values stored with it.

    Args:
        net_class: what it is, or all that it may be.
        path: of the file.
        device: for the network.

    Raises:
        CheckpointError: the file is missing, damaged or a pickle, or holds another network, or there is no such device.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no mapping
        name, init_args, extra = (json.loads(metadata[key]) for key in ("class", "init_args", "extra"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); give the path of a .safetensors file") from error
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path}: damaged, or not written by common.checkpoint.save; copy it again, or export the training "
            "checkpoint (.ckpt) with common.checkpoint.export_checkpoint"
        ) from error
    kinds = [net_class] if isinstance(net_class, type) else net_class
    kind = next((kind for kind in kinds if kind.__name__ == name), kinds[0])
    net = rebuild(kind, name, init_args, tensors, path)
    try:
        return net.to(device).eval(), extra
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        problem = str(error).splitlines()[0]
        raise CheckpointError(f"device {device}: cannot be used here ({problem}); take cpu") from error


def rebuild(net_class: type[Net], name: str, init_args: dict, tensors: dict[str, torch.Tensor], path) -> Net:
    """The network called `name` in the checkpoint, if `net_class` is that and takes exactly these tensors."""
    if name != net_class.__name__:
        raise CheckpointError(f"{path}: holds a {name}, not a {net_class.__name__}; choose the matching weights")
    try:
        net = net_class(**init_args)
        net.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: does not fit the {name} of this version of the code ({error}); use the version it was made with, "
            "or train again"
        ) from error
    return net


def part(config: Mapping[str, Any], kinds: Iterable[type[nn.Module]]) -> Callable[..., nn.Module]:
    """What makes a part of a network that takes other modules as arguments.

    Args:
        config: the {"class_path", "init_args"} that a checkpoint holds in its place.
        kinds: what it may be: a checkpoint cannot name code of its own.

    Raises:
        ValueError: it names something else.
    """
    known = {kind.__name__: kind for kind in kinds}
    name = config["class_path"].rpartition(".")[2]
    if name not in known:
        raise ValueError(f"{config['class_path']}: no part of such a network; it may be one of {', '.join(known)}")
    return partial(known[name], **config.get("init_args", {}))


def export_checkpoint(ckpt_path: str | Path, net_class: type[nn.Module], out: str | Path, **options: Any):
    """Turn a training checkpoint of `common.cli` into a file for use.

    Args:
        ckpt_path: Lightning's .ckpt. With weight averaging, the averaged weights are taken.
        net_class: of the Task's `net`, as the checkpoint's configuration names it.
        out: file to write.
        **options: for `save`: `dtype`, and extra values.

    Raises:
        CheckpointError: no such file, or not a training checkpoint of this network.
    """
    run = read_training(ckpt_path)
    net = rebuild(net_class, run.name, run.init_args, run.tensors, ckpt_path)
    save(out, net, run.init_args, **options)


class Training(NamedTuple):
    """The network of a training checkpoint, and all that lies beside it."""

    name: str  # of its class
    init_args: dict[str, Any]
    tensors: dict[str, torch.Tensor]  # averaged ones, if there are any
    kept: dict[str, Any]  # the whole checkpoint, with what the task put into it


def read_training(path: str | Path) -> Training:
    """What a training checkpoint of `common.cli` holds.

    Raises:
        CheckpointError: no such file, or not a training checkpoint.
    """
    try:
        # A checkpoint of ours holds plain types only. Lightning puts averaged weights, where there are any, into
        # `state_dict`, and the others elsewhere.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        config = checkpoint["hyper_parameters"]["net"]
        state = checkpoint["state_dict"]
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); give the .ckpt of a run") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
        # Torch's own text has many lines, and recommends to load what is not safe.
        problem = "no plain tensors" if isinstance(error, pickle.UnpicklingError) else str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: not a training checkpoint ({problem}); give the .ckpt of a run") from error
    tensors = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    return Training(config["class_path"].rpartition(".")[2], config.get("init_args", {}), tensors, checkpoint)


def released_tensors(path: str | Path, remedy: str) -> dict[str, torch.Tensor]:
    """The tensors by name of a Lightning checkpoint that somebody else wrote; no code of theirs is run.

    Such files hold pickled settings beside the tensors. The pickle is read by torch's restricted reader, and whatever
    class it names that torch does not know is replaced by an empty one: it is never imported.

    Args:
        path: the .ckpt.
        remedy: what the user should do if it is something else.

    Raises:
        CheckpointError: it cannot be read so.
    """
    try:
        strangers = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_stand_in(name), name) for name in strangers]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: no checkpoint of Lightning's that can be read without running code of it; {remedy}"
        ) from error


def _stand_in(name: str) -> type:
    """What takes the place of a class or function: it makes empty mappings, whatever it is called with."""
    return type(name.rpartition(".")[2], (), {"__new__": lambda cls, *args, **kwargs: OrderedDict()})


def load_weights(net: nn.Module, path: str | Path):
    """Give a network the weights, averaged ones if there are any, of a file of the same network.

    Args:
        net: changed in place; all its tensors come from the file.
        path: a training checkpoint (.ckpt), or a file written by `save` (.safetensors).

    Raises:
        CheckpointError: neither of them, or of another network.
    """
    kind = type(net)
    source = load(kind, path)[0].state_dict() if Path(path).suffix == ".safetensors" else read_training(path).tensors
    try:
        net.load_state_dict(source)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: not the weights of this {kind.__name__} ({error}); give the network the same arguments"
        ) from error
