import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from common import cli
from common.checkpoint import export_checkpoint, load
from common.frames import FrameGrid
from common.loading import make_loader
from tests.common.test_resume import digest
from tests.common.toy import ToyData, ToyNet, ToyTask
from tests.common.toy.training import toy

EMA = ("--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging", "--trainer.callbacks.decay=0.9")


def folder(runs: Path, name: str = "base-seed0") -> Path:
    return runs / "tests.common.toy" / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Runs with one that has weight averaging in it."""
    runs = tmp_path_factory.mktemp("runs")
    code, output = toy(runs, "fit", *EMA)
    assert code == 0, output
    return runs


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fit", "--model.net.widht=4"], "widht"),
        (["fit", "--data.batchsize=4"], "--data.batchsize"),
        (["fit", "--modell.lr=4"], "--modell.lr"),
        (["fit", "--data.batch_size=big"], "data.batch_size"),
        (["fit", "--checkpoint_every=0"], "checkpoint_every"),
        (["fit", "--config=missing.yaml"], "missing.yaml"),
        (["predict"], "predict"),
        (["fit", "--model.net.width=0"], "width must be at least 1, not 0"),
        (["fit", "--data.batch_size=100"], "lower data.batch_size"),
        (["validate", "--ckpt_path=best"], "train first"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_a_few_lines(tmp_path, words, complaint):
    code, output = toy(tmp_path, *words)
    assert code == 2
    assert "Traceback" not in output
    *_, error = output.split("error:")
    assert complaint in error
    assert len(output.splitlines()) < 12, output


def test_unknown_key_in_a_file_is_refused_with_its_name(tmp_path):
    (tmp_path / "wrong.yaml").write_text("data:\n  batch_sise: 3\n")
    code, output = toy(tmp_path, "fit", f"--config={tmp_path / 'wrong.yaml'}")
    assert code == 2
    assert "batch_sise" in output


def test_only_errors_raised_on_purpose_are_said_without_a_trace():
    with pytest.raises(ValueError, match="lower") as ours:
        make_loader([], batch_size=1, seed=0, shuffle=True)
    with pytest.raises(ValueError, match="could not convert") as fault:
        FrameGrid(22050, 256).times("not a number")  # numpy complains, in a line of ours
    with pytest.raises(ValueError, match="reshape") as foreign:
        np.zeros(3).reshape(2)
    assert [cli.is_ours(error.value, "tests.common.toy") for error in (ours, fault, foreign)] == [True, False, False]


def test_printed_config_is_resolved_after_all_overrides(tmp_path):
    (tmp_path / "wide.yaml").write_text("model:\n  net:\n    init_args:\n      width: ${data.batch_size}\n")
    words = [f"--config={tmp_path / 'wide.yaml'}", "--data.n_inputs=5", "--data.batch_size=7", "--print_config"]
    code, output = toy(tmp_path, "fit", *words)
    assert code == 0
    config = yaml.safe_load(output)
    assert config["model"]["net"] == {
        "class_path": "tests.common.toy.ToyNet",
        "init_args": {"width": 7, "n_inputs": 5},  # one interpolated in base.yaml, one in the delta
    }
    assert config["model"]["optimizer"]["init_args"]["momentum"] == 0.9


def test_a_run_keeps_its_files_together(trained):
    names = {path.name for path in folder(trained).iterdir()}
    assert {"config.yaml", "best.ckpt", "last.ckpt", "metrics.csv"} <= names
    assert "wandb" not in names  # WANDB_MODE=disabled


def test_runs_are_named_by_configuration_and_seed(tmp_path):
    (tmp_path / "wide.yaml").write_text("trainer:\n  max_epochs: 1\n")
    toy(tmp_path, "fit", f"--config={tmp_path / 'wide.yaml'}", "--seed_everything=3")
    toy(tmp_path, "fit", "--trainer.max_epochs=1", "--name=mine")
    assert {path.name for path in (tmp_path / "tests.common.toy").iterdir()} == {"wide-seed3", "mine"}


def test_saved_config_runs_again_to_the_same_weights(trained, tmp_path):
    saved = folder(trained) / "config.yaml"
    code, output = toy(tmp_path, "fit", f"--config={saved}", "--name=again")
    assert code == 0, output
    runs = [folder(trained), folder(tmp_path, "again")]
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in runs)
    assert digest(first["state_dict"]) == digest(second["state_dict"])
    again = yaml.safe_load((runs[1] / "config.yaml").read_text())
    assert again | {"name": "base-seed0"} == yaml.safe_load(saved.read_text())


def test_another_seed_gives_other_weights(trained, tmp_path):
    toy(tmp_path, "fit", *EMA, "--seed_everything=1")
    runs = [folder(trained), folder(tmp_path, "base-seed1")]
    first, second = (torch.load(run / "last.ckpt", weights_only=True) for run in runs)
    assert digest(first["state_dict"]) != digest(second["state_dict"])


def test_a_run_is_not_trained_over(trained):
    before = digest(torch.load(folder(trained) / "last.ckpt", weights_only=True)["state_dict"])
    code, output = toy(trained, "fit")
    assert code == 2
    assert "--ckpt_path=last" in output
    assert "--name" in output
    assert digest(torch.load(folder(trained) / "last.ckpt", weights_only=True)["state_dict"]) == before


def test_best_checkpoint_has_the_best_score_and_validates_to_it(trained):
    with (folder(trained) / "metrics.csv").open() as file:
        header, *rows = (line.rstrip("\n").split(",") for line in file)
    scores = [float(row[header.index("val/loss")]) for row in rows if row[header.index("val/loss")]]
    assert len(scores) == 3
    code, output = toy(trained, "validate", "--ckpt_path=best")
    assert code == 0, output
    validated = float(re.search(r"val/loss\D*([\d.]+)", output).group(1))
    assert validated == pytest.approx(min(scores), rel=1e-6)
    assert len(list(folder(trained).glob("*.ckpt"))) == 2


def test_averaged_weights_are_exported_for_use(trained, tmp_path):
    checkpoint = torch.load(folder(trained) / "best.ckpt", weights_only=True)
    export_checkpoint(folder(trained) / "best.ckpt", ToyNet, tmp_path / "net.safetensors", f1=0.5)
    net, extra = load(ToyNet, tmp_path / "net.safetensors")
    assert extra == {"f1": 0.5}
    averaged, current = (
        {name.removeprefix("net."): value for name, value in checkpoint[key].items()}
        for key in ("state_dict", "current_model_state")
    )
    assert digest(dict(net.state_dict())) == digest(averaged)
    assert digest(averaged) != digest(current)


def test_wandb_run_is_written_offline_without_an_account(tmp_path):
    anonymous = {"WANDB_MODE": "", "WANDB_API_KEY": "", "HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    words = ["fit", "--trainer.callbacks+=tests.common.toy.training.Draw", "--trainer.max_epochs=1"]
    code, output = toy(tmp_path, *words, **anonymous)
    assert code == 0, output
    (run,) = folder(tmp_path).glob("wandb/offline-run-*")
    read = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(run)]
    record = json.loads(subprocess.run(read, capture_output=True, check=True, text=True).stdout)
    assert record["config"]["model"]["net"]["init_args"] == {"width": 4, "n_inputs": 3}
    assert set(record["config"]) >= {"model", "data", "trainer", "seed_everything"}
    assert "width" not in record["config"]
    assert record["summary"].keys() >= {"train/loss", "val/loss", "val/points", "lr-SGD"}
    assert (record["project"], record["name"], record["state"]) == ("tests.common.toy", "base-seed0", "finished")
    # The picture of the sanity check and the one of the epoch, each in the run's own folder and in W&B's.
    assert sorted(path.name for path in folder(tmp_path).glob("pictures/val/*")) == [
        "points-0000000.png",
        "points-0000008.png",
    ]
    assert len(list(run.glob("files/media/images/val/*.png"))) == 2


def test_a_resumed_run_goes_on_in_the_same_wandb_run(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "wandb" / "offline-run-20260101_120000-abc123").mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").mkdir()
    _, resumed = cli.loggers(tmp_path, "toy", resumes=True)
    _, fresh = cli.loggers(tmp_path, "toy", resumes=False)
    assert resumed.version == "abc123"
    assert fresh.version is None


@pytest.mark.parametrize(
    ("units", "precision"), [({}, "32-true"), ({"avx512_f": True}, "32-true"), ({"amx_bf16": True}, "bf16-mixed")]
)
def test_bf16_falls_back_where_it_would_be_emulated(tmp_path, monkeypatch, caplog, units, precision):
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    words = ["fit", "--trainer.precision=bf16-mixed", "--trainer.fast_dev_run=true"]
    with caplog.at_level("INFO"):
        trainer = cli.run(ToyTask, ToyData, "tests.common.toy", words)
    assert trainer.precision == precision
    assert ("precision is 32-true" in caplog.text) == (precision == "32-true")
    assert not list(tmp_path.iterdir())  # a trial leaves nothing behind
