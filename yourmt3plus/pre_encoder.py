"""Convolutions that halve the frequencies of a picture and keep its time: what PerceiverTF listens to."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from common.frontends import HarmonicStack


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, then the average of neighbouring bins.

    Args:
        n_inputs: channels in.
        n_outputs: channels out.
        pool: how many bins become one.
    """

    def __init__(self, n_inputs: int, n_outputs: int, pool: int):
        super().__init__()
        self.first = nn.Conv2d(n_inputs, n_outputs, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_outputs)
        self.second = nn.Conv2d(n_outputs, n_outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_outputs)
        self.shortcut = nn.Identity() if n_inputs == n_outputs else nn.Conv2d(n_inputs, n_outputs, 1)
        self.pool = nn.AvgPool2d((1, pool))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, frame, bin) -> fewer bins."""
        heard = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return self.pool(F.relu(heard + self.shortcut(x)))


class PreEncoder(nn.Module):
    """One residual block after another.

    Args:
        n_bins: of the picture.
        channels: of each block.
        pools: how many bins each block makes one of.
        harmonics: frequency ratios: for each the first block sees the picture moved so that a partial lies on its
            fundamental, and tells notes of all pitches alike. For `front_ends.ConstantQ`; none as released.
        bins_per_octave: of the picture; for harmonics.
    """

    def __init__(
        self,
        n_bins: int,
        channels: Sequence[int] = (128, 128, 128),
        pools: Sequence[int] = (2, 2, 2),
        harmonics: Sequence[float] = (),
        bins_per_octave: int = 36,
    ):
        super().__init__()
        self.stack = HarmonicStack(tuple(harmonics), bins_per_octave, n_bins) if harmonics else None
        self.n_channels = channels[-1]
        self.n_bins = n_bins
        for pool in pools:
            self.n_bins //= pool
        if self.n_bins == 0 or len(channels) != len(pools):
            raise ValueError(f"pools {tuple(pools)} must be one for each of {len(channels)} blocks, and leave bins")
        sizes = zip([len(harmonics) or 1, *channels], channels, pools, strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(*size) for size in sizes))

    def forward(self, picture: Float[Tensor, " batch frame bin"]) -> Float[Tensor, " batch channel frame pooled_bin"]:
        return self.blocks(picture[:, None] if self.stack is None else self.stack(picture.mT).mT)
