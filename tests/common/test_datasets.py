import importlib
import pickle
import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from common import audio
from common.datasets import files, recording
from common.datasets.files import DatasetError
from common.evaluation.multi import multi_f1_mt3
from common.notes import Notes
from tests.common import layouts, yourmt3_layouts
from tests.common.layouts import RATE, assert_same, write_table

WRITERS = {**layouts.WRITERS, **yourmt3_layouts.WRITERS}
ADAPTERS = {name: importlib.import_module(f"common.datasets.{name}").recordings for name in WRITERS}
# What is not read here, and one of several players, of whom nothing says how many there are.
NOT_NEEDED = re.compile(r"_o\.txt|musicnet_em|pickup_mix|violin\d\.wav|dry_mix|accompaniment|Mixture|MAPS_.*\.txt")
ANNOTATIONS = (".txt", ".mat", ".csv", ".mid", ".midi", ".yaml", ".jams", ".json", ".MID")


@pytest.fixture(params=WRITERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def truth(name, tmp_path) -> dict[str, Notes]:
    return WRITERS[name](tmp_path)


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def use(name: str, root: Path) -> None:
    """Everything that can be asked of a data set."""
    for piece in ADAPTERS[name](root):
        assert len(piece.notes)
        assert len(piece.mixture()[0])
        if all(part.audio for part in piece.parts):
            piece.multitrack()


def test_notes_programs_and_tracks_are_those_that_were_written(name, truth, tmp_path):
    found = {piece.id: piece for piece in ADAPTERS[name](tmp_path)}
    assert sorted(found) == sorted(truth)
    for id, piece in found.items():
        assert_same(piece.notes, truth[id])


def test_listing_reads_no_audio_and_no_notes(name, truth, tmp_path, monkeypatch):
    for module, function in ((audio, "read"), (audio, "info"), (files, "rows"), (files, "midi_notes")):
        monkeypatch.setattr(module, function, None)
    assert len(ADAPTERS[name](str(tmp_path))) == len(truth)


def test_no_piece_is_in_two_splits(name, truth, tmp_path):
    pieces = ADAPTERS[name](tmp_path)
    for what in ("id", "title"):
        named = {piece.split for piece in pieces} - {None}  # what has no split is in none
        splits = {split: {getattr(p, what) for p in pieces if p.split == split} for split in named}
        assert sum(map(len, splits.values())) == len(set().union(*splits.values()))
    assert len({piece.id for piece in pieces}) == len(pieces)


def test_stems_have_the_shape_of_a_piece_of_the_corpus(name, truth, tmp_path):
    for piece in ADAPTERS[name](tmp_path):
        if not all(part.audio for part in piece.parts):
            continue
        band = piece.multitrack()
        assert band.sample_rate == RATE
        assert_same(band.notes, piece.notes)
        mixture, rate = piece.mixture()
        assert rate == RATE
        if name != "guitarset":  # a microphone hears what no pickup does
            assert np.allclose(band.mixture(), mixture[: band.n_samples], atol=1e-3)
        for i, stem in enumerate(band.stems):
            assert (stem.program, stem.is_drum) == (piece.parts[i].program, piece.parts[i].is_drum)
            own = np.zeros(band.n_samples, bool)
            for onset, offset in stem.notes.intervals:
                own[round(onset * RATE) - 10 : round(offset * RATE) + 10] = True
            assert np.abs(stem.audio[own]).max() > 0.05
            assert np.abs(stem.audio[~own]).max() < 1e-3


def test_audio_comes_at_the_rate_that_is_asked_for(name, truth, tmp_path):
    piece = ADAPTERS[name](tmp_path)[-1]
    mixture, rate = piece.mixture(4000)
    assert rate == 4000
    assert len(mixture) == pytest.approx(len(piece.mixture()[0]) / 2, abs=1)


def test_a_recording_travels_to_another_process(name, truth, tmp_path):
    for piece in ADAPTERS[name](tmp_path):
        again = pickle.loads(pickle.dumps(piece))
        assert (again.id, again.split, again.title) == (piece.id, piece.split, piece.title)
        assert again.notes == piece.notes


def assert_told(error: DatasetError, path: Path):
    """One line with the name of the file, or a pattern that it fits, and a remedy."""
    assert "\n" not in str(error)
    said = Path(str(error).split(": ")[0])
    assert fnmatch(path.name, said.name)
    assert "; " in str(error)


def test_every_missing_file_is_named_with_the_remedy(name, truth, tmp_path):
    needed = [path for path in files_of(tmp_path) if not NOT_NEEDED.search(str(path.relative_to(tmp_path)))]
    assert len(needed) >= 4
    for path in needed:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DatasetError) as caught:
            use(name, tmp_path)
        assert_told(caught.value, path)
        path.write_bytes(content)
    use(name, tmp_path)


