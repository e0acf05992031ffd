import pytest

from common.datasets import catalogue
from common.datasets.catalogue import DATASETS
from common.datasets.files import DatasetError
from common.stems import all_but
from tests.common import layouts, yourmt3_layouts

WRITERS = {
    **layouts.WRITERS,
    **{name.replace("_", "-"): write for name, write in yourmt3_layouts.WRITERS.items()},
    "idmt-smt-bass": yourmt3_layouts.idmt_smt_bass,
    "e-gmd": yourmt3_layouts.egmd,
    "e-gmd-reduced": yourmt3_layouts.egmd,
    "musicnet-em": layouts.musicnet,
    "enst-drums-mixed": yourmt3_layouts.enst_drums,
    "mir-st500-mixture": yourmt3_layouts.mir_st500,
    "cmedia-mixture": yourmt3_layouts.cmedia,
}


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_lists_nothing_but_the_splits_that_it_names(name, tmp_path):
    WRITERS[name](tmp_path)
    everything = catalogue.recordings(name, tmp_path)
    scored = catalogue.scored(name, tmp_path)
    assert {recording.split for recording in everything} <= set(DATASETS[name].splits)
    assert {recording.split for recording in scored} == {DATASETS[name].splits[0]}
    assert {recording.id for recording in scored} <= {recording.id for recording in everything}


def test_the_table_of_the_text_names_all_of_them():
    told = {name for line in str(catalogue.__doc__).splitlines() for name in line.split("|")[1:2]}
    names = [name.strip() for cell in told for name in cell.split(",")]
    assert sorted(set(names) - {"name", "---"}) == sorted(DATASETS)


def test_what_of_a_mixture_is_unknown(tmp_path):
    unknown = {}
    for name in DATASETS:
        WRITERS[name](tmp_path / name)
        (unknown[name],) = {recording.unknown for recording in catalogue.recordings(name, tmp_path / name)}
    assert {name: kinds for name, kinds in unknown.items() if kinds} == {
        "enst-drums-mixed": all_but("Drums"),
        "mir-st500-mixture": all_but("Singing"),
        "cmedia-mixture": all_but("Singing"),
    }


def test_several_splits_and_options(tmp_path):
    layouts.slakh(tmp_path)
    chosen = catalogue.recordings("slakh", tmp_path, "train", "validation", correct_bass=False)
    assert [recording.split for recording in chosen] == ["train", "validation"]
    lowered = catalogue.recordings("slakh", tmp_path, "train")[0].parts[1].notes
    assert (chosen[0].parts[1].notes.pitch - lowered.pitch).tolist() == [12] * 3


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda root: catalogue.recordings("slack", root), "no data set 'slack'; there are bach10"),
        (lambda root: catalogue.scored("slack", root), "no data set 'slack'"),
        (lambda root: catalogue.recordings("slakh", root, "dev"), "slakh has no split 'dev'; it has test"),
        (
            lambda root: catalogue.recordings("slakh", root, stems=1),
            "slakh has no option 'stems'; it has original_split",
        ),
        (lambda root: catalogue.recordings("slakh", root / "x", "train"), "no such folder"),
        (lambda root: catalogue.recordings("slakh", root, "train"), "no recording of the train split here; give"),
    ],
)
def test_what_there_is_not_is_told_in_one_line(tmp_path, ask, told):
    layouts.slakh_track(tmp_path / "test/Track01876")
    with pytest.raises(DatasetError, match=told) as caught:
        ask(tmp_path)
    assert "\n" not in str(caught.value)
