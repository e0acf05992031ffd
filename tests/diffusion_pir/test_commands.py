import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from common.melspec import SAMPLE_RATE
from diffusion_pir import files, recognise
from diffusion_pir.commands import embed_command, recognise_command
from diffusion_pir.features import FeatureSpec, extract
from diffusion_pir.inference import Recogniser
from tests.diffusion_pir.planted import open_tiny, picture, tone, write_backbone, write_head


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return write_head(folder / "head.safetensors", write_backbone(folder / "tiny.safetensors"))


@pytest.fixture
def song(tmp_path):
    def write(name: str, audio: np.ndarray | None = None, rate: int = SAMPLE_RATE):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone("sax", 3.0, rate=rate) if audio is None else audio, rate)
        return path

    return write


def run(head, *args) -> int:
    options = ["--head", head, "--model", head.with_name("tiny.safetensors")]
    return recognise_command([str(arg) for arg in [*args, *options]])


def test_all_outputs_tell_the_same(song, tmp_path, head, capfd):
    path, out = song("op. 1.wav", rate=44_100), tmp_path / "out"
    assert run(head, path, "-o", out, "--csv", "--json", "--plot", "--hop", 0.5) == 0
    assert {file.name for file in out.iterdir()} == {f"op. 1.instruments.{suffix}" for suffix in ("csv", "json", "png")}
    found = recognise(path, head=head, model=head.with_name("tiny.safetensors"), hop=0.5)
    with (out / "op. 1.instruments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "start", "end", "instrument", "probability"]
    assert {row["file"] for row in rows} == {str(path)}
    assert [row["instrument"] for row in rows] == ["flu", "sax"] * 3
    assert [(float(row["start"]), float(row["end"])) for row in rows[::2]] == [(0.0, 2.0), (0.5, 2.5), (1.0, 3.0)]
    probabilities = np.array([float(row["probability"]) for row in rows]).reshape(-1, 2)
    np.testing.assert_allclose(probabilities, found.probabilities, atol=1e-4)
    document = json.loads((out / "op. 1.instruments.json").read_text())
    np.testing.assert_array_equal([window["probabilities"] for window in document["windows"]], probabilities)
    assert [
        document["classes"].index(window["predominant"]) for window in document["windows"]
    ] == found.predominant.tolist()
    assert document["labels"] == list(found.labels)
    np.testing.assert_allclose(document["scores"], found.scores, atol=1e-4)
    assert (document["version"], document["model"], document["head"], document["duration"]) == (
        1,
        "tiny",
        "random",
        3.0,
    )
    assert (out / "op. 1.instruments.png").read_bytes().startswith(b"\x89PNG")
    words = ", ".join({"flu": "flute", "sax": "saxophone"}[label] for label in found.labels)
    assert capfd.readouterr().out.endswith(f"op. 1.instruments.png: {words} (3.0 s)\n")


def test_without_options_a_csv_stands_beside_the_audio(song, head, tmp_path):
    song("in/a.wav")
    song("in/b.flac")
    song("in/b.wav")
    assert run(head, tmp_path / "in") == 0
    tables = {"a.instruments.csv", "b.flac.instruments.csv", "b.wav.instruments.csv"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"a.wav", "b.wav", "b.flac", *tables}


def test_a_csv_can_be_named(song, head, tmp_path):
    assert run(head, song("a.wav"), "-o", tmp_path / "op. 1.csv", "--json") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "op. 1.csv", "op. 1.json"}


def test_what_is_there_is_skipped_when_asked(song, head, tmp_path):
    path = song("a.wav")
    table = tmp_path / "a.instruments.csv"
    table.write_text("mine")
    assert run(head, path, "--skip-existing") == 0
    assert table.read_text() == "mine"
    assert run(head, path, "--skip-existing", "--csv", "--json") == 0
    assert table.read_text() != "mine"