@pytest.mark.parametrize("damage", [b"", b"\x00\xff\xfe nothing of this is an annotation, of no kind \x80"])
def test_every_damaged_annotation_is_named_with_the_remedy(name, truth, tmp_path, damage):
    annotations = [
        path
        for path in files_of(tmp_path)
        if path.suffix in ANNOTATIONS and not NOT_NEEDED.search(str(path.relative_to(tmp_path)))
    ]
    assert annotations
    for path in annotations:
        content = path.read_bytes()
        path.write_bytes(damage)
        with pytest.raises(DatasetError) as caught:
            use(name, tmp_path)
        assert_told(caught.value, path)
        path.write_bytes(content)


def test_damaged_audio_is_named(name, truth, tmp_path):
    piece = ADAPTERS[name](tmp_path)[0]
    path = (*piece.parts[0].audio, piece.mix_path)[0]
    assert path is not None
    path.write_bytes(b"RIFF")
    with pytest.raises(audio.AudioError, match=re.escape(path.name)):
        use(name, tmp_path)


def test_a_folder_that_is_not_there_or_is_another(name, tmp_path):
    with pytest.raises(DatasetError, match="no such folder; give"):
        ADAPTERS[name](tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(DatasetError, match="give"):
        ADAPTERS[name](tmp_path)


BAD_NOTES = [
    ([0.0, np.nan], [1.0, 2.0], [60, 61], "note 2 has a value that is not finite"),
    ([0.0, 1.0], [1.0, np.inf], [60, 61], "note 2 has a value that is not finite"),
    ([-0.1], [1.0], [60], "a start before 0 s"),
    ([0.5], [0.4], [60], "an end before its start"),
    ([0.5], [0.6], [127.6], "a pitch outside"),
    ([0.5], [0.6], [-0.6], "a pitch outside"),
    ([], [], [], "no notes in it"),
]


@pytest.mark.parametrize(("onset", "offset", "pitch", "told"), BAD_NOTES)
def test_values_that_are_no_notes(onset, offset, pitch, told):
    with pytest.raises(DatasetError, match=f"song.txt: .*{told}"):
        files.checked_notes(Path("song.txt"), onset, offset, pitch)


def test_notes_without_length_are_left_out_and_the_others_sorted_and_rounded():
    notes = files.checked_notes(Path("song.txt"), [1.0, 0.5, 0.2], [2.0, 0.5, 0.4], [60.5, 61, 59.4], program=7)
    assert notes == Notes.build([0.2, 1.0], [0.4, 2.0], [59, 61], program=7)


def test_rows_of_a_text_file_edited_on_windows(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf1,2,A4\r\n\r\n3,4,B4\r\n")
    assert files.rows(tmp_path / "a.txt", 3, ",") == [["1", "2", "A4"], ["3", "4", "B4"]]
    write_table(tmp_path / "b.txt", [(1, 2, 3), (4, 5)])
    with pytest.raises(DatasetError, match=r"b\.txt: .*row 2 has 2 of 3 columns"):
        files.rows(tmp_path / "b.txt", 3)


def test_a_name_with_a_line_break_still_gives_one_line():
    assert "\n" not in str(DatasetError.about("a\nb.txt", "missing"))


def test_players_of_different_length_add_up():
    total = recording.add([np.ones(2, np.float32), np.ones(3, np.float32)])
    assert total.tolist() == [2.0, 2.0, 1.0]


def test_the_notes_of_a_recording_are_a_transcription_of_itself(name, truth, tmp_path):
    for piece in ADAPTERS[name](tmp_path):
        assert multi_f1_mt3(truth[piece.id], piece.notes) == 1.0
