from pathlib import Path

import numpy as np
import pytest
import yaml

from common.corpus import Corpus
from common.datasets import __main__ as command
from common.datasets import preset
from common.datasets.files import DatasetError
from common.stems import all_but
from tests.common import layouts, yourmt3_layouts
from tests.common.layouts import RATE

ALL_CROSS = Path("yourmt3plus/configs/data/all_cross.yaml")
WRITERS = {
    "slakh": layouts.slakh,
    "musicnet-em": layouts.musicnet,
    "mir-st500": yourmt3_layouts.mir_st500,
    "enst-drums": yourmt3_layouts.enst_drums,
    "guitarset": layouts.guitarset,
    "e-gmd": yourmt3_layouts.egmd,
    "urmp": layouts.urmp,
    "maestro": layouts.maestro,
    "idmt-smt-bass": yourmt3_layouts.idmt_smt_bass,
    "cmedia": yourmt3_layouts.cmedia,
}
SLAKH = {
    "dataset": "slakh",
    "root": "slakh",
    "weight": 0.5,
    "train": ["train", "validation"],
    "test": ["test"],
    "annotated": "everything",
}


def table(path: Path, *rows) -> Path:
    path.write_text(yaml.safe_dump(list(rows)))
    return path


@pytest.fixture
def slakh_table(tmp_path) -> Path:
    layouts.slakh(tmp_path / "slakh")
    return table(tmp_path / "table.yaml", SLAKH)


def test_all_cross_is_the_paper_s_ten_data_sets_with_its_weights():
    weights = {row.name: row.weight for row in preset.load(ALL_CROSS) if row.weight}
    assert weights == {
        "slakh": 0.295,
        "musicnet-em": 0.19,
        "mir-st500": 0.191,
        "enst-drums": 0.05,
        "guitarset": 0.01,
        "e-gmd": 0.004,
        "urmp": 0.1,
        "maestro": 0.1,
        "idmt-smt-bass": 0.01,
        "cmedia": 0.05,
    }
    assert sum(weights.values()) == pytest.approx(1.0)


def test_no_recording_of_all_cross_is_used_for_two_things(tmp_path):
    rows = preset.load(ALL_CROSS)
    for row in rows:
        if row.dataset in WRITERS:
            WRITERS[row.dataset](tmp_path / row.root)
    used = [(row.root, recording.title, recording.split) for row in rows for recording in row.recordings(tmp_path)]
    use = {}
    for root, title, split in used:
        assert use.setdefault((root, title), split) == split
    assert {split for *_, split in used} == {"train", "validation", "test"}
    assert {root for root, *_ in used} == {row.root for row in rows}


def test_splits_are_said_in_the_words_of_a_corpus(slakh_table, tmp_path):
    (row,) = preset.load(slakh_table)
    splits = {recording.id: recording.split for recording in row.recordings(tmp_path)}
    assert splits == {"Track00001": "train", "Track01501": "train", "Track01876": "test"}  # and none of the omitted


def test_stems_and_what_is_known_are_what_the_table_says(slakh_table, tmp_path):
    table(slakh_table, SLAKH, {**SLAKH, "name": "mixed", "stems": False, "annotated": ["Bass", "Drums"]})
    stems, mixed = (row.recordings(tmp_path)[0] for row in preset.load(slakh_table))
    assert len(stems.multitrack().stems) == 4
    with pytest.raises(DatasetError, match=r"take mixture\(\) instead"):
        mixed.multitrack()
    assert mixed.notes == stems.notes
    assert (stems.unknown, mixed.unknown) == (frozenset(), all_but("Bass", "Drums"))


def test_options_go_to_the_adapter(slakh_table, tmp_path):
    table(slakh_table, SLAKH, {**SLAKH, "name": "as written", "options": {"correct_bass": False}})
    lowered, written = (row.recordings(tmp_path)[0].parts[1].notes for row in preset.load(slakh_table))
    assert (written.pitch - lowered.pitch).tolist() == [12] * 3


