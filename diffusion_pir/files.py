"""Files for `recognise`: which audio becomes which tables and pictures, each whole or not at all."""

import csv
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from common import audio as sound
from common.filters import hz_to_mel, mel_to_hz
from common.instruments import IRMAS_NAMES
from common.jobs import Done, Job, Meter, attempt, plan_files, run_all, seconds_of
from common.melspec import N_BINS, SAMPLE_RATE
from common.storage import replacing
from diffusion_pir.inference import Recogniser, Recognition, decide, load
from diffusion_pir.streams import Overview, Recording

COLUMNS = ("file", "start", "end", "instrument", "probability")
DIGITS = 5  # of seconds
SUFFIX = ".instruments.csv"  # beside a recording may lie a .csv of its notes


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: many files into one.
    """
    found, refused = plan_files(options.audio, options.out, SUFFIX, (".csv",))
    if options.skip_existing:
        found = [job for job in found if not all(job.out.with_suffix(suffix).exists() for suffix in outputs(options))]
    return found, refused


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused.

    Raises:
        ValueError: no such model or head.
    """
    if not jobs:
        return 0
    model = load(options.model, options.head, options.device).with_draws(options.draws)

    def outcomes(progress: Callable[[float], object]):
        return (attempt(partial(recognise_file, job, options, model, progress), job.out) for job in jobs)

    return run_all(outcomes, sum(seconds_of(job.audio) for job in jobs))


def recognise_file(job: Job, options: Namespace, model: Recogniser, progress: Callable[[float], object]) -> Done:
    """Write the outputs of one recording.

    Raises:
        ValueError: audio that cannot be used.
        OSError: an output that cannot be written.
    """
    meter, overview = Meter(), Overview()

    def blocks(sample_rate: int):
        return meter.watch(sound.blocks(job.audio, sample_rate), None, sample_rate)

    recording = Recording(blocks, options.hop, model.frames, progress, overview.push)
    doubts = [f"{job.audio}: {doubt}" for doubt in meter.doubts()]  # before it is read again
    found = decide(model, recording)
    written = []
    for suffix, write in outputs(options).items():
        path = job.out.with_suffix(suffix)
        with replacing(path) as temporary:
            write(temporary, found, job.audio, model, overview)
        written.append(str(path))
    return Done(f"{', '.join(written)}: {summary(found)}", doubts)


def summary(found: Recognition) -> str:
    """What is decided, in words."""
    return f"{', '.join(map(in_words, found.labels)) or 'nothing but silence'} ({found.duration:.1f} s)"


def in_words(label: str) -> str:
    """The name of an instrument whose class is one of IRMAS; other classes have the names that they have."""
    return IRMAS_NAMES.get(label, label)


def table(found: Recognition, audio: Path) -> Iterator[tuple]:
    """The columns of COLUMNS as plain Python rows: for each window each class."""
    for start, end, row in zip(*spans(found), rounded(found.probabilities), strict=True):
        for name, probability in zip(found.classes, row, strict=True):
            yield str(audio), start, end, name, probability


def spans(found: Recognition) -> tuple[list[float], list[float]]:
    """Where the windows begin and end."""
    return np.round(found.times, DIGITS).tolist(), np.round(found.ends, DIGITS).tolist()


def rounded(probabilities: np.ndarray) -> list:
    return np.round(probabilities.astype(np.float64), 4).tolist()


def write_csv(path: Path, found: Recognition, audio: Path, model: Recogniser, overview: Overview) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(chain([COLUMNS], table(found, audio)))


def write_json(path: Path, found: Recognition, audio: Path, model: Recogniser, overview: Overview) -> None:
    """The decision, and a list of windows with their probabilities in the order of "classes".

    "predominant" of a window is the class that is most probable, null in silence.
    """
    windows = zip(*spans(found), found.predominant, rounded(found.probabilities), strict=True)
    names = [*found.classes, None]  # -1 is the last of them
    document = {
        "version": 1,
        "file": str(audio),
        "model": model.backbone.name,
        "head": model.name,
        "duration": round(found.duration, DIGITS),
        "classes": list(found.classes),
        "labels": list(found.labels),
        "scores": rounded(found.scores),
        "windows": [
            {"start": start, "end": end, "predominant": names[first], "probabilities": row}
            for start, end, first, row in windows
        ],
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def write_plot(path: Path, found: Recognition, audio: Path, model: Recogniser, overview: Overview) -> None:
    draw(found, overview.finish(), f"{audio.name}: {summary(found)}").savefig(path)


def draw(found: Recognition, log_mel: np.ndarray, title: str = ""):
    """The heat map of a recognition under the log-mel (bin, column) of its recording, a matplotlib figure."""
    from common import plots  # matplotlib, only for those who want a picture

    centres = 0.5 * (found.times + found.ends)
    edges = np.concatenate([[0.0], 0.5 * (centres[1:] + centres[:-1]), [found.duration]])
    top = float(hz_to_mel(np.array(SAMPLE_RATE / 2), "htk"))
    hz = mel_to_hz(np.linspace(0.0, top, N_BINS + 2)[1:-1], "htk")
    return plots.presence(log_mel, hz, found.probabilities.T, edges, [*map(in_words, found.classes)], title)


def outputs(options: Namespace) -> dict[str, Callable]:
    """Suffix -> what writes that file, of those that are asked for; the CSV if none is, or if the command names it."""
    chosen = dict(output for option, output in OUTPUTS.items() if getattr(options, option))
    if not chosen or (options.out is not None and options.out.suffix.lower() == ".csv"):
        chosen[".csv"] = write_csv
    return chosen


OUTPUTS = {"csv": (".csv", write_csv), "json": (".json", write_json), "plot": (".png", write_plot)}
