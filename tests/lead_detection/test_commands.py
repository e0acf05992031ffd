import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from lead_detection import files
from lead_detection.commands import SETTINGS, detect_command
from lead_detection.decode import NOBODY, DecodeSettings
from lead_detection.inference import Model
from tests.lead_detection.loudest import RATE, Loudest, make_song

EDGES, LEADERS = (0.0, 4.3, 9.81, 13.0, 20.004), (0, 2, NOBODY, 1)
LAYOUT = {"bass.wav": 44_100, "lead vox.flac": 16_000, "zither.mp3": 48_000}


@pytest.fixture(autouse=True)
def model(monkeypatch) -> Model:
    """In place of weights, a network that hears who is loudest."""
    chosen = Model(Loudest(), "loudest", norm="none")
    monkeypatch.setattr(files, "load", lambda name, device: chosen)
    return chosen


@pytest.fixture
def song(tmp_path):
    """A folder of stems in mixed formats and rates."""

    def write(name: str = "song", edges=EDGES, leaders=LEADERS, layout=LAYOUT):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for i, (file, rate) in enumerate(layout.items()):
            soundfile.write(folder / file, make_song(edges, leaders, len(layout), rate)[i], rate)
        return folder

    return write


def detect(*args) -> int:
    return detect_command([str(arg) for arg in args])


def rows(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_outputs_tell_the_same_timeline(song, tmp_path, capfd):
    folder, out = song(), tmp_path / "out"
    assert detect(folder, "-o", out, "--csv", "--json", "--labels", "--plot", "--frames") == 0
    assert {path.name for path in out.iterdir()} == {
        f"song.{suffix}" for suffix in ("csv", "json", "txt", "png", "npy")
    }
    table = rows(out / "song.csv")
    assert list(table[0]) == ["start", "end", "track", "instrument", "confidence"]
    assert [row["track"] for row in table] == ["bass", "zither", "none", "lead vox"]
    assert [row["instrument"] for row in table] == ["electric_bass", "unknown", "", "vocal"]
    edges = [0.0, *(float(row["end"]) for row in table)]
    assert [float(row["start"]) for row in table] == edges[:-1]
    np.testing.assert_allclose(edges, EDGES, atol=0.1)
    assert edges[-1] == pytest.approx(20.004, abs=1e-4)
    document = json.loads((out / "song.json").read_text())
    for row, segment in zip(table, document["segments"], strict=True):
        assert {name: str(segment[name]) for name in row} == row
    assert [segment["index"] for segment in document["segments"]] == [0, 2, None, 1]
    assert document["tracks"][1] == {"index": 1, "name": "lead vox", "instrument": "vocal", "file": "lead vox.flac"}
    assert (document["version"], document["model"], document["mixture"]) == (1, "loudest", None)
    labels = [line.split("\t") for line in (out / "song.txt").read_text().splitlines()]
    assert [(f"{float(row['start']):.6f}", f"{float(row['end']):.6f}", row["track"]) for row in table] == [
        tuple(label) for label in labels
    ]
    probabilities = np.load(out / "song.npy")
    assert probabilities.shape == (round(np.ceil(document["duration"] * document["frame_rate"])), 4)
    assert (out / "song.png").read_bytes().startswith(b"\x89PNG")
    assert "4 segments, 3 of 3 tracks lead (20.0 s, no mixture, so the sum of the tracks)" in capfd.readouterr().out


def test_without_options_a_csv_stands_with_the_stems(song):
    folder = song()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert detect(folder) == 0
    assert {path.name for path in folder.iterdir()} == {*LAYOUT, "lead.csv"}
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_csv_can_be_named(song, tmp_path):
    assert detect(song(), "-o", tmp_path / "op. 1.csv", "--json") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"song", "op. 1.csv", "op. 1.json"}


def test_any_output_can_be_named_and_is_then_the_one(song, tmp_path):
    folder = song()
    for name in ("a.json", "b.txt", "c.png", "d.npy"):
        assert detect(folder, "-o", tmp_path / name) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"song", "a.json", "b.txt", "c.png", "d.npy"}
    assert json.loads((tmp_path / "a.json").read_text())["duration"] > 0


def test_a_mixture_in_the_folder_is_recognised_and_told(song, model, capfd):
    folder = song()
    soundfile.write(folder / "The Song (full mix).wav", np.zeros(20 * RATE), RATE)
    assert detect(folder, "--json") == 0
    assert "mixture The Song (full mix).wav" in capfd.readouterr().out
    document = json.loads((folder / "lead.json").read_text())
    assert document["mixture"] == "The Song (full mix).wav"
    assert len(document["tracks"]) == 3
    assert not any(mixture.any() for *_, mixture in model.net.calls)


def test_a_mixture_elsewhere_is_named(song, tmp_path, model):
    soundfile.write(tmp_path / "elsewhere.wav", np.zeros(20 * RATE), RATE)
    assert detect(song(), "--mix", tmp_path / "elsewhere.wav") == 0
    assert not any(mixture.any() for *_, mixture in model.net.calls)


