"""What each data set is known for: traps of its layout, damage that only it can have."""

import json
import shutil

import mido
import numpy as np
import pytest
from scipy.io import savemat

from common.audio import read, write
from common.datasets import bach10, guitarset, musicnet, phenicx, slakh, urmp
from common.datasets.files import DatasetError
from common.notes import Notes
from tests.common import layouts
from tests.common.layouts import RATE, assert_same, slakh_track, write_table

URMP = (
    "01_Jupiter_vn_vc", "02_Sonata_vn_vn", "03_Dance_fl_cl", "04_Allegro_fl_fl", "05_Entertainer_tpt_tpt",
    "06_Entertainer_sax_sax", "07_GString_tpt_tbn", "08_Spring_fl_vn", "09_Jesus_tpt_vn", "10_March_tpt_sax",
    "11_Maria_ob_vc", "12_Spring_vn_vn_vc", "13_Hark_vn_vn_va", "14_Waltz_fl_fl_cl", "15_Surprise_tpt_tpt_tbn",
    "16_Surprise_tpt_tpt_sax", "17_Nocturne_vn_fl_cl", "18_Nocturne_vn_fl_tpt", "19_Pavane_cl_vn_vc",
    "20_Pavane_tpt_vn_vc", "21_Rejouissance_cl_tbn_tba", "22_Rejouissance_sax_tbn_tba", "23_Rejouissance_cl_sax_tba",
    "24_Pirates_vn_vn_va_vc", "25_Pirates_vn_vn_va_sax", "26_King_vn_vn_va_vc", "27_King_vn_vn_va_sax",
    "28_Fugue_fl_ob_cl_bn", "29_Fugue_fl_fl_ob_cl", "30_Fugue_fl_fl_ob_sax", "31_Slavonic_tpt_tpt_hn_tbn",
    "32_Fugue_vn_vn_va_vc", "33_Elise_tpt_tpt_hn_tbn", "34_Fugue_tpt_tpt_hn_tbn", "35_Rondeau_vn_vn_va_db",
    "36_Rondeau_vn_vn_va_vc", "37_Rondeau_fl_vn_va_cl", "38_Jerusalem_vn_vn_va_vc_db", "39_Jerusalem_vn_vn_va_sax_db",
    "40_Miserere_fl_fl_ob_cl_bn", "41_Miserere_fl_fl_ob_sax_bn", "42_Arioso_tpt_tpt_hn_tbn_tba",
    "43_Chorale_tpt_tpt_hn_tbn_tba", "44_K515_vn_vn_va_va_vc",
)  # fmt: skip
MUSICNET_COLUMNS = ("start_time", "end_time", "instrument", "note")


def first_notes(adapter, root) -> Notes:
    return adapter.recordings(root)[0].notes


def matrices(*notes: np.ndarray) -> np.ndarray:
    """A MATLAB cell of notes."""
    cell = np.empty((len(notes), 1), object)
    cell[:, 0] = notes
    return cell


def test_bach10_frames_count_from_one_and_are_centred_at_23_ms(tmp_path):
    layouts.bach10(tmp_path)
    path = tmp_path / "01-AchGottundHerr/01-AchGottundHerr-GTNotes.mat"
    notes = [np.array([[1.0, 2, 3], [59.6, 59.8, 72.0]]), np.array([[101.0], [61.4]])]
    cells = np.empty((4, 1), object)
    cells[:, 0] = [matrices(*notes)] * 4
    savemat(path, {"GTNotes": cells})
    violin = bach10.recordings(tmp_path)[0].parts[0].notes
    assert violin.intervals == pytest.approx(np.array([[0.018, 0.048], [1.018, 1.028]]))
    assert violin.pitch.tolist() == [60, 61]  # the median: one frame an octave off changes nothing


def test_bach10_reads_a_row_of_cells_as_well_as_a_column(tmp_path):
    truth = layouts.bach10(tmp_path)
    name = "02-AchLiebenChristen"
    path = tmp_path / name / f"{name}-GTNotes.mat"
    cells = np.empty((1, 4), object)
    cells[0] = [matrices(np.array([[11.0, 12], [60, 60]]))] * 4
    savemat(path, {"GTNotes": cells}, do_compression=True)
    assert len(bach10.recordings(tmp_path)[1].notes) == 4
    assert len(truth[name]) == 12


