"""`python -m lightweight_amt calibrate`: what is fitted on validation pieces once the weights are there.

What singing asks of the decoder is for `singing`, which restrikes to believe for `thresholds`; how loudness becomes
velocity is fitted here.

The stems of the corpus are brought to levels that say nothing of the touch, as are the tracks of any record. So the
differences between the notes of one stem are fitted, and judged.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from tqdm import tqdm

from common import audio as sound
from common import corpus as corpora
from common.evaluation.notes import match_notes, note_scores
from common.notes import Notes
from common.storage import replacing
from lightweight_amt.decode import NoteDecoder
from lightweight_amt.inference import WEIGHTS, Model, activations, load
from lightweight_amt.singing import choose
from lightweight_amt.targets import merge_unisons
from lightweight_amt.thresholds import learn
from lightweight_amt.velocity import Loudness, VelocityRule, evidence

# Entry of a model's card -> what fits it; each listens with what the ones before it have stored.
FITS: dict[str, Callable[[Model, corpora.Corpus], tuple[Any, dict[str, Any]]]] = {"decode": choose, "restrikes": learn}


@dataclass(frozen=True, eq=False)
class Heard:
    """A piece: the notes that were found, with the decoder's velocities and their loudness, and those that are in it.

    `pairs` (match, 2) holds the indices of a note of the truth, whose track is the stem, and of the same note as found.
    """

    notes: Notes
    loudness: np.ndarray
    truth: Notes
    pairs: np.ndarray


def hear(piece: corpora.Piece, model: Model) -> Heard:
    audio = sound.conform(piece.multitrack().mixture(), piece.sample_rate, model.grid.sample_rate)
    decoder, loudness = NoteDecoder(model.settings, model.grid), Loudness()
    for part in activations(model, iter([audio])):
        decoder.push(**{name: part[name] for name in model.outputs})
        loudness.push(part["frame"], part["log_energy"], part["level"])
    notes, truth = decoder.finish(), piece.notes.tuned()
    pairs = match_notes(truth.intervals, truth.hz, notes.intervals, notes.hz, offset_ratio=None)
    return Heard(notes, loudness.of(notes, model.grid), truth, pairs)


def stems(heard: list[Heard]) -> np.ndarray:
    """Which stem of which piece plays each matched note of all pieces, (match,)."""
    tracks = [i * 1000 + piece.truth.track[piece.pairs[:, 0]].astype(np.int64) for i, piece in enumerate(heard)]
    return np.concatenate(tracks)


def played(heard: list[Heard]) -> np.ndarray:
    """Velocity of each matched note of all pieces, (match,)."""
    return np.concatenate([piece.truth.velocity[piece.pairs[:, 0]] for piece in heard]).astype(np.float64)


def centred(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Values (row, ...) without the mean of their group (row,)."""
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), *values.shape[1:]))
    np.add.at(sums, index, values)
    return values - (sums.T / count).T[index]


def fit(heard: list[Heard]) -> VelocityRule:
    """Least squares over the differences between the notes of each stem; the centre then is that of all velocities."""
    columns = np.concatenate([evidence(piece.notes, piece.loudness)[piece.pairs[:, 1]] for piece in heard])
    velocity, stem = played(heard), stems(heard)
    weights = np.linalg.lstsq(centred(columns, stem), centred(velocity, stem), rcond=None)[0]
    centre = np.mean(velocity - columns @ weights)
    return VelocityRule(*np.round([centre, *weights], 3).tolist())


