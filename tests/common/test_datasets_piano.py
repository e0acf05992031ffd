"""What only the data sets of pianos have: two forms of a table, pedals, pieces that several pianos play."""

import pytest

from common.datasets import maestro, maps
from common.datasets.files import DatasetError
from tests.common import layouts, yourmt3_layouts
from tests.common.layouts import assert_same


def test_maestro_table_as_json_is_the_same(tmp_path):
    truth = layouts.maestro(tmp_path)
    told = [(p.id, p.split, p.title) for p in maestro.recordings(tmp_path)]
    layouts.maestro_json(tmp_path)
    pieces = maestro.recordings(tmp_path)
    assert [(p.id, p.split, p.title) for p in pieces] == told
    assert [p.split for p in pieces] == ["train", "validation", "test"]
    assert_same(pieces[1].notes, truth[pieces[1].id])
    (tmp_path / "maestro-v3.0.0.json").write_text('{"split": {"0": "train"}}')
    with pytest.raises(DatasetError, match=r"v3\.0\.0\.json: a damaged annotation"):
        maestro.recordings(tmp_path)


def test_maestro_notes_last_as_long_as_the_pedal(tmp_path):
    layouts.maestro(tmp_path)
    piece = maestro.recordings(tmp_path)[0]
    layouts.pedalled_midi(tmp_path / f"2018/{piece.id}.midi")
    assert piece.notes.intervals.tolist() == [[0.5, 1.5]]


@pytest.mark.parametrize(("old", "new"), [(",train,", ",dev,"), (",train,", ",,"), ("split", "part")])
def test_maestro_table_that_is_damaged(tmp_path, old, new):
    layouts.maestro(tmp_path)
    path = tmp_path / "maestro-v3.0.0.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DatasetError, match=r"v3\.0\.0\.csv: "):
        maestro.recordings(tmp_path)


def test_maps_pieces_of_the_disklaviers_train_on_no_other_piano(tmp_path):
    yourmt3_layouts.maps(tmp_path)
    assert {piece.id: piece.split for piece in maps.recordings(tmp_path)} == {
        "alb_esp2_AkPnBcht": None,
        "bor_ps1_AkPnBcht": "train",
        "mz_311_1_SptkBGCl": "train",
        "alb_esp2_ENSTDkCl": "test",
    }


def test_maps_notes_are_those_of_the_midi_with_velocities_and_pedal(tmp_path):
    yourmt3_layouts.maps(tmp_path)
    piece = maps.recordings(tmp_path)[0]
    assert piece.notes.velocity.tolist() == [20, 64, 110]
    layouts.pedalled_midi(tmp_path / "AkPnBcht/MUS/MAPS_MUS-alb_esp2_AkPnBcht.mid")
    assert piece.notes.intervals.tolist() == [[0.5, 1.5]]


def test_maps_file_with_a_strange_name(tmp_path):
    yourmt3_layouts.maps(tmp_path)
    (tmp_path / "AkPnBcht/MUS/MAPS_MUS-song.wav").touch()
    with pytest.raises(DatasetError, match="MAPS_MUS-song: not named as the data set does"):
        maps.recordings(tmp_path)
