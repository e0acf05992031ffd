"""Windows to take features from, with no store behind them."""

import numpy as np

from tests.diffusion_pir.patterns import picture


class Pictures:
    """Windows as an array, with a name each; what `diffusion_pir.windows` reads from a store."""

    def __init__(self, n_windows: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.pictures = np.stack([picture(i % 2, rng) for i in range(n_windows)])
        self.ids = [f"clip{i}@0" for i in range(n_windows)]

    def load(self, rows: np.ndarray) -> np.ndarray:
        return self.pictures[rows]

    def digest(self) -> str:
        return f"{self.ids} {self.pictures.sum()}"
