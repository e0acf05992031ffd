"""Features of a diffusion model: what it saves to stop at the tap and to hear all at once, and what a sweep costs.

`python -m benchmarks.speed.diffusion` writes results/diffusion.json and .png. The small network is measured by the
clock on windows of 2 s and the paper's on 1 s, both with random weights, which take as long as others; and the
operations of both are counted. "One pass per tap" means whole passes, as without a way to stop; against passes that
each stop at their tap the gain is smaller, and stands in the results as well.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import alternate, bars, goal, pin_threads, ratio, save, summary
from common.melspec import N_BINS
from diffusion_pir.backbones import DenoiserBackbone
from diffusion_pir.features import FeatureSpec, Listener, extract, hear
from diffusion_pir.model import Denoiser

TAP = "bottleneck_3"  # the last of the layers that the paper finds best
FRAMES = {"small": 100, "base": 50}
WINDOWS = {"small": 8, "base": 1}  # in a batch
SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
PAIRS = {2: (2, 1), 4: (2, 2), 8: (4, 2), 16: (8, 2), 32: (8, 4)}  # (noise levels, draws) of as many forward passes
OPTIONS: dict[str, Any] = {"sigmas": (0.1,), "pool": "mean"}


def main() -> None:
    pin_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", nargs="+", choices=FRAMES, default=[*FRAMES], help="to measure by the clock")
    options = parser.parse_args()
    results: dict[str, Any] = {"operations": {name: count_operations(name) for name in FRAMES}}
    goals = [
        goal(f"{name}, operations of a full pass / up to {TAP}", counted["full / stopped"], at_least=2.7)
        for name, counted in results["operations"].items()
    ]
    for name in options.networks:
        results[name], more = measure_passes(name, options.rounds if name == "small" else min(options.rounds, 3))
        goals += more
    results["sweep"], more = measure_sweep(options.rounds)
    save("diffusion", results, goals + more, ["torch", "diffusers", "numpy"])
    bars("diffusion", pictures(results))


def network(name: str, device: str = "cpu") -> DenoiserBackbone:
    """The network of a configuration, with random weights."""
    config = yaml.safe_load((files("diffusion_pir") / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    with torch.device(device):
        return DenoiserBackbone(Denoiser(**config["model"]["net"]["init_args"]), name)


class Noise:
    """Windows of noise, in place of a store's."""

    def __init__(self, n_windows: int, n_frames: int):
        shape = (n_windows, N_BINS, n_frames)
        self.pictures = np.random.default_rng(0).normal(-4.0, 2.5, shape).astype(np.float32)
        self.ids = [f"noise{i}" for i in range(n_windows)]

    def load(self, rows: np.ndarray) -> np.ndarray:
        return self.pictures[rows]

    def digest(self) -> str:
        return f"noise {self.pictures.shape}"


def passes(backbone: DenoiserBackbone, windows: Noise) -> dict[str, Callable[[], object]]:
    """Ways to take features of a batch."""
    taps = tuple(backbone.taps)

    def take(layers: Sequence[str], stop: bool) -> None:
        for layer in layers:
            hear(backbone, windows.pictures, windows.ids, FeatureSpec((layer,), **OPTIONS), stop)

    return {
        f"stopped at {TAP}": partial(take, (TAP,), True),
        "full": partial(take, (TAP,), False),
        "all taps at once": lambda: hear(backbone, windows.pictures, windows.ids, FeatureSpec(taps, **OPTIONS)),
        "a pass per tap": partial(take, taps, False),
        "a pass per tap, each stopped": partial(take, taps, True),
    }


def count_operations(name: str) -> dict[str, float]:
    """Operations in 1e9 of a window of 2 s, and their ratios."""
    denoiser = network(name, "meta").denoiser
    with torch.device("meta"):
        x, t = torch.zeros(1, N_BINS, 100), torch.zeros(1, dtype=torch.int64)

    def count(layers: Sequence[str]) -> float:
        with FlopCounterMode(display=False) as counter:
            forward_up_to(denoiser, layers, x, t)
        return counter.get_total_flops() / 1e9

    taps = tuple(denoiser.taps)
    full, stopped, at_once = count(()), count((TAP,)), count(taps)
    return {
        "full": round(full, 3),
        f"stopped at {TAP}": round(stopped, 3),
        "full / stopped": round(full / stopped, 3),
        "all taps at once": round(at_once, 3),
        "a pass per tap / all at once": round(len(taps) * full / at_once, 3),
        "a pass per tap, each stopped / all at once": round(sum(count((tap,)) for tap in taps) / at_once, 3),
    }


@torch.inference_mode()
def forward_up_to(denoiser: Denoiser, layers: Sequence[str], x: torch.Tensor, t: torch.Tensor) -> None:
    """A pass that ends behind the last of some layers; without one, a whole pass."""
    modules = {layer: denoiser.get_submodule(denoiser.taps[layer]) for layer in layers}
    if not modules:
        denoiser(x, t)
        return
    with Listener(modules, lambda output: output) as listener:
        listener(lambda: denoiser(x, t))


def measure_passes(name: str, rounds: int) -> tuple[dict, list]:
    """CPU time of each way to take features, and what is promised of them."""
    times = alternate(passes(network(name), Noise(WINDOWS[name], FRAMES[name])), rounds)
    stopped = ratio(times, "full", f"stopped at {TAP}")
    at_once = ratio(times, "a pass per tap", "all taps at once")
    results = {
        "times": summary(times),
        "windows": WINDOWS[name],
        "frames": FRAMES[name],
        "full / stopped": stopped,
        "a pass per tap / all at once": at_once,
        "a pass per tap, each stopped / all at once": ratio(times, "a pass per tap, each stopped", "all taps at once"),
    }
    return results, [
        goal(f"{name}, CPU time of a full pass / up to {TAP}", stopped["median"], at_least=2.7),
        goal(f"{name}, CPU time of one pass per tap / all taps from one pass", at_once["median"], at_least=4.0),
    ]


def measure_sweep(rounds: int) -> tuple[dict, list]:
    """What features cost over noise levels x draws: CPU time of each forward pass, relative to that of a few."""
    backbone, windows = network("small"), Noise(4, FRAMES["small"])
    layers = tuple(backbone.taps)

    def run(n_sigmas: int, draws: int) -> None:
        extract(backbone, windows, FeatureSpec(layers, SIGMAS[:n_sigmas], draws))

    times = alternate({str(pairs): partial(run, *counts) for pairs, counts in PAIRS.items()}, rounds)
    fewest, most = str(min(PAIRS)), str(max(PAIRS))
    growth = ratio(times, most, fewest)
    expected = max(PAIRS) / min(PAIRS)
    per_pass = {pairs: usage["cpu"]["median"] / int(pairs) for pairs, usage in summary(times).items()}
    results = {"times": summary(times), "cpu_seconds_per_pass": per_pass, f"{most} / {fewest} passes": growth}
    told = f"cost of {expected:g}x as many noise levels x draws / {expected:g}"
    return results, [goal(told, round(growth["median"] / expected, 3), at_most=1.1)]


def pictures(results: dict) -> dict[str, dict[str, float]]:
    panels = {
        f"{name}, CPU seconds": {way: usage["cpu"]["median"] for way, usage in results[name]["times"].items()}
        for name in FRAMES
        if name in results
    }
    passes = results["sweep"]["cpu_seconds_per_pass"]
    return panels | {"sweep, CPU seconds a pass": {f"{n} noise levels x draws": value for n, value in passes.items()}}


if __name__ == "__main__":
    main()
