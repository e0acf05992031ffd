import pickle
from functools import partial

import numpy as np
import pytest
import torch

from common.melspec import SILENCE
from diffusion_pir.data import PIRData, RandomCrops, Windows
from diffusion_pir.melstore import Clip, MelStore, Source, write_store
from diffusion_pir.sources import predominance_store
from diffusion_pir.windows import level_db

CLASSES = ("sax", "pia", "voi")
FRAMES = 20


def tone(hz: float, seconds: float, sample_rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * sample_rate)) / sample_rate).astype(np.float32)


def sources(splits: str = "ttttttttttttvvx", seconds: float = 1.0) -> list[Source]:
    """Tones, each of its own frequency, by the first letters of their splits; the third class is never alone."""
    names = {"t": "train", "v": "validation", "x": "test"}
    return [
        Source(
            Clip(f"clip{i}", f"song{i}", names[letter], (CLASSES[i % 2],), None, ""),
            partial(tone, 300.0 * (i + 1), seconds),
        )
        for i, letter in enumerate(splits)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> MelStore:
    return write_store(tmp_path_factory.mktemp("store"), sources(), CLASSES, progress=False)


def data(store: MelStore, **settings) -> PIRData:
    made = PIRData(corpus=None, stores=[str(store.folder)], frames=FRAMES, batch_size=4, **settings)
    made.prepare_data()
    made.setup("fit")
    return made


def same(first: list, second: list) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a[name], b[name]) for a, b in zip(first, second, strict=True) for name in a
    )


