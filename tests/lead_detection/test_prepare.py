import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from common import audio as sound
from common.audio import AudioError
from common.datasets.files import DatasetError
from lead_detection import prepare as module
from lead_detection.annotations import clip_labels
from lead_detection.prepare import SAMPLE_RATE, open_cache, prepare, prepare_command
from lead_detection.songs import rasterise
from lead_detection.sources import Source, medleydb_sources
from lead_detection.taxonomy import VOCABULARY
from tests.common.medleydb_layout import RATE, SECONDS, tone
from tests.lead_detection.test_annotations import leads
from tests.lead_detection.test_sources import MARKERS, STEMS, places, write_medleydb, write_performance

SONG_FILES = [f"{id}{suffix}" for id in ("A_Song", "Schumann_Mignon") for suffix in (".json", ".mix.npy", ".npy")]


@pytest.fixture
def sources(tmp_path) -> list[Source]:
    write_medleydb(tmp_path)
    return medleydb_sources(*places(tmp_path))


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_mapped(samples: np.ndarray | None) -> bool:
    return samples is not None and (isinstance(samples, np.memmap) or is_mapped(samples.base))


def test_a_cache_says_what_the_data_set_says(sources, tmp_path):
    songs = prepare(sources, tmp_path / "cache", progress=False)
    assert names(tmp_path / "cache") == sorted([*SONG_FILES, "index.json"])
    song = songs[0]
    assert [song.id for song in songs] == ["Schumann_Mignon", "A_Song"]
    assert (song.split, song.sample_rate, song.seconds) == ("test", 24_000, SECONDS)
    assert song.names == sources[0].names
    assert [VOCABULARY.name(id) for id in song.instruments] == ["drum", "backing_track", "vocal"]
    # The last lead ends 0.2 s after the audio.
    assert song.lead == ((0.1, 0.301, 2), (0.301, 0.5, 0))
    assert song.annotated == ((0.1, 0.5),)
    band = song.multitrack()
    assert band.lead == song.lead
    assert [stem.name for stem in band.stems] == list(song.names)
    assert [stem.is_drum for stem in band.stems] == [True, False, False]
    assert song.multitrack() is band


def test_samples_are_those_of_the_files_at_their_level(sources, tmp_path):
    song = prepare(sources, tmp_path / "cache", progress=False)[0]
    for stem, path in zip([*song.multitrack().stems, song.mixture], [*sources[0].stems, sources[0].mix], strict=True):
        expected = sound.read(path, SAMPLE_RATE)[0]
        assert np.abs(stem.audio - expected).max() <= stem.scale
        assert stem.samples.dtype == np.int16
        assert np.abs(stem.samples).max() == 32_767
        assert is_mapped(stem.samples)
    levels = [np.abs(stem.audio).max() for stem in song.multitrack().stems]
    assert levels == pytest.approx([0.75 * 0.02 * number for number in (1, 3, 8)], rel=0.02)
    assert np.allclose(song.mixture.audio, song.multitrack().mixture(), atol=1e-3)


def test_labels_by_the_song_and_by_the_clip_agree(tmp_path):
    sound.write(tmp_path / "long.wav", np.zeros(9 * 8_000, np.float32), 8_000)
    annotation = leads((0, 3_000, 1), (3_001, 9_000, 2))
    source = Source("A", "train", ("a", "b"), ("vocal", "drum"), (tmp_path / "long.wav",) * 2, None, annotation)
    (song,) = prepare([source], tmp_path / "cache", progress=False)
    by_song = rasterise(song.lead, (np.arange(375) + 0.5) / 75, song.annotated)
    assert by_song.tolist() == clip_labels(song.leads)[0].tolist() == [1] * 225 + [2] * 150


def test_a_song_travels_to_another_process(sources, tmp_path):
    song = prepare(sources, tmp_path / "cache", progress=False)[0]
    again = pickle.loads(pickle.dumps(song))
    assert again.lead == song.lead
    assert np.array_equal(again.multitrack().audio, song.multitrack().audio)


