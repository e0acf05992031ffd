import pytest
import torch
from torch.nn import functional as F

from yourmt3plus.pre_encoder import PreEncoder, ResidualBlock


def test_convolutions_halve_bins_and_keep_frames():
    torch.manual_seed(0)
    blocks = PreEncoder(64, (4, 8), (4, 2)).eval()
    assert blocks(torch.rand(2, 5, 64)).shape == (2, 8, 5, 8)
    assert (blocks.n_channels, blocks.n_bins) == (8, 8)


def test_a_residual_block_written_out():
    torch.manual_seed(0)
    block = ResidualBlock(3, 4, 2).eval()
    x = torch.randn(1, 3, 5, 8)
    norm = 1 / (1 + 1e-5) ** 0.5  # of a batch norm that has seen nothing
    heard = F.conv2d((F.conv2d(x, block.first.weight, padding=1) * norm).relu(), block.second.weight, padding=1) * norm
    direct = torch.einsum("oi,bifw->bofw", block.shortcut.weight[:, :, 0, 0], x)
    y = (heard + direct).relu()
    torch.testing.assert_close(block(x), (y[..., ::2] + y[..., 1::2]) / 2)


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="one for each of 2 blocks"):
        PreEncoder(64, (4, 4), (2, 2, 2))
    with pytest.raises(ValueError, match="leave bins"):
        PreEncoder(4, (4, 4), (4, 2))
