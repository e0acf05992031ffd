"""Files for `transcribe`: which audio becomes which MIDI, in turn or at once, each whole or not at all."""

import csv
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from common import audio as sound
from common.jobs import Done, Job, Meter, Outcome, attempt, in_processes, plan_files, run_all, seconds_of
from common.midi import write_midi
from common.notes import Notes
from common.storage import replacing
from lightweight_amt.commands import SETTINGS
from lightweight_amt.inference import Model, Transcription, activations, load
from lightweight_amt.sonify import sonify

SONIFIED = ".sonified.wav"  # beside the recording, the plain suffix would be the recording's own
COLUMNS = ("onset", "offset", "pitch", "velocity", "track", "confidence")


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: the command makes no sense as a whole: a threshold out of range, no such model, many files into one.
    """
    open_transcription(open_model(options), options)
    found, refused = plan_files(options.audio, options.out, ".mid", (".mid", ".midi"))
    # What --sonify has left in a folder is no recording, unless it is named.
    found = [job for job in found if not job.audio.name.endswith(SONIFIED) or job.audio in options.audio]
    return [job for job in found if not (options.skip_existing and job.out.exists())], refused


def open_model(options: Namespace) -> Model:
    return load(options.model, options.device, timbre=options.instruments is not None)


def open_transcription(model: Model, options: Namespace) -> Transcription:
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    return Transcription(model, options.instruments, options.pitch_bends, **settings)


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused."""
    seconds = sum(seconds_of(job.audio) for job in jobs)
    return run_all(lambda progress: outcomes(jobs, options, progress), seconds)


def outcomes(jobs: list[Job], options: Namespace, progress: Callable[[float], object]) -> Iterator[Outcome]:
    """What became of each job, or the error that stopped it, in order of completion."""
    workers = min(options.jobs, len(jobs))
    if workers < 2:
        model = open_model(options)
        for job in jobs:
            yield attempt(partial(transcribe_file, job, options, model, progress), job.out)
        return
    works = [partial(attempt, partial(transcribe_file, job, options), job.out) for job in jobs]
    for place, outcome in in_processes(works, workers):
        progress(seconds_of(jobs[place].audio))
        yield outcome


def transcribe_file(job: Job, options: Namespace, model: Model | None = None, progress=None) -> Done:
    """Write the outputs of one recording, heard by a model that is opened for it if none is given."""
    model = model or open_model(options)
    rate = model.grid.sample_rate
    meter = Meter()
    transcription = open_transcription(model, options)
    for part in activations(model, meter.watch(sound.blocks(job.audio, rate), progress, rate)):
        transcription.push(part)
    notes = transcription.finish()
    bends = transcription.bends(notes) if options.pitch_bends else None
    if options.json:
        write_json(job.out.with_suffix(".json"), notes, model.name, meter.n_samples / rate, bends)
    if options.csv:
        write_csv(job.out.with_suffix(".csv"), notes)
    if options.plot:
        write_plot(job.out.with_suffix(".png"), notes, job.audio.name, meter.n_samples / rate)
        if transcription.directions is not None:
            write_directions(job.out.with_suffix(".timbre.png"), notes, transcription.directions)
    if options.sonify:
        write_sonification(job.out.with_name(f"{job.out.stem}{SONIFIED}"), notes, job.audio, rate)
    names = None if options.instruments is None else {i: f"instrument {i + 1}" for i in set(notes.track.tolist())}
    write_midi(job.out, notes, names=names, bends=bends)  # last: its presence says that the job is done
    doubts = list(meter.doubts())
    if not len(notes):
        doubts.append("no notes found: the MIDI file is empty; a lower --onset-threshold finds more")
    return Done(f"{job.out}: {len(notes)} notes", [f"{job.audio}: {doubt}" for doubt in doubts])


def write_json(path: Path, notes: Notes, model: str, seconds: float, bends: np.ndarray | None = None) -> None:
    """{"version", "model", "duration" in seconds, "notes": [{onset, offset, pitch, velocity, track, confidence}]}.

    With bends each note also has "bends": [[seconds, cents], ...].
    """
    rows: list[dict] = [dict(zip(COLUMNS, row, strict=True)) for row in table(notes)]
    if bends is not None:
        points = np.column_stack([np.round(bends["seconds"], 5), np.round(bends["cents"].astype(np.float64), 1)])
        first = np.searchsorted(bends["note"], np.arange(len(rows) + 1))
        for i, row in enumerate(rows):
            row["bends"] = points[first[i] : first[i + 1]].tolist()
    document = {"version": 1, "model": model, "duration": round(seconds, 6), "notes": rows}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n")


def write_csv(path: Path, notes: Notes) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *table(notes)])


def table(notes: Notes) -> list[tuple]:
    """The columns of COLUMNS as plain Python rows; times to a hundredth of a millisecond."""
    digits = {"onset": 5, "offset": 5, "confidence": 3}
    columns = (
        np.round(notes.table[name].astype(np.float64), digits[name]) if name in digits else notes.table[name]
        for name in COLUMNS
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def write_plot(path: Path, notes: Notes, title: str, seconds: float) -> None:
    from common import plots  # matplotlib, only for those who want a picture

    with replacing(path) as temporary:
        plots.piano_roll(notes, seconds=seconds, title=title).savefig(temporary)


def write_directions(path: Path, notes: Notes, vectors: np.ndarray) -> None:
    """The notes as the timbre branch sees them, in the colours of their tracks."""
    from common import plots

    names = [f"instrument {i + 1}" for i in range(int(notes.track.max(initial=0)) + 1)]
    with replacing(path) as temporary:
        plots.directions({"the notes by their timbre": (vectors, notes.track)}, names).savefig(temporary)


def write_sonification(path: Path, notes: Notes, audio: Path, sample_rate: int) -> None:
    """Stereo WAV at the network's rate: the recording on the left, the transcription on the right."""
    with replacing(path) as temporary, soundfile.SoundFile(temporary, "w", sample_rate, 2, "PCM_16") as file:
        start = 0
        for left in sound.blocks(audio, sample_rate):
            right = sonify(notes, sample_rate, start, start + len(left))
            file.write(np.stack([np.clip(left, -1.0, 1.0), right], axis=1))
            start += len(left)
