import json
from dataclasses import replace

import numpy as np
import pytest

from diffusion_pir import inference, sweep
from diffusion_pir import prober as probers
from diffusion_pir.evaluate import said_of
from diffusion_pir.fits import read_rows
from diffusion_pir.grid import Grid, Point
from diffusion_pir.melstore import MelStore
from diffusion_pir.probe import FitSettings
from diffusion_pir.prober import Prober
from tests.diffusion_pir.tones import make_store, write_weights

SIGMAS, SEEDS = ("0", "0.9"), (0, 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Prepared data and an untrained network, with features that several tests share."""
    root = tmp_path_factory.mktemp("sweep")
    make_store(root / "tones")
    write_weights(root / "net.safetensors")
    return root


@pytest.fixture
def places(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
    return sweep.Places(tmp_path / "diffusion_pir" / "sketch", data / "features")


def grid_of(data, **values) -> Grid:
    net = str(data / "net.safetensors")
    models = (net, f"mel:{net}", "constant")
    axes = {
        "model": models,
        "train": (str(data / "tones"),),
        "test": (str(data / "tones"),),
        "layer": ("bottleneck_2",),
    }
    return Grid("sketch", {**axes, "sigma": SIGMAS, "seed": SEEDS, **values})


def command(data, *words: str) -> int:
    net = str(data / "net.safetensors")
    axes = {"model": [net, f"random:{net}", f"mel:{net}", "constant"], "train": [str(data / "tones")]}
    axes |= {"test": [str(data / "tones")], "sigma": SIGMAS, "seed": ["0", "1"], "features": [str(data / "features")]}
    options = [word for name, values in axes.items() for word in (f"--{name}", *values)]
    return sweep.sweep_command([*options, "--name", "sketch", *words])


def test_one_command_makes_table_figures_and_an_offline_record(data, places, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert command(data, "--layer", "bottleneck_2", "down", "--head", "mlp", "plus") == 0
    folder = places.folder
    rows = read_rows(folder / "fits.csv")
    # Two networks with two noise levels, layers, heads and seeds; the mel with noise levels and seeds; the constant.
    assert len(rows) == 2 * 16 + 4 + 1
    assert {row["role"] for row in rows} == {"model", "control", "floor"}
    assert all(
        0 <= row[name] <= 1
        for row in rows
        for name in ("micro", "macro", "lrap", "map", "f1_low", "n_low")
        if name != "n_low"
    )
    assert {row["n_low"] for row in rows} == {6.0}  # three of nine excerpts have both tones
    first = next(row for row in rows if row["sigma"] == 0.9)
    assert (first["t"], round(first["log_snr_db"])) == (898, -16)
    pictures = sorted(path.stem for path in (folder / "figures").iterdir())
    assert pictures == ["classes", "heads", "heatmap", "layers", "noise"]
    runs = sorted(folder.glob("wandb/offline-run-*"))
    assert len(runs) == 2  # heads, and report
    assert any(path.suffix == ".png" for path in runs[-1].rglob("*"))
    assert str(folder / "fits.csv") in capsys.readouterr().out


def test_what_is_done_is_not_done_again(data, places, monkeypatch):
    rows = sweep.fit(grid_of(data), places)
    monkeypatch.setattr(Prober, "results", None)
    assert sweep.fit(grid_of(data), places) == rows
    scores = [np.load(path) for path in sorted((places.folder / "scores").iterdir())]
    assert len(scores) == len(rows)
    assert all(score.shape == (9, 2) for score in scores)


def test_a_sweep_that_was_stopped_goes_on(data, places, monkeypatch):
    kept = []

    def stop_after_three(*args):
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(args)
        keep(*args)

    keep = sweep.keep
    monkeypatch.setattr(sweep, "keep", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        sweep.fit(grid_of(data), places)
    monkeypatch.setattr(sweep, "keep", keep)
    rows = sweep.fit(grid_of(data), places)
    other = replace(places, folder=places.folder.parent / "other")
    assert without_time(rows) == without_time(sweep.fit(grid_of(data), other))


def without_time(rows) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_agents_with_one_cell_each_make_the_same_table(data, places):
    rows = sweep.fit(grid_of(data), places)
    alone = []
    for point in grid_of(data).points():
        cell = Grid("sketch", {name: (getattr(point, name),) for name in ("model", "train", "test", "layer", "seed")})
        cell = cell.changed(sigma=[point.sigma] if point.sigma else ["0.1"])
        alone += sweep.fit(cell, replace(places, folder=places.folder.parent / "agents"))
    assert without_time(alone) == without_time(rows)


def test_shards_take_all_features_and_the_sweep_then_takes_none(data, places, tmp_path, monkeypatch):
    apart = replace(places, features=tmp_path / "features")
    grid = grid_of(data, sigma=("0.3",), head=("crnn",))
    for shard in range(2):
        sweep.extract(grid, apart, shard, 2)
    monkeypatch.setattr("diffusion_pir.feature_cache.extract", None)
    assert len(sweep.fit(grid, apart)) == 2 + 2 + 1


def test_nothing_is_chosen_by_the_test_set(data, places, monkeypatch):
    """Garbage in the place of the test labels changes the scores and no threshold (check 20)."""
    honest = sweep.fit(grid_of(data), places)

    def garbled(*args):
        data = open_set(*args)
        return replace(data, test=replace(data.test, labels=np.ones_like(data.test.labels)))

    open_set = probers.open_set
    monkeypatch.setattr(probers, "open_set", garbled)
    garbage = sweep.fit(grid_of(data), replace(places, folder=places.folder.parent / "garbled"))
    for name in ("threshold", "val_micro", "params"):
        assert [row[name] for row in garbage] == [row[name] for row in honest]
    assert [row["micro"] for row in garbage] != [row["micro"] for row in honest]


def test_the_mel_tells_tones_apart_and_the_constant_does_not(data):
    def score(model: str, seed: int) -> dict:
        point = Point(model, str(data / "tones"), str(data / "tones"), sigma="0", seed=seed).checked()
        prober = Prober(point, data / "features", settings=FitSettings(lr=0.02))
        prober.extract([point])
        (result,) = prober.results([point])
        return result.row

    assert min(score(f"mel:{data / 'net.safetensors'}", seed)["map"] for seed in range(3)) > 0.8
    constant = score("constant", 0)
    # It says both of each of nine excerpts, and finds all twelve labels.
    assert constant["micro"] == pytest.approx(2 * 12 / (12 + 18))
    assert constant["map"] < 0.7


def test_every_choice_of_a_cell_is_in_its_row(data, places):
    grid = grid_of(data, model=(str(data / "net.safetensors"),), seed=(0,), sigma=("0.1", "0.1+0.5"))
    grid = grid.changed(layer=["down+up_1", "all"], agg=["S1", "S2"], loss=["bce", "ce"])
    rows = sweep.fit(grid, places) + sweep.fit(grid_of(data, model=grid.values["model"], mixes=(0.5,)), places)
    assert len(rows) == 16 + 4
    sizes = {(row["layer"], row["noise"]): row["params"] for row in rows}
    # Layers have 8 and 16 dimensions, "all" is every one of six: an MLP's weights and biases from each.
    dims = {key: (size - 128 - 2 * 128 - 2) / 128 for key, size in sizes.items()}
    assert dims["all", "0.1+0.5"] == 2 * dims["all", "0.1"]
    assert dims["down+up_1", "0.1"] < dims["all", "0.1"]
    assert {(row["noise"], row.get("sigma")) for row in rows[:16]} == {("0.1", 0.1), ("0.1+0.5", None)}
    assert len({json.dumps(row, sort_keys=True) for row in rows}) == 20
    assert {row["mixes"] for row in rows} == {0.0, 0.5}


def test_a_kept_head_says_of_the_test_set_what_the_sweep_did(data, places):
    net = str(data / "net.safetensors")
    grid = grid_of(data, model=(net,), sigma=("0.1+0.5",), layer=("down+up_1",), head=("mlp", "plus"), seed=(0,))
    rows = sweep.fit(grid, replace(places, heads=True))
    store = MelStore.open(data / "tones")
    heads = sorted((places.folder / "heads").iterdir())
    assert len(heads) == 2
    for path in heads:
        model = inference.load(net, path)
        heard = said_of(model, store, store.clips("test"))
        scores = model.decision.scores(heard.logits, heard.excerpt, len(heard.labels))
        kept = np.load(places.folder / "scores" / f"{path.stem}.npy")
        np.testing.assert_allclose(scores, kept, atol=0.02)  # kept features and weights are of half precision
    assert {row["head"] for row in rows} == {"mlp", "plus"}


def test_what_cannot_be_swept_is_one_line(data, places, capsys):
    assert command(data, "--layer", "bottleneck_9") == 2
    told = capsys.readouterr().err
    assert "bottleneck_9" in told
    assert "bottleneck_2" in told
    assert command(data, "--model", "smal") == 2
    assert "smal: no such model" in capsys.readouterr().err
    assert command(data, "--train", str(data / "nowhere")) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_damaged_feature_is_made_anew(data, places, tmp_path):
    apart = replace(places, features=tmp_path / "features")
    grid = grid_of(data, model=(str(data / "net.safetensors"),), sigma=("0.3",))
    rows = sweep.fit(grid, apart)
    for path in apart.features.rglob("bottleneck_2@0.3.npy"):
        path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")
    again = sweep.fit(grid, replace(apart, folder=tmp_path / "again"))
    assert without_time(again) == without_time(rows)


@pytest.mark.parametrize("text", ["4/4", "1", "a/b"])
def test_a_shard_is_one_of_several(text, capsys):
    with pytest.raises(SystemExit):
        sweep.extract_command(["--shard", text])
    assert "0/4" in capsys.readouterr().err
