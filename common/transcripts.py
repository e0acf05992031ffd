"""What `transcribe` commands share: which recording becomes which MIDI file, and all that is written beside it.

Each file is whole or not there, and the MIDI file comes last: its presence says that the job is done.
"""

import csv
import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from common import audio as sound
from common.jobs import Done, Job, Meter, Outcome, attempt, in_processes, plan_files, run_all, seconds_of
from common.midi import write_midi
from common.notes import Notes
from common.sonify import sonify
from common.storage import replacing

SONIFIED = ".sonified.wav"  # beside the recording, the plain suffix would be the recording's own
COLUMNS = ("onset", "offset", "pitch", "velocity", "track", "confidence")
DIGITS = {"onset": 5, "offset": 5, "confidence": 3}


@dataclass(frozen=True, eq=False)
class Transcript:
    """The notes of a recording, and what is told with them.

    Attributes:
        notes: what was heard.
        model: its name.
        seconds: how long the recording is.
        sample_rate: at which it was heard, in Hz.
        columns: of the notes, that JSON and CSV have.
        names: `track` -> name; without, tracks are called by their programs.
        played_as: program that is not General MIDI's -> the one that sounds like it, for MIDI and picture.
        bends: see `common.bends.BEND`.
    """

    notes: Notes
    model: str
    seconds: float
    sample_rate: int
    columns: Sequence[str] = COLUMNS
    names: Mapping[int, str] | None = None
    played_as: Mapping[int, int] = field(default_factory=dict)
    bends: np.ndarray | None = None

    @property
    def played(self) -> Notes:
        """The notes with the programs that General MIDI plays them by."""
        programs = np.arange(128)
        programs[list(self.played_as)] = list(self.played_as.values())
        return self.notes.replace(program=programs[self.notes.program])


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: many files into one.
    """
    found, refused = plan_files(options.audio, options.out, ".mid", (".mid", ".midi"))
    # What --sonify has left in a folder is no recording, unless it is named.
    found = [job for job in found if not job.audio.name.endswith(SONIFIED) or job.audio in options.audio]
    if options.skip_existing:
        found = [job for job in found if not all(path.exists() for path in outputs(job, options))]
    return found, refused


def run(
    jobs: list[Job], options: Namespace, opened: Callable[[Namespace], Any], transcribe: Callable[..., Done]
) -> int:
    """Do the jobs under a progress bar in seconds of audio.

    Args:
        jobs: of `plan`.
        options: of the command line.
        opened: makes the model of them. With several --jobs each process opens it for itself, so it is pickled.
        transcribe: does a job, given it, the options, and by name the model and what to call with the seconds done.

    Returns:
        Exit code 0, or 2 if any file was refused.
    """

    def outcomes(progress: Callable[[float], object]) -> Iterator[Outcome]:
        workers = min(options.jobs, len(jobs))
        if workers < 2:
            model = opened(options) if jobs else None
            for job in jobs:
                yield attempt(partial(transcribe, job, options, model=model, progress=progress), job.out)
            return
        works = [partial(attempt, partial(_alone, job, options, opened, transcribe), job.out) for job in jobs]
        for place, outcome in in_processes(works, workers):
            progress(seconds_of(jobs[place].audio))
            yield outcome

    return run_all(outcomes, sum(seconds_of(job.audio) for job in jobs))


def _alone(job: Job, options: Namespace, opened: Callable[[Namespace], Any], transcribe: Callable[..., Done]) -> Done:
    return transcribe(job, options, model=opened(options), progress=None)


def outputs(job: Job, options: Namespace) -> list[Path]:
    """The files that are asked for."""
    also = {".json": options.json, ".csv": options.csv, ".png": options.plot, SONIFIED: options.sonify}
    return [job.out, *(job.out.with_name(f"{job.out.stem}{ending}") for ending, asked in also.items() if asked)]


def write(job: Job, transcript: Transcript, options: Namespace) -> None:
    """All outputs that are asked for; the MIDI file last."""
    if options.json:
        write_json(job.out.with_suffix(".json"), transcript)
    if options.csv:
        write_csv(job.out.with_suffix(".csv"), transcript)
    if options.plot:
        write_plot(job.out.with_suffix(".png"), transcript, job.audio.name)
    if options.sonify:
        write_sonification(job.out.with_name(f"{job.out.stem}{SONIFIED}"), transcript, job.audio)
    write_midi(job.out, transcript.played, names=transcript.names, bends=transcript.bends)


def told(job: Job, transcript: Transcript, meter: Meter, remedy: str = "") -> Done:
    """What to tell of a job whose outputs are written.

    Args:
        job: that was done.
        transcript: what came out.
        meter: how loud the recording was.
        remedy: what to do where no notes were found.
    """
    doubts = list(meter.doubts())
    if not len(transcript.notes):
        doubts.append(f"no notes found: the MIDI file is empty{remedy and f'; {remedy}'}")
    return Done(f"{job.out}: {len(transcript.notes)} notes", [f"{job.audio}: {doubt}" for doubt in doubts])


def write_json(path: Path, transcript: Transcript) -> None:
    """{"version", "model", "duration" in seconds, "notes": [{onset, offset, pitch, velocity, track, confidence, ...}]}.

    With bends each note also has "bends": [[seconds, cents], ...].
    """
    bends = transcript.bends
    rows: list[dict] = [dict(zip(transcript.columns, row, strict=True)) for row in table(transcript)]
    if bends is not None:
        points = np.column_stack([np.round(bends["seconds"], 5), np.round(bends["cents"].astype(np.float64), 1)])
        first = np.searchsorted(bends["note"], np.arange(len(rows) + 1))
        for i, row in enumerate(rows):
            row["bends"] = points[first[i] : first[i + 1]].tolist()
    document = {"version": 1, "model": transcript.model, "duration": round(transcript.seconds, 6), "notes": rows}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document) + "\n")


def write_csv(path: Path, transcript: Transcript) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([transcript.columns, *table(transcript)])


def table(transcript: Transcript) -> list[tuple]:
    """The columns as plain Python rows; times to a hundredth of a millisecond."""
    notes = transcript.notes
    columns = (
        np.round(notes.table[name].astype(np.float64), DIGITS[name]) if name in DIGITS else notes.table[name]
        for name in transcript.columns
    )
    return list(zip(*(column.tolist() for column in columns), strict=True))


def write_plot(path: Path, transcript: Transcript, title: str) -> None:
    from common import plots  # matplotlib, only for those who want a picture

    with replacing(path) as temporary:
        plots.piano_roll(transcript.played, seconds=transcript.seconds, title=title).savefig(temporary)


def write_sonification(path: Path, transcript: Transcript, audio: Path) -> None:
    """Stereo WAV at the network's rate: the recording on the left, the transcription on the right."""
    rate = transcript.sample_rate
    with replacing(path) as temporary, soundfile.SoundFile(temporary, "w", rate, 2, "PCM_16") as file:
        start = 0
        for left in sound.blocks(audio, rate):
            right = sonify(transcript.notes, rate, start, start + len(left))
            file.write(np.stack([np.clip(left, -1.0, 1.0), right], axis=1))
            start += len(left)
