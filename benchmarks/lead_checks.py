"""What a lead detector must be able to learn before music: songs of plain tones whose lead is known by construction.

`python -m benchmarks.lead_checks` trains networks of a size for CI, some minutes in all on one core, and writes
results/lead-checks.json: who leads among 2 to 5 tracks, and among more than training had; whether the place of a track
is learnt instead of its sound (the paper's permutation); what levels are worth where nothing else tells; and nobody.
The record also has what `benchmarks.lead_use` checks: the use of what was trained.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.harness import goal, pin_threads, save
from benchmarks.lead_use import check_features, check_songs, round_trip
from common.encoders import LogMelEncoder
from common.evaluation.labels import accuracy, null_scores
from common.loading import make_budget_loader
from common.schedules import warmup_cosine
from lead_detection.clips import Augmentation, Norm
from lead_detection.data import RandomClips, Shape, Windows, collate
from lead_detection.heads import AttentionHead, PointerHead
from lead_detection.inference import Model, detect
from lead_detection.loss import cross_entropy
from lead_detection.model import LeadDetector
from lead_detection.optimizer import parameter_groups
from lead_detection.streams import Source, Stems
from lead_detection.synthetic import SyntheticSettings, synthetic_songs
from lead_detection.validation import told

WINDOW = 2.0  # seconds of a clip
BUDGET = 24  # tracks and mixtures in a batch
STEPS = 500
MAX_TRACKS = 9  # of heads whose classes are places: eight and the mixture
PLAIN = Augmentation(
    permute=True,
    min_tracks=99,
    max_tracks=0,
    null_p=0.0,
    drop_p=0.0,
    merge_p=0.0,
    gain_db=0.0,
    bleed_p=0.0,
    polarity=False,
    effects_p=0.0,
    instrument_dropout=0.0,
)
TONES = SyntheticSettings(n_train=1000, n_test=60, seconds=4.0)


ENCODER: dict[str, Any] = {"dim": 48, "channels": [8, 12, 16], "dilations": [1, 2], "n_mels": 40}
POINTER: dict[str, Any] = {"hidden": 48, "dilations": [1, 4]}


def pointer(level_features: bool = True) -> LeadDetector:
    """Our head on a small encoder, of a size for CI."""
    return small(partial(PointerHead, **POINTER, level_features=level_features))


def places() -> LeadDetector:
    """The paper's head, whose classes are places, with masked padding, a norm that learns, and little dropout."""
    options = {"max_tracks": MAX_TRACKS, "n_heads": 8, "out_dropout": 0.1, "ln_trainable": True, "mask_padding": True}
    return small(partial(AttentionHead, **options))


def small(head: Callable[[int], nn.Module]) -> LeadDetector:
    torch.manual_seed(0)
    return LeadDetector(LogMelEncoder(**ENCODER), head)


def shape(net: LeadDetector) -> Shape:
    n_frames = int(net.grid.frames(WINDOW))
    return Shape(net.grid, n_frames, net.n_samples(n_frames))


