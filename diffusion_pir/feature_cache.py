"""Features on disk: taken once, by as many machines as there are, in any number of attempts, and checked when read."""

import json
import os
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from diffusion_pir.backbones import Backbone
from diffusion_pir.features import Cell, FeatureError, FeatureSpec, Windows, extract

CHUNK = 64  # windows that are written, and checked, together


class FeatureCache:
    """The features of some windows, one .npy (window, ...) for each layer and noise level.

    They lie in a folder named after a hash of the backbone's weights, the windows (hence the front-end) and the spec.
    Windows are written in chunks of 64, whose checksums stand in checksums.npy (chunk, cell), 0 where there is nothing
    yet: that is how a run that was killed knows where to go on, and how damage shows. Writers of different shards touch
    different bytes, with no memory map between them, so that they may be on machines that share a file system.

    Args:
        root: of all caches.
        backbone: what is listened to.
        windows: what it listens to.
        spec: which features.
        dtype: of the files; "float32" for layers whose values exceed 65504.

    Raises:
        FeatureError: no window, no such layer, or files that are not what the folder's name promises.
    """

    def __init__(self, root: str | Path, backbone: Backbone, windows: Windows, spec: FeatureSpec, dtype="float16"):
        self.backbone = backbone
        self.windows = windows
        self.spec = spec
        self.n_windows = len(windows.ids)
        self.n_chunks = -(-self.n_windows // CHUNK)
        parts = {"backbone": backbone.digest(), "windows": windows.digest(), "spec": spec.digest(), "dtype": dtype}
        self.folder = Path(root, blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest())
        if not self.folder.exists():
            self._create(parts, dtype)
        self.meta = self._read_meta()
        self.checked: set[Cell] = set()

    def _create(self, parts: dict[str, str], dtype: str) -> None:
        """Make the folder with files of their final size, all at once, or leave it to who was faster."""
        sample = extract(self.backbone, self.windows, self.spec, rows=np.arange(min(1, self.n_windows)))
        shapes = {path_name(cell): list(features.shape[1:]) for cell, features in sample.items()}
        meta = {**parts, "name": self.backbone.name, "n_windows": self.n_windows, "chunk": CHUNK, "shapes": shapes}
        temporary = self.folder.with_name(f".{self.folder.name}.{os.getpid()}")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            for name, shape in shapes.items():
                np.lib.format.open_memmap(temporary / name, "w+", np.dtype(dtype), (self.n_windows, *shape))
            np.save(temporary / "checksums.npy", np.zeros((self.n_chunks, len(self.spec.cells)), np.uint32))
            meta |= {"settings": asdict(self.spec), "torch": torch.__version__}
            (temporary / "meta.json").write_text(json.dumps(meta, indent=1))
            temporary.rename(self.folder)
        except OSError:
            if not self.folder.exists():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _read_meta(self) -> dict:
        path = self.folder / "meta.json"
        try:
            return json.loads(path.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise FeatureError(f"{path}: missing or damaged; remove {self.folder} and extract again") from error

    def extract(self, shard: int = 0, n_shards: int = 1, batch_size: int = CHUNK, progress: bool = True) -> None:
        """Take and write the features that are missing or damaged.

        Args:
            shard: which part of the windows, 0 to `n_shards` - 1.
            n_shards: parts; when all of them have been written it is as if there had been one.
            batch_size: windows in a forward pass, at most 64.
            progress: show a bar.

        Raises:
            FeatureError: no such shard, files of another size, or values that the files' type cannot hold.
        """
        if not 0 <= shard < n_shards:
            raise FeatureError(f"shard {shard} of {n_shards}: shards count from 0")
        mine = np.array_split(np.arange(self.n_chunks), n_shards)[shard].tolist()
        missing = sorted({chunk for cell in self.spec.cells for chunk in self._bad_chunks(cell, mine)})
        for chunk in tqdm(missing, unit="chunk", disable=not progress):
            rows = self._rows(chunk)
            heard = extract(self.backbone, self.windows, self.spec, batch_size, np.arange(rows.start, rows.stop))
            sums = [self._write(cell, rows, heard[cell]) for cell in self.spec.cells]
            self._overwrite(self.folder / "checksums.npy", chunk, np.array([sums], np.uint32))
        self.checked.clear()

    def __getitem__(self, cell: Cell) -> np.ndarray:
        """Features (window, ...) of a layer and noise level, a memory map.

        Raises:
            FeatureError: they are not there, not all there, or damaged.
        """
        if cell not in self.spec.cells:
            raise FeatureError(f"no features of {cell} in {self.folder}: add it to the spec and extract again")
        if cell not in self.checked:
            bad = self._bad_chunks(cell, range(self.n_chunks))
            if bad:
                raise FeatureError(
                    f"{self.path(cell)}: {len(bad)} of {self.n_chunks} chunks are missing or damaged, the first from "
                    f"window {bad[0] * CHUNK}; extract again, which makes these anew"
                )
            self.checked.add(cell)
        return self._open(self.path(cell))

    def path(self, cell: Cell) -> Path:
        """File of a layer at a noise level."""
        return self.folder / path_name(cell)

    def _rows(self, chunk: int) -> slice:
        return slice(chunk * CHUNK, min((chunk + 1) * CHUNK, self.n_windows))

    def _bad_chunks(self, cell: Cell, chunks: Iterable[int]) -> list[int]:
        """Those of some chunks of a file that are not written yet, or are not what was written."""
        noted = self._open(self.folder / "checksums.npy")[:, self.spec.cells.index(cell)]
        features = self._open(self.path(cell))
        return [chunk for chunk in chunks if not noted[chunk] or noted[chunk] != checksum(features[self._rows(chunk)])]

    def _open(self, path: Path) -> np.ndarray:
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise FeatureError(f"{path}: missing or damaged ({error}); remove its folder and extract again") from error
        if len(array) != (self.n_chunks if path.name == "checksums.npy" else self.n_windows):
            raise FeatureError(f"{path}: holds {len(array)} rows, not what was written; remove its folder")
        return array

    def _write(self, cell: Cell, rows: slice, features: np.ndarray) -> int:
        """Checksum of what was written."""
        with np.errstate(over="ignore"):
            stored = features.astype(self.meta["dtype"])
        if not np.isfinite(stored).all():
            what = f"layer {cell[0]} of {self.backbone.name} at sigma {cell[1]}"
            raise FeatureError(
                f"{what} has values that {self.meta['dtype']} cannot hold: take float32, or another layer"
            )
        self._overwrite(self.path(cell), rows.start, stored)
        return checksum(stored)

    def _overwrite(self, path: Path, first: int, values: np.ndarray) -> None:
        """Replace rows of a file from the given one on."""
        offset = self._open(path).offset  # pyright: ignore[reportAttributeAccessIssue] -- it is a memory map
        with path.open("r+b") as file:
            file.seek(offset + first * values[0].nbytes)
            file.write(values.tobytes())


def path_name(cell: Cell) -> str:
    """File name of a layer at a noise level."""
    return f"{cell[0].replace('/', '_')}@{cell[1]!r}.npy"


def checksum(values: np.ndarray) -> int:
    """CRC of an array's bytes, 1 in place of 0."""
    return zlib.crc32(np.ascontiguousarray(values).tobytes()) or 1
