"""What only the data sets of songs have, and what sung notes are in all others: none."""

import json

import numpy as np
import pytest

from common.datasets import cmedia, mir_st500, musicnet, slakh
from common.datasets.files import DatasetError
from common.midi import write_midi
from common.notes import Notes
from tests.common import layouts, yourmt3_layouts
from tests.common.layouts import assert_same, melody, slakh_track, sound, write_table

ADAPTERS = {"mir_st500": mir_st500, "cmedia": cmedia}
ST500 = "MIR-ST500_20210206/MIR-ST500_corrected.json"


def annotate(root, file: str, songs: dict) -> None:
    (root / file).write_text(json.dumps(songs))


def test_mir_st500_splits_are_its_numbers(tmp_path):
    yourmt3_layouts.mir_st500(tmp_path)
    assert {piece.id: piece.split for piece in mir_st500.recordings(tmp_path)} == {
        "1": "train",
        "2": "train",
        "401": "test",
    }
    (tmp_path / "test/401").rename(tmp_path / "train/401")
    with pytest.raises(DatasetError, match="train/401: a song of the other split"):
        mir_st500.recordings(tmp_path)


def test_mir_st500_annotations_may_lie_beside_the_songs(tmp_path):
    truth = yourmt3_layouts.mir_st500(tmp_path)
    (tmp_path / ST500).rename(tmp_path / "MIR-ST500_corrected.json")
    for piece in mir_st500.recordings(tmp_path):
        assert_same(piece.notes, truth[piece.id])


@pytest.mark.parametrize("name", ADAPTERS)
def test_sung_notes_have_the_program_of_a_melody(name, tmp_path):
    yourmt3_layouts.WRITERS[name](tmp_path)
    for piece in ADAPTERS[name].recordings(tmp_path):
        assert set(piece.notes.program.tolist()) == {100}
        assert not piece.notes.is_drum.any()


@pytest.mark.parametrize("name", ADAPTERS)
def test_of_a_mixture_the_singing_alone_is_known_of_separated_vocals_everything(name, tmp_path):
    yourmt3_layouts.WRITERS[name](tmp_path)
    vocals, mixture = (ADAPTERS[name].recordings(tmp_path, audio)[0] for audio in ("vocals", "mixture"))
    assert vocals.unknown == frozenset()
    assert mixture.unknown == frozenset(range(129)) - {100, 101}
    accompaniment = sound(melody(-3))
    assert np.allclose(mixture.mixture()[0], vocals.mixture()[0] + accompaniment, atol=1e-3)
    assert mixture.notes == vocals.notes
    with pytest.raises(DatasetError, match=r"take mixture\(\) instead"):
        mixture.multitrack()
    with pytest.raises(DatasetError, match="not as 'drums'; choose"):
        ADAPTERS[name].recordings(tmp_path, "drums")


@pytest.mark.parametrize(
    ("song", "told"),
    [([[0.5, 0.4, 60]], "song 2: note 1 has an end before its start"), ([], "song 2: no notes in it")],
)
def test_notes_of_a_song_that_are_none(tmp_path, song, told):
    yourmt3_layouts.mir_st500(tmp_path)
    annotate(tmp_path, ST500, {"1": [[0.1, 0.2, 60]], "2": song, "401": [[0.1, 0.2, 60]]})
    with pytest.raises(DatasetError, match=rf"MIR-ST500_corrected\.json: {told}"):
        mir_st500.recordings(tmp_path)[1].notes  # noqa: B018


@pytest.mark.parametrize(
    ("songs", "told"),
    [
        ({"1": [[0.1, 0.2, 60]]}, "no notes of song 2"),
        ({"one": []}, "damaged"),
        ({"1": [[0.1, 0.2]]}, "damaged"),
        ([], ""),
    ],
)
def test_annotations_that_are_damaged_or_lack_a_song(tmp_path, songs, told):
    yourmt3_layouts.mir_st500(tmp_path)
    annotate(tmp_path, ST500, songs)
    with pytest.raises(DatasetError, match=rf"MIR-ST500_corrected\.json: .*{told}"):
        mir_st500.recordings(tmp_path)


def test_a_song_that_was_not_separated(tmp_path):
    yourmt3_layouts.mir_st500(tmp_path)
    (tmp_path / "train/2/Vocal.wav").unlink()
    with pytest.raises(DatasetError, match=r"train/2/.*: missing; separate the song with Spleeter"):
        mir_st500.recordings(tmp_path)
    assert len(mir_st500.recordings(tmp_path, "mixture")) == 3


def test_cmedia_notes_without_length_last_to_the_next_if_it_is_near():
    rows = np.array([[2.0, 2.4, 62], [1.0, 1.001, 60], [3.0, 3.0, 64], [4.0, 4.005, 65]])
    assert cmedia.legato(rows).tolist() == [[2.0, 2.4, 62]]
    near = np.array([[1.0, 1.001, 60], [1.4, 1.8, 62], [1.9, 1.9, 64]])
    assert cmedia.legato(near).tolist() == [[1.0, 1.4, 60], [1.4, 1.8, 62]]


def test_cmedia_mends_what_it_reads(tmp_path):
    yourmt3_layouts.cmedia(tmp_path)
    songs = {number: [[0.5, 0.5, 60], [0.7, 1.0, 62]] for number in ("1", "2", "10")}
    annotate(tmp_path, cmedia.ANNOTATIONS, songs)
    assert [piece.id for piece in cmedia.recordings(tmp_path)] == ["1", "2", "10"]
    assert cmedia.recordings(tmp_path)[0].notes.intervals.tolist() == [[0.5, 0.7], [0.7, 1.0]]


def test_programs_that_mean_singing_here_are_another_effect_where_they_come_from_general_midi(tmp_path):
    slakh_track(tmp_path / "slakh/Track00001", S03={"program_num": 100})
    layouts.musicnet(tmp_path / "musicnet")
    write_table(
        tmp_path / "musicnet/train_labels/1727.csv",
        [("start_time", "end_time", "instrument", "note"), (0, 44100, 102, 60)],
        ",",
    )
    write_midi(tmp_path / "musicnet/musicnet_em/1727.mid", Notes.build([0.0, 0.5], [0.4, 1.0], 60, program=[100, 40]))
    programs = [
        slakh.recordings(tmp_path / "slakh")[0].notes.program,
        musicnet.recordings(tmp_path / "musicnet")[0].notes.program,
        musicnet.recordings(tmp_path / "musicnet", em=True)[0].notes.program,
    ]
    assert [sorted(set(column.tolist()) - {0, 33, 40}) for column in programs] == [[99], [99], [99]]
