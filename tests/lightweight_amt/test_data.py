import numpy as np
import pytest

from common.frames import FrameGrid
from lightweight_amt.data import AMTDataset

GRID = FrameGrid(22050, 256)


@pytest.fixture(scope="module")
def dataset(tiny_corpus) -> AMTDataset:
    return AMTDataset(tiny_corpus.pieces("train"), GRID, crop_frames=100, margin=40, size=8, seed=3, augment=0.5)


def test_items_depend_on_epoch_and_index_alone(dataset):
    again = [dataset[0, i] for i in (2, 1, 0)][::-1]
    for i in range(3):
        for name, tensor in dataset[0, i].items():
            assert tensor.equal(again[i][name])
    assert not dataset[0, 0]["audio"].equal(dataset[1, 0]["audio"])


def test_an_item_has_its_margin_in_the_audio_and_not_in_the_targets(dataset):
    item = dataset[0, 0]
    assert item["audio"].shape == (180 * 256,)
    assert {item[name].shape for name in ("onset", "frame", "offset")} == {(84, 100)}
    for tensor in item.values():
        assert tensor.isfinite().all()


def test_targets_are_where_the_reference_notes_are(dataset):
    for index in range(4):
        roll = dataset[0, index]["frame"].numpy() > 0
        notes = dataset.reference(index)
        expected = np.zeros_like(roll)
        for onset, offset, pitch in zip(notes.onset, notes.offset, notes.pitch, strict=True):
            if 24 <= pitch < 108:
                start, stop = GRID.frames(onset), GRID.frames(offset)
                expected[pitch - 24, start : max(stop, start + 1)] = True
        # A note cut short by a second onset may differ by the frame between them.
        assert (roll != expected).sum() <= 0.02 * max(expected.sum(), 1)