def score(heard: list[Heard], velocity_of: Callable[[Heard], np.ndarray]) -> dict[str, Any]:
    """How well velocities agree with those that were played.

    Over the matched notes, without the mean of their stem or of their piece: correlations (of values, of ranks), mean
    absolute error, and that of who always says the mean. And the mean over pieces of note F with offset and velocity.
    """
    estimates = [velocity_of(piece) for piece in heard]
    told = np.concatenate([values[piece.pairs[:, 1]] for values, piece in zip(estimates, heard, strict=True)])
    truth, stem = played(heard), stems(heard)
    scores: dict[str, Any] = {"notes": len(told)}
    for name, group in {"stem": stem, "piece": stem // 1000}.items():
        ours, theirs = centred(told.astype(np.float64), group), centred(truth, group)
        scores[f"within_{name}"] = {
            "pearson": round(float(np.corrcoef(ours, theirs)[0, 1]), 3),
            "spearman": round(float(np.corrcoef(rankdata(ours), rankdata(theirs))[0, 1]), 3),
            "mean_absolute_error": round(float(np.abs(ours - theirs).mean()), 2),
            "of_the_mean": round(float(np.abs(theirs).mean()), 2),
        }
    f1 = [
        note_scores(merge_unisons(piece.truth), piece.notes.replace(velocity=values))["note_offset_velocity_f1"]
        for values, piece in zip(estimates, heard, strict=True)
    ]
    return scores | {"note_offset_velocity_f1": round(float(np.mean(f1)), 4)}


def compare(heard: list[Heard], rule: VelocityRule) -> dict[str, dict]:
    """The decoder's stand-in and the rule, side by side."""
    return {
        "stand_in": score(heard, lambda piece: piece.notes.velocity),
        "rule": score(heard, lambda piece: rule(piece.notes, piece.loudness)),
    }


def stamp(path: Path, **values: Any) -> None:
    """Write values into the card that an exported .onnx or .safetensors file carries; the network stays as it is."""
    if path.suffix == ".onnx":
        import onnx

        model = onnx.load(path)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        properties["tutti"] = json.dumps(json.loads(properties["tutti"]) | values)
        onnx.helper.set_model_props(model, properties)
        with replacing(path) as temporary:
            onnx.save(model, temporary)
        return
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- it is no mapping
    metadata["extra"] = json.dumps(json.loads(metadata["extra"]) | values)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def stamp_both(onnx_path: Path, **values: Any) -> None:
    """`stamp` for the two files of an exported model, or for the one that is there."""
    for path in (onnx_path, onnx_path.with_suffix(".safetensors")):
        if path.is_file():
            stamp(path, **values)


def calibrate_entry(entry: str, onnx_path: Path, corpus: corpora.Corpus) -> dict[str, Any]:
    """Fit an entry of a model's card (a key of `FITS`) on the validation pieces, write it into its files, and score it.

    Raises:
        ValueError: no such model.
    """
    fitted, results = FITS[entry](load(onnx_path), corpus)
    stamp_both(onnx_path, **{entry: asdict(fitted)})
    return results


def calibrate(onnx_path: Path, corpus: corpora.Corpus) -> dict[str, Any]:
    """Fit the rule of a model on the validation pieces, write it into its files, and score it on the test pieces.

    Raises:
        ValueError: no such model, or an old one that tells no energies.
    """
    model = load(onnx_path)
    if not model.tells_energy:
        raise ValueError(f"{onnx_path}: an old graph that tells no log energies; export the weights again")

    def hear_all(split: str) -> Iterable[Heard]:
        return (hear(piece, model) for piece in tqdm(corpus.pieces(split), desc=split, unit="piece"))

    validation = list(hear_all("validation"))
    rule = fit(validation)
    stamp_both(onnx_path, velocity=asdict(rule))
    return {
        "model": model.name,
        "corpus": corpus.folder.name,
        "rule": asdict(rule),
        "validation": compare(validation, rule),
        "test": compare(list(hear_all("test")), rule),
    }


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightweight_amt calibrate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", default="base", help="a shipped one, or an exported .onnx file (default: base)")
    parser.add_argument("--corpus", default="full", choices=corpora.SIZES, help="size (default: full)")
    parser.add_argument("--soundfont", action="append", default=[], help="SF2 files, as in training; may be repeated")
    parser.add_argument("--out", type=Path, help="also write the rules and all scores as JSON")
    return parser


def calibrate_command(args: list[str]) -> int:
    options = build_parser().parse_args(args)
    path = Path(options.model) if options.model.endswith(".onnx") else WEIGHTS / f"{options.model}.onnx"
    try:
        load(path)  # before hours of rendering
        corpus = corpora.build(options.corpus, soundfonts=options.soundfont)
        results = {entry: calibrate_entry(entry, path, corpus) for entry in FITS} | {
            "velocity": calibrate(path, corpus)
        }
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))
    return 0
