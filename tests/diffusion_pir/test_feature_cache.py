import json
import os
import signal

import numpy as np
import pytest
import torch

from diffusion_pir.backbones import DenoiserBackbone, MelStatistics
from diffusion_pir.feature_cache import CHUNK, FeatureCache
from diffusion_pir.features import FeatureError, FeatureSpec, extract
from tests.diffusion_pir.listening import Pictures
from tests.diffusion_pir.patterns import denoiser

N_WINDOWS = 3 * CHUNK + 5
SPEC = FeatureSpec(("mel",), (0.1, 0.5), draws=2, pool="time")


@pytest.fixture(scope="module")
def backbone() -> MelStatistics:
    """No network: what is tested here is the disk."""
    return MelStatistics(denoiser())


@pytest.fixture(scope="module")
def windows() -> Pictures:
    return Pictures(N_WINDOWS)


@pytest.fixture(scope="module")
def expected(backbone, windows) -> dict:
    return {cell: features.astype(np.float16) for cell, features in extract(backbone, windows, SPEC).items()}


class Killed(Exception):
    pass


class Failing(Pictures):
    """Windows whose disk fails after some chunks."""

    def __init__(self, n_windows: int, good: int):
        super().__init__(n_windows)
        self.good = good

    def load(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) > 1:
            self.good -= 1
            if self.good < 0:
                raise Killed
        return super().load(rows)


def loads(windows: Pictures, monkeypatch) -> list[int]:
    """First rows of what is read from now on."""
    seen, load = [], type(windows).load

    def recorded(self, rows):
        seen.append(int(rows[0]))
        return load(self, rows)

    monkeypatch.setattr(type(windows), "load", recorded)
    return seen


def test_kept_features_are_those_that_were_taken(tmp_path, backbone, windows, expected):
    cache = FeatureCache(tmp_path, backbone, windows, SPEC)
    cache.extract(progress=False)
    for cell, features in expected.items():
        assert np.array_equal(cache[cell], features)
        assert isinstance(cache[cell], np.memmap)
    assert json.loads((cache.folder / "meta.json").read_text())["n_windows"] == N_WINDOWS


def test_shards_make_the_same_files_as_one_run(tmp_path, backbone, windows, expected):
    whole, parts = (FeatureCache(tmp_path / name, backbone, windows, SPEC) for name in ("whole", "parts"))
    whole.extract(progress=False)
    for shard in (1, 0):
        with pytest.raises(FeatureError, match="missing"):
            parts["mel", 0.1]
        FeatureCache(tmp_path / "parts", backbone, windows, SPEC).extract(shard, 2, progress=False)
    for file in whole.folder.iterdir():
        assert (parts.folder / file.name).read_bytes() == file.read_bytes()
    assert np.array_equal(parts["mel", 0.5], expected["mel", 0.5])


def test_an_interrupted_run_goes_on_where_it_ended(tmp_path, backbone, windows, expected, monkeypatch):
    with pytest.raises(Killed):
        FeatureCache(tmp_path, backbone, Failing(N_WINDOWS, good=2), SPEC).extract(progress=False)
    cache = FeatureCache(tmp_path, backbone, windows, SPEC)
    with pytest.raises(FeatureError, match=f"2 of 4 chunks are missing or damaged, the first from window {2 * CHUNK}"):
        cache["mel", 0.5]
    read = loads(windows, monkeypatch)
    cache.extract(progress=False)
    assert read == [2 * CHUNK, 3 * CHUNK]
    assert np.array_equal(cache["mel", 0.5], expected["mel", 0.5])


def test_a_run_that_is_killed_leaves_nothing_that_looks_whole(tmp_path, backbone, windows, expected):
    class Deadly(Pictures):
        def load(self, rows):
            if rows[0] == 2 * CHUNK:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().load(rows)

    cache = FeatureCache(tmp_path, backbone, Deadly(N_WINDOWS), SPEC)
    child = os.fork()
    if not child:
        try:
            cache.extract(progress=False)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with pytest.raises(FeatureError, match="2 of 4"):
        cache["mel", 0.1]
    cache = FeatureCache(tmp_path, backbone, windows, SPEC)
    cache.extract(progress=False)
    assert np.array_equal(cache["mel", 0.1], expected["mel", 0.1])


