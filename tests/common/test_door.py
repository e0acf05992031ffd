"""The doors of all sub-projects, which are one."""

import sys
from importlib import import_module
from subprocess import run

import pytest

from common import door
from common.door import VERBS, Door, Training

DOORS: dict[str, Door] = {
    package: import_module(f"{package}.__main__").main
    for package in ("lead_detection", "diffusion_pir", "lightweight_amt", "yourmt3plus")
}
COMMANDS = [(package, verb) for package, main in DOORS.items() for verb in main.commands]
TRAININGS = [training for main in DOORS.values() for training in main.trainings.values()]
FIRST = {package: next(iter(main.commands)) for package, main in DOORS.items()}  # what most users come for


@pytest.mark.parametrize("package", DOORS)
@pytest.mark.parametrize(
    ("words", "code"), [(["--help"], 0), (["-h"], 0), ([], 0), (["sing"], 2), (["fit-nothing"], 2), (["fits"], 2)]
)
def test_usage(package, words, code, capsys):
    assert DOORS[package](words) == code
    out, err = capsys.readouterr()
    assert DOORS[package].usage in (err if code else out)


@pytest.mark.parametrize("package", DOORS)
def test_every_verb_is_in_the_usage(package):
    main = DOORS[package]
    told = [line.split()[0] for line in main.usage.splitlines() if line.startswith("  ") and line[2] != " "]
    assert set(told) == {*main.commands, *(f"fit{branch}" for branch in main.trainings)}
    assert main.usage.startswith(f"usage: python -m {package} VERB")


@pytest.mark.parametrize(("package", "verb"), COMMANDS)
def test_every_verb_has_its_command(package, verb, capsys):
    with pytest.raises(SystemExit) as stop:
        DOORS[package]([verb, "--help"])
    assert stop.value.code == 0
    assert f"python -m {package} {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("branch", ["", "-other"])
def test_training_gets_its_task_its_data_and_its_words(verb, branch, monkeypatch):
    told = []
    monkeypatch.setattr("common.cli.run", lambda *args, base: told.append((*args, base)))
    trainings = {"": Training("os.path.join", "os.path.split"), "-other": Training("os.sep", "os.name", "other/base")}
    assert Door("package", "", {}, trainings)([f"{verb}{branch}", "--name=x"]) == 0
    task, data, base = ("os.sep", "os.name", "other/base") if branch else ("os.path.join", "os.path.split", "base")
    assert told == [(door.named(task), door.named(data), "package", [verb, "--name=x"], base)]


@pytest.mark.parametrize("name", sorted({name for training in TRAININGS for name in (training.task, training.data)}))
def test_what_is_trained_is_there(name):
    assert isinstance(door.named(name), type)


@pytest.mark.parametrize(("package", "verb"), FIRST.items())
def test_who_uses_weights_does_not_wait_for_a_trainer(package, verb):
    code = (
        f"import sys; import {package}; from {package}.__main__ import main\n"
        f"try: main([{verb!r}, '--help'])\n"
        "except SystemExit: sys.exit(' '.join({'lightning', 'torch', 'wandb', 'diffusers'} & set(sys.modules)) or 0)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
