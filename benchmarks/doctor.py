"""`make doctor`: what is installed, on what machine, and whether it will work; exit code 0 if it will, else 1.

Versions are read from the packages' metadata, and what must be imported is imported by a process of its own: a package
may be missing, broken or end its process. The trainer is not imported, which takes ten seconds and may be malware: that
every package has what it asks for is read, too.
"""

import argparse
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
DONE_WITHOUT = ("pyaudio",)  # tinysoundfont asks for it, to play live
POISONED = ("2.6.2", "2.6.3")  # of lightning: they steal credentials when imported (GHSA-w37p-236h-pfx3)
MIN_FREE_GB = 1.0  # for the small corpus and a few runs
PATIENCE = 300.0  # seconds for one probe

Facts = list[tuple[str, str]]  # what, and how it is
Versions = Mapping[str, str | None]  # by package; None for one that is not there


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doctor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "probe", nargs="?", choices=PROBES, help="answer as JSON what one probe finds, without a report"
    )
    if probe := parser.parse_args(argv).probe:
        gc.disable()  # what imports and ends has nothing to collect
        print(json.dumps(PROBES[probe]()))
        return 0
    problems = examine()
    print(f"\nverdict: not ready, {len(problems)} to mend" if problems else "\nverdict: ready")
    for problem in problems:
        print(textwrap.fill(problem, 110, initial_indent="- ", subsequent_indent="  "))
    return 1 if problems else 0


def examine() -> list[str]:
    """Print the facts as they are found; returns the problems with their remedies."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    try:
        versions = installed(requirements)
        problems = out_of_range(versions, [f"python{project['requires-python']}", *requirements]) + traps(versions)
        deeper = asked_for(requirements)
        problems += out_of_range(installed(deeper), deeper)
    except ImportError as error:
        return [f"{error}: run make setup"]
    report("packages", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    report("not needed", "ffmpeg and pyaudio: libsndfile reads and writes audio, and nothing is played live")
    report("machine", machine())
    for variable, default in (("TUTTI_DATA", "data"), ("TUTTI_RUNS", "runs")):
        folder = Path(os.environ.get(variable, default)).absolute()
        place, fault = room(folder)
        report(default, f"{folder}, {place}")
        problems += [f"{folder}: {fault}; set {variable} to a folder on another disk"] if fault else []
    for probe in PROBES:
        facts, error = ask(probe)
        for what, how in facts:
            report(what, how)
        problems += [f"{probe} does not work: {error}"] if error else []
    return problems


def report(what: str, how: str) -> None:
    print(textwrap.fill(how, 110, initial_indent=f"{what:12}", subsequent_indent=" " * 12), flush=True)


def installed(requirements: Sequence[str]) -> Versions:
    """What is there of the packages asked for, and of those that can spoil them; nothing is imported."""
    from packaging.requirements import Requirement

    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in [*(Requirement(text).name for text in requirements), "torchvision"]:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def asked_for(requirements: Sequence[str]) -> list[str]:
    """What the packages that are there ask for themselves, on this machine and with the extras that are wanted."""
    from packaging.requirements import Requirement

    deeper = []
    for wanted in map(Requirement, requirements):
        try:
            texts = metadata.requires(wanted.name) or []
        except metadata.PackageNotFoundError:
            continue  # which `out_of_range` tells
        # Most are of extras that nobody wants, and reading them takes its time.
        for needed in [Requirement(text) for text in texts if wanted.extras or "extra ==" not in text]:
            marker = needed.marker
            applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted.extras or {""})
            if applies and needed.name not in DONE_WITHOUT:
                deeper.append(str(needed))
    return deeper


def out_of_range(versions: Versions, requirements: Sequence[str]) -> list[str]:
    """The requirements that are not met."""
    from packaging.requirements import Requirement

    problems = []
    for wanted in map(Requirement, requirements):
        version = versions[wanted.name]
        if version is None:
            problems.append(f"{wanted.name} is missing: run make setup")
        elif not wanted.specifier.contains(version, prereleases=True):
            problems.append(f"{wanted.name} {version} is not {wanted.specifier}: run make setup")
    return problems


def traps(versions: Versions) -> list[str]:
    """What goes wrong although every package has what it asks for."""
    from packaging.version import Version

    problems = []
    if versions["lightning"] in POISONED:
        problems.append(
            f"lightning {versions['lightning']} is malware that steals credentials when it is imported: remove it, "
            "change every password and key that this machine knows, then run make setup"
        )
    torch, torchaudio, torchvision = (
        Version(version) if (version := versions[name]) else None for name in ("torch", "torchaudio", "torchvision")
    )
    # Each is right by itself, and torchaudio says nothing of the torch it was built for.
    if torch and torchaudio and (torch.local == "cpu") != (torchaudio.local == "cpu"):
        problems.append(
            f"torch {torch} and torchaudio {torchaudio} are not of one build, one of them wants CUDA's libraries: "
            "install both from the same index, or run make setup"
        )
    if torch and torchvision and torchvision.release[:2] != (0, torch.minor + 15):
        problems.append(
            f"torchvision {torchvision} does not fit torch {torch}, and transformers fails on it: "
            "nothing here needs torchvision, remove it"
        )
    return problems


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{platform.system()} {platform.machine()}, {cores} CPU cores, {memory:.0f} GiB of memory"


def room(folder: Path) -> tuple[str, str | None]:
    """How much is free in a folder that need not exist yet, and what is wrong with it."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return "read-only", "cannot be written"
    return f"{free:.0f} GB free", None if free > MIN_FREE_GB else f"{free:.1f} GB are too few"


def ask(probe: str) -> tuple[Facts, str | None]:
    """What a probe says in a process of its own, or in one line why it could not."""
    command = [sys.executable, "-m", "benchmarks.doctor", probe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=PROJECT.parent)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {PATIENCE:.0f} s; the machine is very busy, or a driver hangs"
    if done.returncode < 0:
        return [], f"ended by signal {-done.returncode}; a package was built for another processor: run make setup"
    if done.returncode:
        return [], done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
    return [(what, how) for what, how in json.loads(done.stdout.splitlines()[-1])], None


def probe_transcription() -> Facts:
    import numpy as np

    from lightweight_amt.inference import WEIGHTS, load, transcribe

    names = sorted(path.stem for path in WEIGHTS.glob("*.onnx"))
    if not names:
        raise ValueError(f"no weights in {WEIGHTS}: check the repository out anew, or train and export them")
    for name in names:
        transcribe(np.zeros(22050, np.float32), 22050, model=load(name))
    return [("weights", ", ".join(names))]


def probe_rendering() -> Facts:
    from common.render import default_soundfont

    return [("SoundFont", str(default_soundfont()))]


def probe_training() -> Facts:
    import torch
    import torchaudio  # noqa: F401 -- it loads beside a torch that fits, or not at all

    from common.machine import has_bf16, wandb_mode

    name = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "CPU"
    if torch.cuda.is_available():
        name = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    units = "bfloat16 units" if has_bf16("auto") else "no bfloat16 units: trains with precision 32-true"
    return [("device", f"{name}, {units}"), ("W&B", wandb_mode())]


PROBES: dict[str, Callable[[], Facts]] = {
    "transcription": probe_transcription,
    "rendering": probe_rendering,
    "training": probe_training,
}

if __name__ == "__main__":
    sys.exit(main())
