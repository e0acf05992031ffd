import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch

from common.audio import AudioError
from common.datasets.files import DatasetError
from common.melspec import SILENCE, VocoderMel
from diffusion_pir import melstore
from diffusion_pir.front_ends import FRONT_ENDS
from diffusion_pir.melstore import Clip, MelStore, Source, multi_hot, write_store

SECONDS = (0.5, 1.0, 0.31, 0.02, 2.0)
CLASSES = ("sax", "pia")


def sound(index: int, sample_rate: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    return (rng.standard_normal(round(SECONDS[index] * sample_rate)) * 0.02 * (index + 1)).astype(np.float32)


def sources(read=sound) -> list[Source]:
    splits = ("train", "train", "validation", "test", "train")
    labels = (("sax",), ("pia",), ("sax", "pia"), (), ("other",))
    return [
        Source(Clip(f"clip{i}", f"song{i}", split, own, None, f"{i}.wav"), partial(read, i))
        for i, (split, own) in enumerate(zip(splits, labels, strict=True))
    ]


@pytest.fixture
def store(tmp_path) -> MelStore:
    return write_store(tmp_path / "store", sources(), CLASSES, progress=False)


def test_a_store_has_the_log_mels_of_its_clips(store):
    for index, clip in enumerate(store.clips()):
        audio = sound(index, 16_000)
        expected = VocoderMel()(torch.from_numpy(audio / np.abs(audio).max())[None])[0].T.numpy()
        picture = store.log_mel(clip)
        assert picture.dtype == np.float16
        assert picture.shape == expected.shape == (clip.n_frames, 128)
        assert np.abs(picture - expected).max() < 0.005  # float16 below 12 in steps of 1 / 128
    assert [clip.split for clip in store.clips("train")] == ["train"] * 3
    assert store.labels(store.clips()).tolist() == [[1, 0], [0, 1], [1, 1], [0, 0], [0, 0]]


def test_the_file_is_an_ordinary_array(store):
    frames = np.load(store.folder / "log_mel.npy")
    assert frames.shape == (sum(clip.n_frames for clip in store.clips()), 128)
    last = store.clips()[-1]
    assert np.array_equal(frames[last.start_frame :], store.log_mel(last))


def test_silence_stays_silent(tmp_path):
    quiet = write_store(tmp_path, sources(lambda i, rate: np.zeros_like(sound(i, rate))), CLASSES, progress=False)
    assert {float(value) for value in np.unique(quiet.log_mel(quiet.clips()[1]))} == {float(np.float16(SILENCE))}


def test_what_is_made_is_opened_and_not_made_again(store):
    again = write_store(store.folder, sources(lambda i, rate: pytest.fail("read again")), CLASSES, progress=False)
    assert again.clips() == store.clips()
    assert again.digest == store.digest


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_an_interrupted_run_goes_on_where_it_ended(store, tmp_path, cut):
    reads = []

    def read(index: int, sample_rate: int) -> np.ndarray:
        reads.append(index)
        if index == 2 and reads.count(2) == 1:
            raise AudioError("2.wav: damaged")
        return sound(index, sample_rate)

    folder = tmp_path / "interrupted"
    with pytest.raises(AudioError, match=r"2\.wav: damaged"):
        write_store(folder, sources(read), CLASSES, progress=False)
    # The process may also have been killed while it wrote: what is not in the journal does not count.
    with (folder / "log_mel.part.npy").open("ab") as file:
        file.write(b"\1" * cut)
    with (folder / "part.jsonl").open("a") as file:
        file.write("5" * bool(cut))
    resumed = write_store(folder, sources(read), CLASSES, progress=False)
    assert reads == [0, 1, 2, 2, 3, 4]
    assert resumed.clips() == store.clips()
    for name in ("log_mel.npy", "index.json"):
        assert (folder / name).read_bytes() == (store.folder / name).read_bytes()
    assert not (folder / "part.jsonl").exists()


def test_an_interrupted_run_of_another_plan_is_begun_anew(tmp_path):
    def stop(index: int, sample_rate: int) -> np.ndarray:
        if index == 3:
            raise AudioError("3.wav: damaged")
        return sound(index, sample_rate)

    with pytest.raises(AudioError):
        write_store(tmp_path, sources(stop), CLASSES, progress=False)
    reads = []
    write_store(tmp_path, sources(lambda i, rate: reads.append(i) or sound(i, rate))[::-1], CLASSES, progress=False)
    assert reads == [4, 3, 2, 1, 0]


def test_two_at_once_make_one(tmp_path):
    reads = []

    def make(_) -> MelStore:
        return write_store(tmp_path, sources(lambda i, r: reads.append(i) or sound(i, r)), CLASSES, progress=False)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make, range(2))
    assert reads == [0, 1, 2, 3, 4]
    assert first.clips() == second.clips()


def test_another_front_end(tmp_path):
    store = write_store(tmp_path, sources(), CLASSES, "han", progress=False)
    assert store.front_end == FRONT_ENDS["han"].told != FRONT_ENDS["vocoder"].told
    assert [clip.n_frames for clip in store.clips()] == [22, 44, 14, 1, 87]  # of 512 samples at 22,050 Hz
    assert FRONT_ENDS["han"].make()(torch.zeros(1, 22_050)).unique().tolist() == pytest.approx([SILENCE])


def test_a_store_for_another_process_takes_no_samples_along(store):
    store.log_mel(store.clips()[0])
    assert "_frames" not in store.__getstate__()


def test_multi_hot_of_nothing():
    assert multi_hot([], CLASSES).shape == (0, 2)


def test_a_group_in_two_splits_is_refused(tmp_path):
    clips = [Clip("a", "song", "train", ("sax",), None, ""), Clip("b", "song", "test", ("sax",), None, "")]
    with pytest.raises(DatasetError, match="song is in train and in test"):
        write_store(tmp_path, [Source(clip, partial(sound, 0)) for clip in clips], CLASSES)


def test_what_is_wrong_is_said(store, tmp_path):
    told = r"nowhere: no prepared data here; run `python -m diffusion_pir prepare` with this folder as --out"
    with pytest.raises(DatasetError, match=told):
        MelStore.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds other prepared data; give another folder as --out"):
        write_store(store.folder, sources()[:2], CLASSES, progress=False)
    with pytest.raises(DatasetError, match="no clip to prepare"):
        write_store(tmp_path / "empty", [], CLASSES)
    with pytest.raises(DatasetError, match="two clips have the same id"):
        write_store(tmp_path / "twice", [sources()[0]] * 2, CLASSES)
    with pytest.raises(ValueError, match="split into train, validation, test, not 'trian'"):
        store.clips("trian")
    index = json.loads((store.folder / "index.json").read_text())
    index["clips"].pop()
    (store.folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DatasetError, match=r"log_mel\.npy is not that of index\.json"):
        MelStore.open(store.folder)
    assert melstore.VERSION == 1  # raise it, and this, when other numbers would be written
