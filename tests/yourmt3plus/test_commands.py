import csv
import json
import pickle
import subprocess
import sys

import mido
import numpy as np
import pytest
import soundfile

from common.midi import read_midi
from common.notes import Notes
from tests.yourmt3plus.rigged import RATE, weights
from yourmt3plus import files
from yourmt3plus.__main__ import main
from yourmt3plus.commands import build_parser


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Random weights hear notes everywhere, which is what these tests want."""
    return str(weights(tmp_path_factory.mktemp("weights") / "random.safetensors"))


@pytest.fixture
def song(tmp_path):
    def write(name: str, audio: np.ndarray | None = None, rate: int = RATE):
        if audio is None:
            audio = 0.1 * np.random.default_rng(0).standard_normal(3 * rate)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, audio, rate)
        return path

    return write


def transcribe(*args) -> int:
    return main(["transcribe", *(str(arg) for arg in args)])


def told(notes: Notes) -> list[tuple]:
    """What a MIDI file can say of notes, to the ticks of 10 ms that the tokens know."""
    columns = (np.round(notes.onset, 2), np.round(notes.offset, 2), notes.pitch, notes.program, notes.is_drum)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_all_outputs_tell_the_same_notes(song, tmp_path, model):
    path, out = song("noise.wav"), tmp_path / "out"
    assert transcribe(path, "-o", out, "--model", model, "--json", "--csv", "--plot", "--sonify") == 0
    document = json.loads((out / "noise.json").read_text())
    rows = list(csv.DictReader((out / "noise.csv").open()))
    assert (document["version"], document["model"], document["duration"]) == (1, "random", pytest.approx(3.0))
    assert set(document["notes"][0]) == {
        "onset", "offset", "pitch", "velocity", "track", "confidence", "program", "is_drum",
    }  # fmt: skip
    assert len(document["notes"]) == len(rows) > 20
    columns = {name: [note[name] for note in document["notes"]] for name in document["notes"][0]}
    columns["program"] = [files.PLAYED_AS.get(program, program) for program in columns["program"]]
    notes = Notes.build(**columns)
    assert told(read_midi(out / "noise.mid")) == told(notes)
    outputs = {f"noise.{suffix}" for suffix in ("csv", "json", "mid", "png", "sonified.wav")}
    assert {file.name for file in out.iterdir()} == outputs


def test_a_track_for_each_program_and_drums_on_channel_10(song, tmp_path, model):
    assert transcribe(song("noise.wav"), "-o", tmp_path / "out.mid", "--model", model) == 0
    parts = {}
    for track in mido.MidiFile(tmp_path / "out.mid").tracks[1:]:
        programs = [message.program for message in track if message.type == "program_change"]
        channels = {message.channel for message in track if message.type == "note_on"}
        assert len(programs) == len(channels) == 1
        parts[track.name] = channels.pop()
    assert parts.pop("Drums") == 9
    assert 9 not in parts.values()
    assert len(set(parts.values())) == len(parts) > 1


def test_singing_sounds_like_a_voice_and_is_called_so(song, tmp_path, model, monkeypatch):
    sung = Notes.build([0.0, 0.5], [0.4, 0.9], [60, 64], 100, [100, 0], track=[1, 0])
    monkeypatch.setattr(files, "listen", lambda transcription, blocks, *_: (list(blocks), sung)[1])
    assert transcribe(song("noise.wav"), "-o", tmp_path, "--model", model, "--json") == 0
    assert sorted(read_midi(tmp_path / "noise.mid").program.tolist()) == [0, 53]
    names = {track.name for track in mido.MidiFile(tmp_path / "noise.mid").tracks[1:]}
    assert names == {"Singing", "Acoustic Grand Piano"}
    assert json.loads((tmp_path / "noise.json").read_text())["notes"][0]["program"] == 100


def test_only_some_instruments(song, tmp_path, model):
    for name, *options in (("all",), ("some", "--instruments", "drums")):
        assert transcribe(song("noise.wav"), "-o", tmp_path / f"{name}.mid", "--model", model, *options) == 0
    everything, drums = (read_midi(tmp_path / f"{name}.mid") for name in ("all", "some"))
    assert told(drums) == told(everything[everything.is_drum])


def test_the_plain_path_and_other_batches_write_the_same_file(song, tmp_path, model):
    options = {"fast": [], "simple": ["--simple"], "small": ["--batch-size", "1"]}
    for name, words in options.items():
        assert transcribe(song("noise.wav"), "-o", tmp_path / f"{name}.mid", "--model", model, *words) == 0
    first, *others = ((tmp_path / f"{name}.mid").read_bytes() for name in options)
    assert all(other == first for other in others)
    assert transcribe(song("noise.wav"), "-o", tmp_path / "once.mid", "--model", model, "--one-pass") == 0
    assert (tmp_path / "once.mid").read_bytes() != first


def test_a_job_can_be_sent_to_another_process(song, tmp_path, model):
    options = build_parser().parse_args([str(song("noise.wav")), "-o", str(tmp_path / "out"), "--model", model])
    (job,), _ = files.plan(options)
    job, options, opened, transcribe_file = pickle.loads(
        pickle.dumps((job, options, files.open_model, files.transcribe_file))
    )
    assert transcribe_file(job, options, opened(options)).line.startswith(str(tmp_path / "out" / "noise.mid"))


def test_a_bad_file_does_not_stop_the_others(song, tmp_path, model, capfd):
    good, bad = song("good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF no audio")
    assert transcribe(bad, good, "-o", tmp_path / "out", "--model", model) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.mid"}
    error = capfd.readouterr().err
    assert "bad.wav" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.wav"], "missing.wav"),
        (["good.wav", "--model", "huge"], "no such model"),
        (["good.wav", "--instruments", "kazoo"], "no instrument 'kazoo'"),
        (["good.wav", "--batch-size", "0"], "--batch-size"),
        (["good.wav", "--device", "abacus"], "device abacus"),
        (["empty"], "empty"),
        (["good.wav", "other.wav", "-o", "one.mid"], "one.mid"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, song, tmp_path, model, capfd, monkeypatch):
    song("good.wav")
    song("other.wav")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    defaults = [] if "--model" in arguments else ["--model", model]
    assert transcribe(*arguments, *defaults) == 2
    error = capfd.readouterr().err.strip()
    assert sum(text in line for line in error.splitlines()) == 1
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.mid"))


def test_existing_files_are_skipped_when_asked(song, model):
    path = song("song.wav")
    path.with_suffix(".mid").write_text("mine")
    assert transcribe(path, "--model", model, "--skip-existing") == 0
    assert path.with_suffix(".mid").read_text() == "mine"


def test_ctrl_c_leaves_no_half_file(song, tmp_path, model, monkeypatch, capfd):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "listen", stop)
    assert transcribe(song("song.wav"), "-o", tmp_path / "out", "--model", model) == 130
    assert "stopped" in capfd.readouterr().err
    assert not list(tmp_path.rglob("*.mid"))


def test_silence_is_done_with_a_warning(song, tmp_path, model, capfd):
    path = song("silence.wav", np.zeros(RATE))
    assert transcribe(path, "-o", tmp_path / "out", "--model", model, "--json") == 0
    assert "digital silence" in capfd.readouterr().err
    assert (tmp_path / "out" / "silence.mid").exists()


def test_help_is_quick_because_it_imports_nothing():
    code = "import sys, yourmt3plus.__main__ as m\ntry: m.main(['transcribe', '--help'])\nexcept SystemExit: pass\n"
    code += "print('numpy' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False False")
