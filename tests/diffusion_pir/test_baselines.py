import pytest
import torch
from torch import nn

from diffusion_pir.baselines import HanCNN


def n_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(("hidden", "count"), [(1024, 1_446_123), (None, 1_174_507), (128, 1_205_995)])
def test_parameters_are_those_of_the_study(hidden, count):
    net = HanCNN(hidden=hidden)
    assert n_parameters(net) == count
    assert n_parameters(net.convolutions) == 1_171_680


def test_maps_grow_by_two_with_each_convolution():
    sizes = []
    net = HanCNN()
    for layer in net.convolutions:
        layer.register_forward_hook(
            lambda layer, _, output: (
                sizes.append(tuple(output.shape[2:])) if isinstance(layer, nn.Conv2d | nn.MaxPool2d) else None
            )
        )
    assert net(torch.zeros(2, 128, 43)).shape == (2, 11)
    assert sizes == [
        *((130, 45), (132, 47), (44, 15)),
        *((46, 17), (48, 19), (16, 6)),
        *((18, 8), (20, 10), (6, 3)),
        *((8, 5), (10, 7)),
    ]


def test_the_mean_of_the_training_set_is_subtracted_and_kept_with_the_weights():
    net, shifted = HanCNN(n_classes=3, hidden=None).eval(), HanCNN(n_classes=3, hidden=None).eval()
    shifted.load_state_dict({**net.state_dict(), "mean": torch.tensor(-4.0)})
    log_mel = torch.randn(2, 128, 43)
    assert torch.allclose(shifted(log_mel - 4.0), net(log_mel), atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 20, 100])
def test_windows_of_any_length(n_frames):
    assert HanCNN(n_classes=5, hidden=128)(torch.zeros(1, 128, n_frames)).shape == (1, 5)


def test_what_lies_far_outside_a_tone_does_not_matter_to_the_maximum():
    """The published border of zeros is of the mean's level: a net without bias hears nothing in an empty window."""
    net = HanCNN(hidden=None).eval()
    with torch.no_grad():
        silence = net(torch.zeros(1, 128, 43))
        assert torch.allclose(silence, net(torch.zeros(1, 128, 86)), atol=1e-6)