def test_damage_is_noticed_and_mended(tmp_path, backbone, windows, expected, monkeypatch):
    FeatureCache(tmp_path, backbone, windows, SPEC).extract(progress=False)
    cache = FeatureCache(tmp_path, backbone, windows, SPEC)
    cell = ("mel", 0.5)
    with cache.path(cell).open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\x55")
    with pytest.raises(
        FeatureError, match=rf"{cache.path(cell).name}: 1 of 4 .* from window {3 * CHUNK}; extract again"
    ):
        cache[cell]
    assert np.array_equal(cache["mel", 0.1], expected["mel", 0.1])
    read = loads(windows, monkeypatch)
    cache.extract(progress=False)
    assert read == [3 * CHUNK]
    assert np.array_equal(cache[cell], expected[cell])


@pytest.mark.parametrize("name", ["mel@0.1.npy", "checksums.npy", "meta.json"])
def test_a_file_that_is_cut_or_gone_is_named(tmp_path, backbone, windows, name):
    cache = FeatureCache(tmp_path, backbone, windows, SPEC)
    cache.extract(progress=False)
    path = cache.folder / name
    os.truncate(path, path.stat().st_size // 2)
    for _ in range(2):
        with pytest.raises(FeatureError, match=name):
            FeatureCache(tmp_path, backbone, windows, SPEC)["mel", 0.1]
        path.unlink(missing_ok=True)


def test_other_weights_windows_front_ends_and_specs_have_folders_of_their_own(tmp_path):
    windows, other = Pictures(2), Pictures(2)
    other.pictures = other.pictures + 1  # another front-end, the same names
    spec = FeatureSpec(("bottleneck_2",))
    changed = denoiser()
    torch.nn.init.zeros_(next(changed.unet.mid_block.parameters()))
    caches = [
        FeatureCache(tmp_path, DenoiserBackbone(denoiser()), windows, spec),
        FeatureCache(tmp_path, DenoiserBackbone(changed), windows, spec),
        FeatureCache(tmp_path, DenoiserBackbone(denoiser(mean=-3.0)), windows, spec),
        FeatureCache(tmp_path, MelStatistics(denoiser()), windows, FeatureSpec(("mel",))),
        FeatureCache(tmp_path, DenoiserBackbone(denoiser()), other, spec),
        FeatureCache(tmp_path, DenoiserBackbone(denoiser()), Pictures(1), spec),
        FeatureCache(tmp_path, DenoiserBackbone(denoiser()), windows, FeatureSpec(("bottleneck_2",), (0.2,))),
        FeatureCache(tmp_path, DenoiserBackbone(denoiser()), windows, spec, dtype="float32"),
    ]
    assert len({cache.folder for cache in caches}) == len(caches)
    assert FeatureCache(tmp_path, DenoiserBackbone(denoiser()), windows, spec).folder == caches[0].folder


def test_values_that_half_precision_cannot_hold_are_told(tmp_path):
    loud = MelStatistics(denoiser(std=1e-5))
    with pytest.raises(FeatureError, match=r"layer mel of mel at sigma 0.1 .* float32"):
        FeatureCache(tmp_path, loud, Pictures(1), FeatureSpec(("mel",))).extract(progress=False)
    cache = FeatureCache(tmp_path, loud, Pictures(1), FeatureSpec(("mel",)), dtype="float32")
    cache.extract(progress=False)
    assert np.isfinite(cache["mel", 0.1]).all()


def test_what_was_not_asked_for_is_refused(tmp_path, backbone):
    cache = FeatureCache(tmp_path, backbone, Pictures(1), SPEC)
    with pytest.raises(FeatureError, match="add it to the spec"):
        cache["mel", 0.9]
    with pytest.raises(FeatureError, match="shards count from 0"):
        cache.extract(2, 2)
    nothing = Pictures(1)
    nothing.ids = []
    with pytest.raises(FeatureError, match="no window"):
        FeatureCache(tmp_path, backbone, nothing, SPEC)


def test_memory_does_not_grow_with_the_windows(tmp_path, backbone, monkeypatch):
    """Never more than a chunk of windows is read at once."""
    most = []
    monkeypatch.setattr(Pictures, "load", lambda self, rows: most.append(len(rows)) or self.pictures[rows])
    FeatureCache(tmp_path, backbone, Pictures(N_WINDOWS), SPEC).extract(progress=False)
    assert max(most) == CHUNK
