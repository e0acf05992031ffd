"""Files for `transcribe`: which audio becomes which MIDI, in turn or at once, each whole or not at all."""

import csv
import json
import sys
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from common import audio as sound
from common.midi import write_midi
from common.notes import Notes
from common.storage import replacing
from lightweight_amt.commands import SETTINGS
from lightweight_amt.inference import Model, Transcription, activations, load
from lightweight_amt.sonify import sonify

CLIPPED = 0.999  # of full scale
QUIET = 1e-2  # peak; -40 dBFS
COLUMNS = ("onset", "offset", "pitch", "velocity", "track", "confidence")


@dataclass(frozen=True)
class Job:
    """One recording and where its MIDI goes; other outputs stand beside it with another suffix."""

    audio: Path
    midi: Path


@dataclass(frozen=True)
class Done:
    """What to tell of a recording that was transcribed."""

    line: str
    warnings: list[str]


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: the command makes no sense as a whole: a threshold out of range, no such model, many files into one.
    """
    open_transcription(open_model(options), options)
    jobs, refused = [], []
    for path in options.audio:
        try:
            jobs += [Job(audio, target(audio, path, options.out)) for audio in sound.find([path])]
        except sound.AudioError as error:
            refused.append(error)
    uses = Counter(job.midi for job in jobs)
    if options.out is not None and uses[options.out] > 1:
        raise ValueError(f"{options.out}: {len(jobs)} recordings cannot go into one MIDI file; give -o a folder")
    # song.wav and song.mp3 side by side keep their suffixes.
    jobs = [
        replace(job, midi=job.midi.with_name(f"{job.audio.name}.mid")) if uses[job.midi] > 1 else job for job in jobs
    ]
    return [job for job in jobs if not (options.skip_existing and job.midi.exists())], refused


def target(audio: Path, path: Path, out: Path | None) -> Path:
    """Where the MIDI of a file goes that was named by `path`, or found in the folder of that name."""
    if out is None:
        return audio.with_suffix(".mid")
    if out.suffix.lower() in (".mid", ".midi"):
        return out
    inside = audio.parent.relative_to(path) if path.is_dir() else Path()
    return out / inside / f"{audio.stem}.mid"


def open_model(options: Namespace) -> Model:
    return load(options.model, options.device, timbre=options.instruments is not None)


def open_transcription(model: Model, options: Namespace) -> Transcription:
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    return Transcription(model, options.instruments, options.pitch_bends, **settings)


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused."""
    refused = 0
    total = sum(seconds_of(job) for job in jobs)
    bar_format = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
    with tqdm(total=total, bar_format=bar_format, leave=False) as bar:
        for outcome in outcomes(jobs, options, bar):
            if isinstance(outcome, Exception):
                refused += 1
                bar.write(str(outcome), file=sys.stderr)
            else:
                bar.write(outcome.line, file=sys.stdout)
                for warning in outcome.warnings:
                    bar.write(warning, file=sys.stderr)
    return 2 if refused else 0


def seconds_of(job: Job) -> float:
    try:
        return sound.info(job.audio).duration
    except sound.AudioError:  # told when its turn comes
        return 0.0


def outcomes(jobs: list[Job], options: Namespace, bar: tqdm) -> Iterator["Done | Exception"]:
    """What became of each job, or the error that stopped it, in order of completion."""
    workers = min(options.jobs, len(jobs))
    if workers < 2:
        model = open_model(options)
        for job in jobs:
            yield attempt(job, options, model, bar.update)
        return
    # Spawned, not forked: a copy of a process with running threads may deadlock.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(attempt, job, options): job for job in jobs}
        for future in as_completed(waiting):
            bar.update(seconds_of(waiting[future]))
            yield future.result()


def attempt(job: Job, options: Namespace, model: Model | None = None, progress=None) -> "Done | Exception":
    """What became of a job; an error is a value here, since it may have to leave a worker."""
    try:
        return transcribe_file(job, options, model or open_model(options), progress)
    except (ValueError, OSError) as error:
        return error


class Meter:
    """Passes blocks of audio on and notes how loud they were."""

    def __init__(self):
        self.peak = 0.0
        self.clipped = 0
        self.n_samples = 0

    def watch(self, blocks: Iterable[np.ndarray], progress, sample_rate: int) -> Iterator[np.ndarray]:
        for block in blocks:
            size = np.abs(block)
            self.peak = max(self.peak, float(size.max(initial=0.0)))
            self.clipped += int((size >= CLIPPED).sum())
            self.n_samples += len(block)
            yield block
            if progress is not None:
                progress(len(block) / sample_rate)

    def doubts(self, notes: Notes) -> Iterator[str]:
        """What a user should know before blaming the notes."""
        if self.peak < QUIET:
            level = f"{20 * np.log10(self.peak):.0f} dBFS" if self.peak else "digital silence"
            yield f"very quiet (peak {level}): is this the right file, or a muted track?"
        if self.clipped > 1e-4 * self.n_samples:
            yield f"clipped ({100 * self.clipped / self.n_samples:.2f} % of the samples): lower the recording level"
        if not len(notes):
            yield "no notes found: the MIDI file is empty; a lower --onset-threshold finds more"


def transcribe_file(job: Job, options: Namespace, model: Model, progress=None) -> Done:
    """Write the outputs of one recording."""
    rate = model.grid.sample_rate
    meter = Meter()
    transcription = open_transcription(model, options)
    with warnings.catch_warnings(record=True) as caught:  # a recording that ends before its header says
        warnings.simplefilter("always", UserWarning)
        for part in activations(model, meter.watch(sound.blocks(job.audio, rate), progress, rate)):
            transcription.push(part)
    notes = transcription.finish()
    bends = transcription.bends(notes) if options.pitch_bends else None
    if options.json:
        write_json(job.midi.with_suffix(".json"), notes, model.name, meter.n_samples / rate, bends)
    if options.csv:
        write_csv(job.midi.with_suffix(".csv"), notes)
    if options.plot:
        write_plot(job.midi.with_suffix(".png"), notes, job.audio.name, meter.n_samples / rate)
        if transcription.directions is not None:
            write_directions(job.midi.with_suffix(".timbre.png"), notes, transcription.directions)
    if options.sonify:
        # Beside the recording, the plain name would be the recording's own.
        write_sonification(job.midi.with_name(f"{job.midi.stem}.sonified.wav"), notes, job.audio, rate)
    names = None if options.instruments is None else {i: f"instrument {i + 1}" for i in set(notes.track.tolist())}
    write_midi(job.midi, notes, names=names, bends=bends)  # last: its presence says that the job is done
    doubts = [str(warning.message) for warning in caught]
    doubts += [f"{job.audio}: {doubt}" for doubt in meter.doubts(notes)]
    return Done(f"{job.midi}: {len(notes)} notes", [f"warning: {doubt}" for doubt in doubts])


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
