import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.audio import AudioError, write
from common.datasets.files import DatasetError
from common.instruments import IRMAS
from diffusion_pir.melstore import Source, check_groups
from diffusion_pir.sources import (
    classes_of,
    csv_sources,
    folder_sources,
    irmas_sources,
    openmic_sources,
    openpir_sources,
    predominance_sources,
    validation_groups,
)
from tests.common import irmas_layout as layout


def by_split(sources: list[Source], split: str) -> set[str]:
    return {source.clip.group for source in sources if source.clip.split == split}


def assert_sound(sources: list[Source]) -> None:
    for source in sources:
        audio = source.read(16_000)
        assert audio.dtype == np.float32
        assert np.abs(audio).max() > 0.01


def test_the_predominance_set(tiny_predominance):
    sources = predominance_sources(tiny_predominance)
    assert len(sources) == len(tiny_predominance.excerpts())
    check_groups([source.clip for source in sources], Path())
    assert len(sources[0].read(16_000)) == 48_000
    excerpt = tiny_predominance.excerpts()[0]
    assert np.array_equal(sources[0].read(22_050), excerpt.audio)
    assert any(source.clip.unseen for source in sources)
    assert {source.clip.drums for source in sources} == {True, False}


def test_irmas_training_is_split_by_recording(tmp_path):
    layout.irmas_training(tmp_path)
    layout.irmas_testing(tmp_path)
    sources = irmas_sources([tmp_path])
    assert len(sources) == len(layout.TRAINING) + len(layout.TESTING)
    assert_sound(sources)
    assert not by_split(sources, "train") & by_split(sources, "validation")
    assert len(by_split(sources, "validation")) == 3  # one of the recordings of each of the three classes
    assert by_split(sources, "test") == {f"test/{name}" for name in layout.RECORDINGS}
    apart = irmas_sources([tmp_path / "IRMAS-TrainingData", tmp_path / "IRMAS-TestingData-Part1"])
    assert Counter(source.clip.split for source in apart)["test"] == 2


def test_no_recording_of_a_whole_irmas_is_in_both_parts(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(400):
        label = list(IRMAS)[i % 11]
        (tmp_path / label).mkdir(exist_ok=True)
        for segment in range(1, rng.integers(2, 5)):
            (tmp_path / label / f"[{label}][pop_roc]{i:04}__{segment}.wav").touch()
    sources = irmas_sources([tmp_path])
    validation = by_split(sources, "validation")
    assert not validation & by_split(sources, "train")
    assert 0.13 < len(validation) / 400 < 0.17
    per_class = Counter(source.clip.labels for source in sources if source.clip.group in validation)
    assert len(per_class) == 11
    assert by_split(irmas_sources([tmp_path]), "validation") == validation
    assert by_split(irmas_sources([tmp_path], seed=1), "validation") != validation


def test_openpir(tmp_path):
    metadata, root = layout.openpir(tmp_path), layout.openmic(tmp_path)
    sources = openpir_sources(metadata, root)
    assert_sound(sources)
    assert [source.clip.labels for source in sources] == [("voi",), ("gel", "voi"), (), ("pia",)]
    assert len(openpir_sources(metadata, root, leave_out_test=True)) == 3
    assert openpir_sources(metadata, root, keep_other=True)[2].clip.labels == ("other",)


def test_openmic_keeps_its_partition(tmp_path):
    sources = openmic_sources(layout.openmic(tmp_path))
    assert [source.clip.split for source in sources] == list(layout.PARTITION.values())
    assert classes_of(sources) == ("drums", "guitar", "voice")


def test_a_folder_of_labels(tmp_path):
    for label in ("harp", "viola da gamba"):
        for i in range(4):
            layout.noise(tmp_path / label / f"take {i}.wav")
        for i in range(3):
            layout.noise(tmp_path / label / "concert" / f"{i}.flac")
    (tmp_path / ".trash").mkdir()
    sources = folder_sources(tmp_path)
    assert_sound(sources)
    assert classes_of(sources) == ("harp", "viola da gamba")
    assert Counter(source.clip.group for source in sources)["harp/concert"] == 3
    check_groups([source.clip for source in sources], tmp_path)
    assert len(by_split(sources, "validation")) == 2  # one of each label's five
    assert by_split(folder_sources(tmp_path, validation=0.0), "validation") == set()


def test_a_table(tmp_path):
    rows = [
        ("a.wav", "sax; piano", "one", "", "yes"),
        ("b.wav", "sax;sax", "one", "", ""),
        ("sub/c.wav", "", "two", "test", "0"),
    ]
    for name, *_ in rows:
        layout.noise(tmp_path / name)
    path = tmp_path / "table.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("path", "labels", "group", "split", "drums"), *rows])
    sources = csv_sources(path)
    assert_sound(sources)
    assert [source.clip.labels for source in sources] == [("sax", "piano"), ("sax",), ()]
    assert [source.clip.split for source in sources] == ["train", "train", "test"]  # one group is not divided
    assert [source.clip.drums for source in sources] == [True, None, False]
    path.write_text("path,labels\na.wav,sax\nb.wav,piano\n")
    assert [source.clip.group for source in csv_sources(path)] == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path\na.wav\n", r"a damaged annotation \('labels'\)"),
        ("path,labels,split\na.wav,sax,tests\n", "split must be one of train, validation, test or empty, not 'tests'"),
        ("path,labels,drums\na.wav,sax,perhaps\n", "a damaged annotation"),
        ("path,labels\n", "nothing of the data set here; give a table with the columns path and labels"),
    ],
)
def test_a_table_that_is_wrong(tmp_path, text, told):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DatasetError, match=told):
        csv_sources(tmp_path / "table.csv")


def test_what_is_wrong_is_said(tmp_path):
    with pytest.raises(DatasetError, match="no such folder; give a folder that has one for each label"):
        folder_sources(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="nothing of the data set here"):
        folder_sources(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AudioError, match="no audio file in this folder"):
        folder_sources(tmp_path)
    with pytest.raises(DatasetError, match="nothing of the data set here; give the folder that an archive of IRMAS"):
        irmas_sources([tmp_path])
    with pytest.raises(DatasetError, match="no clip has a label"):
        classes_of([])


def test_shares_of_strata():
    strata = {f"{stratum}{i}": stratum for stratum, count in (("a", 40), ("b", 2), ("c", 1)) for i in range(count)}
    chosen = Counter(strata[group] for group in validation_groups(strata, 0.15))
    assert chosen == {"a": 6, "b": 1}  # never the only one
    assert validation_groups(dict(reversed(strata.items())), 0.15) == validation_groups(strata, 0.15)
    assert validation_groups(strata, 0.0) == set()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "harp").mkdir()
    write(tmp_path / "harp" / "good.wav", np.zeros(100, np.float32), 8000)
    (tmp_path / "harp" / "bad.wav").write_bytes(b"RIFF")
    bad, good = folder_sources(tmp_path, validation=0.0)
    assert len(good.read(8000)) == 100
    with pytest.raises(AudioError, match=r"bad\.wav"):
        bad.read(8000)