def train(
    net: LeadDetector,
    settings: SyntheticSettings,
    steps: int = STEPS,
    permute: bool = True,
    norm: Norm = "song_peak",
    lr: float = 0.003,
) -> LeadDetector:
    """Train a network on songs of these settings, and put it into evaluation mode."""
    songs = synthetic_songs(settings, "train", net.grid.sample_rate)
    dataset = RandomClips(songs, shape(net), replace(PLAIN, permute=permute), norm=norm)
    optimizer = torch.optim.AdamW(parameter_groups(net, {"": {"lr": lr}}, decay_all=False), weight_decay=0.01)
    schedule = LambdaLR(optimizer, warmup_cosine(steps // 10, steps))
    net.train()
    for batch in make_budget_loader(dataset, collate, BUDGET, steps):
        optimizer.zero_grad()
        logits = net(batch["audio"], batch["clip"], batch["instrument"], batch["mixture"])
        cross_entropy(logits, batch["lead"]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return net.eval()


@dataclass(frozen=True)
class Answers:
    """True and likeliest class of each frame, one array for each clip."""

    truth: list[np.ndarray]
    estimate: list[np.ndarray]

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate(self.truth), np.concatenate(self.estimate)

    def accuracy(self) -> float:
        truth, estimate = self.pooled()
        return accuracy(truth, estimate)

    def null(self) -> dict[str, float]:
        return null_scores(*self.pooled())


@torch.no_grad()
def ask(net: LeadDetector, settings: SyntheticSettings, norm: Norm = "song_peak") -> Answers:
    """What a network says of the test songs of these settings."""
    dataset = Windows(synthetic_songs(settings, "test", net.grid.sample_rate), shape(net), WINDOW, norm=norm)
    truth, estimate = [], []
    for batch in make_budget_loader(dataset, collate, BUDGET, None):
        logits = net(batch["audio"], batch["clip"], batch["instrument"], batch["mixture"])
        for row, lead, _ in told(logits, batch, net.classifies):
            truth.append(lead)
            estimate.append(row.argmax(axis=1))
    return Answers(truth, estimate)


def check_lead(steps: int = STEPS) -> tuple[dict, list]:
    """14: who leads among as many tracks as training had, and among more."""
    many = replace(TONES, min_tracks=6, max_tracks=8)
    results = {}
    for name, make in (("pointer", pointer), ("places", places)):
        net = train(make(), TONES, steps)
        results[name] = {"2-5 tracks": ask(net, TONES).accuracy(), "6-8 tracks": ask(net, many).accuracy()}
    return results, [
        goal(f"frame accuracy of the pointer, {steps} steps, 2-5 tracks", results["pointer"]["2-5 tracks"], 0.97),
        goal("the same for 6-8 tracks", results["pointer"]["6-8 tracks"], 0.95),
        goal(
            "what a head of places loses there and the pointer does not",
            results["pointer"]["6-8 tracks"] - results["places"]["6-8 tracks"],
            at_least=0.05,
        ),
    ]


def check_shortcut(steps: int = STEPS) -> tuple[dict, list]:
    """15: in training the first track leads, in the test any."""
    first = replace(TONES, first_p=1.0)
    contenders = {"pointer": (pointer, False), "places, permuted": (places, True), "places": (places, False)}
    results = {
        name: ask(train(make(), first, steps, permute), TONES).accuracy()
        for name, (make, permute) in contenders.items()
    }
    return results, [
        goal("the first always led: accuracy of the pointer where any leads", results["pointer"], at_least=0.95),
        goal("of a head of places with permuted tracks", results["places, permuted"], at_least=0.95),
        goal("of the same without permutation", results["places"], at_most=0.6),
    ]


def check_level(steps: int = STEPS) -> tuple[dict, list]:
    """16: two tracks of one timbre play tunes, and the one leads that is 12 dB louder."""
    twins = replace(TONES, twins_db=12.0)
    results = {
        "levels": ask(train(pointer(), twins, steps), twins).accuracy(),
        "without level features": ask(train(pointer(level_features=False), twins, steps), twins).accuracy(),
    }
    peaked: Norm = "stem_peak"
    results["stems normalised"] = ask(train(pointer(), twins, steps, norm=peaked), twins, peaked).accuracy()
    return results, [goal("twins told apart by level: accuracy", results["levels"], at_least=0.95)]


def check_nobody(steps: int = STEPS) -> tuple[dict, list]:
    """17: accompaniment, drums alone and silence have no lead; nor has a song that is silent throughout."""
    quiet = replace(TONES, null_p=0.4, drums_p=0.5, silent_p=0.15)
    net = train(pointer(), quiet, steps)
    results: dict[str, Any] = dict(ask(net, quiet).null())
    silence = Stems.open([Source(str(i), np.zeros(24_000 * 20, np.float32), 24_000) for i in range(3)])
    segments = detect(Model(net), silence, [0, 0, 0]).segments
    results["segments of silence"] = [(row["start"], row["end"], int(row["track"])) for row in segments]
    return results, [
        goal("nobody leads: recall", results["null_recall"], at_least=0.95),
        goal("nobody leads: precision", results["null_precision"], at_least=0.95),
        goal("a silent song is one segment of nobody", float(results["segments of silence"] == [(0.0, 20.0, -1)]), 1.0),
    ]


def check_files(steps: int = STEPS) -> tuple[dict, list]:
    """20: from files to files through the command line."""
    parts = {"encoder": ("LogMelEncoder", ENCODER), "head": ("PointerHead", POINTER)}
    init_args = {part: {"class_path": name, "init_args": args} for part, (name, args) in parts.items()}
    return round_trip(train(pointer(), TONES, steps), init_args)


LEARNT = {
    "lead": check_lead,
    "shortcut": check_shortcut,
    "level": check_level,
    "nobody": check_nobody,
    "files": check_files,
}
USED = {"songs": check_songs, "features": check_features}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lead_checks", description=(__doc__ or "").split("\n")[0]
    )
    checks = LEARNT | USED
    parser.add_argument("--only", nargs="+", choices=checks, help="print these, and write no record")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of each training (default: {STEPS})")
    options = parser.parse_args(argv)
    results, goals = {}, []
    for name in options.only or checks:
        print(f"{name} ...", flush=True)
        results[name], kept = LEARNT[name](options.steps) if name in LEARNT else USED[name]()
        print(json.dumps(results[name], indent=1), flush=True)
        goals += kept
    if not options.only:
        save("lead-checks", {"steps": options.steps} | results, goals, ["torch", "numpy"])
    return 0


if __name__ == "__main__":
    pin_threads()
    sys.exit(main())
