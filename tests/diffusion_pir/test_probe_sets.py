import numpy as np
import pytest

from common.datasets.files import DatasetError
from diffusion_pir.melstore import write_store
from diffusion_pir.probe_sets import ProbeError, open_set
from tests.diffusion_pir.tones import CLASSES, make_store, sources


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "tones")


def test_clips_become_windows_that_know_their_clip(store):
    data = open_set(str(store.folder), str(store.folder))
    assert data.classes == CLASSES
    (train,) = data.train
    assert train.windows.ids[:3] == ["train0@0", "train0@50", "train1@0"]  # 3 s are two windows of 2 s
    np.testing.assert_array_equal(train.labels[train.clip[:4]], [[1, 0], [1, 0], [0, 1], [0, 1]])
    assert len(data.test.labels) == 9
    assert len(data.test.clip) == 9 * 4  # 5 s are four
    assert all(name.startswith("test") for name in data.test.windows.ids)


def test_long_validation_clips_decide_and_all_of_them_stop(store):
    data = open_set(str(store.folder), str(store.folder))
    (deciding,) = data.deciding
    assert deciding in data.validation
    assert len(deciding.labels) == 6
    assert deciding.labels.sum(1).max() == 2
    assert sum(len(part.labels) for part in data.validation) == 12
    assert len(data.parts) == 4


def test_where_no_validation_clip_has_several_labels_mixes_decide(tmp_path):
    folder = str(make_store(tmp_path / "tones", validation_excerpts=0).folder)
    data = open_set(folder, folder)
    (deciding,) = data.deciding
    assert deciding not in data.validation
    assert len(deciding.labels) == len(deciding.clip) == 12
    assert {row.sum() for row in deciding.labels} == {1.0, 2.0}
    assert len(data.parts) == 4


def test_training_mixes_join_the_single_clips_and_validation_stays(store):
    data = open_set(str(store.folder), str(store.folder), mixes=0.5)
    single, mixed = data.train
    assert len(mixed.clip) == len(single.clip) / 2
    assert all("+" in group and group.split("+")[0] != group.split("+")[1] for group in mixed.groups)
    again = open_set(str(store.folder), str(store.folder), mixes=0.5).train[1]
    assert again.windows.ids == mixed.windows.ids
    assert [len(part.clip) for part in data.validation] == [12, 24]


def test_several_training_sets_are_one(store, tmp_path):
    other = write_store(tmp_path / "more", sources("train", 4, 3.0, first=50), CLASSES, progress=False)
    data = open_set(f"{store.folder}+{other.folder}", str(store.folder))
    assert [len(part.labels) for part in data.train] == [12, 4]


def test_data_that_cannot_be_probed_is_told(store, tmp_path):
    other = write_store(tmp_path / "other", sources("train", 4, 3.0), ("low",), progress=False)
    with pytest.raises(ProbeError, match=r"other classes.*--classes"):
        open_set(str(store.folder), str(other.folder))
    lone = write_store(tmp_path / "lone", sources("train", 4, 3.0), CLASSES, progress=False)
    with pytest.raises(ProbeError, match="lone: no validation clips"):
        open_set(str(lone.folder), str(store.folder))
    with pytest.raises(ProbeError, match="lone: no test clips"):
        open_set(str(store.folder), str(lone.folder))
    with pytest.raises(DatasetError, match="nowhere"):
        open_set(str(tmp_path / "nowhere"), str(store.folder))
