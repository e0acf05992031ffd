"""Small classifiers on features of a frozen backbone: the paper's four, and one of ours that hears time.

The paper gives hidden sizes and approximate totals of parameters; the constructions here are those that hit them, with
1024 maps and 11 classes: MLP 132,619 (about 130 K), CNN 159,627 (160 K), CRNN 197,875 (200 K), attention 330,891
(330 K). Features are standardised by buffers of the head, so that a head is all that is needed to use it.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, gelu


class Head(nn.Module):
    """Features (batch, dim), or maps (batch, dim, column) or (batch, dim, row, column), to logits (batch, class).

    Args:
        dim: of the features.
        n_classes: labels, none of which excludes another.
        hidden: width inside.
        dropout: inside.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.init_args = {"dim": dim, "n_classes": n_classes, "hidden": hidden, "dropout": dropout}
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.dropout = nn.Dropout(dropout)

    def standardise_by(self, mean: Tensor, std: Tensor) -> None:
        """Take the statistics of the training set, (dim,) each; a feature that does not vary is left alone."""
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(std > 1e-6, 1 / std.clamp(min=1e-6), 1.0))

    def standardise(self, features: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (features.ndim - 2)
        return (features.float() - self.mean.view(shape)) * self.scale.view(shape)


class MLPHead(Head):
    """Mean over time and frequency, one hidden layer."""

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3):
        super().__init__(dim, n_classes, hidden, dropout)
        self.hidden = nn.Linear(dim, hidden)
        self.output = nn.Linear(hidden, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        features = self.standardise(features)
        features = features.flatten(2).mean(2) if features.ndim > 2 else features
        return self.output(self.dropout(torch.relu(self.hidden(features))))


class MapHead(Head):
    """A head that takes maps; columns alone, (batch, dim, column), are a map of one row."""

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim not in (3, 4):
            raise ValueError(
                f"{type(self).__name__} takes maps (batch, dim, row, column) or (batch, dim, column), not "
                f'{tuple(features.shape)}: take features with pool "map" or "time"'
            )
        features = self.standardise(features)
        return self.classify(features if features.ndim == 4 else features[:, :, None])

    def classify(self, maps: Tensor) -> Tensor:
        """(batch, dim, row, column) to logits."""
        raise NotImplementedError


class CNNHead(MapHead):
    """A separable 3 x 3 convolution, the mean over the map, and two layers."""

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3):
        super().__init__(dim, n_classes, hidden, dropout)
        self.convolution = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim), nn.Conv2d(dim, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU()
        )
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, n_classes)

    def classify(self, maps: Tensor) -> Tensor:
        features = self.dropout(self.convolution(maps).mean((2, 3)))
        return self.output(torch.relu(self.hidden(features)))


class CRNNHead(MapHead):
    """Mean over frequency, fewer dimensions, a recurrent layer over time, the mean of its outputs.

    Args:
        dim: of the features.
        n_classes: labels.
        hidden: state of the recurrent layer.
        dropout: before the classifier.
        reduced: dimensions of what the recurrent layer hears.
    """

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3, reduced: int = 104):
        super().__init__(dim, n_classes, hidden, dropout)
        self.init_args["reduced"] = reduced
        self.reduce = nn.Conv1d(dim, reduced, 1)
        self.recurrent = nn.GRU(reduced, hidden, batch_first=True)
        self.output = nn.Linear(hidden, n_classes)

    def classify(self, maps: Tensor) -> Tensor:
        states, _ = self.recurrent(self.reduce(maps.mean(2)).mT)
        return self.output(self.dropout(states.mean(1)))


class AttentionHead(MapHead):
    """Every place of the map a token with a sinusoidal code of row and column, one transformer layer, the mean.

    Args:
        dim: of the features.
        n_classes: labels.
        hidden: of a token, a multiple of 4 and of `n_heads`.
        dropout: before the classifier; the layer has 0.1 of its own.
        n_heads: of the layer.
    """

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3, n_heads: int = 4):
        super().__init__(dim, n_classes, hidden, dropout)
        self.init_args["n_heads"] = n_heads
        self.reduce = nn.Linear(dim, hidden)
        self.layer = nn.TransformerEncoderLayer(hidden, n_heads, 4 * hidden, batch_first=True)
        self.output = nn.Linear(hidden, n_classes)

    def classify(self, maps: Tensor) -> Tensor:
        tokens = self.reduce(rearrange(maps, "batch dim row column -> batch row column dim"))
        tokens = tokens + position_code(tokens.shape[1], tokens.shape[2], tokens.shape[3]).to(tokens)
        return self.output(self.dropout(self.layer(tokens.flatten(1, 2)).mean(1)))


class PlusHead(MapHead):
    """Ours: for each class, attention over time to the columns that tell of it. Takes layers and noise levels at once.

    A clip may show an instrument for a moment only, which a mean over the clip waters down. Before the attention each
    column hears its neighbours. See `concatenate` for the features.

    Args:
        dim: of the features, all layers and noise levels together.
        n_classes: labels.
        hidden: of a column.
        dropout: of the features, half of it, and of what is made of them.
    """

    def __init__(self, dim: int, n_classes: int = 11, hidden: int = 128, dropout: float = 0.3):
        super().__init__(dim, n_classes, hidden, dropout)
        self.feature_dropout = nn.Dropout(dropout / 2)
        self.reduce = nn.Linear(dim, hidden)
        self.context = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm = nn.LayerNorm(hidden)
        self.attention = nn.Linear(hidden, n_classes)
        self.output = nn.Linear(hidden, n_classes)

    def columns(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and attention of each column, (batch, column, class); what a picture over time is made of."""
        columns = gelu(self.reduce(self.feature_dropout(maps.mean(2).mT)))
        columns = self.dropout(self.norm(columns + self.context(columns.mT).mT))
        return self.output(columns), self.attention(columns).softmax(1)

    def classify(self, maps: Tensor) -> Tensor:
        logits, attention = self.columns(maps)
        return (logits * attention).sum(1)


HEADS: dict[str, type[Head]] = {
    "mlp": MLPHead,
    "cnn": CNNHead,
    "crnn": CRNNHead,
    "attention": AttentionHead,
    "plus": PlusHead,
}


def concatenate(features: Sequence[Tensor]) -> Tensor:
    """Features of several layers and noise levels as one, (batch, dim), (batch, dim, column) or with rows as well.

    Where layers have different numbers of columns or rows, all get the fewest.
    """
    fewest = [min(sizes) for sizes in zip(*(part.shape[2:] for part in features), strict=True)]
    pool: Any = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d}.get(len(fewest))
    return torch.cat([part if list(part.shape[2:]) == fewest else pool(part, fewest) for part in features], 1)


def position_code(n_rows: int, n_columns: int, dim: int) -> Tensor:
    """(row, column, dim): sines and cosines of the row in the first half, of the column in the second."""
    frequencies = torch.exp(torch.arange(dim // 4) * (-math.log(10_000.0) / (dim // 4)))
    codes = []
    for count in (n_rows, n_columns):
        phase = torch.arange(count)[:, None] * frequencies
        codes.append(torch.cat([phase.sin(), phase.cos()], 1))
    rows, columns = codes
    return torch.cat([rows[:, None].expand(-1, n_columns, -1), columns.expand(n_rows, -1, -1)], 2)
