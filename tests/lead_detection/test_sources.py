import pytest

from common.audio import write
from common.datasets.files import DatasetError
from lead_detection.sources import medleydb_sources, mjn_sources
from lead_detection.taxonomy import MJN_VOCABULARY
from tests.common.medleydb_layout import RATE, tone, write_audio, write_metadata
from tests.lead_detection.test_annotations import write_song_file

LEADS = [("00:00.100", "00:00.300", "8#male_singer"), ("00:00.301", "00:00.700", "1#drum_set")]


def write_medleydb(root) -> None:
    """Two songs; clone, annotation and audio in folders of their own."""
    for id in ("A_Song", "Schumann_Mignon"):
        write_metadata(root / "clone", id)
        write_audio(root / "audio" / "V1", id)
    write_song_file(root / "annotations/metadata_song.json", Schumann_Mignon=LEADS, A_Song=LEADS[:1])


def places(root):
    return root / "audio", root / "annotations", root / "clone"


def test_songs_of_medleydb(tmp_path):
    write_medleydb(tmp_path)
    first, second = medleydb_sources(*places(tmp_path))
    assert (first.id, first.split, second.id, second.split) == ("Schumann_Mignon", "test", "A_Song", "train")
    assert first.names == ("1 drum set", "3 fx/processed sound", "8 male singer")
    assert first.instruments == ("drum", "backing_track", "vocal")
    assert [path.name[-6:-4] for path in first.stems] == ["01", "03", "08"]
    assert first.mix.name == "Schumann_Mignon_MIX.wav"
    assert first.leads.tolist() == [(100, 300, 3), (301, 700, 1)]


def test_part_of_medleydb_is_taken_when_asked_for(tmp_path):
    write_medleydb(tmp_path)
    write_song_file(tmp_path / "annotations/metadata_song.json", A_Song=LEADS, B_Song=LEADS)
    write_metadata(tmp_path / "clone", "B_Song")
    assert [source.id for source in medleydb_sources(*places(tmp_path), partial=True)] == ["A_Song"]
    with pytest.raises(DatasetError, match="B_Song: no such folder; give the folder that"):
        medleydb_sources(*places(tmp_path))
    with pytest.raises(DatasetError, match="nothing of the data set here"):
        medleydb_sources(tmp_path / "clone", tmp_path / "annotations", tmp_path / "clone", partial=True)


HEADER = "Name\tStart\tDuration\tTime Format\tType\tDescription\n"


def write_performance(root, id: str, stems: tuple[str, ...], markers: list[tuple[str, str, str]], header: str = HEADER):
    for i, name in enumerate((*stems, "mix")):
        write(root / "stem_audio" / id / f"{name}.mp3", tone(i + 1), RATE)
    rows = [f"Marker\t{start}\t{duration}\tdecimal\tCue\t{lead}\n" for start, duration, lead in markers]
    path = root / "annotations" / f"{id}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(rows))
    return path


STEMS = ("Vocal", "electric guitar", "bass", "drum", "keyboard", "background vocal")
MARKERS = [
    ("0:00.000", "0:00.100", "NA"),
    ("0:00.100", "0:00.200", "eg"),
    ("0:00.300", "1:00.000", "BV"),
    ("1:00.300", "0:01.000", ""),
]


def test_performances_of_mjn(tmp_path):
    write_performance(tmp_path, "14-5", STEMS, MARKERS)
    write_performance(tmp_path, "2-2", ("a-guitar", "pc", "cajon"), [("0:00.000", "0:00.500", "ag")])
    (tmp_path / "stem_audio/14-5/._bass.mp3").write_text("what macOS leaves")
    (tmp_path / "stem_audio/14-5/notes.txt").write_text("what people leave")
    first, second = mjn_sources(tmp_path)
    assert (first.id, first.split, second.id, second.split) == ("MJN-14-5", "validation", "MJN-2-2", "test")
    assert first.names == ("vocal", "back-vocal", "e-bass", "drum", "e-guitar", "key")
    assert first.instruments == ("vocal", "vocal", "electric_bass", "drum", "electric_guitar", "keyboards")
    assert first.mix.name == "mix.mp3"
    assert first.leads.tolist() == [(0, 100, 0), (100, 300, 5), (300, 60_300, 2), (60_300, 61_300, 0)]
    assert dict(zip(first.names, first.stems, strict=True))["e-guitar"].name == "electric guitar.mp3"
    assert second.instruments == ("acoustic_guitar", "cajon", "backing_track")
    assert set(first.instruments + second.instruments) <= set(MJN_VOCABULARY.names)


@pytest.mark.parametrize(
    ("markers", "told"),
    [
        ([("0:00.000", "0:01.000", "sa")], "'sa' leads and is no stem"),
        ([("0:00.000", "0:01.000", "zither")], "'zither' leads and is no stem"),
        ([("0:00.000", "soon", "v")], "'soon' is no time"),
        ([("0:00.000", "0:00.000", "v")], "nothing of the data set here"),
        ([], "nothing of the data set here"),
    ],
)
def test_damaged_markers(tmp_path, markers, told):
    write_performance(tmp_path, "3-1", STEMS, markers)
    with pytest.raises(DatasetError, match=rf"3-1\.csv: .*{told}"):
        mjn_sources(tmp_path)


def test_markers_with_other_columns_or_none(tmp_path):
    path = write_performance(tmp_path, "3-1", STEMS, MARKERS, header="Name\tFrom\tTo\n")
    with pytest.raises(DatasetError, match=r"3-1\.csv: a damaged annotation"):
        mjn_sources(tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match=r"3-1\.csv: missing; give the folder of MJN"):
        mjn_sources(tmp_path)


def test_stems_that_mjn_does_not_have(tmp_path):
    write_performance(tmp_path, "3-1", STEMS, MARKERS)
    folder = tmp_path / "stem_audio/3-1"
    (folder / "guitar.mp3").write_bytes((folder / "electric guitar.mp3").read_bytes())
    with pytest.raises(DatasetError, match=r"guitar\.mp3: the same stem as electric guitar\.mp3"):
        mjn_sources(tmp_path)
    (folder / "guitar.mp3").rename(folder / "zither.mp3")
    with pytest.raises(DatasetError, match=r"zither\.mp3: no stem of MJN"):
        mjn_sources(tmp_path)
    (folder / "zither.mp3").unlink()
    (folder / "mix.mp3").unlink()
    with pytest.raises(DatasetError, match=r"mix\.mp3: missing"):
        mjn_sources(tmp_path)


def test_a_folder_that_is_another(tmp_path):
    with pytest.raises(DatasetError, match="no such folder; give the folder of MJN"):
        mjn_sources(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="stem_audio: no such folder; give the folder of MJN"):
        mjn_sources(tmp_path)
