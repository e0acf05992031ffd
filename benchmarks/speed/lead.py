"""Lead detection: training on flat ragged batches against padded ones, and what it takes to detect.

`python -m benchmarks.speed.lead` writes results/lead.json and .png. Training is forward, backward and optimiser step of
the default network on clips of 5 s of noise. The padded batch is the authors' layout: every clip has as many tracks as
the largest of its batch, and silent ones are encoded too. Detection is the command on files, in a fresh process.
"""

import argparse
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.harness import alone, alternate, bars, goal, pin_threads, ratio, save, summary
from common.audio import write
from common.encoders import LogMelEncoder
from lead_detection.data import Batch, Item, collate
from lead_detection.heads import PointerHead
from lead_detection.loss import cross_entropy
from lead_detection.model import LeadDetector
from lead_detection.synthetic import SyntheticSettings, synthetic_songs

SECONDS = 5.0
CLIPS = 4  # in a batch, as in the paper
STEPS = 4  # in a round
TRACKS = {"3-8 tracks": (3, 8), "2-26 tracks": (2, 26)}  # the embedded corpus, and MedleyDB
MEAN = 6.6  # of MedleyDB's stems
LENGTHS = (60, 600, 1200)  # seconds of the songs
STEMS, RATE = 4, 44_100  # of them


def main() -> None:
    pin_threads()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", nargs=2, metavar=("LAYOUT", "TRACKS"), help="train so, for its memory, and end")
    options = parser.parse_args()
    if options.alone:
        layout, tracks = options.alone
        Training(tracks)(layout)
        return
    training, goals = measure_training(options.rounds)
    with TemporaryDirectory() as folder:
        detection, detection_goals = measure_detection(Path(folder), min(options.rounds, 3))
    results = {"training": training, "detection": detection}
    save("lead", results, goals + detection_goals, ["torch", "numpy"])
    bars("lead", pictures(results))


def n_tracks(tracks: str, rng: np.random.Generator) -> list[int]:
    """Tracks of each clip of a batch: evenly from the range of the corpus, or skewed as in MedleyDB."""
    low, high = TRACKS[tracks]
    if high <= 8:
        return rng.integers(low, high + 1, CLIPS).tolist()
    return np.clip(np.rint(rng.lognormal(np.log(MEAN) - 0.18, 0.6, CLIPS)), low, high).astype(int).tolist()


def noise(count: int, shape: tuple[int, int], rng: np.random.Generator) -> Item:
    """A clip of so many tracks; shape is (frame, time)."""
    n_frames, n_samples = shape
    audio = 0.1 * rng.standard_normal((count, n_samples), np.float32)
    lead = rng.integers(0, count + 1, n_frames)
    return {"audio": audio, "instrument": np.zeros(count, np.int64), "mixture": audio.sum(axis=0), "lead": lead}


def pad(items: list[Item]) -> list[Item]:
    """The same clips with silent tracks up to the largest number."""
    most = max(len(item["audio"]) for item in items)

    def padded(item: Item) -> Item:
        missing = most - len(item["audio"])
        audio = np.pad(item["audio"], ((0, missing), (0, 0)))
        return {**item, "audio": audio, "instrument": np.pad(item["instrument"], (0, missing))}

    return [padded(item) for item in items]


class Training:
    """A few steps on the same clips, laid out one way or the other; "nothing" makes the batches and trains on none."""

    def __init__(self, tracks: str):
        torch.manual_seed(0)
        self.net = LeadDetector(LogMelEncoder(), PointerHead)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-4)
        n_frames = int(self.net.grid.frames(SECONDS))
        rng = np.random.default_rng(0)
        shape = n_frames, self.net.n_samples(n_frames)
        clips = [[noise(count, shape, rng) for count in n_tracks(tracks, rng)] for _ in range(STEPS)]
        self.encoded = {  # tracks and mixtures
            "ragged": sum(1 + len(item["audio"]) for items in clips for item in items),
            "padded": sum(CLIPS * (1 + max(len(item["audio"]) for item in items)) for items in clips),
        }
        self.layouts: dict[str, list[Batch]] = {
            "ragged": [collate(items) for items in clips],
            "padded": [collate(pad(items)) for items in clips],
            "nothing": [],
        }

    def __call__(self, layout: str) -> None:
        for batch in self.layouts[layout]:
            self.optimizer.zero_grad()
            logits = self.net(batch["audio"], batch["clip"], batch["instrument"], batch["mixture"])
            cross_entropy(logits, batch["lead"]).backward()
            self.optimizer.step()


