"""A head for the user's own classes on a frozen diffusion model: features, cross-validation, and one file to keep."""

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from common.datasets.files import DatasetError
from common.evaluation.multilabel import f_scores
from diffusion_pir import inference
from diffusion_pir.backbones import Backbone, open_backbone
from diffusion_pir.bank import POOLS
from diffusion_pir.evaluate import table_of, windows_for
from diffusion_pir.feature_cache import FeatureCache
from diffusion_pir.features import FeatureSpec
from diffusion_pir.heads import HEADS, Head
from diffusion_pir.inference import Recogniser
from diffusion_pir.judge import Decision, Heard, choose
from diffusion_pir.labelled import open_labelled
from diffusion_pir.melstore import Clip
from diffusion_pir.probe import FitSettings, Split, fit_head, predict
from diffusion_pir.probe_sets import Part, part_of
from diffusion_pir.tables import Table

LAYERS = ("bottleneck_2", "up_1")  # of our own networks, if none are named: those of the shipped head
STOP_PARTS = 7  # of the recordings that are learnt from, one of so many says when to stop


@dataclass(frozen=True, eq=False)
class Study:
    """Labelled windows, what a backbone hears in them, and how heads are fitted to it."""

    part: Part
    features: Sequence[Table]
    kind: str
    settings: FitSettings
    seed: int = 0
    device: str = "cpu"

    def fit(self, clips: np.ndarray) -> Head:
        """A head that has learnt from these clips, (clip,) indices; a part of their recordings says when to stop."""
        groups = [self.part.groups[clip] for clip in clips]
        stopping = clips[deal(groups, self.part.labels[clips], STOP_PARTS, self.seed) == 0]
        learning = np.setdiff1d(clips, stopping)
        split = Split(
            np.flatnonzero(np.isin(self.part.clip, learning)), np.flatnonzero(np.isin(self.part.clip, stopping))
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            head = HEADS[self.kind](sum(table.shape[1] for table in self.features), self.part.labels.shape[1])
        labels = self.part.labels[self.part.clip]
        return fit_head(head, self.features, labels, split, self.settings, self.seed, self.device)

    def cross_validate(self, fold: np.ndarray) -> Heard:
        """What is said of each clip by a head that has heard none of its fold.

        Args:
            fold: of each clip.
        """
        logits = np.zeros((len(self.part.clip), self.part.labels.shape[1]), np.float32)
        for k in tqdm(np.unique(fold).tolist(), "cross-validation", unit="fold", leave=False):
            rows = np.flatnonzero(fold[self.part.clip] == k)
            logits[rows] = predict(self.fit(np.flatnonzero(fold != k)), self.features, rows, self.device)
        return self.part.heard(logits)


def deal(groups: Sequence[str], labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Deals recordings out to n parts of about one size and with about the same labels, int64 (clip,) 0 to n - 1.

    Args:
        groups: recording of each clip, of which none is divided.
        labels: (clip, class).
        n: parts; those beyond the number of recordings are empty.
        seed: of the draw.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    union = np.zeros((len(names), labels.shape[1]), bool)
    np.logical_or.at(union, group, labels.astype(bool))
    drawn = np.random.default_rng(seed).permutation(len(names))
    order = drawn[np.lexsort(union[drawn].T)]  # those with the same labels together, by chance among themselves
    part = np.empty(len(names), np.int64)
    part[order] = np.arange(len(names)) % n
    return part[group]


def check_clips(clips: Sequence[Clip], classes: Sequence[str], path: Path) -> None:
    """Refuses what no head can be learnt from and judged by.

    Raises:
        DatasetError: there is one class, or a class of which there is one recording.
    """
    if len(classes) < 2:
        raise DatasetError.about(path, f"has one class, {', '.join(classes)}; give what it is to be told from")
    for name in classes:
        groups = {clip.group for clip in clips if name in clip.labels}
        if len(groups) < 2:
            raise DatasetError.about(path, f"has {len(groups)} recordings of {name}; give two or more, or leave it out")


def cross_scores(heard: Heard, fold: np.ndarray, rule: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scores and label sets (clip, class) of clips, where those of a fold are decided on by what the others chose."""
    scores, estimate = np.zeros(heard.labels.shape), np.zeros(heard.labels.shape, bool)
    for k in np.unique(fold).tolist():
        decision = choose(only(heard, np.flatnonzero(fold != k)), rule, calibrated=True)
        mine = np.flatnonzero(fold == k)
        asked = only(heard, mine)
        scores[mine] = decision.scores(asked.logits, asked.excerpt, len(mine))
        estimate[mine] = decision(scores[mine])
    return scores, estimate


def only(heard: Heard, clips: np.ndarray) -> Heard:
    """What is said of some of the clips, (clip,) ascending indices."""
    rows = np.flatnonzero(np.isin(heard.excerpt, clips))
    return Heard(heard.logits[rows], np.searchsorted(clips, heard.excerpt[rows]), heard.labels[clips])


def constant(heard: Heard) -> Heard:
    """The floor: the share of clips that have a class, said of every clip."""
    often = heard.labels.mean(axis=0).clip(1e-3, 1.0 - 1e-3)
    return replace(heard, logits=np.tile(np.log(often / (1.0 - often)), (len(heard.logits), 1)))


def features_of(backbone: Backbone, part: Part, spec: FeatureSpec, root: Path) -> list[Table]:
    """What the backbone hears, taken once and kept.

    Raises:
        FeatureError: the backbone has no such layer.
    """
    windows = windows_for(backbone, part.windows)
    cache = FeatureCache(root, backbone, windows, spec, "float32")  # holds any layer's values; a user's data is small
    cache.extract()
    return [cache[cell] for cell in spec.cells]


def run(options: Namespace) -> int:
    """Train, tell how good it is on recordings that it has not heard, and keep it.

    Raises:
        ValueError: data or a model that cannot be used.
    """
    if options.out.suffix != ".safetensors":
        raise ValueError(f"{options.out}: name the head with .safetensors")
    backbone = open_backbone(options.model, options.device)
    root = Path(options.cache or os.environ.get("TUTTI_DATA", "data"))
    store = open_labelled(options.data, root / "labelled")
    clips = [clip for clip in store.clips() if clip.split != "test"]
    check_clips(clips, store.classes, options.data)
    part = part_of(store, clips)
    layers = options.layers or [layer for layer in LAYERS if layer in backbone.taps] or backbone.taps
    spec = FeatureSpec(tuple(layers), options.sigmas, options.draws, POOLS[options.kind])
    features = features_of(backbone, part, spec, root / "features")
    study = Study(part, features, options.kind, FitSettings(epochs=options.epochs), options.seed, options.device)
    n_groups = len(set(part.groups))
    fold = deal(part.groups, part.labels, min(max(options.folds, 2), n_groups), options.seed)
    heard = study.cross_validate(fold)
    scores, estimate = cross_scores(heard, fold, options.rule)
    print(f"cross-validation, {fold.max() + 1} folds of {n_groups} recordings, {len(clips)} clips:")
    print(table_of(heard, scores, estimate, store.classes))
    floor = f_scores(heard.labels, cross_scores(constant(heard), fold, options.rule)[1])
    print(f"the same answer for every clip would reach micro-F {floor['micro_f1']:.3f}")
    decision = choose(heard, options.rule, calibrated=True)
    head = study.fit(np.arange(len(clips)))
    keep(options, backbone, head, spec, decision, store.classes, f_scores(heard.labels, estimate))
    return 0


def keep(
    options: Namespace,
    backbone: Backbone,
    head: Head,
    spec: FeatureSpec,
    decision: Decision,
    classes: Sequence[str],
    scores: dict[str, float],
) -> None:
    """Write the head, and say how to use it."""
    model = Recogniser(backbone, head.cpu(), spec, decision, tuple(classes), options.name or options.out.stem)
    dtype = torch.float16 if options.half else None
    rounded = {name: round(value, 4) for name, value in scores.items()}
    inference.save(options.out, model, dtype, cross_validation=rounded)
    shipped = options.model == backbone.name
    named = "" if shipped else f" --model {options.model}"
    print(f"{options.out} written; use it with: python -m diffusion_pir recognise --head {options.out}{named} FILES")
