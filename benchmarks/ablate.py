"""`make ablate-amt`, `-timbre`, `-lead`, `-yourmt3`: rows of a grid with several seeds, trained, scored, in a table.

    python -m benchmarks.ablate amt --only paper no_log --seeds 0 1 2 --steps 400 --data.num_workers=4

The grids are benchmarks/sweeps/ablate-*.yaml. Each run is one call of the command line behind `make train-amt`, then
one of its `test` for the best checkpoint, with the thresholds that its validation chose. Runs lie in
runs/GRID/CORPUS-STEPS (another root: TUTTI_RUNS). What is done is not done again, and a run that was stopped, by Ctrl-C
or by a power cut, goes on from its last.ckpt when the same command is given again. results/GRID.json has the mean and
the deviation over the seeds beside what the paper says of the same row, and where songs are scored one by one a
bootstrap interval over them.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from benchmarks import harness, tables
from benchmarks.grid import Grid, GridError, Run
from common.evaluation.bootstrap import bootstrap_interval
from common.storage import replacing

HERE = Path(__file__).parent
GRIDS = {  # and their part of paper.yaml
    "amt": "transcription",
    "timbre": "separation",
    "lead": "classification",
    "yourmt3": "multi-instrument transcription",
}
RECORD = "ablation.json"  # in the folder of a run: its settings, and when it is done its scores
NEUTRAL = {"data.num_workers"}  # a setting that changes no result
VERSIONS = ("torch", "lightning", "numpy")
PATIENCE = 60.0  # seconds that a run has to end in order


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options, others = parser.parse_known_args(argv)
    if wrong := [word for word in others if not is_override(word)]:
        parser.error(f"unknown: {' '.join(wrong)}; options of the training command have the form --data.batch_size=8")
    overrides = dict(word.removeprefix("--").split("=", 1) for word in others)
    overrides = {name: yaml.safe_load(value) for name, value in overrides.items()}
    try:
        grid = Grid.read(options.sweep or HERE / "sweeps" / f"ablate-{options.grid}.yaml")
        grid = grid.select(None, options.seeds, options.steps, options.corpus, overrides)
        chosen = grid.select(options.only)
        root = Path(os.environ.get("TUTTI_RUNS", "runs"), grid.name, grid.budget).absolute()
        stopped, failed = (False, []) if options.collect else run_all(chosen, root)
        report(grid, collect(grid, root), GRIDS[options.grid])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if stopped:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    for run in failed:
        print(f"failed: {run.row}, seed {run.seed}; its last words are above", file=sys.stderr)
    return 1 if failed else 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablate",
        description=(__doc__ or "").splitlines()[0],
        epilog="Options with a dot, such as --data.num_workers=4, go to the training command.",
        allow_abbrev=False,
    )
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="these rows, named as their config files")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="instead of those of the grid")
    parser.add_argument("--steps", type=positive, help="optimiser steps of each run")
    parser.add_argument("--corpus", help="tiny, small or full")
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="another grid file")
    parser.add_argument("--collect", action="store_true", help="train nothing, make the table of what is done")
    return parser


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 up, not {text!r}")
    return int(text)


def is_override(word: str) -> bool:
    name, equals, _ = word.partition("=")
    return name.startswith("--") and "." in name and bool(equals)


# Running


def run_all(grid: Grid, root: Path) -> tuple[bool, list[Run]]:
    """Do what is not done yet; returns whether it was stopped, and the runs that failed."""
    runs = grid.runs()
    waiting = [run for run in runs if "scores" not in read_record(grid, root, run)]
    failed, durations = [], []
    with stoppable():
        try:
            for run in waiting:
                place = runs.index(run) + 1
                left = remaining(durations, len(waiting) - len(failed) - len(durations))
                print(f"\nrun {place} of {len(runs)}: {run.row}, seed {run.seed}{left}", flush=True)
                start = time.monotonic()
                if train_and_score(grid, root, run):
                    durations.append(time.monotonic() - start)
                else:
                    failed.append(run)
        except KeyboardInterrupt:
            return True, failed
    return False, failed


def remaining(durations: list[float], runs: int) -> str:
    """ ", about 2 h 10 min left", as soon as one run says how long they take."""
    if not durations:
        return ""
    hours, minutes = divmod(round(runs * statistics.mean(durations) / 60), 60)
    return f", about {hours} h {minutes} min left" if hours else f", about {minutes} min left"


def train_and_score(grid: Grid, root: Path, run: Run) -> bool:
    """Whether it went well."""
    folder = grid.folder(root, run)
    # First of all, so that nobody goes on with other settings.
    record = {"row": run.row, "seed": run.seed, "settings": grid.settings}
    write_record(folder, record)
    if execute(grid.training(run), root) or execute(grid.testing(run, folder / "scores.json"), root):
        return False
    record |= json.loads((folder / "scores.json").read_text())
    conditions = harness.conditions([])
    write_record(folder, record | {name: conditions[name] for name in ("processor", "commit", "date")})
    return True


def execute(words: list[str], root: Path) -> int:
    """Run a Python command to its end; its exit code.

    The command has a process group of its own, so that Ctrl-C reaches it once, through us: it then stops in order, and
    only if it takes long it is killed.
    """
    child = subprocess.Popen([sys.executable, *words], env=os.environ | {"TUTTI_RUNS": str(root)}, process_group=0)
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
        finally:
            child.kill()  # does nothing to a process that has ended
            child.wait()
        raise


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, which a scheduler sends, does what Ctrl-C does."""

    def stop(*_: object):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def read_record(grid: Grid, root: Path, run: Run) -> dict[str, Any]:
    """What is known of a run; empty if nothing is.

    Raises:
        GridError: its folder holds a run with other settings.
    """
    path = grid.folder(root, run) / RECORD
    if not path.exists():
        return {}
    record = json.loads(path.read_text())
    if differing := differences(record["settings"], grid.settings):
        raise GridError(
            f"{path.parent}: was trained with {', '.join(differing)}; give the same settings, or delete the folder"
        )
    return record


