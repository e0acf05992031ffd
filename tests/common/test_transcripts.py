import csv
import json
from argparse import Namespace

import mido
import numpy as np
import pytest
import soundfile

from common import transcripts
from common.jobs import Done, Job, Meter
from common.midi import read_midi
from common.notes import Notes
from common.options import transcription_parser
from common.transcripts import COLUMNS, Transcript

NOTES = Notes.build([0.123456, 0.5], [0.4, 0.9], [60, 38], [80, 100], [33, 0], [False, True], [0, 1])


@pytest.fixture
def job(tmp_path):
    soundfile.write(tmp_path / "song.wav", 0.1 * np.ones(8000), 8000)
    return Job(tmp_path / "song.wav", tmp_path / "out" / "song.mid")


def options(*words: object) -> Namespace:
    return transcription_parser("band", "small", "small").parse_args([str(word) for word in words])


def test_columns_are_those_that_are_asked_for(job):
    transcript = Transcript(NOTES, "small", 1.0, 8000, (*COLUMNS, "program", "is_drum"))
    transcripts.write(job, transcript, options("song.wav", "--json", "--csv", "--plot", "--sonify"))
    document = json.loads(job.out.with_suffix(".json").read_text())
    assert {name: document[name] for name in ("version", "model", "duration")} == {
        "version": 1,
        "model": "small",
        "duration": 1.0,
    }
    assert document["notes"][0] == {
        "onset": 0.12346, "offset": 0.4, "pitch": 60, "velocity": 80, "track": 0, "confidence": 1.0,
        "program": 33, "is_drum": False,
    }  # fmt: skip
    rows = list(csv.DictReader(job.out.with_suffix(".csv").open()))
    assert [row["program"] for row in rows] == ["33", "0"]
    assert read_midi(job.out).is_drum.tolist() == [False, True]
    names = {path.name for path in job.out.parent.iterdir()}
    assert names == {"song.mid", "song.json", "song.csv", "song.png", "song.sonified.wav"}


def test_what_general_midi_has_no_program_for_is_played_as_something_like_it(job):
    transcript = Transcript(NOTES, "small", 1.0, 8000, (*COLUMNS, "program"), {0: "Singing"}, {33: 53})
    transcripts.write(job, transcript, options("song.wav", "--json"))
    assert read_midi(job.out).program.tolist() == [53, 0]
    assert mido.MidiFile(job.out).tracks[1].name == "Singing"
    assert json.loads(job.out.with_suffix(".json").read_text())["notes"][0]["program"] == 33


def test_the_midi_file_comes_last(job):
    (job.out.parent / "song.json").mkdir(parents=True)  # cannot be written
    with pytest.raises(OSError, match=r"song\.json"):
        transcripts.write(job, Transcript(NOTES, "small", 1.0, 8000), options("song.wav", "--json"))
    assert not job.out.exists()


def opened(options: Namespace) -> str:
    return options.model


def transcribe(job: Job, options: Namespace, model: str, progress) -> Done:
    transcripts.write(job, Transcript(NOTES, model, 1.0, 8000), options)
    return transcripts.told(job, Transcript(NOTES[:0], model, 1.0, 8000), Meter(), "sing louder")


@pytest.mark.parametrize("jobs", [1, 2])
def test_files_are_done_in_turn_or_at_once(job, jobs, capfd):
    soundfile.write(job.audio.with_name("other.wav"), np.ones(800), 8000)
    asked = options(job.audio.parent, "-o", job.out.parent, "--jobs", jobs)
    found, refused = transcripts.plan(asked)
    assert (len(found), refused) == (2, [])
    assert transcripts.run(found, asked, opened, transcribe) == 0
    assert {path.name for path in job.out.parent.iterdir()} == {"song.mid", "other.mid"}
    error = capfd.readouterr().err
    assert error.count("no notes found: the MIDI file is empty; sing louder") == 2
    assert transcripts.plan(options(job.audio.parent, "-o", job.out.parent, "--skip-existing"))[0] == []


def test_what_has_some_of_its_outputs_alone_is_done_again(job):
    """A MIDI file from before does not keep anybody from the picture."""
    job.out.parent.mkdir(exist_ok=True)
    job.out.touch()
    words = [job.audio, "-o", job.out.parent, "--skip-existing"]
    assert transcripts.plan(options(*words))[0] == []
    asked = options(*words, "--json", "--sonify")
    assert [found.out.name for found in transcripts.plan(asked)[0]] == [job.out.name]
    for path in transcripts.outputs(job, asked):
        path.touch()
    assert transcripts.plan(asked)[0] == []
    assert {path.name for path in job.out.parent.iterdir()} == {"song.mid", "song.json", "song.sonified.wav"}
