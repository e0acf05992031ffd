"""How good a head is on recordings whose instruments are known, with thresholds from validation alone."""

import csv
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from tqdm import tqdm

from common.datasets.files import DatasetError
from common.evaluation.multilabel import class_scores, f_scores, ranking_scores
from common.predominance import SIZES
from common.storage import replacing
from diffusion_pir.audio_windows import as_audio
from diffusion_pir.backbones import Backbone
from diffusion_pir.decode import Rule
from diffusion_pir.features import Windows
from diffusion_pir.inference import Recogniser, load
from diffusion_pir.judge import Decision, Heard, choose, judge
from diffusion_pir.labelled import open_labelled
from diffusion_pir.melstore import Clip, MelStore, multi_hot
from diffusion_pir.probe_sets import open_store
from diffusion_pir.streams import BATCH
from diffusion_pir.windows import ClipWindows


def said_of(model: Recogniser, store: MelStore, clips: Sequence[Clip]) -> Heard:
    """What a model says of the windows of clips, 1 s apart, and which of its classes they are labelled with."""
    cut = ClipWindows(store, clips, model.frames)
    windows = windows_for(model.backbone, cut)
    batches = np.split(np.arange(len(cut.ids)), range(BATCH, len(cut.ids), BATCH))
    said = [model(windows.load(rows), [cut.ids[row] for row in rows]) for rows in tqdm(batches, leave=False)]
    return Heard(np.concatenate(said), cut.clip, multi_hot([clip.labels for clip in clips], model.classes))


def windows_for(backbone: Backbone, windows: Windows) -> Windows:
    """Windows of log-mels as a backbone takes them."""
    return as_audio(windows, backbone.sample_rate) if backbone.takes == "audio" else windows


def clips_of(store: MelStore, split: str | None) -> list[Clip]:
    """The clips to be scored: of a split, or if none is named the test clips, or all where there are none.

    Raises:
        DatasetError: the split is empty.
    """
    found = store.clips(split) if split else store.clips("test") or store.clips()
    if not found:
        raise DatasetError.about(store.folder, f"no clips in the {split} split; choose another with --split")
    return found


def decisions(model: Recogniser, store: MelStore, judged: Sequence[Clip]) -> dict[str, Decision]:
    """By who chose them: the one that came with the head, and both rules as the validation split chooses.

    Of validation only clips count that are at least as long as those that are judged; a window decides otherwise than
    an excerpt. Where there are none, or they are judged themselves, nothing is chosen.
    """
    shortest = min(clip.n_frames for clip in judged)
    validation = [clip for clip in store.clips("validation") if clip.n_frames >= shortest and clip not in judged]
    found = {f"head, {model.decision.rule}": model.decision}
    if validation:
        heard = said_of(model, store, validation)
        found |= {f"validation, {rule}": choose(heard, rule, calibrated=True) for rule in get_args(Rule)}
    return found


def check_labels(clips: Sequence[Clip], classes: Sequence[str], path: Path | str) -> None:
    """Tells of labels that a head does not know, and refuses what has no other.

    Raises:
        DatasetError: no clip has a label that the head knows.
    """
    labels = {label for clip in clips for label in clip.labels}
    if not labels & set(classes):
        raise DatasetError.about(path, f"has no label that the head knows; it knows {', '.join(classes)}")
    if unknown := sorted(labels - set(classes)):
        print(f"warning: labels that the head does not know do not count: {', '.join(unknown)}", file=sys.stderr)


def table_of(heard: Heard, scores: np.ndarray, estimate: np.ndarray, classes: Sequence[str]) -> str:
    """Precision, recall and F of each class and of all, in lines."""
    each = class_scores(heard.labels, estimate)
    width = max(len("micro"), *map(len, classes))
    lines = [f"{'':{width}} {'clips':>6} {'precision':>10} {'recall':>7} {'F':>6}"]
    rows = zip(classes, each["n_clips"], each["precision"], each["recall"], each["f1"], strict=True)
    lines += [f"{name:{width}} {n:6d} {p:10.3f} {r:7.3f} {f:6.3f}" for name, n, p, r, f in rows]
    averages, ranking = f_scores(heard.labels, estimate), ranking_scores(heard.labels, scores)
    for name in ("micro", "macro"):
        precision, recall, f1 = (averages[f"{name}_{what}"] for what in ("precision", "recall", "f1"))
        lines.append(f"{name:{width}} {len(estimate):6d} {precision:10.3f} {recall:7.3f} {f1:6.3f}")
    return "\n".join([*lines, f"LRAP {ranking['lrap']:.3f}, mAP {ranking['map']:.3f}"])


def run(options: Namespace) -> int:
    """Score, tell and write.

    Raises:
        ValueError: no such model or head, or data that cannot be used.
    """
    model = load(options.model, options.head, options.device)
    store = open_store(options.data) if options.data in SIZES else open_labelled(options.data, options.cache)
    clips = clips_of(store, options.split)
    check_labels(clips, model.classes, options.data)
    heard = said_of(model, store, clips)
    rows: list[dict[str, Any]] = []
    for name, decision in decisions(model, store, clips).items():
        chooser, rule = name.split(", ")
        thresholds = " ".join(f"{threshold:.2f}" for threshold in decision.thresholds)
        row = {"chosen_by": chooser, "rule": rule, "thresholds": thresholds, "clips": len(clips)}
        rows.append(row | {key: round(value, 4) for key, value in judge(decision, heard, model.classes).items()})
    scores = model.decision.scores(heard.logits, heard.excerpt, len(clips))
    estimate = model.decision(scores)
    print(table_of(heard, scores, estimate, model.classes))
    for row in rows:
        print("thresholds of the {chosen_by}, {rule}: micro-F {micro:.3f}, macro-F {macro:.3f}".format(**row))
    if options.csv:
        write_csv(options.csv, rows)
    if options.json:
        write_json(options.json, options, model, rows, clips, scores, estimate)
    return 0


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(
    path: Path,
    options: Namespace,
    model: Recogniser,
    rows: Sequence[dict[str, Any]],
    clips: Sequence[Clip],
    scores: np.ndarray,
    estimate: np.ndarray,
) -> None:
    """Scores of all decisions, and what the head's own one makes of each clip."""
    document = {
        "version": 1,
        "model": model.backbone.name,
        "head": model.name,
        "data": str(options.data),
        "classes": list(model.classes),
        "scores": list(rows),
        "clips": [
            {
                "id": clip.id,
                "labels": list(clip.labels),
                "estimate": [name for name, there in zip(model.classes, chosen, strict=True) if there],
                "scores": np.round(own, 4).tolist(),
            }
            for clip, own, chosen in zip(clips, scores, estimate, strict=True)
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
