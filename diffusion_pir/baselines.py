"""The network that the paper compares itself with: the convolutional one of Han, Kim and Lee (2017).

Y. Han, J. Kim and K. Lee, "Deep convolutional neural networks for predominant instrument recognition in polyphonic
music", IEEE/ACM TASLP 25(1), 2017. Its front-end is `front_ends.FRONT_ENDS["han"]`: a second is 128 bins by 43 frames.
"""

from typing import Any

import torch
from torch import Tensor, nn

FILTERS = (32, 64, 128, 256)  # of the two convolutions of each stage


class HanCNN(nn.Module):
    """Log-mels (batch, bin, frame) to logits (batch, class).

    Each convolution is preceded by a border of zeros beyond the one that keeps the size, as published, so that maps
    grow by two: 128 x 43, 132 x 47, pooled 44 x 15, 48 x 19, 16 x 6, 20 x 10, 6 x 3, 10 x 7. Windows may have any
    length.

    Args:
        n_classes: labels.
        hidden: width of the layer before the last; 1024 makes 1,446,123 parameters, as published, 128 makes 1,205,995,
            and null, no such layer, 1,174,507. "About 1.2 million" of the diffusion paper is one of the latter two.
        slope: of the rectifiers below zero.
    """

    mean: Tensor

    def __init__(self, n_classes: int = 11, hidden: int | None = 1024, slope: float = 0.33):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))  # of the training set, see `HanTask`
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in zip((1, *FILTERS), FILTERS, strict=False):
            for n in (n_inputs, n_outputs):
                layers += [nn.Conv2d(n, n_outputs, 3, padding=2), nn.LeakyReLU(slope)]
            layers += [nn.MaxPool2d(3), nn.Dropout(0.25)]
        self.convolutions = nn.Sequential(*layers[:-2], nn.AdaptiveMaxPool2d(1), nn.Flatten())
        width = FILTERS[-1] if hidden is None else hidden
        dense = [] if hidden is None else [nn.Linear(FILTERS[-1], width), nn.LeakyReLU(slope), nn.Dropout(0.5)]
        self.output = nn.Sequential(*dense, nn.Linear(width, n_classes))
        self.apply(_glorot)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.output(self.convolutions((log_mel - self.mean)[:, None]))


def _glorot(module: nn.Module) -> None:
    """First weights as published: uniform, of a variance that suits both directions."""
    weights: Any = module
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(weights.weight)
        nn.init.zeros_(weights.bias)
