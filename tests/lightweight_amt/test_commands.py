import csv
import json
import subprocess
import sys

import mido
import numpy as np
import pytest
import soundfile

from common.midi import read_midi
from lightweight_amt.__main__ import main

RATE = 22050


@pytest.fixture(scope="module")
def model(graph_files) -> str:
    """Random weights hear notes everywhere, which is what these tests want."""
    return str(graph_files["nano"])


@pytest.fixture
def song(tmp_path):
    def write(name: str, audio: np.ndarray | None = None, rate: int = RATE):
        if audio is None:
            audio = 0.1 * np.random.default_rng(0).standard_normal(2 * rate)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, audio, rate)
        return path

    return write


def transcribe(*args) -> int:
    return main(["transcribe", *(str(arg) for arg in args)])


def test_all_outputs_tell_the_same_notes(song, tmp_path, model):
    path, out = song("noise.wav"), tmp_path / "out"
    assert transcribe(path, "-o", out, "--model", model, "--json", "--csv", "--plot", "--sonify") == 0
    midi = read_midi(out / "noise.mid")
    document = json.loads((out / "noise.json").read_text())
    rows = list(csv.DictReader((out / "noise.csv").open()))
    assert document["version"] == 1
    assert document["model"] == "nano"
    assert document["duration"] == pytest.approx(2.0)
    assert len(midi) == len(document["notes"]) == len(rows) > 0
    for note, row in zip(document["notes"], rows, strict=True):
        assert {key: float(value) for key, value in row.items()} == note
    # MIDI rounds to ticks, which may change the order of notes that start together.
    found = sorted((note["pitch"], note["onset"], note["offset"]) for note in document["notes"])
    written = sorted(zip(midi.pitch.tolist(), midi.onset.tolist(), midi.offset.tolist(), strict=True))
    assert np.abs(np.array(found) - np.array(written)).max() < 1e-3
    assert (out / "noise.png").read_bytes().startswith(b"\x89PNG")
    sound, rate = soundfile.read(out / "noise.sonified.wav")
    original, _ = soundfile.read(path)
    assert (rate, sound.shape) == (RATE, (len(original), 2))
    assert np.abs(sound[:, 0] - original).max() < 1e-3
    assert sound[:, 1].any()
    outputs = {f"noise.{suffix}" for suffix in ("csv", "json", "mid", "png", "sonified.wav")}
    assert {file.name for file in out.iterdir()} == outputs


def test_instruments_get_a_track_each(song, tmp_path):
    time = np.arange(4 * RATE) / RATE
    pluck = np.exp(-3 * (time % 0.5)) * np.sin(2 * np.pi * 440 * time)
    organ = sum(np.sin(2 * np.pi * 110 * n * time) / n for n in range(1, 8)) * (time % 1 < 0.9)
    path = song("two.wav", 0.2 * pluck + 0.1 * organ)
    assert transcribe(path, "-o", tmp_path / "two", "--instruments", 2, "--plot") == 0
    assert transcribe(path, "-o", tmp_path / "one") == 0
    together, apart = (read_midi(tmp_path / name / "two.mid") for name in ("one", "two"))
    assert sorted(apart.pitch.tolist()) == sorted(together.pitch.tolist())
    assert set(together.track.tolist()) == {0}
    assert set(apart.track.tolist()) == {0, 1}
    names = [track.name for track in mido.MidiFile(tmp_path / "two" / "two.mid").tracks[1:]]
    assert names == ["instrument 1", "instrument 2"]
    assert {file.name for file in (tmp_path / "two").iterdir()} == {"two.mid", "two.png", "two.timbre.png"}


def test_silence_has_all_outputs_too(song, tmp_path):
    path, out = song("silence.wav", np.zeros(RATE)), tmp_path / "out"
    options = ("--json", "--csv", "--plot", "--sonify", "--instruments", "auto", "--pitch-bends")
    assert transcribe(path, "-o", out, *options) == 0
    assert json.loads((out / "silence.json").read_text())["notes"] == []
    suffixes = ("csv", "json", "mid", "png", "sonified.wav", "timbre.png")
    assert {file.name for file in out.iterdir()} == {f"silence.{suffix}" for suffix in suffixes}


@pytest.mark.parametrize("number", ["0", "16", "some"])
def test_a_number_of_instruments_that_cannot_be_is_refused(number, song, capsys):
    with pytest.raises(SystemExit) as stop:
        transcribe(song("noise.wav"), "--instruments", number)
    assert stop.value.code == 2
    assert "auto, or a number from 1 to 15" in capsys.readouterr().err


def test_without_a_timbre_branch_instruments_cannot_be_told_apart(song, tmp_path, model, capsys):
    assert transcribe(song("noise.wav"), "-o", tmp_path, "--model", model, "--instruments", "auto") == 2
    assert "no timbre branch" in capsys.readouterr().err


