import pytest
import torch
from torch import nn

from lead_detection.optimizer import GroupError, parameter_groups


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.head = nn.ModuleDict({"attention": nn.Linear(4, 4), "embedding": nn.Embedding(5, 4)})
        self.headroom = nn.Parameter(torch.ones(2, 2))


GROUPS = {"encoder": {"lr": 1e-5}, "head": {"lr": 1e-3}, "head.attention": {"lr": 1e-4}, "headroom": {"lr": 0.1}}


def names(net: nn.Module, groups: list[dict]) -> dict[str, set[str]]:
    """Names of the parameters of each group."""
    by_id = {id(parameter): name for name, parameter in net.named_parameters()}
    return {group["name"]: {by_id[id(parameter)] for parameter in group["params"]} for group in groups}


def test_every_parameter_is_in_the_group_of_its_longest_prefix():
    groups = parameter_groups(net := Net(), GROUPS)
    assert names(net, groups) == {
        "encoder": {"encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias"},
        "head": {"head.embedding.weight"},
        "head.attention": {"head.attention.weight", "head.attention.bias"},
        "headroom": {"headroom"},
    }
    assert [group["lr"] for group in groups] == [1e-5, 1e-3, 1e-4, 0.1]
    assert torch.optim.AdamW(groups, weight_decay=0.01).param_groups[0]["weight_decay"] == 0.01


def test_what_has_no_decay_is_apart():
    groups = parameter_groups(net := Net(), {"": {"lr": 1.0}}, decay_all=False)
    weights = {"encoder.0.weight", "head.attention.weight", "headroom"}
    rest = {name for name, _ in net.named_parameters()} - weights
    assert names(net, groups) == {"net": weights, "net without decay": rest}
    rates = {group["name"]: group["weight_decay"] for group in torch.optim.AdamW(groups, weight_decay=0.1).param_groups}
    assert rates == {"net": 0.1, "net without decay": 0.0}


def test_what_is_frozen_is_in_no_group():
    net = Net()
    net.encoder.requires_grad_(False)
    assert set(names(net, parameter_groups(net, GROUPS))) == {"head", "head.attention", "headroom"}


def test_a_parameter_without_a_group_is_named():
    with pytest.raises(GroupError, match=r"headroom.*its groups are encoder, head"):
        parameter_groups(Net(), {"encoder": {}, "head": {}})


def test_a_group_that_fits_nothing_is_named():
    with pytest.warns(UserWarning, match=r"head\.atention"):
        parameter_groups(Net(), GROUPS | {"head.atention": {}})
