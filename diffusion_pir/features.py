"""What the layers of a frozen backbone hear in noisy windows: one pass for all layers, pooled at once.

Noise is drawn for a window and a draw from a counter-based generator keyed by the window's name, so that a window has
the same noise in every batch, on every machine, at every noise level and for every model with inputs of its shape.
Nothing here sees a label.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from diffusion_pir.backbones import Backbone

Pool = Literal["mean", "mean_std", "time", "time_std", "bands", "map"]
BANDS = 8  # at most; where in frequency something is heard tells instruments apart, and a mean over all of it does not
Cell = tuple[str, float]  # layer, sigma


class FeatureError(ValueError):
    """Features that cannot be taken, or whose files are damaged or not whole."""


class Windows(Protocol):
    """Equally long stretches of clips, with no labels; see `diffusion_pir.windows`."""

    @property
    def ids(self) -> Sequence[str]:
        """The name of each window, which fixes its noise."""
        ...

    def load(self, rows: np.ndarray) -> np.ndarray:
        """Some windows as a backbone takes them, float32 (window, bin, frame) or (window, time)."""
        ...

    def digest(self) -> str:
        """Hash of all windows: their names and what is heard in them."""
        ...


@dataclass(frozen=True)
class FeatureSpec:
    """Which features are taken.

    Args:
        layers: names of a backbone's taps.
        sigmas: noise levels in 0..1.
        draws: of noise, over which features are averaged.
        pool: what becomes of a layer's map (dim, row, column), rows being frequency and columns time: "mean" (dim,) and
            "mean_std" (2 dim,) over both, "time" (dim, column) and "time_std" (2 dim, column) over the rows, "bands"
            (dim * BANDS, column) over neighbouring rows so that 8 or fewer are left, "map" all.
        seed: of the noise.
    """

    layers: tuple[str, ...]
    sigmas: tuple[float, ...] = (0.1,)
    draws: int = 1
    pool: Pool = "mean"
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "sigmas", tuple(map(float, self.sigmas)))
        for name, values in (("layers", self.layers), ("sigmas", self.sigmas)):
            if not values or len(set(values)) < len(values):
                raise FeatureError(f"{name} must be one or more, each once, not {values}")
        if not all(0 <= sigma <= 1 for sigma in self.sigmas):
            raise FeatureError(f"a noise level is in 0..1, not {self.sigmas}")
        if self.draws < 1 or self.pool not in get_args(Pool):
            raise FeatureError(f"draws must be 1 or more and pool one of {get_args(Pool)}: {self.draws}, {self.pool}")

    @property
    def cells(self) -> list[Cell]:
        """Every layer at every noise level."""
        return [(layer, sigma) for layer in self.layers for sigma in self.sigmas]

    def digest(self) -> str:
        """Hash that is the same on every machine."""
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=12).hexdigest()


def noise_of(window: str, draw: int, seed: int, shape: Sequence[int]) -> np.ndarray:
    """Standard normal noise, float32, that depends on these arguments alone."""
    name = hashlib.blake2b(f"{seed}/{draw}/{window}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(name, "little")))
    return generator.standard_normal(tuple(shape), np.float32)


class StopForward(Exception):
    """All taps have been heard: what would follow in the pass is not needed."""


class Listener:
    """Hooks on modules, from entering the block to leaving it, that keep what `reduce` makes of each output.

    Args:
        modules: by name; each is passed once in a forward pass.
        reduce: makes what is kept from the output's map (batch, dim, row, column).
        stop: end the pass when all have been heard.
    """

    def __init__(self, modules: Mapping[str, nn.Module], reduce: Callable[[Tensor], Tensor], stop: bool = True):
        self.modules = modules
        self.reduce = reduce
        self.stop = stop
        self.heard: dict[str, Tensor] = {}
        self.handles: list[Any] = []

    def __enter__(self) -> "Listener":
        self.handles = [module.register_forward_hook(self._hook(name)) for name, module in self.modules.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self.heard[name] = self.reduce(as_map(output))
            if self.stop and len(self.heard) == len(self.modules):
                raise StopForward

        return hook

    def __call__(self, forward: Callable[[], Any]) -> dict[str, Tensor]:
        """What is heard in one pass, by name.

        Raises:
            FeatureError: the pass does not come by one of the modules.
        """
        self.heard = {}
        with suppress(StopForward):
            forward()
        missed = [name for name in self.modules if name not in self.heard]
        if missed:
            raise FeatureError(f"a forward pass does not come by {', '.join(missed)}: choose other layers")
        return self.heard


def as_map(output: Any) -> Tensor:
    """The map (batch, dim, row, column) of what a module returns.

    Blocks of diffusers return tuples or output objects, and transformers (batch, token, dim), which is one row.
    """
    while not isinstance(output, Tensor):
        output = output[0]
    return output if output.ndim == 4 else output.mT[:, :, None]


def pooled(features: Tensor, pool: Pool) -> Tensor:
    """A map (batch, dim, row, column) as the spec's `pool` says, float32."""
    features = features.float()
    if pool == "map":
        return features
    if pool == "bands":
        bands = adaptive_avg_pool2d(features, (min(BANDS, features.shape[2]), features.shape[3]))
        return bands.flatten(1, 2)
    axes = (2, 3) if pool in ("mean", "mean_std") else (2,)
    mean = features.mean(axes)
    return torch.cat([mean, features.std(axes, correction=0)], dim=1) if pool.endswith("_std") else mean


