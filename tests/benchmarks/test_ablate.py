import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import ablate, harness, tables
from benchmarks.grid import Grid
from lead_detection.__main__ import main as lead_detection_main
from lightweight_amt.__main__ import main as lightweight_amt_main
from tests.common.toy.training import CONTEXT
from yourmt3plus.__main__ import main as yourmt3plus_main

KILL = ["--trainer.callbacks+=tests.common.toy.training.Kill", "--trainer.callbacks.batch=1"]
PAPER = "lightweight_amt/configs/paper.yaml"
OTHER = "lightweight_amt/configs/ablation/gamma_2.yaml"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Folders of this test alone, and a grid of two rows and one seed."""
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    for table in tables.TABLES:
        readme = tmp_path / table.readme
        readme.parent.mkdir(exist_ok=True)
        with readme.open("a") as file:
            file.write(f"<!-- {table.name}:begin -->\n<!-- {table.name}:end -->\n")
    sweep = yaml.safe_load(Path("benchmarks/sweeps/ablate-amt.yaml").read_text())
    changed = {
        "config": {"values": [PAPER, OTHER]},
        "seed_everything": {"values": [0]},
        "checkpoint_every": {"value": 1},
    }
    sweep["parameters"] |= changed
    (tmp_path / "ablate-amt.yaml").write_text(yaml.safe_dump(sweep))
    return tmp_path


def ablate_two(home: Path, *words: str) -> int:
    return ablate.main(["amt", f"--sweep={home / 'ablate-amt.yaml'}", *words])


def result(home: Path) -> dict:
    return json.loads((home / "ablate-amt.json").read_text())["results"]


class Pretend:
    """Stands for the commands: keeps their words, writes made-up scores, and fails or is stopped when told."""

    def __init__(self, monkeypatch, scores=(0.5, 0.6, 0.7, 0.8), fail=(), stop=()):
        self.commands: list[list[str]] = []
        self.scores = iter(scores)
        self.fail, self.stop = fail, stop
        monkeypatch.setattr(ablate, "execute", self)

    def __call__(self, words: list[str], root: Path) -> int:
        self.commands.append(words)
        if len(self.commands) in self.stop:
            raise KeyboardInterrupt
        if words[2] == "test":
            path = Path(words[-1].partition("=")[2])
            path.write_text(json.dumps({"scores": {"note_f1": next(self.scores)}, "device": "cpu"}))
        return int(len(self.commands) in self.fail)


def rows(commands: list[list[str]]) -> list[str]:
    """Verb and row of each command."""
    return [f"{words[2]} {Path([w for w in words if w.startswith('--config=')][-1]).stem}" for words in commands]


def test_a_grid_is_trained_killed_resumed_and_finished(home, tiny_corpus, monkeypatch, capsys):
    """With the real command line, each command in a process of its own."""
    monkeypatch.setenv("TUTTI_DATA", str(tiny_corpus.folder.parents[1]))
    commands, kills = [], [KILL]

    def execute(words: list[str], root: Path) -> int:
        commands.append(words)
        kill = kills.pop() if kills else []
        environment = dict(os.environ, TUTTI_RUNS=str(root))
        child = CONTEXT.Process(target=command, args=([*words[2:], *kill], environment, home / "output.txt"))
        child.start()
        child.join()
        return child.exitcode

    monkeypatch.setattr(ablate, "execute", execute)
    small = {
        "data.batch_size": 1,
        "data.crop_frames": 24,
        "data.margin": 8,
        "data.validation_frames": 64,
        "data.validation_size": 1,
        "data.num_workers": 0,
        "model.net.init_args.channels": "[2,2,2,2]",
        "model.net.init_args.context_pitches": 3,
        "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",
        "trainer.num_sanity_val_steps": 0,
        "trainer.enable_progress_bar": "false",
    }
    words = ["--corpus=tiny", "--steps=2", *(f"--{name}={value}" for name, value in small.items())]
    assert ablate_two(home, *words) == 1
    assert rows(commands) == ["fit paper", "fit gamma_2", "test gamma_2"], (home / "output.txt").read_text()
    assert "failed: paper, seed 0" in capsys.readouterr().err
    assert list(result(home)["table"]) == ["gamma_2"]
    commands.clear()
    assert ablate_two(home, *words) == 0
    assert rows(commands) == ["fit paper", "test paper"]
    run = home / "runs" / "ablate-amt" / "tiny-2" / "lightweight_amt" / "paper-seed0"
    assert "Restored all states" in (home / "output.txt").read_text()
    assert {path.name for path in run.iterdir()} >= {"best.ckpt", "last.ckpt", "scores.json", ablate.RECORD}
    table = result(home)["table"]
    assert list(table) == ["paper", "gamma_2"]
    assert table["paper"]["scores"].keys() >= {"note_f1", "note_offset_f1", "frame_f1"}
    assert table["paper"]["paper"]["scores"]["BACH10 tutti"] == [84.6, 75.2]
    commands.clear()
    assert ablate_two(home, *words) == 0
    assert commands == []


def test_rows_on_leads_are_trained_and_scored_song_by_song(home, monkeypatch, capsys):
    """Check 24: one command, the rows of the paper beside each other with an interval over songs."""
    monkeypatch.setenv("TUTTI_DATA", str(home / "data"))

    def execute(words: list[str], root: Path) -> int:
        monkeypatch.setenv("TUTTI_RUNS", str(root))
        return lead_detection_main(words[2:])

    monkeypatch.setattr(ablate, "execute", execute)
    small = {
        "data.window": 2.0,
        "data.budget": 12,
        "data.num_workers": 0,
        "model.net.init_args.encoder.init_args.channels": "[2,2,2]",
        "model.net.init_args.encoder.init_args.n_mels": 40,
        "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",
        "trainer.num_sanity_val_steps": 0,
        "trainer.enable_progress_bar": "false",
    }
    rows = ["paper", "from_mix", "no_permutation", "base"]
    words = ["--corpus=lead-tiny", "--steps=2", "--seeds", "0", "--only", *rows]
    assert ablate.main(["lead", *words, *(f"--{name}={value}" for name, value in small.items())]) == 0
    table = json.loads((home / "ablate-lead.json").read_text())["results"]["table"]
    assert list(table) == rows
    for row, scores in ((row, entry["scores"]) for row, entry in table.items()):
        kind = "instrument" if row == "from_mix" else "track"
        assert {f"{kind}_accuracy", f"clip_{kind}_f1"} <= scores.keys()
        low, high = scores[f"{kind}_accuracy"]["interval"]
        assert low <= scores[f"{kind}_accuracy"]["mean"] <= high
    assert table["from_mix"]["paper"]["scores"]["MJN test"] == [None, 57.17, 72.69]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines if line.startswith("| `")] == [f"| `{row}`" for row in rows]
    assert "| `base` |" in (home / "lead_detection" / "README.md").read_text()


def test_rows_on_all_instruments_are_trained_and_scored(home, monkeypatch, capsys):
    """T5's encoder with one row for everything, and thirteen rows, through the real command line."""
    monkeypatch.setenv("TUTTI_DATA", str(home / "data"))

    def execute(words: list[str], root: Path) -> int:
        monkeypatch.setenv("TUTTI_RUNS", str(root))
        yourmt3plus_main(words[2:])
        return 0

    monkeypatch.setattr(ablate, "execute", execute)
    small = {
        "data.batch_size": 2,
        "data.validation_size": 1,
        "data.validation_seconds": 2.0,
        "data.test_seconds": 2.0,
        "data.max_tokens": 16,
        "data.num_workers": 0,
        "model.net.init_args.decoder.init_args.n_layers": 1,
        "trainer.accelerator": "cpu",
        "trainer.precision": "32-true",
        "trainer.num_sanity_val_steps": 0,
        "trainer.enable_progress_bar": "false",
    }
    rows = ["t5_single", "hidden_drums_as_silence"]
    words = ["--corpus=tiny", "--steps=2", "--seeds", "0", "--only", *rows]
    assert ablate.main(["yourmt3", *words, *(f"--{name}={value}" for name, value in small.items())]) == 0
    assert (home / "runs" / "ablate-yourmt3" / "tiny-2" / "yourmt3plus" / "t5_single-seed0" / "best.ckpt").exists()
    table = json.loads((home / "ablate-yourmt3.json").read_text())["results"]["table"]
    assert list(table) == rows
    for row in table.values():
        assert row["scores"].keys() >= tables.MULTI_SCORES.keys()
    assert table["t5_single"]["paper"]["scores"]["Slakh2100"] == [77.75, 60.83, None]
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| `t5_single`"))
    assert line.endswith(" | 1 | 77.8 / 60.8 / - (released) |")
    assert line in (home / "yourmt3plus" / "README.md").read_text()


