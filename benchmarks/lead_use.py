"""A lead detector as it is used: without a mixture, in windows of any phase, on files, behind a large frozen encoder.

These are checks of `benchmarks.lead_checks`: the shipped weights on songs of three minutes that no training has heard,
a command line around a network trained there, and a transformer as large as MERT-v1-95M, with random weights.
"""

import csv
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.harness import goal
from common import audio as sound
from common import checkpoint, effects
from common.corpus import FIRST_SEED, font_digest
from common.encoders import SSLEncoder
from common.evaluation.labels import accuracy
from common.evaluation.segments import to_frames
from common.loading import make_budget_loader
from common.pieces import Piece, Recipe, make_piece
from common.render import default_soundfont
from lead_detection.__main__ import main
from lead_detection.data import Shape, Windows, collate
from lead_detection.decode import NOBODY, decode
from lead_detection.evaluate import changes
from lead_detection.heads import AttentionHead
from lead_detection.inference import HOP, Model, hear, load
from lead_detection.loss import cross_entropy
from lead_detection.model import LeadDetector
from lead_detection.optimizer import parameter_groups
from lead_detection.songs import EmbeddedSong, Song, rasterise
from lead_detection.streams import Source, Stems
from lead_detection.synthetic import SyntheticSettings, synthetic_songs

SECONDS, N_SONGS = 180.0, 3
OUR_SEEDS = FIRST_SEED["test"] + 1000  # beyond those of the corpora
RATE = 24_000
FADERS_DB = 3.0  # by which a released mixture may have its stems up or down
HOPS = (2.5, 4.0)  # seconds
OUTPUTS = ("--csv", "--json", "--labels")
FORMATS = (("wav", 44_100), ("flac", 48_000), ("mp3", 32_000), ("ogg", 22_050))
LONG_TONES = SyntheticSettings(n_test=1, seconds=60.0, min_tracks=len(FORMATS), max_tracks=len(FORMATS))
MERT_PARAMETERS = 94_371_712
FEW_TONES = SyntheticSettings(n_test=2, seconds=5.0, min_tracks=3, max_tracks=3)


def rendered_songs(folder: Path, count: int = N_SONGS, seconds: float = SECONDS) -> list[EmbeddedSong]:
    """Pieces like those of the corpus "lead", and longer."""
    font = default_soundfont()
    how = (RATE, font_digest(font), font, "ensemble")
    recipes = [Recipe("test", OUR_SEEDS + i, "", seconds, False, *how) for i in range(count)]
    entries = [json.loads(make_piece(recipe, folder).read_text()) for recipe in recipes]
    return [EmbeddedSong(Piece.from_json(folder, entry)) for entry in entries]


def sources(song: Song, n_samples: int) -> list[Source]:
    """The stems of a song up to a sample."""
    multitrack = song.multitrack()
    return [Source(stem.name, stem.audio[:n_samples], multitrack.sample_rate) for stem in multitrack.stems]


def master(song: Song, rng: np.random.Generator) -> np.ndarray:
    """A mixture as it is released: not the sum of the stems, but balanced anew, equalised, compressed and driven."""
    multitrack = song.multitrack()
    mixture = multitrack.gain(rng.uniform(-FADERS_DB, FADERS_DB, len(multitrack.stems))).mixture()
    mixture = effects.random_eq(mixture, multitrack.sample_rate, rng)
    return effects.drive(effects.compress(mixture, multitrack.sample_rate, depth_db=18.0, ratio=3.0), db=6.0)