def test_bach10_takes_the_saxophone_by_its_right_name_too(tmp_path):
    truth = layouts.bach10(tmp_path)
    for path in tmp_path.rglob("*saxphone.wav"):
        path.rename(path.with_name(path.name.replace("saxphone", "saxophone")))
    assert_same(bach10.recordings(tmp_path)[0].multitrack().notes, truth["01-AchGottundHerr"])


@pytest.mark.parametrize("variable", [{"GTNotes": matrices(np.ones((2, 3)))}, {"GTF0s": np.ones((4, 9))}])
def test_bach10_with_another_matrix(tmp_path, variable):
    layouts.bach10(tmp_path)
    path = tmp_path / "01-AchGottundHerr/01-AchGottundHerr-GTNotes.mat"
    savemat(path, variable)
    with pytest.raises(DatasetError, match=r"GTNotes\.mat: .*unpack the archive"):
        first_notes(bach10, tmp_path)


def test_bach10_cut_in_the_middle_of_the_compressed_data(tmp_path):
    layouts.bach10(tmp_path)
    path = tmp_path / "01-AchGottundHerr/01-AchGottundHerr-GTNotes.mat"
    cells = np.empty((4, 1), object)
    cells[:, 0] = [matrices(np.random.default_rng(0).uniform(50, 60, (2, 99)))] * 4
    savemat(path, {"GTNotes": cells}, do_compression=True)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DatasetError, match=r"GTNotes\.mat: .*or damaged"):
        first_notes(bach10, tmp_path)


def test_phenicx_players_of_an_instrument_are_one_stem_and_the_score_is_not_the_truth(tmp_path):
    layouts.phenicx(tmp_path)
    (piece,) = phenicx.recordings(tmp_path)
    assert [part.name for part in piece.parts] == ["doublebass", "horn", "violin"]
    assert [len(part.audio) for part in piece.parts] == [1, 1, 2]
    players = [read(path)[0] for path in piece.parts[2].audio]
    heard = piece.multitrack().stems[2].audio
    assert np.allclose(heard[: len(players[0])], players[0] + players[1][: len(players[0])])
    assert piece.mix_path is None


@pytest.mark.parametrize(
    ("name", "pitch"), [("A4", 69), ("C4", 60), ("C#4", 61), ("Db4", 61), ("B3", 59), ("Cb4", 59), ("C-1", 0)]
)
def test_phenicx_names_of_notes(tmp_path, name, pitch):
    layouts.phenicx(tmp_path)
    write_table(tmp_path / "annotations/beethoven/horn.txt", [(1.0, 2.0, name)], ",")
    assert phenicx.recordings(tmp_path)[0].parts[1].notes == Notes.build([1.0], [2.0], [pitch])


@pytest.mark.parametrize("row", [(1.0, 2.0, "H4"), (1.0, 2.0, "C"), (1.0, 2.0, "60"), (1.0, "two", "C4"), (1.0, 2.0)])
def test_phenicx_rows_that_are_no_notes(tmp_path, row):
    layouts.phenicx(tmp_path)
    write_table(tmp_path / "annotations/beethoven/horn.txt", [row], ",")
    with pytest.raises(DatasetError, match=r"horn\.txt: a damaged annotation"):
        first_notes(phenicx, tmp_path)


def test_phenicx_with_an_instrument_that_it_has_not(tmp_path):
    layouts.phenicx(tmp_path)
    write(tmp_path / "audio/beethoven/theremin.wav", np.zeros(10), RATE)
    write_table(tmp_path / "annotations/beethoven/theremin.txt", [(1, 2, "C4")], ",")
    with pytest.raises(DatasetError, match=r"theremin\.wav: no instrument of the data set"):
        phenicx.recordings(tmp_path)


def test_urmp_trusts_the_folder_where_files_call_a_trombone_a_trumpet(tmp_path):
    truth = layouts.urmp_piece(tmp_path, "15_Surprise_tpt_tpt_tbn", misspelt={2: "tpt"})
    (piece,) = urmp.recordings(tmp_path)
    assert [part.program for part in piece.parts] == [56, 56, 57]
    assert_same(piece.notes, truth)


