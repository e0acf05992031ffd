import pytest

from lead_detection.folders import StemsError, find_stems, instrument_id, instrument_ids, read_sidecar, track_names
from lead_detection.taxonomy import VOCABULARY


@pytest.fixture
def folder(tmp_path):
    def make(*names: str):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("names", "mixture"),
    [
        (["vocals.wav", "drums.wav", "mixture.wav"], "mixture.wav"),
        (["Band_Song_STEM_01.wav", "Band_Song_STEM_02.wav", "Band_Song_MIX.wav"], "Band_Song_MIX.wav"),
        (["GuitarHeroes_MIX.flac", "GuitarHeroes_vox.flac", "GuitarHeroes_keys.flac"], "GuitarHeroes_MIX.flac"),
        (["a.wav", "b.wav", "My Song (Master).wav"], "My Song (Master).wav"),
        (["a.wav", "b.wav", "full.mp3"], "full.mp3"),
        (["a.wav", "b.wav", "FullMix.mp3"], "FullMix.mp3"),
        (["drum mix.wav", "vocals_master.wav", "full kit.wav"], None),
        (["vocals.wav", "remix hook.wav", "bass.wav"], None),
        (["1.wav", "2.wav"], None),
    ],
)
def test_the_mixture_is_known_by_its_name(names, mixture, folder):
    found = find_stems(folder(*names))
    assert (found.mixture and found.mixture.name) == mixture
    assert [path.name for path in found.tracks] == sorted(name for name in names if name != mixture)


def test_a_mixture_that_is_named_is_no_track(folder):
    path = folder("a.wav", "b.wav", "c.wav", "mix.wav")
    assert find_stems(path, path / "c.wav").mixture == path / "c.wav"
    # What only looks like a mixture is a track then.
    assert [track.stem for track in find_stems(path, path / "c.wav").tracks] == ["a", "b", "mix"]


def test_what_is_no_audio_or_further_inside_is_left_alone(folder):
    found = find_stems(folder("b.WAV", "a.flac", "._a.flac", "notes.txt", "lead.csv", "raw/c.wav"))
    assert [path.name for path in found.tracks] == ["a.flac", "b.WAV"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["song.wav"], "one stem alone does not tell who leads; if it is the mixture, separate it first"),
        (["vocals.wav", "mix.wav"], "one stem alone"),
        (["inside/a.wav", "inside/b.wav"], "no stems here"),
        (["a.wav", "b.wav", "mix.wav", "master.wav"], "each of master.wav, mix.wav may be the mixture"),
    ],
)
def test_folders_that_cannot_be_used_are_refused(names, text, folder):
    path = folder(*names)
    with pytest.raises(StemsError, match=f"^{path}: {text}"):
        find_stems(path)


def test_a_recording_and_nothing_are_no_folders(folder):
    path = folder("song.wav", "b.wav")
    with pytest.raises(StemsError, match=r"song\.wav: a single recording .* separate it first"):
        find_stems(path / "song.wav")
    with pytest.raises(StemsError, match="nowhere: there is no such folder"):
        find_stems(path / "nowhere")
    with pytest.raises(StemsError, match=r"mixx\.wav: there is no such mixture"):
        find_stems(path, path / "mixx.wav")


def test_names_are_told_apart(folder):
    names = ["bass.wav", "bass.flac", "v1.2 take.wav"]
    assert track_names([folder(*names) / name for name in names]) == ["bass.wav", "bass.flac", "v1.2 take"]


@pytest.mark.parametrize(
    ("text", "name"),
    [("vocal", "vocal"), ("Electric Bass", "electric_bass"), ("female singer", "vocal"), ("", "unknown"), (5, "banjo")],
)
def test_instruments_by_name_or_id(text, name):
    assert VOCABULARY.name(instrument_id(text)) == name


@pytest.mark.parametrize("wrong", ["spoon", "mix", "na", 35, 23, -1])
def test_instruments_that_there_are_not(wrong):
    with pytest.raises(StemsError, match="no such instrument"):
        instrument_id(wrong)


def test_what_is_not_given_is_guessed():
    names = ["Lead Vox", "thing", "submix mix"]
    vocal = VOCABULARY.id("vocal")
    assert instrument_ids(names, None) == [vocal, 0, 0]
    assert instrument_ids(names, {"thing": "organ"}) == [vocal, VOCABULARY.id("organ"), 0]
    assert instrument_ids(names, ["", 0, "banjo"]) == [0, 0, 5]


def test_a_sidecar(tmp_path):
    path = tmp_path / "instruments.csv"
    path.write_text("\ufefffile,comment,instrument\na.wav,x,violin\nb,,\n", encoding="utf-8")
    assert read_sidecar(path) == {"a.wav": VOCABULARY.id("string"), "b": 0}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"file,instrument\na.wav,spoon\n", "line 2: 'spoon': no such instrument"),
        (b"name,what\na.wav,organ\n", "must name the columns"),
        (b"name,what\n", "must name the columns"),
        (b"", "must name the columns"),
        (b"\xff\xfe\x00", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_sidecar_that_cannot_be_used(content, text, tmp_path):
    path = tmp_path / "instruments.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StemsError, match=f"^{path}: .*{text}") as caught:
        read_sidecar(path)
    assert len(str(caught.value).splitlines()) == 1