def distances(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Seconds from each of their boundaries to the nearest of ours; infinite if there is none."""
    if not len(ours):
        return np.full(len(theirs), np.inf)
    return np.abs(theirs[:, None] - ours).min(axis=1)


@dataclass(frozen=True)
class Told:
    """What a user would get of a song."""

    labels: np.ndarray  # int64 (frame,) 0 nobody, 1 + track
    segments: np.ndarray  # of `decode.SEGMENT`


def tell(model: Model, stems: Stems, instruments: Sequence[int], hop: float = HOP) -> Told:
    logits, levels = hear(model, stems, instruments, hop=hop)
    segments, _ = decode(logits, levels, model.grid, stems.duration, model.settings)
    edges, classes = np.append(0.0, segments["end"]), segments["track"].astype(np.int64) - NOBODY
    return Told(to_frames(edges, classes, model.grid, len(logits)), segments)


def judge(song: Song, model: Model, number: int) -> dict[str, Any]:
    """One song, cut so that it has no whole number of frames: what is found with and without a mixture, and how."""
    n_samples = song.multitrack().n_samples - 7919 * (number + 1)
    tracks = sources(song, n_samples)
    mixture = master(song, np.random.default_rng(number))[:n_samples]
    alone = Stems.open(tracks)
    told = tell(model, alone, song.instruments)
    mixed = tell(model, Stems.open(tracks, Source("mixture", mixture, RATE)), song.instruments)
    one, other = (tell(model, alone, song.instruments, hop).labels for hop in HOPS)
    truth = rasterise(song.lead, model.grid.times(np.arange(len(told.labels)) + 0.5))
    start, end = told.segments["start"], told.segments["end"]
    away = distances(changes(truth, truth, model.grid), start[1:])
    return {
        "tracks": len(tracks),
        "accuracy with a released mixture": round(accuracy(truth, mixed.labels), 4),
        "accuracy without": round(accuracy(truth, told.labels), 4),
        "frames on which hops agree": round(float(np.mean(one == other)), 4),
        "covers the song": np.array_equal(start, np.append(0.0, end[:-1])) and float(end[-1]) == n_samples / RATE,
        "s from true changes to the next found": away.round(3).tolist(),
    }


def check_songs(model: str = "base", n_songs: int = N_SONGS, seconds: float = SECONDS) -> tuple[dict, list]:
    """18 and 19: what is lost where the sum of the stems stands in for the mixture, and what the phase of windows does.

    Also how far, on rendered songs, true changes of the lead are from those that are found.
    """
    net = load(model)
    with TemporaryDirectory() as folder:
        rows = [judge(song, net, i) for i, song in enumerate(rendered_songs(Path(folder), n_songs, seconds))]
    with_mixture, without = (
        np.mean([row[f"accuracy {kind}"] for row in rows]) for kind in ("with a released mixture", "without")
    )
    away = np.concatenate([row["s from true changes to the next found"] for row in rows])
    return {"songs": rows}, [
        goal(
            f"track accuracy that {model} loses where a released mixture is missing",
            round(float(with_mixture - without), 4),
            at_most=0.02,
        ),
        goal(
            f"frames on which hops of {HOPS[0]:g} and {HOPS[1]:g} s agree, {model}, least of {len(rows)} songs",
            min(row["frames on which hops agree"] for row in rows),
            at_least=0.99,
        ),
        goal(
            "songs whose timeline goes from 0 to the last sample without a gap",
            float(np.mean([row["covers the song"] for row in rows])),
            at_least=1,
        ),
        goal(
            f"median distance of a true change of the lead to the next that {model} finds, s",
            round(float(np.median(away)), 3),
            at_most=0.1,
        ),
    ]


def round_trip(net: LeadDetector, init_args: dict) -> tuple[dict, list]:
    """20: stems of four formats and rates through the command line, and its outputs read back.

    Args:
        net: trained on songs of tones.
        init_args: what it was made with.
    """
    song = synthetic_songs(replace(LONG_TONES, segment_seconds=6.0), "test", 48_000)[0]
    with TemporaryDirectory() as name:
        folder, out = Path(name, "stems"), Path(name, "out")
        folder.mkdir()
        for stem, (suffix, rate) in zip(song.multitrack().stems, FORMATS, strict=True):
            sound.write(folder / f"{stem.name}.{suffix}", sound.conform(stem.audio, 48_000, rate), rate)
        table = Path(name, "who.csv")
        table.write_text(f"file,instrument\n{song.multitrack().stems[0].name},organ\n")
        checkpoint.save(Path(name, "tones.safetensors"), net, init_args, name="tones")
        command = ["detect", str(folder), "--model", str(Path(name, "tones.safetensors")), "-o", str(out)]
        codes = [main([*command, *options]) for options in (["--csv", "--instruments", str(table)], OUTPUTS)]
        outputs = read_back(out / "stems")
    rows = outputs["csv"]
    names = [stem.name for stem in song.multitrack().stems]
    leads = [names[track] for _, _, track in song.lead]
    truth = np.unique([edge for segment in song.lead for edge in segment[:2] if 0 < edge < song.seconds])
    found = np.array([end for _, end, _ in rows[:-1]])
    away = np.concatenate([distances(truth, found), distances(found, truth)])
    results = {
        "exit codes": codes,
        "boundaries": len(truth),
        "found": len(found),
        "worst distance, s": round(float(away.max(initial=0.0)), 3),
        "leads in their order": [track for _, _, track in rows if track != "none"] == leads,
    }
    alike = not any(codes) and all(rows == other for other in outputs.values())
    return results, [
        goal("CSV, JSON and labels of files of four kinds tell the same intervals", float(alike), at_least=1),
        goal("they name the leads in their order", float(results["leads in their order"]), at_least=1),
        goal("worst distance of a boundary, true to found and back, s", results["worst distance, s"], at_most=0.1),
    ]


def read_back(stem: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Start, end and track of each segment, by the output that tells them."""
    with stem.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        table = [(float(row["start"]), float(row["end"]), row["track"]) for row in csv.DictReader(file)]
    document = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    lines = [line.split("\t") for line in stem.with_suffix(".txt").read_text(encoding="utf-8").splitlines()]
    return {
        "csv": table,
        "json": [(row["start"], row["end"], row["track"]) for row in document["segments"]],
        "labels": [(float(start), float(end), track) for start, end, track in lines],
    }


def check_features(config: dict | None = None) -> tuple[dict, list]:
    """21: what a frozen transformer hears is kept: the same features, and later epochs cost next to nothing.

    Args:
        config: of `transformers.HubertConfig`; its defaults are the size of MERT-v1-95M.
    """
    torch.manual_seed(0)
    with TemporaryDirectory() as cache:
        encoder = SSLEncoder(config=config or {}, freeze="all", cache=cache)
        net = LeadDetector(encoder, partial(AttentionHead, n_heads=4, ln_trainable=True, mask_padding=True))
        optimizer = torch.optim.AdamW(parameter_groups(net, {"": {"lr": 1e-3}}))
        n_frames = int(net.grid.frames(FEW_TONES.seconds))
        shape = Shape(net.grid, n_frames, net.n_samples(n_frames))
        dataset = Windows(synthetic_songs(FEW_TONES, "test", RATE), shape, FEW_TONES.seconds)

        def epoch() -> float:
            start = time.process_time()
            for batch in make_budget_loader(dataset, collate, 4, None):
                optimizer.zero_grad()
                logits = net(batch["audio"], batch["clip"], batch["instrument"], batch["mixture"])
                cross_entropy(logits, batch["lead"]).backward()
                optimizer.step()
            return time.process_time() - start

        first, second = epoch(), epoch()
        audio = torch.from_numpy(dataset[0, 0]["audio"][:1])
        with torch.no_grad():
            kept = encoder(audio)
            encoder.store = None
            fresh = encoder(audio)
    results = {
        "parameters of the encoder": sum(parameter.numel() for parameter in encoder.network.parameters()),
        "first epoch, CPU s": round(first, 2),
        "second": round(second, 3),
        "difference / largest": float((kept - fresh).abs().max() / fresh.abs().max()),
    }
    return results, [
        goal("parameters of the frozen encoder", results["parameters of the encoder"], at_least=MERT_PARAMETERS),
        goal("CPU time of the first epoch / the second", round(first / second, 1), at_least=20),
        goal("kept features against fresh ones, share of the largest", results["difference / largest"], at_most=1e-3),
    ]
