"""Files for `transcribe`: which audio becomes which MIDI, in turn or at once, each whole or not at all."""

from argparse import Namespace

from common import audio as sound
from common import transcripts
from common.jobs import Done, Job, Meter
from common.transcripts import COLUMNS, Transcript
from yourmt3plus.inference import MapModel, Model, begin, listen, load
from yourmt3plus.instruments import Chosen
from yourmt3plus.programs import CHORUS, MELODY

SUNG = {MELODY: "Singing", CHORUS: "Singing, chorus"}
PLAYED_AS = {MELODY: 53, CHORUS: 52}  # Voice Oohs and Choir Aahs: General MIDI has effects where these programs are


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: the command makes no sense as a whole: no such model or instrument, many files into one.
    """
    if options.batch_size is not None and options.batch_size < 1:
        raise ValueError(f"--batch-size must be 1 or more, not {options.batch_size}")
    if options.instruments is not None:
        Chosen.of(options.instruments)
    open_model(options)
    return transcripts.plan(options)


def open_model(options: Namespace) -> Model | MapModel:
    return load(options.model, options.device, options.precision)


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused."""
    return transcripts.run(jobs, options, open_model, transcribe_file)


def transcribe_file(job: Job, options: Namespace, model: Model | MapModel, progress=None) -> Done:
    """Write the outputs of one recording."""
    rate = model.sample_rate
    meter = Meter()
    transcription = begin(model, options.instruments, not options.one_pass, options.simple)
    blocks = meter.watch(sound.blocks(job.audio, rate), None, rate)
    notes = listen(transcription, blocks, options.batch_size, progress)
    names = {
        int(notes.track[notes.program == program][0]): name
        for program, name in SUNG.items()
        if program in notes.program
    }
    columns = (*COLUMNS, "program", "is_drum")
    transcript = Transcript(notes, model.name, meter.n_samples / rate, rate, columns, names, PLAYED_AS)
    transcripts.write(job, transcript, options)
    return transcripts.told(job, transcript, meter)