def test_batches(store):
    batches = list(data(store).train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch["log_mel"].shape == (4, 128, FRAMES)
        assert batch["labels"].shape == (4, 3)
        assert batch["frames"].tolist() == [FRAMES] * 4
        assert batch["log_mel"].dtype == batch["labels"].dtype == torch.float32
    assert torch.cat([batch["labels"] for batch in batches]).sum(0).tolist() == [6, 6, 0]


def test_every_crop_is_a_stretch_of_its_clip_at_another_level(store):
    crops = RandomCrops([store], CLASSES, FRAMES, gain_db=(-12.0, 0.0))
    quieter = []
    for index in range(len(crops)):
        item, clip = crops[(0, index)], store.clips("train")[index]
        picture = store.log_mel(clip).astype(np.float32).T
        loud = picture > SILENCE + 3
        starts = range(clip.n_frames - FRAMES + 1)
        changes = [(item["log_mel"] - picture[:, s : s + FRAMES])[loud[:, s : s + FRAMES]] for s in starts]
        db = [change.mean() * 20 / np.log(10) for change in changes if np.ptp(change) < 1e-3]
        assert db
        assert -12.01 <= db[0] <= 0.01
        quieter.append(db[0])
        assert item["log_mel"].min() >= np.float32(SILENCE)
    assert np.std(quieter) > 1.0


def test_crops_begin_anywhere(store):
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    clip = Clip("noise", "noise", "train", ("sax",), None, "")
    rough = write_store(store.folder / "noise", [Source(clip, lambda rate: noise)], CLASSES, progress=False)
    crops = RandomCrops([rough], CLASSES, FRAMES, gain_db=(0.0, 0.0))
    picture = rough.log_mel(rough.clips()[0]).astype(np.float32).T
    columns = [crops[(epoch, 0)]["log_mel"][:, 0] for epoch in range(300)]
    starts = {int(np.abs(picture - column[:, None]).sum(axis=0).argmin()) for column in columns}
    assert starts == set(range(50 - FRAMES + 1))


def test_an_item_depends_on_nothing_but_seed_epoch_and_place(store):
    crops = RandomCrops([store], CLASSES, FRAMES, mixing=0.5, seed=3)
    first, again = crops[(2, 5)], pickle.loads(pickle.dumps(crops))[(2, 5)]
    assert np.array_equal(first["log_mel"], again["log_mel"])
    assert not np.array_equal(first["log_mel"], crops[(3, 5)]["log_mel"])
    other = RandomCrops([store], CLASSES, FRAMES, mixing=0.5, seed=4)
    assert not np.array_equal(first["log_mel"], other[(2, 5)]["log_mel"])


def test_a_run_that_was_stopped_goes_on_with_the_same_batches(store):
    whole, stopped, resumed = (data(store, mixing=0.5).train_dataloader() for _ in range(3))
    for epoch in range(2):
        whole.sampler.set_epoch(epoch)
        batches = list(whole)
    stopped.sampler.set_epoch(1)
    begun = iter(stopped)
    assert same([next(begun)], batches[:1])
    resumed.load_state_dict(stopped.state_dict())
    resumed.sampler.set_epoch(1)
    assert same(list(resumed), batches[1:])


def test_the_number_of_workers_changes_nothing(store):
    alone, helped = (list(data(store, mixing=0.5, num_workers=n).train_dataloader()) for n in (0, 2))
    assert same(alone, helped)


def test_two_clips_at_once_have_the_labels_of_what_is_heard(store):
    crops = RandomCrops([store], CLASSES, FRAMES, gain_db=(0.0, 0.0), mixing=1.0)
    both = 0
    for epoch in range(20):
        for index, clip in enumerate(store.clips("train")):
            item = crops[(epoch, index)]
            heard = [bool(level > -6.0) for level in levels(item["log_mel"], store, clip)]
            own = set(clip.labels)
            expected = own | {store.clips("train")[i].labels[0] for i, on in enumerate(heard) if on}
            assert {name for name, on in zip(CLASSES, item["labels"], strict=True) if on} == expected
            both += len(expected) == 2
    assert 40 < both < 160  # of 240: 6 of 15 dB, and half of the partners have another label


def levels(mixture: np.ndarray, store: MelStore, first: Clip) -> list[float]:
    """dB of each training tone in a mixture against that of `first`, by the bin of its frequency."""
    pictures = [store.log_mel(clip).astype(np.float32).T[:, 5 : 5 + FRAMES] for clip in store.clips("train")]
    bins = [int(picture.mean(axis=1).argmax()) for picture in pictures]
    change = np.array([(mixture - picture)[b].mean() for picture, b in zip(pictures, bins, strict=True)])
    loud = np.array([level_db(picture) for picture in pictures]) + change * 20 / np.log(10)
    return (loud - loud[[clip.id for clip in store.clips("train")].index(first.id)]).tolist()


def test_evaluation_sees_all_of_every_clip_as_it_is(store):
    windows = Windows([store], "validation", CLASSES, FRAMES, FRAMES)
    assert len(windows) == 2 * 3  # 50 frames: from 0, from 20, and the last 20
    for clip, first in zip(store.clips("validation"), (0, 3), strict=True):
        picture = store.log_mel(clip).astype(np.float32).T
        for offset, start in enumerate((0, 20, 30)):
            item = windows[(0, first + offset)]
            assert np.array_equal(item["log_mel"], picture[:, start : start + FRAMES])
            assert item["frames"] == FRAMES
    batches = list(data(store).val_dataloader())
    assert [len(batch["labels"]) for batch in batches] == [4, 2]
    assert len(list(data(store, hop=10).test_dataloader())) == 1


def test_clips_shorter_than_a_window_end_in_silence(tmp_path):
    short = write_store(tmp_path, sources("tv", seconds=0.1), CLASSES, progress=False)
    for item in (
        RandomCrops([short], CLASSES, FRAMES)[(0, 0)],
        Windows([short], "validation", CLASSES, FRAMES, 10)[(0, 0)],
    ):
        assert item["frames"] == 5
        assert item["log_mel"].shape == (128, FRAMES)
        assert (item["log_mel"][:, 5:] == np.float32(SILENCE)).all()
        assert item["log_mel"][:, :4].max() > 0


def test_stores_together(store, tmp_path):
    more = write_store(tmp_path / "more", sources("tt"), CLASSES, progress=False)
    both = PIRData(corpus=None, stores=[str(store.folder), str(more.folder)], frames=FRAMES)
    both.setup("fit")
    assert len(both.datasets["train"]) == 14
    other = write_store(tmp_path / "other", sources("tt"), CLASSES[::-1], progress=False)
    with pytest.raises(ValueError, match="prepare both with the same --classes"):
        PIRData(corpus=None, stores=[str(store.folder), str(other.folder)]).setup("fit")


def test_the_front_end_of_the_network_that_is_compared_with(tmp_path):
    store = write_store(tmp_path, sources(), CLASSES, "han", progress=False)
    with pytest.raises(ValueError, match="prepare it with the same --front-end"):
        data(store)
    assert next(iter(data(store, front_end="han").train_dataloader()))["log_mel"].shape == (4, 128, FRAMES)


def test_no_data():
    with pytest.raises(ValueError, match=r"no data: give data\.corpus or data\.stores"):
        PIRData(corpus=None)


def test_the_embedded_corpus_is_made_on_first_use(tiny_predominance):
    root = tiny_predominance.folder.parents[1]
    made = PIRData("predominance-tiny", root=str(root), batch_size=8)
    made.prepare_data()
    made.setup("fit")
    (batch,) = [*made.train_dataloader()][:1]
    assert batch["log_mel"].shape == (8, 128, 100)
    assert batch["labels"].sum(1).tolist() == [1.0] * 8
    store = predominance_store("predominance-tiny", root)
    assert store.folder == tiny_predominance.folder / "log_mel"
    clip = store.clips("train")[0]
    assert clip.n_frames == 150
    assert store.log_mel(clip).max() > 0