def test_urmp_splits_of_the_whole_set_share_no_title(tmp_path):
    for piece in URMP:
        number, title, *instruments = piece.split("_")
        (tmp_path / piece).mkdir()
        (tmp_path / piece / f"AuMix_{piece}.wav").touch()
        for i, name in enumerate(instruments, 1):
            for file in (f"AuSep_{i}_{name}_{number}_{title}.wav", f"Notes_{i}_{name}_{number}_{title}.txt"):
                (tmp_path / piece / file).touch()
    pieces = urmp.recordings(tmp_path)
    titles = {split: {p.title for p in pieces if p.split == split} for split in ("train", "test", None)}
    assert [sum(p.split == split for p in pieces) for split in ("train", "test", None)] == [34, 9, 1]
    assert not titles["train"] & titles["test"]


@pytest.mark.parametrize(
    "row", [(0.5, 0.0, 0.2), (0.5, -440.0, 0.2), (0.5, "nan", 0.2), (0.5, 440.0, -0.2), (0.5, 440.0)]
)
def test_urmp_rows_that_are_no_notes(tmp_path, row):
    layouts.urmp(tmp_path)
    write_table(tmp_path / "01_Jupiter_vn_vc/Notes_2_vc_01_Jupiter.txt", [(0.1, 440.0, 0.2), row])
    with pytest.raises(DatasetError, match=r"Notes_2_vc_01_Jupiter\.txt: .*2"):
        first_notes(urmp, tmp_path)


def test_urmp_with_an_instrument_that_it_has_not(tmp_path):
    (tmp_path / "45_Song_vn_kazoo").mkdir()
    with pytest.raises(DatasetError, match="45_Song_vn_kazoo: names no instruments"):
        urmp.recordings(tmp_path)


def test_musicnet_splits_are_its_folders(tmp_path):
    layouts.musicnet(tmp_path)
    assert {piece.id: piece.split for piece in musicnet.recordings(tmp_path)} == {
        "1727": "train",
        "2194": "train",
        "2303": "test",
    }
    for kind, suffix in (("data", "wav"), ("labels", "csv")):
        shutil.copy(tmp_path / f"test_{kind}/2303.{suffix}", tmp_path / f"train_{kind}")
    with pytest.raises(DatasetError, match=r"2303\.wav: also in the test split"):
        musicnet.recordings(tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_musicnet_em_labels_where_there_are_some(tmp_path, nested):
    truth = layouts.musicnet(tmp_path)
    if nested:
        (tmp_path / "musicnet_em").rename(tmp_path / "inner")
        shutil.move(tmp_path / "inner", tmp_path / "musicnet_em/musicnet_em")
    shutil.rmtree(tmp_path / "train_labels")
    pieces = musicnet.recordings(tmp_path, em=True)
    assert [piece.id for piece in pieces] == ["1727", "2303"]  # 2194 is one of the seven without
    for piece in pieces:
        assert_same(piece.notes, truth[piece.id])
    path = next(tmp_path.rglob("1727.mid"))
    path.unlink()
    with pytest.raises(DatasetError, match=r"1727\.mid: missing; unpack musicnet_em\.zip"):
        musicnet.recordings(tmp_path, em=True)


def test_musicnet_has_no_stems_but_of_who_plays_alone(tmp_path):
    layouts.musicnet(tmp_path)
    duo, solo, _ = musicnet.recordings(tmp_path)
    assert np.array_equal(solo.multitrack().mixture(), solo.mixture()[0])
    with pytest.raises(DatasetError, match=r"1727\.wav: Violin has no recording of its own here; take mixture\(\)"):
        duo.multitrack()


@pytest.mark.parametrize("row", [(0, 44100, 0, 60), (0, 44100, 129, 60), (0, 44100, 41, 200), (9, 1, 41, 60), ("x",)])
def test_musicnet_rows_that_are_no_notes(tmp_path, row):
    layouts.musicnet(tmp_path)
    write_table(tmp_path / "train_labels/1727.csv", [MUSICNET_COLUMNS, row], ",")
    with pytest.raises(DatasetError, match=r"1727\.csv: "):
        first_notes(musicnet, tmp_path)


def test_guitarset_microphone_or_pickups(tmp_path):
    layouts.guitarset(tmp_path)
    mic, mix = (guitarset.recordings(tmp_path, audio)[0].mixture()[0] for audio in ("mic", "mix"))
    assert np.allclose(mix, 0.5 * mic, atol=1e-4)
    with pytest.raises(DatasetError, match="not by 'hex'; choose"):
        guitarset.recordings(tmp_path, "hex")


def test_guitarset_splits_by_progression(tmp_path):
    layouts.guitarset(tmp_path)
    assert {piece.id: piece.split for piece in guitarset.recordings(tmp_path)} == {
        "00_BN1-129-Eb_comp": "train",
        "00_BN1-129-Eb_solo": "train",
        "03_Jazz2-110-Bb_solo": "train",
        "05_Funk3-98-A_comp": "test",
    }


def test_guitarset_without_a_string_or_with_a_strange_name(tmp_path):
    layouts.guitarset(tmp_path)
    path = tmp_path / "annotation/05_Funk3-98-A_comp.jams"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({"annotations": document["annotations"][:-1]}))
    with pytest.raises(DatasetError, match=r"05_Funk3-98-A_comp\.jams: .*5 strings instead of 6"):
        [piece.notes for piece in guitarset.recordings(tmp_path)]
    path.rename(path.with_name("my song.jams"))
    with pytest.raises(DatasetError, match=r"my song\.jams: not named|Funk3.*\.jams: missing"):
        guitarset.recordings(tmp_path)