def wanted_taps(backbone: Backbone, spec: FeatureSpec) -> dict[str, nn.Module]:
    """The modules that a spec listens to.

    Raises:
        FeatureError: the backbone has no such layer.
    """
    taps = backbone.taps
    unknown = [layer for layer in spec.layers if layer not in taps]
    if unknown:
        raise FeatureError(f"{backbone.name} has no layer {', '.join(unknown)}; it has {', '.join(taps)}")
    return {layer: taps[layer] for layer in spec.layers}


@torch.inference_mode()
def hear(
    backbone: Backbone, windows: np.ndarray | Tensor, ids: Sequence[str], spec: FeatureSpec, stop: bool = True
) -> dict[Cell, Tensor]:
    """Features of one batch: a forward pass for each noise level and draw, whatever the number of layers.

    Args:
        backbone: what is listened to.
        windows: as it takes them.
        ids: names of the windows.
        spec: which features.
        stop: end each pass behind the last layer wanted.

    Returns:
        Float32 (window, ...) of each cell, as `spec.pool` says, on the backbone's device.
    """

    def reduce(maps: Tensor) -> Tensor:
        return pooled(maps if backbone.time_axis == 3 else maps.mT, spec.pool)

    x0 = backbone.encode(torch.as_tensor(windows).to(backbone.device))
    sums: dict[Cell, Tensor] = {}
    with Listener(wanted_taps(backbone, spec), reduce, stop) as listener:
        for draw in range(spec.draws):
            noise = np.stack([noise_of(name, draw, spec.seed, x0.shape[1:]) for name in ids])
            epsilon = torch.from_numpy(noise).to(x0)
            for sigma in spec.sigmas:
                heard = listener(lambda sigma=sigma, epsilon=epsilon: backbone.denoise(x0, sigma, epsilon))
                for layer, features in heard.items():
                    sums[layer, sigma] = sums[layer, sigma] + features if draw else features
    return {cell: total / spec.draws for cell, total in sums.items()}


def extract(
    backbone: Backbone, windows: Windows, spec: FeatureSpec, batch_size: int = 64, rows: np.ndarray | None = None
) -> dict[Cell, np.ndarray]:
    """Features of windows, or of some rows of them, float32 (window, ...), all in memory; see `FeatureCache` for more.

    Raises:
        FeatureError: no window, or no such layer.
    """
    ids = windows.ids
    rows = np.arange(len(ids)) if rows is None else rows
    if not len(rows):
        raise FeatureError("there is no window to take features from: give at least one clip")
    parts = []
    for batch in np.split(rows, range(batch_size, len(rows), batch_size)):
        heard = hear(backbone, windows.load(batch), [ids[int(row)] for row in batch], spec)
        parts.append({cell: features.cpu().numpy() for cell, features in heard.items()})
    return {cell: np.concatenate([part[cell] for part in parts]) for cell in spec.cells}
