"""What the benchmarks share: contenders in alternating rounds, ratios with their spread, memory, and the record.

A benchmark is a module of `benchmarks.speed` with `main()`:

    def main():
        pin_threads()                                          # first of all: starts the program anew where needed
        times = alternate({"ours": ours, "librosa": librosa})  # functions without arguments; rotated, interleaved
        peer = ratio(times, "librosa", "ours")                 # {"median": 8.4, "low": 8.1, "high": 8.8}, CPU time
        usage = alone([sys.executable, "-m", "benchmarks.speed.cqt", "--alone", "ours"])    # a fresh process: peak_mb
        goals = [goal("CPU time of librosa.cqt / ours", peer["median"], at_least=6)]
        save("cqt", {"seconds": summary(times), "librosa": peer}, goals, packages=["torch", "librosa"])
        bars("cqt", {"CPU seconds": {"ours": 0.02, "librosa": 0.18}})

Seconds drift with the machine and its other users, ratios of one run hardly: state and compare ratios. CPU time counts
that of finished subprocesses, so that a contender may also be a command.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, util
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def pin_threads(n: int = 1) -> None:
    """Run the program with n threads in every library: most of them read the number only when they are loaded."""
    wanted = dict.fromkeys(THREAD_VARIABLES, str(n))
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def installed(peers: Mapping[str, str]) -> list[str]:
    """The names whose module can be imported; a line is printed for each of the others.

    Args:
        peers: contender to module, {"nnAudio CQT2010v2": "nnAudio"}.
    """
    for name, module in peers.items():
        if util.find_spec(module) is None:
            print(f"left out: {name} ({module} is not installed, see make setup-bench)")
    return [name for name, module in peers.items() if util.find_spec(module)]


@dataclass
class Usage:
    """What a run took: seconds, CPU seconds, and for a process the peak of its memory in MB (0 if not measured)."""

    wall: float
    cpu: float
    peak_mb: float = 0.0


def alternate(contenders: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[Usage]]:
    """Call every contender once a round, each round starting with another; a first round is not counted."""
    names = list(contenders)
    usages: dict[str, list[Usage]] = {name: [] for name in names}
    for i in range(-1, rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            wall, cpu = time.perf_counter(), _cpu()
            contenders[name]()
            usage = Usage(time.perf_counter() - wall, _cpu() - cpu)
            if i >= 0:
                usages[name].append(usage)
    return usages


def alone(command: Sequence[str]) -> Usage:
    """Run a command in a fresh process; RuntimeError with what it wrote to stderr if it fails."""
    done = subprocess.run([sys.executable, "-S", "-c", _CHAPERON, *command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return Usage(**json.loads(done.stdout.splitlines()[-1]))


# A process's peak starts with that of the process that started it; hence a small one in between.
_CHAPERON = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
peak_mb = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(json.dumps({"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": peak_mb}))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


def _cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles, four digits."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return {"median": float(f"{median:.4g}"), "low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")}


def summary(usages: Mapping[str, Sequence[Usage]]) -> dict[str, dict[str, dict[str, float]]]:
    """Spread of seconds and CPU seconds of each contender."""
    return {
        name: {"wall": spread([run.wall for run in runs]), "cpu": spread([run.cpu for run in runs])}
        for name, runs in usages.items()
    }


def ratio(usages: Mapping[str, Sequence[Usage]], peer: str, ours: str, quantity: str = "cpu") -> dict[str, float]:
    """Spread of the peer's time over ours, round by round: how many times faster we are."""
    pairs = zip(usages[peer], usages[ours], strict=True)
    result = spread([getattr(theirs, quantity) / getattr(our, quantity) for theirs, our in pairs])
    if result["high"] - result["low"] > 0.25 * result["median"]:
        print(f"noisy: {peer} / {ours} {result}; repeat on a quieter machine")
    return result


def goal(text: str, value: float, at_least: float | None = None, at_most: float | None = None) -> dict:
    """A promise and whether this run kept it."""
    met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    bounds = {"at_least": at_least, "at_most": at_most}
    return {"goal": text, "value": value, **{k: v for k, v in bounds.items() if v is not None}, "met": met}


def save(name: str, results: Mapping, goals: Sequence[Mapping], packages: Sequence[str] = ()) -> Path:
    """Write results/NAME.json with the conditions of the run, and print the goals."""
    path = RESULTS / f"{name}.json"
    record = {"goals": list(goals), "results": results, "conditions": conditions(packages)}
    path.write_text(json.dumps(record, indent=2) + "\n")
    for row in goals:
        bound = f">= {row['at_least']:g}" if "at_least" in row else f"<= {row['at_most']:g}"
        print(f"{'met' if row['met'] else 'MISSED':7}{row['goal']}: {row['value']:.4g} (goal {bound})")
    return path


def bars(name: str, panels: Mapping[str, Mapping[str, float]]) -> None:
    """Draw results/NAME.png: a panel for each quantity, a bar for each contender; logarithmic beyond a factor of 20."""
    from matplotlib.figure import Figure

    height = max(len(values) for values in panels.values())
    figure = Figure(figsize=(4.2 * len(panels), 0.9 + 0.35 * height), layout="constrained")
    for axis, (title, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        drawn = axis.barh(list(values), list(values.values()), color=["#c8553d"] + ["#8a9ba8"] * (len(values) - 1))
        axis.bar_label(drawn, fmt="%.3g", padding=3)
        axis.invert_yaxis()
        low, high = min(values.values()), max(values.values())
        wide = high > 20 * low > 0
        axis.set(title=title, xscale="log" if wide else "linear")
        axis.set_xlim(right=high * (3 if wide else 1.3))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS / f"{name}.png", dpi=120)


def conditions(packages: Sequence[str]) -> dict:
    """Command, commit, date, machine, versions, threads and load."""
    git = ["git", "-C", str(RESULTS)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "-uno", ":/*.py"], capture_output=True, text=True).stdout
    return {
        # Of files their names alone: where they lie on this machine is nobody's business.
        "command": " ".join(["python", *(Path(w).name if Path(w).is_absolute() else w for w in sys.orig_argv[1:])]),
        "commit": commit + (" with changes" if changed else ""),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get(THREAD_VARIABLES[0], "all"),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in packages},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