def test_what_is_wrong_with_one_file_does_not_stop_the_others(song, head, tmp_path, capfd):
    good, bad = song("good.wav"), tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF no audio")
    assert run(head, bad, tmp_path / "missing.wav", good, "-o", tmp_path / "out") == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"good.instruments.csv"}
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert all(sum(name in line for line in error.splitlines()) == 1 for name in ("bad.wav", "missing.wav"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["good.wav", "--head", "nothing"], "nothing: there is no such head"),
        (["good.wav", "--model", "nothing"], "nothing: no such model"),
        (["good.wav", "--head", "good.wav"], "good.wav"),
        (["empty"], "no audio file in this folder"),
        (["good.wav", "other.wav", "-o", "one.csv"], "one.csv: 2 recordings cannot go into one .csv file"),
        (["good.wav", "-o", "good.wav"], "cannot be written"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, song, head, tmp_path, capfd, monkeypatch):
    song("good.wav")
    song("other.wav")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    defaults = ["--head", str(head), "--model", str(head.with_name("tiny.safetensors"))]
    assert recognise_command([*defaults, *arguments]) == 2
    error = capfd.readouterr().err
    assert sum(text in line for line in error.splitlines()) == 1
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["--hop", "0"], ["--hop", "100"], ["--draws", "0"]])
def test_numbers_out_of_range_are_refused(arguments, song, head, capsys):
    with pytest.raises(SystemExit) as stop:
        run(head, song("a.wav"), *arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("audio", "line", "doubt"),
    [
        (np.zeros(SAMPLE_RATE), "nothing but silence (1.0 s)", "digital silence"),
        (1e-3 * np.sin(np.arange(SAMPLE_RATE)), "(1.0 s)", "very quiet (peak -60 dBFS)"),
    ],
)
def test_a_doubtful_recording_is_done_with_a_warning(audio, line, doubt, song, head, capfd):
    assert run(head, song("a.wav", audio), "--plot") == 0
    captured = capfd.readouterr()
    assert line in captured.out
    assert doubt in captured.err


def test_an_interruption_leaves_nothing_half_done(song, head, tmp_path, monkeypatch, capfd):
    heard = Recogniser.__call__

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        return heard(*args)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(Recogniser, "__call__", interrupted)
    try:
        assert run(head, song("a.wav"), "-o", tmp_path / "out") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "out").exists()
    assert "stopped" in capfd.readouterr().err


def test_embeddings_are_the_features_of_the_windows(song, head, tmp_path, capfd):
    audio = tone("flu", 3.0)
    backbone = head.with_name("tiny.safetensors")
    arguments = [song("a.wav", audio), "-o", tmp_path / "out", "--hop", 1, "--sigmas", 0.1, 0.3, "--model", backbone]
    assert embed_command([str(argument) for argument in arguments]) == 0
    stored = np.load(tmp_path / "out" / "a.embedding.npz")
    assert stored["times"].tolist() == [0.0, 1.0]
    assert stored["features"].dtype == np.float32
    assert "2 windows of 16 features" in capfd.readouterr().out

    class Windows:
        ids = ("@0", "@50")

        def load(self, rows):
            whole = picture(soundfile.read(tmp_path / "a.wav", dtype="float32")[0])
            return np.stack([whole[:, 50 * row : 50 * row + 100] for row in rows])

        def digest(self) -> str:
            return ""

    spec = FeatureSpec(**json.loads(str(stored["spec"])))
    expected = extract(open_tiny(backbone), Windows(), spec)
    np.testing.assert_allclose(
        stored["features"], np.concatenate([expected[cell] for cell in spec.cells], axis=1), atol=1e-4
    )


def test_layers_that_there_are_not_are_told_with_those_that_there_are(song, head, capfd):
    backbone = head.with_name("tiny.safetensors")
    assert embed_command([str(song("a.wav")), "--layers", "nowhere", "--model", str(backbone)]) == 2
    assert "has no layer nowhere; it has down, bottleneck_1" in capfd.readouterr().err


def test_help_is_quick_because_it_imports_nothing():
    code = "import sys\nfrom diffusion_pir import commands\n"
    code += "for verb in 'recognise embed generate train_head evaluate'.split():\n"
    code += "    try: getattr(commands, verb + '_command')(['--help'])\n    except SystemExit: pass\n"
    code += "print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("False")
    for name in ("recognise", "embed", "generate", "train-head", "evaluate"):
        assert f"usage: python -m diffusion_pir {name} " in run.stdout


def test_edges_of_the_picture_follow_the_windows(head):
    model = head.with_name("tiny.safetensors")
    found = recognise(tone("sax", 3.1), SAMPLE_RATE, head=head, model=model, hop=0.5)
    figure = files.draw(found, np.zeros((128, 155), np.float32), "title")
    mesh = figure.axes[1].collections[0]
    edges = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, [0.0, 1.25, 1.75, 2.05, 3.1], atol=0.01)
