import pickle
import shutil

import numpy as np
import pytest
import yaml

from common.audio import read
from common.datasets import medleydb
from common.datasets.files import DatasetError
from tests.common.medleydb_layout import RATE, SECONDS, tone, write_annotations, write_audio, write_metadata
from tests.lead_detection import study


@pytest.fixture
def song(tmp_path) -> medleydb.Song:
    write_metadata(tmp_path, "A_Song")
    return medleydb.songs(tmp_path)[0]


def test_what_the_metadata_says(song):
    assert (song.id, song.artist, song.genre) == ("A_Song", "Somebody", "Jazz")
    assert (song.has_bleed, song.is_instrumental) == (False, True)
    assert [stem.number for stem in song.stems] == [1, 3, 8]
    assert [stem.instruments for stem in song.stems] == [("drum set",), ("fx/processed sound",), ("male singer",)]
    assert [stem.component for stem in song.stems] == ["", "", "melody"]
    assert pickle.loads(pickle.dumps(song)) == song


@pytest.mark.parametrize("place", ["", "medleydb", "medleydb/data", "medleydb/data/Metadata"])
def test_any_folder_of_the_clone_will_do(song, tmp_path, place):
    assert medleydb.songs(str(tmp_path / place)) == [song]


def test_songs_come_by_name_or_as_they_are_asked_for(song, tmp_path):
    write_metadata(tmp_path, "B_Song")
    (tmp_path / "medleydb/data/Metadata/._C_Song_METADATA.yaml").write_text("what macOS leaves")
    assert [song.id for song in medleydb.songs(tmp_path)] == ["A_Song", "B_Song"]
    assert [song.id for song in medleydb.songs(tmp_path, ["B_Song"])] == ["B_Song"]
    with pytest.raises(DatasetError, match=r"D_Song_METADATA\.yaml: missing; give a clone"):
        medleydb.songs(tmp_path, ["A_Song", "D_Song"])


def test_stems_are_in_the_order_of_their_numbers_and_may_be_several_instruments(tmp_path):
    write_metadata(tmp_path, "A_Song", {10: "piano", 2: ["violin", "viola"]}, {"has_bleed": True})
    (song,) = medleydb.songs(tmp_path)
    assert [(stem.number, stem.instruments) for stem in song.stems] == [(2, ("violin", "viola")), (10, ("piano",))]
    assert song.has_bleed


@pytest.mark.parametrize("place", ["", "Audio", "V1", "V2"])
def test_audio_lies_where_the_archives_put_it(song, tmp_path, place):
    write_audio(tmp_path / "audio" / place, "A_Song")
    mix, stems = song.audio(tmp_path / "audio")
    assert mix.name == "A_Song_MIX.wav"
    assert [path.name for path in stems] == [f"A_Song_STEM_{number}.wav" for number in ("01", "03", "08")]
    for path, number in zip(stems, (1, 3, 8), strict=True):
        assert np.allclose(read(path, mono=False)[0], tone(number), atol=1e-4)
    assert len(read(mix)[0]) == round(SECONDS * RATE)


def test_audio_in_another_format(song, tmp_path):
    write_audio(tmp_path / "audio", "A_Song", suffix=".flac")
    mix, stems = song.audio(tmp_path / "audio")
    assert {path.suffix for path in (mix, *stems)} == {".flac"}


def test_audio_that_is_not_there(song, tmp_path):
    with pytest.raises(DatasetError, match="no such folder; give the folder"):
        song.audio(tmp_path / "audio")
    assert not song.has_audio(tmp_path / "audio")
    folder = write_audio(tmp_path / "audio", "A_Song")
    assert song.has_audio(tmp_path / "audio")
    (folder / "A_Song_STEMS/A_Song_STEM_03.wav").unlink()
    with pytest.raises(DatasetError, match=r"A_Song_STEM_03\.wav: missing"):
        song.audio(tmp_path / "audio")
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match="A_Song: no such folder"):
        song.audio(tmp_path / "audio")


def test_annotations_speak_of_stems_by_number_and_we_by_index(song, tmp_path):
    write_annotations(tmp_path, "A_Song")
    assert song.ranking() == (2, 1)
    assert song.intervals() == ((0.0, 0.25, 2), (0.25, 0.5, 1))
    times, confidence = song.activations()
    assert times.tolist() == [0.0, 0.0464, 0.0929]
    # Stem 3 has no column, and column S09 is of no stem.
    assert np.allclose(confidence, [[0.1, 0.3, 0.3], [0.0, 0.0, 0.0], [0.9, 0.2, 0.4]])
    assert song.activations("v2")[1].tolist() == [[0.5], [0.25], [0.75]]


