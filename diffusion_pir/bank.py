"""Features of a backbone for the cells of a sweep: on disk, each noise level by itself, all layers of a pass together.

That a noise level is the unit lets every grid, and every agent of a sweep that asks for one cell, share what was taken.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from tqdm import tqdm

from diffusion_pir.audio_windows import as_audio
from diffusion_pir.backbones import Backbone, MelStatistics
from diffusion_pir.feature_cache import FeatureCache
from diffusion_pir.features import FeatureSpec, Pool
from diffusion_pir.grid import ALL, JOIN, GridError, Point
from diffusion_pir.probe_sets import Part
from diffusion_pir.tables import Joined, Table

POOLS: dict[str, Pool] = {"mlp": "mean", "cnn": "map", "crnn": "time", "attention": "map", "plus": "bands"}
BATCH = 32  # windows in a forward pass


class Bank:
    """Features of one backbone, taken with one number of draws.

    Args:
        backbone: what is listened to.
        root: of all caches.
        draws: of noise, over which features are averaged.
    """

    def __init__(self, backbone: Backbone, root: Path, draws: int = 1):
        self.backbone = backbone
        self.root = root
        self.draws = draws
        self.caches: dict[tuple[Part, FeatureSpec], FeatureCache] = {}

    def layers(self, point: Point) -> tuple[str, ...]:
        """The taps of a cell, in the order of a pass.

        Raises:
            GridError: the backbone has no such layer.
        """
        taps = tuple(self.backbone.taps)
        if isinstance(self.backbone, MelStatistics) or point.layer == ALL:
            return taps
        wanted = point.layer.split(JOIN)
        if unknown := [layer for layer in wanted if layer not in taps]:
            raise GridError(f"{self.backbone.name} has no layer {unknown[0]}; it has {', '.join(taps)}, or {ALL}")
        return tuple(tap for tap in taps if tap in wanted)

    def spec(self, point: Point) -> FeatureSpec:
        """The features of a cell, as who uses its head takes them."""
        # The mel has no network that could tell how it varies: its deviations are features too.
        pool = "mean_std" if isinstance(self.backbone, MelStatistics) else POOLS[point.head]
        return FeatureSpec(self.layers(point), point.sigmas, self.draws, pool)

    def specs(self, point: Point) -> list[FeatureSpec]:
        """What is taken for a cell, one spec for each noise level, of all layers; maps are too large for that."""
        asked = self.spec(point)
        layers = asked.layers if asked.pool == "map" else tuple(self.backbone.taps)
        return [replace(asked, layers=layers, sigmas=(sigma,)) for sigma in asked.sigmas]

    def cache(self, part: Part, spec: FeatureSpec) -> FeatureCache:
        """The files of some windows at one noise level."""
        if (part, spec) not in self.caches:
            audio = self.backbone.takes == "audio"
            windows = as_audio(part.windows, self.backbone.sample_rate) if audio else part.windows
            self.caches[part, spec] = FeatureCache(self.root, self.backbone, windows, spec)
        return self.caches[part, spec]

    def extract(self, parts: Sequence[Part], points: Sequence[Point], shard: int = 0, n_shards: int = 1) -> None:
        """Take the features that cells need and that are not there; see `FeatureCache.extract`."""
        specs = dict.fromkeys(spec for point in points for spec in self.specs(point))
        jobs = [(part, spec) for spec in specs for part in parts]
        for part, spec in tqdm(jobs, f"features of {self.backbone.name}", unit="file set"):
            self.cache(part, spec).extract(shard, n_shards, BATCH, progress=False)

    def tables(self, parts: Sequence[Part], point: Point) -> list[Table]:
        """Features of parts one after the other, a table for each layer and noise level of a cell."""
        cells = [(layer, spec) for layer in self.layers(point) for spec in self.specs(point)]
        return [Joined([self.cache(part, spec)[layer, spec.sigmas[0]] for part in parts]) for layer, spec in cells]

    def digest(self, parts: Sequence[Part], point: Point) -> str:
        """Hash of all features of a cell."""
        folders = [self.cache(part, spec).folder.name for spec in self.specs(point) for part in parts]
        return blake2b(" ".join(folders).encode(), digest_size=12).hexdigest()


class Beside:
    """Tables (window, dim) of the same windows as one with all their dimensions.

    Args:
        tables: of any dimensions.
    """

    def __init__(self, tables: Sequence[Table]):
        self.tables = tables
        self.shape = (len(tables[0]), sum(table.shape[1] for table in tables))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray:
        return np.concatenate([table[rows] for table in self.tables], axis=-1)