def measure_training(rounds: int) -> tuple[dict, list]:
    """Clips a CPU second and peak memory, for each range of tracks."""
    results, goals = {}, []
    for tracks in TRACKS:
        training = Training(tracks)
        times = alternate({layout: partial(training, layout) for layout in ("ragged", "padded")}, rounds)
        faster = ratio(times, "padded", "ragged")
        layouts = ("nothing", "ragged", "padded")
        command = [sys.executable, "-m", "benchmarks.speed.lead", "--alone"]
        peak = {layout: alone([*command, layout, tracks]).peak_mb for layout in layouts}
        smaller = (peak["padded"] - peak["nothing"]) / (peak["ragged"] - peak["nothing"])
        spread = summary(times)
        results[tracks] = {
            "clips_per_cpu_second": {name: round(CLIPS * STEPS / spread[name]["cpu"]["median"], 3) for name in times},
            "times": spread,
            "encoded": training.encoded,
            "padded / ragged, CPU time": faster,
            "peak_mb": peak,
            "padded / ragged, memory of training": round(smaller, 3),
        }
        share = training.encoded["padded"] / training.encoded["ragged"]
        goals.append(
            goal(
                f"CPU time of the padded batch / ours, against what it encodes more, {tracks}",
                round(faster["median"] / share, 3),
                at_least=0.8,
            )
        )
        goals.append(goal(f"CPU time of the padded batch / ours, {tracks}", faster["median"], at_least=1.2))
        goals.append(goal(f"memory of the padded batch / ours, {tracks}", round(smaller, 3), at_least=1.0))
    return results, goals


def measure_detection(folder: Path, rounds: int) -> tuple[dict, list]:
    """The command on stems of one, ten and twenty minutes: times real time on one core, and peak memory."""
    results, goals, peaks = {}, [], {}
    for seconds in LENGTHS:
        stems = write_stems(folder / f"{seconds}", seconds)
        command = [sys.executable, "-m", "lead_detection", "detect", str(stems), "-o", str(folder / f"{seconds}.csv")]
        usages = [alone(command) for _ in range(rounds if seconds < 600 else 1)]
        peaks[seconds] = max(usage.peak_mb for usage in usages)
        wall, cpu = (float(np.median([getattr(usage, name) for usage in usages])) for name in ("wall", "cpu"))
        results[f"{seconds} s"] = {
            "seconds": round(wall, 2),
            "cpu_seconds": round(cpu, 2),
            "times_real_time": round(seconds / cpu, 2),  # of one core, whoever else uses the machine
            "peak_mb": round(peaks[seconds], 1),
        }
    results["stems"] = {"number": STEMS, "sample_rate": RATE}
    fast = results["600 s"]["times_real_time"]
    goals.append(goal(f"times real time on one core, 600 s of {STEMS} stems", fast, at_least=20))
    for short, long in pairwise(LENGTHS):
        growth = round(peaks[long] - peaks[short], 1)
        goals.append(goal(f"growth of peak memory from {short} s to {long:,} s, MB", growth, at_most=60))
    return results, goals


def write_stems(folder: Path, seconds: int) -> Path:
    """Plain tones with a lead, as 16-bit WAV files."""
    folder.mkdir()
    settings = SyntheticSettings(seconds=float(seconds), min_tracks=STEMS, max_tracks=STEMS)
    for i, stem in enumerate(synthetic_songs(settings, "test", RATE)[0].multitrack().stems):
        write(folder / f"tone{i}.wav", stem.audio, RATE)
    return folder


def pictures(results: dict) -> dict[str, dict[str, float]]:
    panels = {
        f"training, clips a CPU second, {tracks}": entry["clips_per_cpu_second"]
        for tracks, entry in results["training"].items()
    }
    lengths = {f"{seconds} s": results["detection"][f"{seconds} s"] for seconds in LENGTHS}
    panels["detection, times real time"] = {name: entry["times_real_time"] for name, entry in lengths.items()}
    panels["detection, peak MB"] = {name: entry["peak_mb"] for name, entry in lengths.items()}
    return panels


if __name__ == "__main__":
    main()
