import base64
import csv
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import demo, page
from common.composer import compose
from common.frames import FrameGrid
from common.midi import read_midi
from common.notes import Notes
from common.pieces import Piece
from lightweight_amt.__main__ import main as lightweight_amt_main

VOID = {"meta", "link", "img", "br"}
NASTY = """<b>"Rock & Roll" 'n $title</b>"""
TRUTH = Notes.build([0.1, 0.3, 0.6], [0.3, 0.5, 0.9], [60, 64, 67], 80)
HEARD = Notes.build([0.1, 0.31, 0.7], [0.3, 0.5, 0.9], [60, 64, 72], 80)


class Page(HTMLParser):
    """Fails on tags that do not match; keeps what is asked about."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def decode(uri: str, kind: str) -> bytes:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)


@pytest.fixture(scope="module")
def take() -> demo.Take:
    audio = 0.1 * np.sin(np.arange(demo.RATE) * 2 * np.pi * 440 / demo.RATE).astype(np.float32)
    scores = {"note_f1": 0.6667, "note_recall": 2 / 3, "note_offset_f1": 0.5, "frame_f1": 0.9}
    return demo.Take("band", NASTY, NASTY, audio, TRUTH, HEARD, scores, 0.25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def run(folder) -> Path:
    """The folder of a training run, as the command line leaves it."""
    folder = folder / "lightweight_amt" / "tiny"
    (folder / "wandb" / "offline-run-20260101_000000-abc").mkdir(parents=True)
    columns = ["step", "train/loss_step", "val/loss", "val/note_f1", "val/frame_f1"]
    with (folder / "metrics.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [columns, [4, 20.0, "", "", ""], [29, "", 2.0, 0.25, 0.5], [149, 1.0, 1.0, 0.75, 0.8]]
        )
    return folder


@pytest.fixture(scope="module")
def built(take, run, folder) -> Page:
    piece = Piece("id", folder, "train", "", "", 6.0, 22050, "", 0.0, False, (), ())
    parts = [demo.scores_table([take]), demo.present(take, folder), demo.present_training(run, [piece, piece])]
    return Page(page.render(NASTY, NASTY, [page.Section(NASTY, "\n".join(parts))], NASTY))


def test_the_page_is_well_formed_and_asks_nothing_of_a_network(built):
    for _, attributes in built.tags:
        for name in {"src", "href", "srcset", "action", "poster"} & attributes.keys():
            assert attributes[name].startswith("data:")
    style = page.TEMPLATE.template.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"url\(|@import|https?:", style)
    assert {tag for tag, _ in built.tags} >= {"h1", "h2", "h3", "table", "audio", "img"}
    assert not {"iframe", "object", "embed"} & {tag for tag, _ in built.tags}


def test_text_arrives_as_it_was_meant(built):
    text = "".join(built.text)
    assert text.count(NASTY) == 7  # the title twice, lead, section, card, players, footer
    assert "b" not in {tag for tag, _ in built.tags}


def test_every_part_takes_plain_text(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"")
    parts = [page.player(NASTY, tmp_path / "a.mp3"), page.download(NASTY, tmp_path / "a.mp3"), page.code(NASTY)]
    parts.append(page.table([NASTY, NASTY], [[NASTY, NASTY]]))
    built = Page(page.side_by_side(*parts))
    assert "".join(built.text).count(NASTY) == 7
    assert built.all("audio")[0]["aria-label"] == NASTY
    assert "b" not in {tag for tag, _ in built.tags}


def test_pictures_say_what_they_show(built):
    roll, curve = built.all("img")
    assert "of 3 notes 2 were found and 1 missed; 1 more were heard that nobody played" in roll["alt"]
    assert NASTY in roll["alt"]
    assert "note F ends at 0.75" in curve["alt"]
    assert all(decode(image["src"], "image/png").startswith(b"\x89PNG") for image in (roll, curve))


def test_sounds_and_midi_come_out_of_the_page_as_they_went_in(built, tmp_path):
    piece, heard = (decode(player["src"], "audio/mpeg") for player in built.all("audio"))
    for data in (piece, heard):
        audio, rate = soundfile.read(io.BytesIO(data))
        assert rate == demo.RATE
        assert abs(len(audio) / rate - 1.0) < 0.1
        assert 0.5 < np.abs(audio).max() < 1.0
    (link,) = (a for a in built.all("a") if "download" in a)
    path = tmp_path / link["download"]
    path.write_bytes(decode(link["href"], "audio/midi"))
    notes = read_midi(path)
    np.testing.assert_array_equal(notes.pitch, HEARD.pitch)
    np.testing.assert_allclose(notes.onset, HEARD.onset, atol=1e-3)


def test_numbers_are_on_the_page(built):
    text = " ".join(built.text)
    for number in ("0.67", "0.50", "0.90", "0.2 s", "150 steps", "12 seconds of music in 2 pieces", "offline-run-2026"):
        assert number in text


def test_the_roll_compares_what_was_heard_with_the_truth(monkeypatch, take, tmp_path):
    draw, drawn = demo.plots.piano_roll, []
    monkeypatch.setattr(demo.plots, "piano_roll", lambda *args: drawn.append(args) or draw(*args))
    demo.present(take, tmp_path)
    assert drawn == [(HEARD, TRUTH, 1.0)]


def test_a_line_runs_over_the_picture_where_its_axes_are(built):
    style = next(div["style"] for div in built.all("div") if div["class"] == "picture")
    left, right = (float(value) for value in re.findall(r"([\d.]+)%", style))
    assert 0 < left < 15
    assert 85 < right <= 100


def test_what_is_heard_perfectly_scores_one(monkeypatch):
    class Model:
        grid = FrameGrid(22050, 256)

    score = compose(5, "keys", 3.0)
    audio = []

    def oracle(samples, rate, model):
        audio.append(samples)
        return demo.merge_unisons(demo.heard(score.notes))

    monkeypatch.setattr(demo.inference, "transcribe", oracle)
    take = demo.listen("keys", "Keys", score, Model())
    assert take.scores["note_f1"] == take.scores["note_offset_f1"] == take.scores["frame_f1"] == 1.0
    assert audio[0].shape == (3 * demo.RATE,)
    assert np.abs(audio[0]).max() > 0.01
    assert take.parts == score.parts[0].name


def test_training_starts_anew_offline_with_options_that_exist(monkeypatch, tmp_path, capsys):
    calls = []
    monkeypatch.setattr(demo.subprocess, "run", lambda command, **options: calls.append((command, options)))
    monkeypatch.setenv("WANDB_MODE", "online")
    (tmp_path / "lightweight_amt" / "tiny").mkdir(parents=True)
    (tmp_path / "lightweight_amt" / "tiny" / "last.ckpt").touch()
    run = demo.train(tmp_path)
    assert not run.exists()
    ((command, options),) = calls
    assert command[:3] == [sys.executable, "-m", "lightweight_amt"]
    assert options["check"]
    assert options["env"]["WANDB_MODE"] == "offline"
    assert Path(options["env"]["TUTTI_RUNS"], "lightweight_amt", "tiny") == run
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        lightweight_amt_main([*command[3:], "--print_config"])
    assert stop.value.code == 0
    assert re.search(r"^  log_every_n_steps: 5$", capsys.readouterr().out, re.MULTILINE)


@pytest.fixture
def old_page(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    path = tmp_path / "demo" / "index.html"
    path.parent.mkdir()
    path.write_text("old")
    return path


def test_a_page_replaces_the_old_one(monkeypatch, capsys, old_page):
    monkeypatch.setattr(demo, "lightweight_amt", lambda folder, model: page.Section("Notes", page.paragraph("part")))
    monkeypatch.setattr(demo, "lead_detection", lambda folder: page.Section("Leads", page.paragraph("share")))
    monkeypatch.setattr(demo, "diffusion_pir", lambda folder: page.Section("Instruments", page.paragraph("share")))
    assert demo.main([]) == 0
    built = Page(old_page.read_text(encoding="utf-8"))
    assert "part" in built.text
    assert "share" in built.text
    assert capsys.readouterr().out.strip().endswith(str(old_page))


def test_a_demo_that_fails_says_why_and_leaves_the_old_page(capsys, old_page):
    assert demo.main(["--model", "no/such.onnx"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no/such.onnx" in error
    assert [path.name for path in old_page.parent.iterdir()] == ["index.html"]
    assert old_page.read_text() == "old"
