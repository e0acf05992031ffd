import json

import pytest

from benchmarks import harness, tables
from benchmarks.tables import ROOT, TABLES, Table, insert, markdown, write_all

RECORD = {
    "results": {
        "settings": {
            "data.corpus": "small",
            "trainer.max_steps": 400,
            "data.batch_size": 8,
            "data.crop_frames": 288,
        },
        "table": {
            "paper": {
                "what": "As the paper has it.",
                "seeds": [0, 1, 2],
                "scores": {
                    "note_f1": {"mean": 0.5, "deviation": 0.01},
                    "frame_f1": {"mean": 0.61234, "deviation": 0.1},
                    "note_recall": {"mean": 0.4, "deviation": 0.0},
                },
                "paper": {"training": "synthetic", "scores": {"BACH10 tutti": [84.6, 75.2], "PHENICX": [63.2, 49.4]}},
            },
            "new": {
                "what": "Ours.",
                "seeds": [0],
                "scores": {"note_f1": {"mean": 0.7, "deviation": None}, "frame_f1": {"mean": 0.8, "deviation": None}},
                "paper": {},
            },
            "old": {
                "what": "Theirs.",
                "seeds": [0],
                "scores": {"note_f1": {"mean": 0.7, "deviation": None}},
                "paper": {"training": "older", "scores": {"BACH10 tutti": [1.0, 2.0]}},
            },
        },
        "runs": [
            {"device": "cpu", "processor": "Some CPU", "date": "2026-11-22T01:00:00+00:00"},
            {"device": "Some GPU", "processor": "Another CPU", "date": "2026-11-21T23:00:00+00:00"},
        ],
    }
}


@pytest.fixture
def readme(tmp_path, monkeypatch):
    """A README with one place for a table, and a folder for its result."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "TABLES", [Table("x", "README.md", "record", tables.ablation, "make x")])
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n")
    return path


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_readme_says_what_the_results_say(table):
    text = (ROOT / table.readme).read_text(encoding="utf-8")
    assert insert(text, table.name, table.current()) == text


def test_a_table_of_the_ablation_by_hand():
    text, table = tables.ablation(RECORD).split("\n\n")
    assert "`small`" in text
    assert "400 steps of 8 crops of 288 frames" in text
    assert "Another CPU" not in text
    assert text.endswith("Some CPU, Some GPU; 2026-11-21 to 2026-11-22.")
    assert table.splitlines() == [
        "| row | what it is | frame F | note F | seeds | paper: BACH10 tutti |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `paper` | As the paper has it. | 61.2 ± 10.0 | 50.0 ± 1.0 | 3 | 84.6 / 75.2 |",
        "| `new` | Ours. | 80.0 | 70.0 | 1 |  |",
        "| `old` | Theirs. |  | 70.0 | 1 | 1.0 / 2.0 (older) |",
    ]


def test_a_table_of_the_lead_by_hand():
    score = {"mean": 0.912, "deviation": 0.01, "interval": [0.85, 0.96]}
    lead = {
        "settings": {"data.corpus": "lead", "trainer.max_steps": 400, "data.budget": 48},
        "table": {
            "paper": {
                "what": "As the paper has it.",
                "seeds": [0, 1],
                "scores": {"track_accuracy": score, "clip_track_f1": {"mean": 0.5, "deviation": None}},
                "paper": {"training": "Table I", "scores": {"MJN test": [83.76, 83.76, 91.2]}},
            },
            "from_mix": {
                "what": "Hears the mixture alone.",
                "seeds": [0],
                "scores": {},
                "paper": {"training": "Table I", "scores": {"MJN test": [None, 57.17, 72.69]}},
            },
        },
        "runs": RECORD["results"]["runs"],
    }
    text, table = tables.lead_ablation({"results": lead}).split("\n\n")
    assert "400 steps of at most 48 tracks" in text
    assert table.splitlines() == [
        "| row | what it is | track accuracy | track F1 per clip | seeds | paper: MJN test |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `paper` | As the paper has it. | 91.2 ± 1.0 (85-96) | 50.0 | 2 | 83.8 / 83.8 / 91.2 (Table I) |",
        "| `from_mix` | Hears the mixture alone. |  |  | 1 | - / 57.2 / 72.7 (Table I) |",
    ]


def test_a_table_of_all_instruments_by_hand():
    multi = {
        "settings": {
            "data.corpora": {"small": 0.5, "band": 0.5},
            "trainer.max_steps": 400,
            "data.batch_size": 8,
            "data.test_seconds": 20.0,
        },
        "table": {
            "moe": {
                "what": "Experts.",
                "seeds": [0, 1],
                "scores": {
                    "onset_f1": {"mean": 0.5, "deviation": 0.01},
                    "multi_f1_ymt3": {"mean": 0.25, "deviation": 0.0},
                    "token_accuracy": {"mean": 0.9, "deviation": 0.0},
                },
                "paper": {"training": "paper", "scores": {"Slakh2100": [84.56, None, 74.84], "URMP": [1.0, 2.0, 3.0]}},
            },
        },
        "runs": RECORD["results"]["runs"],
    }
    text, table = tables.multi_ablation({"results": multi}).split("\n\n")
    assert "400 steps of 8 segments" in text
    assert "the corpora `small` 0.5, `band` 0.5;" in text
    assert table.splitlines() == [
        "| row | what it is | onset F | multi-F (YourMT3+) | seeds | paper: Slakh2100 |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `moe` | Experts. | 50.0 ± 1.0 | 25.0 ± 0.0 | 2 | 84.6 / - / 74.8 (paper) |",
    ]


def test_a_table_takes_the_place_of_the_one_before(readme):
    write_all()
    assert readme.read_text() == "before\n<!-- x:begin -->\nNot measured yet: `make x`.\n<!-- x:end -->\nafter\n"
    (readme.parent / "record.json").write_text(json.dumps(RECORD))
    write_all()
    once = readme.read_text()
    assert "61.2 ± 10.0" in once
    assert once.startswith("before\n")
    assert once.endswith("<!-- x:end -->\nafter\n")
    write_all()
    assert readme.read_text() == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- x:begin -->",
        "<!-- x:end --><!-- x:begin -->",
        "<!-- x:begin --><!-- x:end --><!-- x:begin --><!-- x:end -->",
    ],
)
def test_a_readme_without_a_place_for_the_table_is_told_so(text):
    with pytest.raises(ValueError, match="<!-- x:begin -->"):
        insert(text, "x", "table")


def test_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
