"""Which part of a network learns how fast: parameter groups by name."""

import warnings
from typing import Any

from torch import nn

Groups = dict[str, dict[str, float]]


class GroupError(ValueError):
    """Parameter groups that do not divide up the network."""


def parameter_groups(net: nn.Module, groups: Groups, decay_all: bool = True) -> list[dict[str, Any]]:
    """The trainable parameters as an optimiser takes them, each in exactly one group.

    Args:
        net: what is trained.
        groups: options of the optimiser, such as lr, by the beginning of the parameters' names: "head" has
            "head.norm.weight". Where several fit, the longest has it; "" fits all.
        decay_all: otherwise biases, norms and embeddings, and whatever has one axis, have no weight decay.

    Raises:
        GroupError: a trainable parameter is in no group.

    Warns:
        UserWarning: a group fits no parameter, as where the network has another head than the one it was written for.
    """
    members: dict[str, list[str]] = {prefix: [] for prefix in groups}
    homeless, used = [], set()
    for name, parameter in net.named_parameters():
        fitting = [prefix for prefix in groups if not prefix or f"{name}.".startswith(f"{prefix}.")]
        used.update(fitting)
        if parameter.requires_grad and fitting:
            members[max(fitting, key=len)].append(name)
        elif parameter.requires_grad:
            homeless.append(name)
    if homeless:
        raise GroupError(
            f"model.groups has no group for {', '.join(homeless[:5])}{' ...' * (len(homeless) > 5)}; "
            f"its groups are {', '.join(groups)}"
        )
    if unused := groups.keys() - used:
        warnings.warn(f"model.groups: no parameter begins with {', '.join(sorted(unused))}", stacklevel=2)
    undecayed = set() if decay_all else without_decay(net)
    return [group for prefix, names in members.items() for group in split(net, prefix, names, groups, undecayed)]


def split(net: nn.Module, prefix: str, names: list[str], groups: Groups, undecayed: set[str]) -> list[dict[str, Any]]:
    """One group, or two where a part of it has no decay; none where nothing of it is trained."""
    label = prefix or "net"
    parts = {
        label: ([name for name in names if name not in undecayed], {}),
        f"{label} without decay": ([name for name in names if name in undecayed], {"weight_decay": 0.0}),
    }
    return [
        {"params": [net.get_parameter(name) for name in chosen], "name": title, **groups[prefix], **options}
        for title, (chosen, options) in parts.items()
        if chosen
    ]


def without_decay(net: nn.Module) -> set[str]:
    """Names of biases, norms, scales and embeddings."""
    return {
        f"{path}.{name}".lstrip(".")
        for path, module in net.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim < 2 or isinstance(module, nn.Embedding)
    }