def command(words: list[str], environment: dict[str, str], output: Path) -> None:
    multiprocessing.set_start_method("fork", force=True)  # of the loaders; a forkserver's children would inherit it
    os.environ.update(environment)
    with output.open("a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.argv = ["ablate"]
    sys.exit(lightweight_amt_main(words))


def test_mean_and_deviation_over_seeds_beside_the_paper(home, monkeypatch, capsys):
    Pretend(monkeypatch, [0.5, 0.1, 0.7, 0.2])
    assert ablate_two(home, "--seeds", "0", "1") == 0
    table = result(home)["table"]
    assert table["paper"]["scores"] == {"note_f1": {"mean": 0.6, "deviation": pytest.approx(0.14142)}}
    assert table["paper"]["seeds"] == [0, 1]
    assert table["gamma_2"]["paper"]["training"] == "older"
    line = "| `gamma_2` | Focal loss with more focus. | 15.0 ± 7.1 | 2 | 84.5 / 75.8 (older) | 75.2 / 71.2 (older) |"
    assert line in capsys.readouterr().out.splitlines()
    assert line in (home / "lightweight_amt" / "README.md").read_text().splitlines()


def test_songs_that_are_scored_one_by_one_give_an_interval():
    """Of the mean over seeds of each song, drawn with replacement: with two songs the ends are the songs themselves."""
    runs = [
        {"scores": {"accuracy": 0.5, "loss": 1.0}, "songs": {"accuracy": {"a": 0.2, "b": 0.8}}},
        {"scores": {"accuracy": 0.7, "loss": 3.0}, "songs": {"accuracy": {"b": 1.0, "a": 0.4}}},
    ]
    summary = ablate.over_seeds(runs, "accuracy")
    assert summary == {"mean": 0.6, "deviation": pytest.approx(0.14142), "interval": [0.3, 0.9]}
    assert ablate.over_seeds(runs, "loss") == {"mean": 2.0, "deviation": pytest.approx(1.41421)}
    old = {"scores": {"accuracy": 0.6}}  # a record from before there were songs
    assert "interval" not in ablate.over_seeds([*runs, old], "accuracy")


def test_progress_says_which_run_and_how_long(home, monkeypatch, capsys):
    clock = iter(range(0, 100_000, 3700))
    monkeypatch.setattr(ablate.time, "monotonic", lambda: next(clock))
    Pretend(monkeypatch)
    ablate_two(home, "--seeds", "0", "1")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("run ")]
    assert lines[0] == "run 1 of 4: paper, seed 0"
    assert lines[1] == "run 2 of 4: gamma_2, seed 0, about 3 h 5 min left"
    assert lines[3] == "run 4 of 4: gamma_2, seed 1, about 1 h 2 min left"