def test_bends_are_written_when_asked_for(song, tmp_path, model):
    path = song("noise.wav")
    for name, *options in (("plain",), ("bent", "--pitch-bends")):
        assert transcribe(path, "-o", tmp_path / name, "--model", model, "--json", *options) == 0
    plain, bent = (json.loads((tmp_path / name / "noise.json").read_text()) for name in ("plain", "bent"))
    assert [{key: value for key, value in note.items() if key != "bends"} for note in bent["notes"]] == plain["notes"]
    assert any(note["bends"] for note in bent["notes"])
    for note in bent["notes"]:
        assert all(note["onset"] - 1e-4 <= seconds < note["offset"] + 1e-4 for seconds, _ in note["bends"])
        assert all(abs(cents) <= 117 for _, cents in note["bends"])  # a semitone and half a bin
    assert read_midi(tmp_path / "plain" / "noise.mid") == read_midi(tmp_path / "bent" / "noise.mid")


def test_nothing_is_written_over_the_recording(song, model):
    path = song("song.wav")
    before = path.read_bytes()
    assert transcribe(path, "--model", model, "--json", "--csv", "--plot", "--sonify") == 0
    assert path.read_bytes() == before


def test_sonifications_in_a_folder_are_no_recordings(song, tmp_path, model):
    song("in/song.wav")
    for _ in range(2):
        assert transcribe(tmp_path / "in", "--model", model, "--sonify") == 0
        assert {path.name for path in (tmp_path / "in").iterdir()} == {"song.wav", "song.mid", "song.sonified.wav"}
    assert transcribe(tmp_path / "in" / "song.sonified.wav", "--model", model) == 0
    assert (tmp_path / "in" / "song.sonified.mid").exists()


def test_an_empty_folder_does_not_stop_the_others(song, tmp_path, model, capfd):
    (tmp_path / "empty").mkdir()
    path = song("good.wav")
    assert transcribe(tmp_path / "empty", tmp_path / "missing.wav", path, "--model", model) == 2
    assert path.with_suffix(".mid").exists()
    error = capfd.readouterr().err
    assert "empty" in error
    assert "missing.wav" in error


def test_a_bad_file_does_not_stop_the_others(song, tmp_path, model, capfd):
    good, bad = song("good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF no audio")
    assert transcribe(bad, good, "-o", tmp_path / "out", "--model", model) == 2
    assert (tmp_path / "out" / "good.mid").exists()
    assert not (tmp_path / "out" / "bad.mid").exists()
    error = capfd.readouterr().err
    assert "bad.wav" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.wav"], "missing.wav"),
        (["good.wav", "--model", "huge"], "no such model"),
        (["good.wav", "--onset-threshold", "3"], "onset_threshold"),
        (["good.wav", "--unstruck-threshold", "0"], "unstruck_threshold"),
        (["good.wav", "--unstruck-length", "-1"], "unstruck_length"),
        (["good.wav", "--relative", "1"], "relative"),
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


def test_a_folder_is_searched_and_keeps_its_shape(song, tmp_path, model):
    song("album/one.wav")
    song("album/two.flac")
    song("album/one.flac")
    assert transcribe(tmp_path / "album", "-o", tmp_path / "out", "--model", model) == 0
    # Two recordings of one name keep their suffixes.
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.wav.mid", "one.flac.mid", "two.mid"}


def test_existing_files_are_skipped_when_asked(song, tmp_path, model):
    path = song("song.wav")
    path.with_suffix(".mid").write_text("mine")
    assert transcribe(path, "--model", model, "--skip-existing") == 0
    assert path.with_suffix(".mid").read_text() == "mine"
    assert transcribe(path, "--model", model) == 0
    assert len(read_midi(path.with_suffix(".mid")))


def test_two_jobs_do_what_one_does(song, tmp_path, model):
    for name in ("a.wav", "b.wav", "c.wav"):
        song(f"in/{name}")
    for jobs in (1, 2):
        assert transcribe(tmp_path / "in", "-o", tmp_path / f"out{jobs}", "--model", model, "--jobs", jobs) == 0
    for name in ("a.mid", "b.mid", "c.mid"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (np.zeros(RATE), "digital silence"),
        (1e-3 * np.sin(np.arange(RATE)), "very quiet (peak -60 dBFS)"),
        (np.clip(3 * np.sin(0.1 * np.arange(RATE)), -1, 1), "clipped"),
    ],
)
def test_a_doubtful_recording_is_done_with_a_warning(audio, text, song, model, capfd):
    path = song("doubtful.wav", audio)
    assert transcribe(path, "--model", model) == 0
    assert path.with_suffix(".mid").exists()
    assert text in capfd.readouterr().err


def test_nothing_found_is_said(song, model, capfd):
    path = song("song.wav")
    assert transcribe(path, "--model", model, "--onset-threshold", "1", "--frame-threshold", "1") == 0
    assert "no notes found" in capfd.readouterr().err
    assert len(read_midi(path.with_suffix(".mid"))) == 0


def test_help_is_quick_because_it_imports_nothing():
    code = "import sys, lightweight_amt.__main__ as m\ntry: m.main(['transcribe', '--help'])\nexcept SystemExit: pass\n"
    code += "print('numpy' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False False")


@pytest.mark.parametrize("args", [["dance"], ["transcribe"]])
def test_an_unknown_verb_is_told_the_known_ones(args):
    run = subprocess.run([sys.executable, "-m", "lightweight_amt", *args], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "usage: python -m lightweight_amt" in run.stderr