def write_record(folder: Path, record: dict) -> None:
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1))


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Settings of theirs that are not ours, as name=value."""
    names = sorted((theirs.keys() | ours.keys()) - NEUTRAL)
    return [f"{name}={theirs.get(name)}" for name in names if theirs.get(name) != ours.get(name)]


# The table


def collect(grid: Grid, root: Path) -> list[dict]:
    """Records of all finished runs with the grid's settings: those here, and those of an earlier result."""
    path, rows = harness.RESULTS / f"{grid.name}.json", list(grid.configs)
    earlier = json.loads(path.read_text())["results"] if path.exists() else {"settings": {}, "runs": []}
    same = [] if differences(earlier["settings"], grid.settings) else earlier["runs"]
    here = [json.loads(path.read_text()) for path in sorted(root.glob(f"*/*/{RECORD}"))]
    here = [record for record in here if "scores" in record and not differences(record.pop("settings"), grid.settings)]
    done = {(record["row"], record["seed"]): record for record in [*same, *here] if record["row"] in rows}
    return sorted(done.values(), key=lambda record: (rows.index(record["row"]), record["seed"]))


def report(grid: Grid, records: list[dict], part: str) -> None:
    """Write results/GRID.json and the tables of the READMEs, and print this one."""
    if not records:
        print("nothing is done yet: no table", file=sys.stderr)
        return
    paper = yaml.safe_load((HERE / "paper.yaml").read_text(encoding="utf-8"))[grid.package][part]
    table = {}
    for row, config in grid.configs.items():
        runs = [record for record in records if record["row"] == row]
        if runs:
            scores = {name: over_seeds(runs, name) for name in runs[0]["scores"]}
            seeds = [run["seed"] for run in runs]
            table[row] = {"what": headline(config), "seeds": seeds, "scores": scores, "paper": in_paper(paper, row)}
    settings = {name: value for name, value in grid.settings.items() if name not in NEUTRAL}
    measured = sum(len(row["seeds"]) >= 3 for row in table.values())
    goals = [harness.goal(f"rows with at least three seeds, of {len(grid.configs)}", measured, len(grid.configs))]
    path = harness.save(grid.name, {"settings": settings, "table": table, "runs": records}, goals, VERSIONS)
    tables.write_all()
    print(f"\n{tables.of_result(grid.name).text(json.loads(path.read_text()))}")


def headline(config: str) -> str:
    """What a config says of itself in its first line."""
    return Path(config).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def over_seeds(runs: list[dict], score: str) -> dict[str, Any]:
    """Mean and deviation of a score over the runs, and an interval over songs where each of these has been scored."""
    summary: dict[str, Any] = mean_and_deviation([run["scores"][score] for run in runs])
    songs = [run.get("songs", {}).get(score, {}) for run in runs]
    if all(songs):
        per_song = [statistics.mean(values[song] for values in songs) for song in songs[0]]
        summary["interval"] = [round(end, 5) for end in bootstrap_interval(per_song)[1:]]
    return summary


def mean_and_deviation(values: list[float]) -> dict[str, float | None]:
    """Of a sample: None is the deviation of one value."""
    deviation = round(statistics.stdev(values), 5) if len(values) > 1 else None
    return {"mean": round(statistics.mean(values), 5), "deviation": deviation}


def in_paper(paper: dict[str, dict], row: str) -> dict[str, Any]:
    """What the first sheet of paper.yaml that knows the row says of it; empty if none does."""
    for training, sheet in paper.items():
        if row in sheet["rows"]:
            scores = dict(sheet["rows"][row])
            return {"row": scores.pop("name"), "training": training, "source": sheet["source"], "scores": scores}
    return {}


if __name__ == "__main__":
    sys.exit(main())
