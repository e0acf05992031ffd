"""Label sets as text tokens: what the denoiser is told is in the clip.

The paper encodes the instruments' names with a frozen T5. Here that is done once for every label set there may be
(`python -m diffusion_pir prompts`), so that no text encoder runs beside the training; and where its weights are not at
hand, each class has tokens of its own, drawn from a seed.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class PromptTable(nn.Module):
    """A few orthogonal tokens per class, drawn once; a label set is the tokens of its classes.

    Args:
        n_classes: of the labels.
        dim: of a token: the network's `cross_attention_dim`.
        n_tokens: of a class.
        seed: of the drawing.
    """

    tokens: Tensor
    mask: Tensor

    def __init__(self, n_classes: int, dim: int, n_tokens: int = 2, seed: int = 0):
        super().__init__()
        self.n_classes = n_classes
        self.dim = dim
        self.n_tokens = n_tokens
        table = orthogonal(n_classes * n_tokens, dim, seed)
        self.register_buffer("tokens", torch.from_numpy(table.astype(np.float32)))

    def known(self, labels: Bool[Tensor, " batch class"]) -> Bool[Tensor, " batch"]:
        """Which label sets have a prompt: all but the empty one."""
        return labels.any(1)

    def forward(
        self, labels: Bool[Tensor, " batch class"]
    ) -> tuple[Float[Tensor, " batch token dim"], Bool[Tensor, " batch token"]]:
        """Tokens of each label set, and which of them count; the number of tokens is the same for all sets."""
        return self.tokens.expand(len(labels), -1, -1), labels.bool().repeat_interleave(self.n_tokens, 1)


def orthogonal(n_rows: int, dim: int, seed: int) -> np.ndarray:
    """Rows of length sqrt(dim), as text encoders' are about; `dim` at a time are orthogonal to each other."""
    rng = np.random.default_rng(seed)
    blocks = [np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(-(-n_rows // dim))]
    return np.concatenate(blocks)[:n_rows] * dim**0.5
