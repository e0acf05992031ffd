import json

import pytest

from common.audio import read
from common.datasets import openmic
from common.datasets.files import DatasetError
from tests.common import irmas_layout as layout


def test_excerpts_have_what_the_crowd_heard(tmp_path):
    excerpts = {excerpt.id: excerpt for excerpt in openmic.excerpts(layout.openmic(tmp_path))}
    assert set(excerpts) == {key for key, *_ in layout.ITEMS}
    assert excerpts["000046_3840"].labels == ("drums", "voice")
    assert excerpts["000135_483840"].labels == ("guitar",)
    assert excerpts["000139_119040"].labels == ()
    assert {key: excerpt.partition for key, excerpt in excerpts.items()} == layout.PARTITION
    assert excerpts["000135_483840"].recording == "000135"
    assert len(read(excerpts["000046_3840"].audio)[0]) == layout.RATE // 2


def test_relevance_is_an_option(tmp_path):
    root = layout.openmic(tmp_path)
    assert openmic.excerpts(root, relevance=0.7)[0].labels == ("voice",)
    assert openmic.excerpts(root, relevance=0.1)[0].labels == ("drums", "flute", "voice")


@pytest.mark.parametrize(
    ("keep_other", "labels"),
    [
        (False, [("voi",), ("gel", "voi"), (), ("pia",)]),
        (True, [("voi",), ("gel", "voi"), ("other",), ("pia", "other")]),
    ],
)
def test_openpir_with_and_without_other(tmp_path, keep_other, labels):
    excerpts = openmic.openpir(layout.openpir(tmp_path), layout.openmic(tmp_path), keep_other)
    assert [excerpt.labels for excerpt in excerpts] == labels
    assert [excerpt.drums for excerpt in excerpts] == [None] * 4
    assert [excerpt.partition for excerpt in excerpts] == list(layout.PARTITION.values())
    assert [list(excerpt.genres) for excerpt in excerpts] == [genres for *_, genres in layout.ITEMS]
    assert all(excerpt.audio.is_file() for excerpt in excerpts)


def test_drums_are_taken_where_somebody_has_filled_them_in(tmp_path):
    excerpts = openmic.openpir(layout.openpir(tmp_path, drums=True), layout.openmic(tmp_path))
    assert [excerpt.drums for excerpt in excerpts] == [True, None, None, None]


def test_partitions_may_be_missing(tmp_path):
    root = layout.openmic(tmp_path)
    for path in (root / "partitions").iterdir():
        path.unlink()
    assert {excerpt.partition for excerpt in openmic.openpir(layout.openpir(tmp_path), root)} == {None}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"instrument": ["harp"]}, "000046_3840: harp is no class of OpenPIR"),
        ({"instrument": None}, "a damaged annotation"),
        ({"drums": "yes"}, "drums must be true, false or null"),
        ({"samplekey": "000135_483840"}, "an excerpt is in it twice"),
        ({"samplekey": "999999_0"}, r"999999_0\.ogg: missing; give the folder openmic-2018"),
    ],
)
def test_damage_to_openpir_is_told(tmp_path, changes, told):
    with pytest.raises(DatasetError, match=told):
        openmic.openpir(layout.openpir(tmp_path, **changes), layout.openmic(tmp_path))


def test_other_damage_is_told(tmp_path):
    root, path = layout.openmic(tmp_path), layout.openpir(tmp_path)
    with pytest.raises(DatasetError, match="no such folder; give the folder openmic-2018"):
        openmic.excerpts(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"nothing\.json: missing; give OpenPIR_metadata\.json"):
        openmic.openpir(tmp_path / "nothing.json", root)
    items = json.loads(path.read_text())
    del items[1]["genre"]
    path.write_text(json.dumps(items))
    with pytest.raises(DatasetError, match=r"OpenPIR_metadata\.json: a damaged annotation \('genre'\)"):
        openmic.openpir(path, root)
    path.write_text("[]")
    with pytest.raises(DatasetError, match="nothing of the data set here"):
        openmic.openpir(path, root)
    table = root / "openmic-2018-aggregated-labels.csv"
    table.write_text("sample_key,instrument\n000046_3840,voice\n")
    with pytest.raises(DatasetError, match=r"aggregated-labels\.csv: a damaged annotation"):
        openmic.excerpts(root)