def test_what_is_stopped_is_saved_and_goes_on(home, monkeypatch, capsys):
    stopped = Pretend(monkeypatch, stop=[3])
    assert ablate_two(home) == 130
    assert rows(stopped.commands) == ["fit paper", "test paper", "fit gamma_2"]
    assert list(result(home)["table"]) == ["paper"]
    assert "goes on" in capsys.readouterr().err
    again = Pretend(monkeypatch)
    assert ablate_two(home) == 0
    assert rows(again.commands) == ["fit gamma_2", "test gamma_2"]
    assert "--ckpt_path=last" in again.commands[0]


def test_rows_that_were_not_asked_for_keep_their_results(home, monkeypatch):
    Pretend(monkeypatch, [0.5, 0.1])
    ablate_two(home)
    for path in home.glob(f"runs/*/*/*/*/{ablate.RECORD}"):
        path.unlink()  # another machine has only the earlier result
    Pretend(monkeypatch, [0.9])
    ablate_two(home, "--only", "gamma_2")
    means = {name: row["scores"]["note_f1"]["mean"] for name, row in result(home)["table"].items()}
    assert means == {"paper": 0.5, "gamma_2": 0.9}
    Pretend(monkeypatch, [0.3])
    ablate_two(home, "--only", "gamma_2", "--steps=7")  # another budget is another table
    assert list(result(home)["table"]) == ["gamma_2"]