def test_files_of_any_length_a_silent_stem_and_no_mixture(tmp_path):
    sound.write(tmp_path / "short.wav", tone(1, seconds=0.2), RATE)
    sound.write(tmp_path / "mono.flac", tone(2, rate=16_000)[0], 16_000)
    sound.write(tmp_path / "silent.wav", np.zeros(RATE // 2, np.float32), RATE)
    stems = tuple(tmp_path / name for name in ("short.wav", "mono.flac", "silent.wav"))
    source = Source("B", "train", ("a", "b", "c"), ("vocal", "zither", "drum"), stems, None, leads((0, 400, 1)))
    (song,) = prepare([source], tmp_path / "cache", progress=False)
    assert song.mixture is None
    assert song.instruments == (VOCABULARY.id("vocal"), 0, VOCABULARY.id("drum"))
    band = song.multitrack()
    assert band.audio.shape == (3, 12_000)
    assert np.abs(band.audio[0, :4_000]).max() > 0.01
    assert not band.audio[0, 4_800:].any()
    assert not band.audio[2].any()
    assert np.isfinite(band.audio).all()


def test_what_is_there_is_not_decoded_again_but_leads_and_names_are_read_anew(sources, tmp_path, monkeypatch):
    prepare(sources, tmp_path / "cache", progress=False)
    monkeypatch.setattr(module, "decode", None)
    changed = replace(sources[0], leads=leads((0, 500, 2)), split="train")
    song = prepare([changed, sources[1]], tmp_path / "cache", progress=False)[0]
    assert song.lead == ((0.0, 0.5, 1),)
    assert open_cache(tmp_path / "cache")[0].split == "train"


def test_a_file_that_has_changed_is_decoded_again(sources, tmp_path):
    before = prepare(sources, tmp_path / "cache", progress=False)[0].multitrack().audio
    sound.write(sources[0].stems[1], 0.5 * tone(5), RATE)
    song = prepare(sources, tmp_path / "cache", progress=False)[0]
    after = song.multitrack().audio
    assert np.array_equal(after[[0, 2]], before[[0, 2]])
    assert not np.allclose(after[1], before[1], atol=1e-3)


def test_an_interrupted_run_goes_on_and_leaves_nothing_half_written(sources, tmp_path):
    cache = tmp_path / "cache"
    damaged = sources[1].stems[2]
    whole = damaged.read_bytes()
    damaged.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=damaged.name):
        prepare(sources, cache, progress=False)
    assert names(cache) == [name for name in SONG_FILES if name.startswith("Schumann")]
    with pytest.raises(DatasetError, match="no prepared data set here; run `python -m lead_detection prepare`"):
        open_cache(cache)
    made = (cache / "Schumann_Mignon.npy").stat().st_mtime_ns
    damaged.write_bytes(whole)
    assert len(prepare(sources, cache, progress=False)) == 2
    assert (cache / "Schumann_Mignon.npy").stat().st_mtime_ns == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"songs": 1}', '{"songs": [{"id": "a"}]}', "\x00"])
def test_an_index_that_is_damaged(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(DatasetError, match="no prepared data set here"):
        open_cache(tmp_path)


def arguments(root, **changes) -> list[str]:
    audio, annotations, clone = places(root)
    paths = {"medleydb": audio, "annotations": annotations, "metadata": clone, "out": root / "cache"} | changes
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]


def test_the_command(sources, tmp_path, capsys):
    assert prepare_command(arguments(tmp_path)) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path / 'cache'}: 2 songs, 6 tracks, 0.00 h"
    assert len(open_cache(tmp_path / "cache")) == 2
    shutil.rmtree(tmp_path / "audio/V1/A_Song")
    assert prepare_command([*arguments(tmp_path), "--partial"]) == 0
    assert [song.id for song in open_cache(tmp_path / "cache")] == ["Schumann_Mignon"]


def test_the_command_on_mjn(tmp_path, capsys):
    write_performance(tmp_path / "mjn", "14-5", STEMS, MARKERS)
    assert prepare_command(["--mjn", str(tmp_path / "mjn"), "--out", str(tmp_path / "cache")]) == 0
    (song,) = open_cache(tmp_path / "cache")
    assert (song.id, song.split, len(song.names)) == ("MJN-14-5", "validation", 6)
    assert [(round(start, 3), stem) for start, _, stem in song.lead] == [(0.1, 4), (0.3, 1)]
    assert song.annotated == ((0.0, song.seconds),)
    assert song.mixture is not None


def test_bad_input_is_one_line_and_exit_code_2(sources, tmp_path, capsys):
    def refused(**changes) -> str:
        assert prepare_command(arguments(tmp_path, **changes)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert len([line for line in said.err.splitlines() if line and "song/s]" not in line]) == 1
        return said.err

    nowhere = tmp_path / "nowhere"
    assert "no such folder; give the folder" in refused(medleydb=nowhere)
    assert "missing; give a clone" in refused(annotations=nowhere)
    assert "no such folder; give a clone" in refused(metadata=nowhere)
    (tmp_path / "taken").write_text("a file")
    assert "taken" in refused(out=tmp_path / "taken")
    damaged = sources[0].stems[0]
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert damaged.name in refused()
    damaged.unlink()
    assert f"{damaged.name}: missing" in refused()
    assert not (tmp_path / "cache/index.json").exists()


@pytest.mark.parametrize("words", [[], ["--medleydb", "a"], ["--medleydb", "a", "--mjn", "b"], ["--mjn", "b"]])
def test_options_that_do_not_go_together(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        prepare_command([*words, *(["--out", str(tmp_path)] if words != ["--mjn", "b"] else [])])
    assert caught.value.code == 2


def test_ctrl_c(sources, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "decode", interrupt)
    assert prepare_command(arguments(tmp_path)) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
    assert names(tmp_path / "cache") == []