def test_activations_of_an_older_clone(song, tmp_path):
    paths = write_annotations(tmp_path, "A_Song")
    older = paths["original"].parent.parent / paths["original"].name
    paths["original"].rename(older)
    assert len(song.activations()[0]) == 3
    assert song.has_activations()
    older.unlink()
    assert not song.has_activations()
    assert song.has_activations("v2")
    with pytest.raises(DatasetError, match=r"A_Song_ACTIVATION_CONF\.lab: missing; give a clone"):
        song.activations()


def test_rankings_and_intervals_may_be_missing_or_empty(song, tmp_path):
    paths = write_annotations(tmp_path, "A_Song")
    for name in ("Ranking", "Intervals"):
        paths[name].write_text("\n")
    assert (song.ranking(), song.intervals()) == ((), ())
    for name in ("Ranking", "Intervals"):
        paths[name].unlink()
    assert (song.ranking(), song.intervals()) == ((), ())


def test_without_the_clone_there_are_no_annotations(song):
    with pytest.raises(DatasetError, match="Annotations: no such folder; give a clone"):
        song.ranking()


DAMAGE = {
    "Ranking": ["A_Song_STEM_08.csv", "A_Song_08.csv,1", "A_Song_STEM_08.csv,first"],
    "Intervals": ["0.0 0.5", "0.0 0.5 S08", "zero 0.5 8"],
    "original": [
        "",
        "time,S01\n",
        "time,S01,S03,S08\n0.0,0.5,0.5\n",
        "time,S01\n0.1,0.5\n0.0,0.5\n",
        "time,S01\n0.0,nan\n",
        "a,b\n",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DAMAGE.items() for text in texts])
@pytest.mark.filterwarnings("error")
def test_damaged_annotations_are_named(song, tmp_path, name, text):
    path = write_annotations(tmp_path, "A_Song")[name]
    path.write_text(text)
    with pytest.raises(DatasetError, match="damaged annotation") as caught:
        {"Ranking": song.ranking, "Intervals": song.intervals, "original": song.activations}[name]()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


CHANGES = [
    {"stems": {}},
    {"stems": None},
    {"stems": {"S01": {"instrument": "piano"}}},
    {"stems": {"S01": {"instrument": [], "filename": "a.wav"}}},
    {"stems": {"S01": {"instrument": 3, "filename": "a.wav"}}},
    {"stems": {"first": {"instrument": "piano", "filename": "a.wav"}}},
    {"mix_filename": None},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_damaged_metadata_is_named(tmp_path, changes):
    path = write_metadata(tmp_path, "A_Song", changes=changes)
    with pytest.raises(DatasetError, match=f"{path.name}: a damaged annotation"):
        medleydb.songs(tmp_path)


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"stems: {S01: [", b"\x00\xff"])
def test_metadata_that_is_no_yaml(tmp_path, content):
    path = write_metadata(tmp_path, "A_Song")
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{path.name}: a damaged annotation"):
        medleydb.songs(tmp_path)


def test_a_folder_that_is_not_there_or_is_another(tmp_path):
    with pytest.raises(DatasetError, match="no such folder; give a clone"):
        medleydb.songs(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nothing of the data set here; give a clone"):
        medleydb.songs(tmp_path)


@study.needs_study
def test_the_real_text_files():
    songs = medleydb.songs(study.MEDLEYDB)
    assert len(songs) == 109
    assert sum(song.has_bleed for song in songs) == 26
    raw = yaml.safe_load(songs[0].metadata.read_text())
    assert len(songs[0].stems) == len(raw["stems"])
    numbers = {song.id: [stem.number for stem in song.stems] for song in songs}
    assert all(numbers[id] == list(range(1, len(numbers[id]) + 1)) for id in numbers if len(numbers[id]) < 26)
    ranked = {song.id: song.ranking() for song in songs}
    assert sum(not ranking for ranking in ranked.values()) == 8
    assert ranked["AClassicEducation_NightOwl"] == (7, 3, 12)
    melodies = {song.id: song.intervals() for song in songs}
    assert sum(not intervals for intervals in melodies.values()) == 8
    assert melodies["AClassicEducation_NightOwl"][1] == (96.584772, 133.25932, 3)
    assert all(len(song.activations()[1]) == len(song.stems) for song in songs if song.id.startswith("Phoenix_Elz"))
