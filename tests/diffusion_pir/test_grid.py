import argparse
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from diffusion_pir.grid import Grid, GridError, Point, add_options, from_options

SWEEPS = sorted(Path("benchmarks/sweeps").absolute().glob("diffusion-*.yaml"))


def parsed(words) -> Grid:
    parser = argparse.ArgumentParser()
    add_options(parser)
    parser.add_argument("--fits-only", action="store_true")
    return from_options(parser.parse_args(list(words)))


def agent_words(sweep: dict, cell: dict) -> list[str]:
    """What a W&B agent puts behind the verb for one cell; the server sends the parameters sorted."""
    args = create_sweep_command_args({"args": {name: {"value": cell[name]} for name in sorted(cell)}})["args"]
    words = [word for part in sweep["command"] for word in (args if part == "${args}" else [part])]
    assert words[:5] == ["${env}", "${interpreter}", "-m", "${program}", "sweep"]
    assert sweep["program"] == "diffusion_pir"
    return words[5:]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_agents_and_the_local_command_fit_the_same_cells(path):
    sweep = yaml.safe_load(path.read_text())
    grid = Grid.read(path)
    assert sweep["method"] == "grid"
    values = {name: entry.get("values", [entry.get("value")]) for name, entry in sweep["parameters"].items()}
    cells = [{}]
    for name, choices in values.items():
        cells = [cell | {name: choice} for cell in cells for choice in choices]
    asked = []
    for cell in cells[:: max(1, len(cells) // 97)] + cells[-1:]:
        agent = parsed(agent_words(sweep, cell))
        assert agent.name == grid.name
        asked += agent.points()
    assert set(asked) <= set(grid.points())
    assert len(grid.values["seed"]) >= 3
    assert {point.model for point in grid.points()} >= {"small", "random:small", "mel:small", "constant"}


def test_cells_without_a_choice_come_once():
    grid = Grid("g", {"model": ("small", "mel:small", "constant"), "sigma": ("0", "0.3"), "layer": ("down", "up_1")})
    points = grid.points()
    assert [point.model for point in points] == ["small"] * 4 + ["mel:small"] * 2 + ["constant"]
    assert {(point.sigma, point.layer) for point in points[:4]} == {
        ("0", "down"), ("0", "up_1"), ("0.3", "down"), ("0.3", "up_1")
    }  # fmt: skip
    assert (points[4].layer, points[4].head) == ("", "mlp")
    assert points[-1] == Point("constant", sigma="", layer="", head="", loss="")


def test_options_go_before_the_file_and_the_file_before_defaults():
    noise = next(path for path in SWEEPS if path.stem == "diffusion-noise")
    grid = parsed([str(noise), "--sigma", "0.2", "0.02+0.3", "--seed=5", "--name", "mine"])
    assert grid.name == "mine"
    models = {point for point in grid.points() if point.model == "small"}
    assert {(point.sigma, point.seed, point.draws) for point in models} == {("0.2", 5, 4), ("0.02+0.3", 5, 4)}
    assert next(iter(models)).layer == "bottleneck_2"
    assert Point(sigma="0.02+0.3").sigmas == (0.02, 0.3)


def test_a_sketch_is_small_and_kept_apart():
    noise = next(path for path in SWEEPS if path.stem == "diffusion-noise")
    grid = parsed([str(noise), "--tiny"])
    points = [point for point in grid.points() if point.model == "small"]
    assert {point.sigma for point in points} == {"0", "0.3", "0.99"}
    assert {(point.train, point.test, point.draws) for point in points} == {
        ("predominance-tiny", "predominance-tiny", 1)
    }
    assert len({point.seed for point in points}) == 2
    assert grid.name == "diffusion-noise-tiny"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sigma", "loud"], "loud.*numbers"),
        (["--sigma", "1.5"], r"1\.5.*0\.\.1"),
        (["--head", "mpl"], "mpl.*mlp, cnn"),
        (["--seed", "first"], "seed.*first"),
        (["--agg", "S3"], "S3.*S1 or S2"),
        (["missing.yaml"], r"missing\.yaml.*benchmarks/sweeps"),
    ],
)
def test_what_makes_no_sense_is_told(words, told):
    with pytest.raises(GridError, match=told):
        parsed(words).points()


def test_an_axis_that_is_none_is_told_with_those_that_are(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("parameters: {layers: {value: down}}")
    with pytest.raises(GridError, match=r"grid\.yaml.*layers.*layer"):
        Grid.read(path)
