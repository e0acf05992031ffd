import json
import signal
import subprocess
import sys
from collections import namedtuple

import pytest

from benchmarks import doctor

REQUIREMENTS = ["torch>=2.11,<2.15", "torchaudio==2.11.*", "lightning>=2.6.4", "jsonargparse[signatures]>=4.47,<5"]
GOOD = {
    "python": "3.11.7",
    "torch": "2.11.0",
    "torchaudio": "2.11.0",
    "lightning": "2.6.6",
    "jsonargparse": "4.53.0",
    "torchvision": None,
}


def complaints(**changes: str | None) -> list[str]:
    versions = GOOD | changes
    return doctor.out_of_range(versions, ["python>=3.11,<3.14", *REQUIREMENTS]) + doctor.traps(versions)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"torch": "2.14.1"},
        {"torch": "2.11.0+cu130", "torchaudio": "2.11.0"},
        {"torch": "2.11.0+cpu", "torchaudio": "2.11.0+cpu"},
        {"torch": "2.12.1", "torchvision": "0.27.1"},
        {"python": "3.13.0"},
    ],
)
def test_what_fits_is_not_complained_about(changes):
    assert complaints(**changes) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"torch": "2.15.0"}, "torch 2.15.0 is not <2.15,>=2.11"),
        ({"torch": "2.10.2+cu128"}, "torch 2.10.2+cu128"),
        ({"torchaudio": "2.10.0"}, "torchaudio 2.10.0 is not ==2.11.*"),
        ({"torch": "2.13.0+cpu"}, "not of one build"),
        ({"torchaudio": "2.11.0+cpu"}, "not of one build"),
        ({"torchvision": "0.22.0"}, "torchvision 0.22.0 does not fit torch 2.11.0"),
        ({"jsonargparse": None}, "jsonargparse is missing: run make setup"),
        ({"python": "3.10.14"}, "python 3.10.14"),
        ({"python": "3.14.0"}, "python 3.14.0"),
        ({"lightning": "2.5.1"}, "lightning 2.5.1 is not >=2.6.4"),
    ],
)
def test_each_trap_is_named_with_its_remedy(changes, said):
    (complaint,) = complaints(**changes)
    assert said in complaint
    assert any(word in complaint for word in ("make setup", "remove", "install"))


def test_missing_packages_are_no_crash():
    nothing = dict.fromkeys(GOOD, None) | {"python": "3.11.7"}
    assert len(doctor.out_of_range(nothing, REQUIREMENTS)) == len(REQUIREMENTS)
    assert doctor.traps(nothing) == []


@pytest.fixture
def patient(monkeypatch):
    """Runs the doctor on made-up versions; returns its exit code and which probes it asked."""
    installed = doctor.installed

    def run(answers=None, **changes) -> tuple[int, list[str]]:
        asked = []

        def ask(probe):
            asked.append(probe)
            return (answers or {}).get(probe, ([(probe, "works")], None))

        monkeypatch.setattr(doctor, "installed", lambda names: {**installed(names), "torchvision": None, **changes})
        monkeypatch.setattr(doctor, "ask", ask)
        return doctor.main([]), asked

    return run


def test_the_environment_of_these_tests_is_ready(patient, capsys):
    assert patient() == (0, list(doctor.PROBES))
    out = capsys.readouterr().out
    assert out.endswith("verdict: ready\n")
    assert all(line in out for line in ("training", "data", "runs", "CPU cores", "GiB of memory", "torch 2."))


@pytest.mark.parametrize("version", doctor.POISONED)
def test_a_poisoned_package_is_told(patient, capsys, version):
    assert patient(lightning=version)[0] == 1
    assert f"lightning {version} is malware" in capsys.readouterr().out


def test_no_probe_runs_what_may_be_poisoned():
    code = "import sys; from benchmarks import doctor; [probe() for probe in doctor.PROBES.values()]"
    code += "; print({'lightning', 'wandb', 'torchmetrics'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_a_package_misses_is_told(patient, capsys):
    assert patient(protobuf=None)[0] == 1  # which wandb asks for
    assert "protobuf is missing: run make setup" in capsys.readouterr().out


def test_packages_ask_for_the_extras_that_are_wanted():
    plain, wanted = (doctor.asked_for([text]) for text in ("jsonargparse>=4.47", "jsonargparse[signatures]>=4.47"))
    assert any(text.startswith("PyYAML") for text in plain)
    assert not any(text.startswith("docstring-parser") for text in plain)
    assert any(text.startswith("docstring-parser") for text in wanted)
    assert doctor.asked_for(["no-such-package"]) == []
    assert not any(text.startswith("pyaudio") for text in doctor.asked_for(["tinysoundfont"]))


def test_what_cannot_be_imported_is_told_in_a_line(patient, capsys):
    code, asked = patient({"training": ([], "OSError: libcudart.so.13: cannot open shared object file")})
    assert code == 1
    assert asked == list(doctor.PROBES)
    out = capsys.readouterr().out
    assert "verdict: not ready, 1 to mend" in out
    assert "training does not work: OSError: libcudart.so.13" in out
    assert "Traceback" not in out


def test_a_full_disk_is_told_with_the_way_out(monkeypatch, patient, capsys, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**12, 10**12, 2 * 10**8))
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path / "not" / "there" / "yet"))
    assert patient()[0] == 1
    assert "0.2 GB are too few; set TUTTI_DATA to a folder on another disk" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "not").exists()


def test_a_probe_answers_from_a_process_of_its_own():
    facts, error = doctor.ask("rendering")
    assert error is None
    assert facts == doctor.probe_rendering()


def test_a_probe_that_fails_is_one_line():
    facts, error = doctor.ask("nonsense")
    assert facts == []
    assert "invalid choice" in error
    assert "\n" not in error


def test_a_probe_that_hangs_is_one_line(monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 0.001)
    assert "no answer within" in doctor.ask("rendering")[1]


def test_a_probe_that_crashes_is_one_line(monkeypatch):
    killed = subprocess.CompletedProcess([], -signal.SIGILL, "", "")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: killed)
    assert "ended by signal 4" in doctor.ask("rendering")[1]


def test_weights_are_run_not_only_counted(monkeypatch, tmp_path):
    monkeypatch.setattr("lightweight_amt.inference.WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="no weights"):
        doctor.probe_transcription()
    (tmp_path / "base.onnx").write_bytes(b"not a graph")
    with pytest.raises(Exception, match="base"):
        doctor.probe_transcription()


def test_answers_of_a_probe_are_json(capsys):
    assert doctor.main(["rendering"]) == 0
    ((what, how),) = json.loads(capsys.readouterr().out)
    assert what == "SoundFont"
    assert how.endswith(".sf2")
