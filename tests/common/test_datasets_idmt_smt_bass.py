"""Single notes of basses, whose times nobody annotated: they are found in the sound."""

import pickle

import numpy as np
import pytest

from common import audio
from common.audio import AudioError, write
from common.datasets import idmt_smt_bass
from common.datasets.files import DatasetError
from tests.common import yourmt3_layouts
from tests.common.layouts import RATE


@pytest.fixture
def truth(tmp_path):
    return yourmt3_layouts.idmt_smt_bass(tmp_path)


def test_pitch_and_program_are_those_of_the_name_and_the_times_those_of_the_sound(truth, tmp_path):
    pieces = idmt_smt_bass.recordings(tmp_path)
    assert {piece.id for piece in pieces} == set(truth)
    for piece in pieces:
        expected = truth[piece.id]
        assert piece.notes.pitch.tolist() == expected.pitch.tolist()
        assert piece.notes.program.tolist() == expected.program.tolist()
        assert piece.notes.intervals == pytest.approx(expected.intervals, abs=0.006)
        assert pickle.loads(pickle.dumps(piece)).notes == piece.notes
        assert piece.multitrack().mixture() == pytest.approx(piece.mixture()[0])


def test_splits_are_by_bass(truth, tmp_path):
    splits = {piece.id[:4]: piece.split for piece in idmt_smt_bass.recordings(tmp_path)}
    assert splits == {"BS_1": "train", "BS_2": "train", "BS_3": "test"}


def test_listing_reads_no_audio(truth, tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "read", None)
    assert len(idmt_smt_bass.recordings(tmp_path)) == 3


def test_a_note_ends_where_it_has_decayed(tmp_path):
    path = tmp_path / "PS/FS/BS_1_EQ_1_FS_NO_1_0.wav"
    time = np.arange(3 * RATE) / RATE
    write(path, (0.9 * np.exp(-4.0 * time) * np.sin(2 * np.pi * 41.2 * time)).astype(np.float32), RATE)
    (note,) = idmt_smt_bass.recordings(tmp_path)[0].notes.table
    assert note["onset"] == pytest.approx(0.0, abs=0.006)
    assert note["offset"] == pytest.approx(np.log(50.0) / 4.0, abs=0.03)  # down to 2 %


def test_files_that_are_none_of_the_data_set(truth, tmp_path):
    path = tmp_path / "PS/FS/BS_1_EQ_1_FS_NO_1_0.wav"
    write(path, np.zeros(RATE, np.float32), RATE)
    with pytest.raises(DatasetError, match=r"BS_1_EQ_1_FS_NO_1_0\.wav: silent; "):
        idmt_smt_bass.recordings(tmp_path)[0].notes  # noqa: B018
    path.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=path.name):
        idmt_smt_bass.recordings(tmp_path)[0].notes  # noqa: B018
    path.rename(path.with_name("my bass.wav"))
    with pytest.raises(DatasetError, match=r"my bass\.wav: not named as the data set does"):
        idmt_smt_bass.recordings(tmp_path)


def test_a_folder_that_is_not_there_or_is_another(tmp_path):
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DatasetError, match="give the folder IDMT-SMT-BASS"):
            idmt_smt_bass.recordings(place)
