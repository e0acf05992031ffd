from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from benchmarks.grid import Grid, GridError

SWEEPS = Path("benchmarks/sweeps").absolute()
PATHS = sorted(SWEEPS.glob("ablate-*.yaml"))
PAPER = "lightweight_amt/configs/paper.yaml"


def agent_command(path: Path, run) -> list[str]:
    """What a W&B agent makes of a sweep file for one point of the grid; the server sends the parameters sorted."""
    sweep = yaml.safe_load(path.read_text())
    point = {"config": run.config, "seed_everything": run.seed}
    point |= {name: parameter["value"] for name, parameter in sweep["parameters"].items() if "value" in parameter}
    args = create_sweep_command_args({"args": {name: {"value": point[name]} for name in sorted(point)}})["args"]
    macros = {"${env}": ["env"], "${interpreter}": ["python"], "${program}": [sweep["program"]], "${args}": args}
    return [word for part in sweep["command"] for word in macros.get(part, [part])]


def resolved(capsys, *words: str, package: str = "lightweight_amt") -> dict:
    with pytest.raises(SystemExit) as stop:
        import_module(f"{package}.__main__").main([*words, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_agents_and_the_local_runner_give_the_same_commands(path):
    grid = Grid.read(path)
    assert len(grid.seeds) >= 3
    for run in grid.runs():
        env, runs, interpreter, *agent = agent_command(path, run)
        local = grid.training(run)
        assert (env, runs, interpreter) == ("env", f"TUTTI_RUNS=runs/{grid.name}/{grid.budget}", "python")
        assert sorted(agent) == sorted(local)
        for words in (agent, local):
            given = [word for word in words if word.startswith("--config")]
            assert given[-1] == f"--config={run.config}"
            # A file that came after an option would undo it.
            assert words.index(given[-1]) < min(i for i, word in enumerate(words) if "." in word.split("=")[0])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_all_rows_have_one_budget_and_seeds_change_the_data_too(path, capsys):
    grid = Grid.read(path)
    for run in [grid.runs()[0], grid.runs()[-1]]:
        config = resolved(capsys, *grid.training(run)[2:], package=grid.package)
        assert config["seed_everything"] == config["data"]["seed"] == run.seed
        for name in grid.settings.keys() - {"data.seed"}:
            assert reduce(dict.__getitem__, name.split("."), config) == grid.settings[name]


@pytest.mark.parametrize("row", ["basic_pitch", "basic_pitch_56k_focal", "onsets_frames", "base"])
def test_a_row_on_top_of_the_papers_network_is_what_its_file_says(row, capsys):
    config = f"lightweight_amt/configs/{row}.yaml"
    alone, on_top = (
        resolved(capsys, "fit", *words)
        for words in ([f"--config={config}"], [f"--config={PAPER}", f"--config={config}"])
    )
    if alone["model"]["loss_function"] == "basic_pitch":  # which has no alpha
        alone["model"].pop("alpha")
        on_top["model"].pop("alpha")
    assert on_top == alone


def test_every_ablation_and_baseline_is_a_row():
    grid = Grid.read(SWEEPS / "ablate-amt.yaml")
    folder = Path("lightweight_amt/configs")
    files = {*folder.glob("ablation/*.yaml"), *folder.glob("*.yaml")} - {folder / "tiny.yaml", folder / "nano.yaml"}
    assert {Path(config) for config in grid.configs.values()} == files
    rows = Grid.read(SWEEPS / "ablate-timbre.yaml").configs.values()
    assert {Path(config) for config in rows} == {*folder.glob("timbre/**/*.yaml")}


def test_every_row_of_the_lead_is_in_its_grid_once():
    """Those of paper.yaml that need weights of MERT or other data are told apart by their folder and name."""
    grid = Grid.read(SWEEPS / "ablate-lead.yaml")
    folder = Path("lead_detection/configs")
    files = {*folder.glob("ablation/*.yaml"), *folder.glob("small/*.yaml"), *folder.glob("*.yaml")}
    small = {path.name for path in folder.glob("small/*.yaml")}
    elsewhere = {path for path in files if path.name in small and path.parent.name != "small"}
    elsewhere |= {folder / "tiny.yaml", folder / "ablation/no_oracle_mix.yaml", folder / "crnn_ssl_frozen.yaml"}
    assert {Path(config) for config in grid.configs.values()} == files - elsewhere


def test_every_row_on_all_instruments_is_in_its_grid_and_masking_is_all_that_two_differ_in(capsys):
    grid = Grid.read(SWEEPS / "ablate-yourmt3.yaml")
    folder = Path("yourmt3plus/configs")
    assert {Path(config) for config in grid.configs.values()} == {
        *folder.glob("ablation/*.yaml"),
        folder / "small.yaml",
    }
    first = {run.row: run for run in grid.runs()[: len(grid.configs)]}
    told, silent = (
        resolved(capsys, *grid.training(first[row])[2:], package=grid.package)
        for row in ("hidden_drums", "hidden_drums_as_silence")
    )
    assert told["data"]["hidden"] == {"channels": ["Drums"], "share": 0.5}
    assert silent["data"].pop("masking") is False
    assert told["data"].pop("masking") is True
    assert told == silent


def test_rows_that_name_weights_of_losses_change_one_of_them():
    """A file has to repeat them all, and those of small.yaml may change."""
    folder = Path("yourmt3plus/configs")
    small, *rows = (
        yaml.safe_load(path.read_text())["model"]["loss_weights"].items()
        for path in [folder / "small.yaml", *sorted(folder.glob("ablation/*.yaml"))]
        if "loss_weights" in path.read_text()
    )
    assert [[name for name, _ in row - small] for row in rows] == [["balance"], ["balance"], ["event"]]


def test_a_grid_of_several_corpora_is_narrowed_to_one():
    grid = Grid.read(SWEEPS / "ablate-yourmt3.yaml")
    assert grid.corpora == ["small", "band", "tiny"]
    assert grid.budget == "small+band+tiny-1500"
    chosen = grid.select(corpus="tiny", steps=20)
    assert chosen.settings["data.corpora"] == {"tiny": 1.0}
    assert chosen.budget == "tiny-20"
    assert "--data.corpora={'tiny': 1.0}" in chosen.training(chosen.runs()[0])


def test_a_grid_is_narrowed_by_what_the_user_says():
    grid = Grid.read(SWEEPS / "ablate-amt.yaml")
    chosen = grid.select(["no_log", "paper"], [7], steps=40, corpus="tiny", settings={"data.num_workers": 4})
    assert [(run.row, run.seed) for run in chosen.runs()] == [("paper", 7), ("no_log", 7)]
    assert chosen.settings["trainer.val_check_interval"] == 40
    assert chosen.budget == "tiny-40"
    assert "--data.num_workers=4" in chosen.training(chosen.runs()[0])
    with pytest.raises(GridError, match=r"no_lock.*no_log"):
        grid.select(["no_lock"])


def test_the_test_of_a_run_takes_its_best_checkpoint(tmp_path):
    grid = Grid.read(SWEEPS / "ablate-timbre.yaml")
    run = grid.runs()[0]
    words = grid.testing(run, tmp_path / "scores.json")
    assert words[:3] == ["-m", "lightweight_amt", "test-timbre"]
    assert [word for word in words if word.startswith("--ckpt_path")] == ["--ckpt_path=best"]
    assert grid.folder(tmp_path, run) == tmp_path / "lightweight_amt" / "timbre-paper-seed0"


@pytest.mark.parametrize("text", ["[1, 2]", "parameters: {}", "a: [", "command: []\nparameters: {}"])
def test_a_file_that_is_no_grid_is_named(tmp_path, text):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(GridError, match=r"grid\.yaml.*benchmarks/sweeps"):
        Grid.read(path)
