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


def test_harmonics_let_notes_of_all_pitches_look_alike():
    """Partials of two notes, 24 bins apart: the first block hears the same, as far apart."""
    torch.manual_seed(0)
    blocks = PreEncoder(144, (4,), (1,), harmonics=(1, 2, 3), bins_per_octave=36).eval()
    picture = torch.zeros(2, 5, 144)
    for row, fundamental in enumerate((20, 44)):
        picture[row, :, [fundamental, fundamental + 36, fundamental + 57]] = 1.0
    low, high = blocks(picture)
    torch.testing.assert_close(low[..., 15:26], high[..., 39:50])
    assert not torch.allclose(low[..., 20], low[..., 56])  # its octave is no fundamental


def test_a_partial_is_seen_on_its_fundamental():
    blocks = PreEncoder(144, (4,), (1,), harmonics=(1, 3), bins_per_octave=36)
    assert blocks.stack is not None
    picture = torch.zeros(1, 5, 144)
    picture[0, :, 20 + 57] = 1.0
    assert blocks.stack(picture.mT)[0, 1, 20].all()