def test_only_some_rows(slakh_table):
    table(slakh_table, SLAKH, {**SLAKH, "name": "again"})
    assert [row.name for row in preset.load(slakh_table, ["again"])] == ["again"]
    with pytest.raises(DatasetError, match="no row 'urmp'; there are slakh, again"):
        preset.load(slakh_table, ["urmp"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dataset": "slack"}, "no known data set 'slack'; there are bach10"),
        ({"dataset": ["slakh"]}, "no known data set"),
        ({"roots": "x"}, "the unknown key 'roots'; there are annotated"),
        ({"train": ["dev"]}, "the unknown split 'dev'; it has test, validation"),
        ({"validation": ["test"]}, "uses a split twice"),
        ({"train": [], "test": []}, "uses no split"),
        ({"train": []}, "a weight and nothing to train on"),
        ({"weight": -1}, "the weight -1"),
        ({"weight": "much"}, "the weight 'much'"),
        ({"weight": float("nan")}, "the weight nan"),
        ({"root": 7}, "the root 7"),
        ({"stems": "no"}, "stems: 'no'"),
        ({"annotated": ["Kazoo"]}, "the unknown channel 'Kazoo'; there are everything, Piano"),
        ({"options": {"kits": [1]}}, "the unknown option 'kits'; it has original_split"),
        ({"options": None}, "options: None"),
    ],
)
def test_rows_that_are_wrong_are_told_in_one_line(tmp_path, change, told):
    path = table(tmp_path / "table.yaml", {**SLAKH, **change})
    with pytest.raises(
        DatasetError, match=rf"table\.yaml: row 1 \(.*\) (has|uses) .*{told.removeprefix('uses ')}"
    ) as caught:
        preset.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["dataset", "root", "weight"])
def test_rows_that_lack_something(tmp_path, key):
    path = table(tmp_path / "table.yaml", {name: value for name, value in SLAKH.items() if name != key})
    with pytest.raises(DatasetError, match=rf"row 1 .* has no {key}; add it"):
        preset.load(path)


@pytest.mark.parametrize("text", ["", "slakh: {}", "- slakh", "[unclosed", "\x00"])
def test_files_that_are_no_table(tmp_path, text):
    (tmp_path / "table.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"table\.yaml: ") as caught:
        preset.load(tmp_path / "table.yaml")
    assert "\n" not in str(caught.value)


def test_two_rows_of_one_name_and_no_file(tmp_path):
    with pytest.raises(DatasetError, match="two rows are called slakh"):
        preset.load(table(tmp_path / "table.yaml", SLAKH, SLAKH))
    with pytest.raises(DatasetError, match=r"other\.yaml: cannot be read"):
        preset.load(tmp_path / "other.yaml")


def test_the_command_decodes_what_training_opens(slakh_table, tmp_path, capsys):
    with pytest.raises(DatasetError, match=f"slakh is not decoded yet; run .*--sample-rate {RATE}"):
        preset.corpora(slakh_table, RATE, tmp_path)
    assert command.main([str(slakh_table), "--sample-rate", str(RATE), "--root", str(tmp_path), "--jobs", "1"]) == 0
    assert capsys.readouterr().out.split("\t")[:3] == ["slakh", "train 2", "validation 0"]
    ((folder, weight),) = preset.corpora(slakh_table, RATE, tmp_path).items()
    corpus = Corpus(folder)
    assert (weight, corpus.sample_rate) == (0.5, RATE)
    assert [piece.id for piece in corpus.pieces("train")] == ["Track00001", "Track01501"]
    truth = layouts.slakh(tmp_path / "again")["Track00001"]
    band = corpus.pieces("train")[0].multitrack()
    assert len(band.stems) == 4
    assert np.allclose(band.notes.onset, truth.onset, atol=6e-4)


def test_a_folder_is_of_its_splits_and_options_whatever_the_weight(slakh_table):
    rows = [SLAKH, {**SLAKH, "weight": 1.0}, {**SLAKH, "train": ["train"]}, {**SLAKH, "stems": False}]
    folders = [preset.load(table(slakh_table, row))[0].folder(RATE) for row in rows]
    assert folders[0] == folders[1]
    assert len(set(folders)) == 3


def test_the_command_tells_what_is_wrong(slakh_table, tmp_path, capsys):
    assert command.main([str(slakh_table), "--root", str(tmp_path / "nowhere")]) == 2
    assert "no such folder; give the folder of Slakh2100" in capsys.readouterr().err
    assert command.main([str(slakh_table), "--root", str(tmp_path), "--list", "--only", "slakh"]) == 0
    assert "train 2\tvalidation 0\ttest 1" in capsys.readouterr().out
    assert not (tmp_path / "datasets").exists()