def test_slakh_as_wav_and_without_splits(tmp_path):
    truth = slakh_track(tmp_path / "Track00001", ".wav")
    (piece,) = slakh.recordings(tmp_path)
    assert piece.split is None
    assert_same(piece.notes, truth)
    assert np.allclose(piece.multitrack().mixture(), piece.mixture()[0], atol=1e-3)


def test_slakh_splits_are_its_folders_or_the_original_ones(tmp_path):
    layouts.slakh(tmp_path)
    redux = {piece.id: piece.split for piece in slakh.recordings(tmp_path)}
    assert redux == {
        "Track00001": "train",
        "Track01501": "validation",
        "Track01876": "test",
        "Track00049": "omitted",
    }
    original = {piece.id: piece.split for piece in slakh.recordings(tmp_path, original_split=True)}
    assert original == redux | {"Track00049": "train"}
    shutil.copytree(tmp_path / "train/Track00001", tmp_path / "test/Track00001")
    with pytest.raises(DatasetError, match="Track00001 is in 2 splits"):
        slakh.recordings(tmp_path)


def test_slakh_leaves_out_what_was_not_rendered_but_not_what_only_says_so(tmp_path):
    truth = slakh_track(tmp_path / "Track00001", S00={"audio_rendered": False})
    (piece,) = slakh.recordings(tmp_path)
    assert_same(piece.notes, truth)
    assert [part.name for part in piece.parts] == ["S00 Piano", "S01 Bass", "S02 Drums", "S03 Strings"]
    (tmp_path / "Track00001/stems/S00.flac").unlink()
    assert [part.program for part in piece.parts] == [33, 0, 46]
    assert [part.is_drum for part in piece.parts] == [False, True, False]


def test_slakh_drums_are_told_by_the_metadata_and_not_by_the_channel(tmp_path):
    slakh_track(tmp_path / "Track00001")
    channels = {
        name: {m.channel for m in mido.MidiFile(tmp_path / f"Track00001/MIDI/{name}.mid").tracks[1] if not m.is_meta}
        for name in ("S02", "S03")
    }
    assert channels["S03"] == {9}
    notes = slakh.recordings(tmp_path)[0].notes
    assert notes.is_drum[notes.track == 2].all()
    assert not notes.is_drum[notes.track == 3].any()


@pytest.mark.parametrize(
    ("plugin", "correct_bass", "lowered"),
    [("jazz.nkm", True, True), ("jazz.nkm", False, False), ("scarbee_jay_bass_slap_both.nkm", True, False)],
)
def test_slakh_basses_sound_an_octave_below_their_notes(tmp_path, plugin, correct_bass, lowered):
    truth = slakh_track(tmp_path / "Track00001", S01={"plugin_name": plugin})
    bass = slakh.recordings(tmp_path, correct_bass=correct_bass)[0].parts[1].notes
    sounding = truth[truth.track == 1].pitch
    assert bass.pitch.tolist() == (sounding if lowered else sounding + 12).tolist()


@pytest.mark.parametrize("stem", [{"program_num": 128}, {"program_num": "piano"}, {"is_drum": None, "program_num": -1}])
def test_slakh_metadata_that_makes_no_sense(tmp_path, stem):
    slakh_track(tmp_path / "Track00001", S00=stem)
    with pytest.raises(DatasetError, match=r"metadata\.yaml: "):
        first_notes(slakh, tmp_path)
