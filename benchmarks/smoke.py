"""`make train-amt-smoke`: does training work on this machine, and what do the networks cost? Under 90 seconds.

It trains the tiny preset for a few steps through the command line that trains everything, with an offline W&B record,
counts parameters and multiplications, and runs the shipped weights against Basic Pitch, if that is installed (make
setup-bench). All numbers go to results/train-amt-smoke.json. They show that things work, not how well: for that see
eval-amt.json and transcribe.json.
"""

import csv
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.demo import step, train
from benchmarks.harness import goal, installed, ratio, save, summary
from benchmarks.speed.transcribe import MODELS, concatenation, time_commands
from common import corpus
from common.evaluation.pieces import summary as score_summary
from lightweight_amt.baselines import BasicPitch
from lightweight_amt.evaluate import SCORES, score_pieces
from lightweight_amt.inference import load, transcribe
from lightweight_amt.model import NANO, PAPER, Transcriber

STEPS = 30
SECONDS = 10  # of the file that is transcribed
ROUNDS = 1
NETWORKS = {
    "base": Transcriber,
    "nano": partial(Transcriber, **NANO),
    "paper": partial(Transcriber, **PAPER),
    "Basic Pitch": BasicPitch,
}


def main() -> int:
    start = time.monotonic()
    try:
        with step("Rendering the tiny corpus"):
            pieces = corpus.build("tiny").pieces("test")
        with step(f"Training the tiny preset for {STEPS} steps"):
            trained = measure_training(Path(os.environ.get("TUTTI_RUNS", "runs"), "smoke"))
        with step("Counting parameters and multiplications"):
            networks = measure_networks()
        with step("Transcribing"):
            commands, goals = measure_commands(pieces)
            scores = {name: measure_scores(pieces, name) for name in MODELS}
    except (ValueError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = round(time.monotonic() - start, 1)
    results = {"seconds": seconds, "training": trained, "networks": networks, "transcribe": commands, "scores": scores}
    goals = [
        goal("seconds that all of this took", seconds, at_most=90),
        goal(f"note F of the tiny preset after {STEPS} steps, validation", trained["note_f1"], at_least=0.05),
        *goals,
    ]
    save("train-amt-smoke", results, goals, ["torch", "lightning", "onnxruntime", "basic-pitch"])
    return 0


def measure_training(folder: Path) -> dict[str, float]:
    """Scores of the last validation of a short training, and the loss before and after it."""
    run = train(folder, f"--trainer.max_steps={STEPS}")
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss_step"]) for row in rows if row["train/loss_step"]]
    validation = [row for row in rows if row["val/note_f1"]][-1]
    scores = {name: round(float(validation[f"val/{name}"]), 4) for name in SCORES}
    return {"steps": STEPS, "first_loss": losses[0], "last_loss": losses[-1], **scores}


def measure_networks() -> dict[str, dict[str, float]]:
    """Trainable parameters and millions of multiplications for a second of audio, front-end included."""
    nets = {name: build() for name, build in NETWORKS.items()}
    return {
        name: {"parameters": n_parameters(net), "mega_macs_per_second": round(macs_per_second(net) / 1e6, 1)}
        for name, net in nets.items()
    }


def n_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def macs_per_second(net: Any, seconds: float = 10.0) -> float:
    """Multiply-accumulate operations for a second of audio; torch counts two operations for each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, round(seconds * net.grid.sample_rate)))
    return counter.get_total_flops() / 2 / seconds


def measure_commands(pieces: list[corpus.Piece]) -> tuple[dict, list]:
    """CPU time and peak memory of the command, and the ratio to Basic Pitch's."""
    peer = bool(installed({"Basic Pitch": "basic_pitch"}))
    with TemporaryDirectory() as folder:
        path = concatenation(pieces, SECONDS, Path(folder))
        runs = time_commands(path, Path(folder), ROUNDS, peer)
    peak = {name: max(usage.peak_mb for usage in usages) for name, usages in runs.items()}
    results: dict[str, object] = {"audio_seconds": SECONDS, "times": summary(runs), "peak_mb": peak}
    if not peer:
        return results, []
    ratios = {name: ratio(runs, "Basic Pitch", name) for name in MODELS}
    results["cpu_time_of_basic_pitch"] = ratios
    return results, [goal("CPU time of Basic Pitch / ours", ratios["base"]["median"], at_least=1)]


def measure_scores(pieces: list[corpus.Piece], model_name: str) -> dict[str, float]:
    """Mean scores of shipped weights on the test pieces of the tiny corpus."""
    model = load(model_name)
    rows = score_pieces(pieces, partial(transcribe, model=model), model.grid)
    means = score_summary(rows, SCORES)["all"]
    return {name: means[name][0] for name in SCORES}


if __name__ == "__main__":
    sys.exit(main())