def test_a_table_tells_the_instruments(song, tmp_path):
    table = tmp_path / "instruments.csv"
    table.write_text("file,instrument\nzither.mp3,guzheng\nbass,\n")
    assert detect(song(), "-o", tmp_path, "--instruments", table) == 0
    assert [row["instrument"] for row in rows(tmp_path / "song.csv")] == ["unknown", "guzheng", "", "vocal"]


def test_settings_reach_the_decoder(song, tmp_path):
    assert set(SETTINGS) == set(DecodeSettings.__dataclass_fields__)
    folder = song()
    assert detect(folder, "-o", tmp_path / "all", "--null-bias", 1000) == 0
    assert [row["track"] for row in rows(tmp_path / "all" / "song.csv")] == ["none"]
    assert detect(folder, "-o", tmp_path / "long", "--min-length", 4) == 0
    assert all(float(row["end"]) - float(row["start"]) >= 4 for row in rows(tmp_path / "long" / "song.csv"))


def test_several_songs_and_those_of_one_name(song, tmp_path):
    folders = [song("a/stems"), song("b/stems"), song("c")]
    assert detect(*folders, folders[0], "-o", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a-stems.csv", "b-stems.csv", "c.csv"}


def test_what_is_wrong_with_one_song_does_not_stop_the_others(song, tmp_path, capfd):
    folders = [song(name) for name in ("good", "damaged", "lonely", "cut")]
    (folders[1] / "bass.wav").write_bytes(b"RIFF no audio")
    for path in list(folders[2].iterdir())[1:]:
        path.unlink()
    data = (folders[3] / "lead vox.flac").read_bytes()
    (folders[3] / "lead vox.flac").write_bytes(data[: len(data) // 2])
    assert detect(*folders, tmp_path / "missing", "-o", tmp_path / "out", "--json") == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.json"}
    captured = capfd.readouterr().err
    errors = [line for line in captured.splitlines() if str(tmp_path) in line]
    assert "Traceback" not in captured
    assert len(errors) == 4
    for name, remedy in (
        ("bass.wav", "convert it"),
        ("lonely", "separate"),
        ("vox.flac", "again"),
        ("missing", "check"),
    ):
        assert sum(name in line and remedy in line for line in errors) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["song/bass.wav"], "song/bass.wav: a single recording does not tell who leads; separate it first"),
        (["nowhere"], "nowhere: there is no such folder"),
        (["empty"], "empty: no stems here"),
        (["song", "--mix", "mixx.wav"], "mixx.wav: there is no such mixture"),
        (["song", "other", "--mix", "song/bass.wav"], "song/bass.wav: one --mix cannot be that of 2 songs"),
        (["song", "other", "-o", "one.csv"], "one.csv: one --out cannot be that of 2 songs"),
        (["song", "--temperature", "0"], "temperature is above 0"),
        (["song", "--instruments", "none.csv"], "none.csv: cannot be read"),
        (["song", "--instruments", "bad.csv"], "bad.csv: no track is called 'base.wav'"),
        (["song", "-o", "file"], "cannot be written"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, song, tmp_path, capfd, monkeypatch):
    song(edges=(0.0, 1.0), leaders=(1,))
    song("other", (0.0, 1.0), (1,))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "bad.csv").write_text("file,instrument\nbase.wav,bass\n")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert detect(*arguments) == 2
    error = capfd.readouterr().err
    assert sum(text in line for line in error.splitlines()) == 1
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


def test_short_and_silent_stems_are_told(song, capfd):
    folder = song(edges=(0.0, 3.0), leaders=(1,))
    soundfile.write(folder / "bass.wav", np.zeros(RATE), RATE)
    assert detect(folder) == 0
    errors = capfd.readouterr().err
    assert "warning: " in errors
    assert "bass: ends 2.00 s before the longest" in errors
    assert "bass: silent throughout" in errors


def test_a_silent_song_is_one_row(song):
    folder = song(edges=(0.0, 3.0), leaders=(NOBODY,))
    assert detect(folder) == 0
    table = rows(folder / "lead.csv")
    assert [(row["track"], row["confidence"]) for row in table] == [("none", "1.0")]


def test_an_interruption_leaves_nothing_half_done(song, tmp_path):
    folder = song()
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have made us ignore it
from lead_detection import files
from lead_detection.commands import detect_command
from lead_detection.inference import Model
from tests.lead_detection.loudest import Loudest
class Interrupted(Loudest):
    def forward(self, *inputs):
        os.kill(os.getpid(), signal.SIGINT)
        return super().forward(*inputs)
files.load = lambda name, device: Model(Interrupted())
sys.exit(detect_command([{str(folder)!r}, "-o", {str(tmp_path / "out")!r}]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 130
    assert "stopped" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_help_is_quick_because_it_imports_nothing():
    code = "import sys\nfrom lead_detection.commands import detect_command\n"
    code += "try: detect_command(['--help'])\nexcept SystemExit: pass\nprint('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False")
    assert "--null-bias" in run.stdout
