import numpy as np
import pytest

from common import audio as sound
from common import predominance
from common.audio import AudioError
from common.datasets.files import DatasetError
from common.melspec import SAMPLE_RATE, VocoderMel
from diffusion_pir import sources as clip_sources
from diffusion_pir.audio_windows import as_audio
from diffusion_pir.bank import Bank
from diffusion_pir.foundation import AudioLDM2Backbone
from diffusion_pir.grid import Point
from diffusion_pir.melstore import log_mel, write_store
from diffusion_pir.probe_sets import mixed, part_of
from tests.diffusion_pir.pipelines import write_audioldm2
from tests.diffusion_pir.tones import tone


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Files of two tones, 3 s each, in two folders named after them."""
    root = tmp_path_factory.mktemp("files")
    for label in ("low", "high"):
        for i in range(6):
            sound.write(root / "audio" / label / f"{i}.wav", 0.4 * tone((label,), 3.0, i, 22_050), 22_050)
    return write_store(root / "store", clip_sources.folder_sources(root / "audio"), ("high", "low"), progress=False)


def test_the_audio_of_a_window_has_its_log_mel(store):
    part = part_of(store, store.clips("train"))
    heard = as_audio(part.windows, SAMPLE_RATE)
    rows = np.array([0, 3])
    audio, expected = heard.load(rows), part.windows.load(rows)
    assert audio.shape == (2, 32_000)
    assert list(heard.ids) == list(part.windows.ids)
    for window, picture in zip(audio, expected, strict=True):
        again = log_mel(window, VocoderMel()).T.astype(np.float32)
        # The last frames of a window reach into what follows it.
        assert np.abs(again - picture)[:, :98].max() < 0.1
    assert heard.load(np.array([1]))[0, :16_000] == pytest.approx(heard.load(np.array([0]))[0, 16_000:])
    assert as_audio(part.windows, 44_100).load(rows).shape == (2, 88_200)
    assert as_audio(part.windows, 44_100).digest() != heard.digest()


def test_mixes_have_the_level_that_was_drawn(store):
    part = mixed(part_of(store, store.clips("train")), 5, seed=0)
    heard = as_audio(part.windows, SAMPLE_RATE)
    rows = np.arange(5)
    both = heard.load(rows)
    first = heard.windows.load(part.windows.pairs[:, 0])
    rest = both - first
    db = 10 * np.log10(np.square(rest).mean(1) / np.square(first).mean(1))
    np.testing.assert_allclose(db, part.windows.levels_db, atol=1e-3)
    assert list(heard.ids) == list(part.windows.ids)


def test_a_file_that_is_gone_is_named(store, tmp_path):
    clips = store.clips("train")
    part = part_of(store, [type(clips[0])(**{**vars(clips[0]), "path": str(tmp_path / "gone.wav")})])
    with pytest.raises((AudioError, DatasetError), match="gone"):
        as_audio(part.windows, SAMPLE_RATE).load(np.array([0]))


def test_the_embedded_set_is_read_from_itself(monkeypatch, tmp_path):
    sizes = {"one": predominance.Size({"train": 1}, 1, {"validation": 0, "test": 0})}
    monkeypatch.setattr(predominance, "SIZES", sizes)
    monkeypatch.setattr(predominance, "CLASSES", ("cel", "flu"))
    corpus = predominance.build("one", root=tmp_path, progress=False)
    found = clip_sources.predominance_sources(corpus)
    store = write_store(corpus.folder / "log_mel", found, ("cel", "flu"), progress=False)
    part = part_of(store, store.clips("train"))
    audio = as_audio(part.windows, SAMPLE_RATE).load(np.array([0]))[0]
    picture = part.windows.load(np.array([0]))[0]
    again = log_mel(audio, VocoderMel()).T.astype(np.float32)
    gain = np.median((picture - again)[again > -5])  # the peak of the clip may be after the window
    assert np.abs(again + gain - picture)[:, :98][picture[:, :98] > -6].max() < 0.2


def test_others_models_are_probed_on_the_same_windows(store, tmp_path):
    backbone = AudioLDM2Backbone.load(write_audioldm2(tmp_path / "pipeline"))
    part = part_of(store, store.clips("train")[:2])
    bank = Bank(backbone, tmp_path)
    point = Point(layer="bottleneck", sigma="0.3")
    bank.extract([part], [point])
    (table,) = bank.tables([part], point)
    assert table.shape == (4, 16)
