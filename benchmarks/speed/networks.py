"""The networks alone against Basic Pitch's, without start-up, files and notes: CPU time and memory for 30 s of audio.

`python -m benchmarks.speed.networks` writes results/networks.json and .png. All run in ONNX Runtime on one thread, from
samples at 22,050 Hz to probabilities, in the windows in which each is used, on music of the test split.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import alone, alternate, bars, goal, installed, pin_threads, ratio, save, summary
from benchmarks.speed import peer
from common import corpus
from lightweight_amt.inference import WEIGHTS, activations, load

SECONDS = 30
INSTRUMENTS = "base, instruments"  # with the timbre branch
OURS = [*sorted(path.stem for path in WEIGHTS.glob("*.onnx")), INSTRUMENTS]
BASIC_PITCH = "Basic Pitch"
MOST = {"base": 0.8, "nano": 0.5, INSTRUMENTS: 1.5}  # of Basic Pitch's CPU time: the study's check 13


def network(name: str) -> Callable[[np.ndarray], Any]:
    """A contender, ready for use: it takes audio (time,) float32."""
    if name == BASIC_PITCH:
        _, model = peer.load_peer()
        return partial(peer.activations, predict=model.predict)
    model = load(name.split(",")[0], timbre=name == INSTRUMENTS)
    return lambda audio: list(activations(model, iter([audio])))


def music() -> np.ndarray:
    """The mixtures of the `small` corpus's test split one after the other, as much as is wanted of them."""
    pieces = corpus.build("small").pieces("test")
    return np.concatenate([piece.multitrack().mixture() for piece in pieces[:2]])[: SECONDS * peer.RATE]


def promises(ratios: dict[str, dict[str, float]]) -> list[dict]:
    return [
        goal(f"CPU time of {name} / Basic Pitch's network, {SECONDS} s", ratios[name]["median"], at_most=most)
        for name, most in MOST.items()
    ]


def main() -> None:
    pin_threads()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--alone", help="run one contender and nothing else: for the measure of memory")
    options = parser.parse_args()
    if options.alone:
        network(options.alone)(music())
        return
    if not installed({BASIC_PITCH: "basic_pitch"}):
        sys.exit(2)
    audio, names = music(), [*OURS, BASIC_PITCH]
    times = alternate({name: partial(network(name), audio) for name in names}, options.rounds)
    ratios = {name: ratio(times, name, BASIC_PITCH) for name in OURS}
    command = [sys.executable, "-m", "benchmarks.speed.networks", "--alone"]
    peak = {name: alone([*command, name]).peak_mb for name in names}
    results = {"seconds_of_audio": SECONDS, "times": summary(times), "ratio_to_basic_pitch": ratios, "peak_mb": peak}
    save("networks", results, promises(ratios), ["onnxruntime", "basic-pitch", "numpy"])
    seconds = {name: row["cpu"]["median"] for name, row in results["times"].items()}
    bars("networks", {f"CPU seconds for {SECONDS} s of audio": seconds, "peak memory, MB": peak})


if __name__ == "__main__":
    main()
