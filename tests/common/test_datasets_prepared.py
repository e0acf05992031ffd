import importlib

import numpy as np
import pytest

from common.audio import write
from common.corpus import Corpus
from common.datasets import prepared, slakh
from common.datasets.files import DatasetError
from common.datasets.prepared import prepare
from common.datasets.recording import Part, Recording
from common.notes import Notes
from common.stems import DRUMS
from tests.common import layouts, yourmt3_layouts
from tests.common.layouts import RATE, assert_same, melody, sound

WRITERS = {**layouts.WRITERS, **yourmt3_layouts.WRITERS}


def everything(recordings: list[Recording]) -> dict[str | None, str]:
    """All splits of a data set as one."""
    return {recording.split: "train" for recording in recordings}


@pytest.mark.parametrize("name", WRITERS)
def test_a_prepared_data_set_says_and_sounds_what_the_data_set_does(name, tmp_path):
    truth = WRITERS[name](tmp_path / "set")
    recordings = importlib.import_module(f"common.datasets.{name}").recordings(tmp_path / "set")
    corpus = prepare(recordings, tmp_path / "out", RATE, everything(recordings), progress=False)
    pieces = {piece.id: piece for piece in Corpus(tmp_path / "out").pieces("train")}
    assert (corpus.sample_rate, len(pieces)) == (RATE, len(truth))
    for recording in recordings:
        piece = pieces[recording.id.replace("/", "-")]
        band = piece.multitrack()
        assert_same(piece.notes.replace(track=0).sort(), truth[recording.id].replace(track=0).sort())
        assert band.unknown == recording.unknown
        if len(band.stems) > 1:
            assert [stem.program for stem in band.stems] == [part.program for part in recording.parts]
        else:
            assert np.abs(band.mixture() - recording.mixture(RATE)[0]).max() < 1e-4


def recording(tmp_path, id: str = "a", split: str | None = "train", **settings) -> Recording:
    """A violin and a kick, each in a file of its own."""
    hits = Notes.build([0.2], [0.3], 36, is_drum=True)
    parts = []
    for name, program, notes in (("violin", 40, melody(0)), ("kit", 0, hits)):
        path = tmp_path / f"{name}.wav"
        write(path, sound(melody(len(parts))), RATE)
        parts.append(Part(name, program, name == "kit", (path,), notes))
    return Recording(id, split, "song", None, lambda: parts, **settings)


def test_stems_stay_apart_and_keep_their_level(tmp_path):
    made = recording(tmp_path)
    (piece,) = prepare([made], tmp_path / "out", RATE, progress=False).pieces()
    band, expected = piece.multitrack(), made.multitrack(RATE)
    assert [(stem.name, stem.program, stem.is_drum) for stem in band.stems] == [("violin", 40, False), ("kit", 0, True)]
    assert np.abs(band.audio - expected.audio).max() < 1e-4
    assert band.notes == expected.notes
    assert piece.seconds == expected.seconds


def test_where_something_is_unknown_the_mixture_is_taken_and_says_so(tmp_path):
    made = recording(tmp_path, unknown=frozenset({0, DRUMS}))
    (piece,) = prepare([made], tmp_path / "out", RATE, progress=False).pieces()
    (stem,) = piece.multitrack().stems
    assert (stem.unknown, stem.kinds, stem.program) == ({0, DRUMS}, {40, DRUMS}, 40)
    assert np.abs(stem.audio - made.mixture(RATE)[0]).max() < 1e-4


def test_other_splits_are_left_out_and_words_translated(tmp_path):
    recordings = [recording(tmp_path, id, id) for id in ("train", "fold 2", "omitted")]
    corpus = prepare(recordings, tmp_path / "out", RATE, {"train": "train", "fold 2": "test"}, progress=False)
    assert [(piece.id, piece.split) for piece in corpus.pieces()] == [("train", "train"), ("fold 2", "test")]


def test_what_is_there_is_not_decoded_again(tmp_path, monkeypatch):
    recordings = [recording(tmp_path, id) for id in ("a", "b")]
    prepare(recordings[:1], tmp_path / "out", RATE, progress=False)
    decoded = []
    monkeypatch.setattr(prepared, "as_multitrack", lambda r, rate: decoded.append(r.id) or r.multitrack(rate))
    assert len(prepare(recordings, tmp_path / "out", RATE, progress=False).pieces()) == 2
    assert decoded == ["b"]


def test_several_processes_decode_the_same(tmp_path):
    layouts.slakh(tmp_path / "set")
    recordings = slakh.recordings(tmp_path / "set")
    alone = prepare(recordings, tmp_path / "1", RATE, everything(recordings), progress=False)
    shared = prepare(recordings, tmp_path / "2", RATE, everything(recordings), progress=False, jobs=2)
    assert [piece.id for piece in shared.pieces()] == [piece.id for piece in alone.pieces()]
    for one, other in zip(alone.pieces(), shared.pieces(), strict=True):
        assert np.array_equal(one.audio, other.audio)
        assert one.notes == other.notes


@pytest.mark.parametrize("names", [[], ["a/b", "a-b"]])
def test_nothing_and_two_of_one_name_are_refused(names, tmp_path):
    with pytest.raises(DatasetError, match="each with a name of its own"):
        prepare([recording(tmp_path, name) for name in names], tmp_path / "out", RATE, progress=False)


def test_a_split_that_no_corpus_has_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no split \['valid'\]; a corpus has train, validation, test"):
        prepare([recording(tmp_path)], tmp_path / "out", RATE, {"train": "valid"}, progress=False)
