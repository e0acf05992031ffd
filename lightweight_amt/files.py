"""Files for `transcribe`: which audio becomes which MIDI, in turn or at once, each whole or not at all."""

from argparse import Namespace
from pathlib import Path

import numpy as np

from common import audio as sound
from common import transcripts
from common.jobs import Done, Job, Meter
from common.notes import Notes
from common.storage import replacing
from common.transcripts import Transcript
from lightweight_amt.commands import SETTINGS
from lightweight_amt.inference import Model, Transcription, activations, load


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: the command makes no sense as a whole: a threshold out of range, no such model, many files into one.
    """
    open_transcription(open_model(options), options)
    return transcripts.plan(options)


def open_model(options: Namespace) -> Model:
    return load(options.model, options.device, timbre=options.instruments is not None)


def open_transcription(model: Model, options: Namespace) -> Transcription:
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    return Transcription(model, options.instruments, options.pitch_bends, **settings)


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused."""
    return transcripts.run(jobs, options, open_model, transcribe_file)


def transcribe_file(job: Job, options: Namespace, model: Model, progress=None) -> Done:
    """Write the outputs of one recording."""
    rate = model.grid.sample_rate
    meter = Meter()
    transcription = open_transcription(model, options)
    for part in activations(model, meter.watch(sound.blocks(job.audio, rate), progress, rate)):
        transcription.push(part)
    notes = transcription.finish()
    bends = transcription.bends(notes) if options.pitch_bends else None
    names = None if options.instruments is None else {i: f"instrument {i + 1}" for i in set(notes.track.tolist())}
    transcript = Transcript(notes, model.name, meter.n_samples / rate, rate, names=names, bends=bends)
    if options.plot and transcription.directions is not None:
        write_directions(job.out.with_suffix(".timbre.png"), notes, transcription.directions)
    transcripts.write(job, transcript, options)
    return transcripts.told(job, transcript, meter, "a lower --onset-threshold finds more")


def write_directions(path: Path, notes: Notes, vectors: np.ndarray) -> None:
    """The notes as the timbre branch sees them, in the colours of their tracks."""
    from common import plots  # matplotlib, only for those who want a picture

    names = [f"instrument {i + 1}" for i in range(int(notes.track.max(initial=0)) + 1)]
    with replacing(path) as temporary:
        plots.directions({"the notes by their timbre": (vectors, notes.track)}, names).savefig(temporary)