def test_collecting_trains_nothing(home, monkeypatch, capsys):
    nothing = Pretend(monkeypatch)
    assert ablate_two(home, "--collect") == 0
    assert nothing.commands == []
    assert "no table" in capsys.readouterr().err
    assert not (home / "ablate-amt.json").exists()


def test_other_settings_in_the_same_folder_are_refused(home, monkeypatch, capsys):
    Pretend(monkeypatch)
    ablate_two(home, "--data.batch_size=4", "--data.num_workers=1")
    assert ablate_two(home, "--data.batch_size=4", "--data.num_workers=2") == 0
    assert ablate_two(home, "--data.batch_size=5") == 2
    error = capsys.readouterr().err
    assert "data.batch_size=4" in error
    assert "paper-seed0" in error


@pytest.mark.parametrize("words", [["--batch"], ["extra"], ["--data.batch_size"], ["--steps=0"]])
def test_options_that_do_not_exist_are_named(home, words, capsys):
    with pytest.raises(SystemExit) as stop:
        ablate_two(home, *words)
    assert stop.value.code == 2
    assert words[0].partition("=")[0] in capsys.readouterr().err


def test_an_unknown_row_is_one_line(home, capsys):
    assert ablate_two(home, "--only", "gama_2") == 2
    assert capsys.readouterr().err.splitlines() == ["gama_2: no such row; the rows of ablate-amt are paper, gamma_2"]


@pytest.fixture
def interruptible():
    """A job in the background of a shell ignores Ctrl-C, and so would these tests and the commands that they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_command_is_asked_to_stop_and_waited_for(tmp_path):
    script = (
        "import os, signal, sys, time\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "try:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    open(sys.argv[1], 'w').write('in order')\n"
    )
    with pytest.raises(KeyboardInterrupt):
        ablate.execute(["-c", script, str(tmp_path / "end")], tmp_path)
    assert (tmp_path / "end").read_text() == "in order"


@pytest.mark.usefixtures("interruptible")
def test_a_command_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(ablate, "PATIENCE", 0.2)
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(KeyboardInterrupt):
        ablate.execute(["-c", script, str(tmp_path / "pid")], tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_command_has_its_runs_in_the_folder_of_the_grid(tmp_path):
    script = "import os, sys; sys.exit(os.environ['TUTTI_RUNS'] != sys.argv[1])"
    assert ablate.execute(["-c", script, str(tmp_path)], tmp_path) == 0
    assert ablate.execute(["-c", script, "elsewhere"], tmp_path) == 1


def test_a_scheduler_that_wants_the_machine_back_is_obeyed():
    with pytest.raises(KeyboardInterrupt), ablate.stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_grids_are_there():
    for name in ablate.GRIDS:
        assert Grid.read(Path(f"benchmarks/sweeps/ablate-{name}.yaml")).name == f"ablate-{name}"
