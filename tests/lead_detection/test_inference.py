import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
import soundfile
import torch

from common import audiofile, checkpoint
from common.audio import AudioError
from lead_detection import detect_lead, inference, load
from lead_detection.decode import NOBODY, DecodeSettings
from lead_detection.inference import CPU_ROWS, MICRO_BATCH, ROWS, Model, hear
from lead_detection.streams import Source, Stems
from tests.lead_detection.loudest import RATE, Loudest, agreement, make_song

EDGES, LEADERS = (0.0, 4.3, 9.81, 13.0, 20.004), (0, 2, NOBODY, 1)


@pytest.fixture
def model() -> Model:
    return Model(Loudest(), "loudest", norm="none")


@pytest.fixture
def folder(tmp_path):
    """Stems of one song at all rates, widths and formats."""
    for i, (name, rate) in enumerate({"bass.wav": 44_100, "lead vox.flac": 16_000, "keys.mp3": 48_000}.items()):
        audio = make_song(EDGES, LEADERS, rate=rate)[i]
        soundfile.write(tmp_path / name, np.stack([0.5 * audio, 1.5 * audio], axis=1) if i else audio, rate)
    return tmp_path


def test_the_timeline_of_an_array(model):
    lead = detect_lead(make_song(EDGES, LEADERS), RATE, model=model)
    assert lead.segments["track"].tolist() == list(LEADERS)
    # Frames of 40 ms.
    np.testing.assert_allclose(lead.segments["start"], EDGES[:-1], atol=0.04)
    assert lead.segments["end"][-1] == lead.duration == 20.004
    np.testing.assert_array_equal(lead.segments["start"][1:], lead.segments["end"][:-1])
    assert lead.names == ("track 1", "track 2", "track 3")
    assert lead.instruments == ("unknown",) * 3
    assert lead.probabilities.shape == (501, 4)
    assert lead.levels.shape == (501, 3)
    assert (lead.segments["confidence"] > 0.9).all()


def test_files_of_all_kinds_give_what_arrays_give(folder, model):
    lead = detect_lead(folder, model=model)
    assert lead.names == ("bass", "keys", "lead vox")
    assert lead.instruments == ("electric_bass", "keyboards", "vocal")
    # By their names, the second file is the third track that was written.
    renamed = [{0: 0, 1: 2, 2: 1, NOBODY: NOBODY}[leader] for leader in LEADERS]
    assert agreement(lead.segments, EDGES, renamed, model.grid) > 0.99
    by_name = {name: next(folder.glob(f"{name}.*")) for name in lead.names}
    for same in (list(by_name.values()), by_name):
        np.testing.assert_array_equal(detect_lead(same, model=model).segments, lead.segments)
    arrays = dict(zip(("bass", "lead vox", "keys"), make_song(EDGES, LEADERS), strict=True))
    assert agreement(detect_lead(arrays, RATE, model=model).segments, EDGES, LEADERS, model.grid) > 0.99


def test_tensors_and_channels(model):
    song = make_song(EDGES, LEADERS)
    expected = detect_lead(song, RATE, model=model).segments
    np.testing.assert_array_equal(detect_lead(torch.from_numpy(song), RATE, model=model).segments, expected)
    stereo = {str(i): np.stack([audio, audio]) for i, audio in enumerate(song)}
    np.testing.assert_array_equal(detect_lead(stereo, RATE, model=model).segments, expected)


def test_a_missing_mixture_is_the_sum_and_no_other_file_is_opened(folder, model, monkeypatch):
    opened = []
    inside = audiofile.open_audio
    monkeypatch.setattr("common.audio.open_audio", lambda path: opened.append(path) or inside(path))
    (folder / "backups").mkdir()
    (folder / "backups" / "mix.wav").write_bytes(b"nobody may read this")
    detect_lead(folder, model=model)
    assert {path.name for path in opened} == {"bass.wav", "keys.mp3", "lead vox.flac"}
    for audio, _, _, mixture in model.net.calls:
        np.testing.assert_allclose(mixture, audio.reshape(len(mixture), 3, -1).sum(axis=1), atol=1e-6)


def test_a_mixture_is_heard(folder, model):
    mixture = np.linspace(-1, 1, 20 * RATE, dtype=np.float32)
    soundfile.write(folder / "Song MIX.wav", mixture, RATE, "FLOAT")
    detect_lead(folder, model=model)
    inside, model.net.calls = model.net.calls, []
    detect_lead(list(folder.glob("[!S]*")), RATE, mixture, model=model)
    for calls in (inside, model.net.calls):
        assert calls[0][3].shape == (2, 240_000)
        np.testing.assert_array_equal(calls[0][3][0], mixture[:240_000])


def test_levels_are_brought_to_what_the_network_was_trained_with(folder):
    song = make_song((0.0, 3.0), (1,))
    peaks = {}
    for norm in ("none", "song_peak", "stem_peak"):
        model = Model(Loudest(), norm=norm)
        detect_lead(0.1 * song, RATE, model=model)
        ((audio, _, _, mixture),) = model.net.calls
        peaks[norm] = [float(np.abs(row).max()) for row in (*audio, *mixture)]
    summed = float(np.abs(song.sum(axis=0)).max())
    full = 10 ** (-0.1 / 20)
    assert peaks["none"] == pytest.approx([0.005, 0.02, 0.005, 0.1 * summed], rel=1e-3)
    assert peaks["song_peak"] == pytest.approx([full / 4, full, full / 4, full * summed / 0.2], rel=1e-3)
    assert peaks["stem_peak"] == pytest.approx([full] * 4, rel=1e-3)


def test_the_length_of_windows_and_their_hop_do_not_matter():
    rng = np.random.default_rng(0)
    edges = np.r_[0.0, np.sort(rng.choice(np.arange(1, 58), 12, replace=False)) + 0.3, 60.0]
    leaders = np.arange(13) % 4
    song = make_song(edges, leaders, n_tracks=4)
    stems = Stems.open([Source(str(i), audio, RATE) for i, audio in enumerate(song)])
    model = Model(Loudest(tail=80), norm="none")
    logits = [hear(model, stems, [0] * 4, window, hop)[0] for window, hop in ((10, 5), (10, 2.5), (10, 4), (7, 7))]
    for other in logits[1:]:
        np.testing.assert_allclose(other, logits[0], atol=1e-3)
    assert logits[0].shape == (1500, 5)


@pytest.mark.parametrize("seconds", [0.001, 0.04, 0.5, 9.99, 10.0, 10.01])
def test_a_song_of_any_length_is_covered(seconds, model):
    lead = detect_lead(make_song((0.0, seconds), (1,)), RATE, model=model)
    assert lead.segments["start"][0] == 0.0
    assert lead.segments["end"][-1] == pytest.approx(seconds, abs=1 / RATE)
    assert lead.segments["track"].tolist() == [1]
    assert all(len(audio[0]) == len(mixture[0]) for audio, _, _, mixture in model.net.calls)


@pytest.mark.filterwarnings("ignore:track")
def test_a_silent_song_is_nobodys(model):
    with pytest.warns(UserWarning, match="track 2: silent throughout"):
        lead = detect_lead(np.zeros((3, 12 * RATE), np.float32), RATE, model=model)
    assert lead.segments.tolist() == [(0.0, 12.0, NOBODY, 1.0)]
    assert np.isfinite(lead.probabilities).all()


def test_a_silent_track_never_leads():
    song = make_song((0.0, 5.0, 10.0), (0, 1))
    song[1, 5 * RATE :] = 0.0

    class Stubborn(Loudest):
        def forward(self, *inputs):
            return super().forward(*inputs) + torch.tensor([0.0, 0.0, 500.0, 0.0])

    lead = detect_lead(song, RATE, model=Model(Stubborn()), silence_hold=0.2)
    assert lead.segments["track"].tolist()[0] == 1
    after = lead.segments[lead.segments["start"] > 5.0]
    assert 1 not in after["track"]


def test_stems_of_different_length_are_told_and_padded(model):
    song = make_song((0.0, 5.0, 10.0), (0, 1))
    stems = {"a": song[0], "b": song[1], "short": song[2, : 6 * RATE], "nearly": song[2, : -RATE // 20]}
    with pytest.warns(UserWarning, match=r"^short: ends 4.00 s before the longest") as caught:
        lead = detect_lead(stems, RATE, model=model)
    assert len(caught) == 1
    assert lead.duration == 10.0
    assert (lead.levels[-90:, 2] == -200.0).all()


def test_many_tracks_are_heard_in_small_batches(model, monkeypatch):
    song = make_song((0.0, 26.0), (1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n_tracks, rows, windows in ((3, 8, [2, 2, 1]), (3, 32, [5]), (15, 32, [2, 2, 1]), (40, 32, [1] * 5)):
            monkeypatch.setattr(inference, "CPU_ROWS", rows)
            model.net.calls.clear()
            many = np.concatenate([song, np.zeros((n_tracks - 3, song.shape[1]), np.float32)])
            assert detect_lead(many, RATE, model=model).segments["track"].tolist() == [1]
            assert [len(mixture) for *_, mixture in model.net.calls] == windows
            for audio, clip, _, mixture in model.net.calls:
                assert len(audio) + len(mixture) <= max(rows, n_tracks + 1)
                np.testing.assert_array_equal(clip, np.repeat(np.arange(len(mixture)), n_tracks))


def test_batches_are_larger_where_that_is_faster():
    assert Model(Loudest()).rows == CPU_ROWS < Model(Loudest(), device="cuda").rows == ROWS


def test_classes_of_absent_tracks_do_not_count():
    lead = detect_lead(make_song(EDGES, LEADERS), RATE, model=Model(Loudest(classes=5), norm="none"))
    assert lead.segments["track"].tolist() == list(LEADERS)


def test_instruments_reach_the_network(model):
    song = make_song((0.0, 1.0), (1,))
    stems = dict(zip(("vox", "zither", "drums"), song, strict=True))
    lead = detect_lead(stems, RATE, instruments={"zither": "female singer", "vox": ""}, model=model)
    assert lead.instruments == ("unknown", "vocal", "drum")
    np.testing.assert_array_equal(model.net.calls[-1][2], [0, 32, 11])
    assert detect_lead(song, RATE, instruments=[1, "organ", 0], model=model).instruments == (
        "accordion",
        "organ",
        "unknown",
    )


def test_memory_does_not_grow_with_the_length(tmp_path, model):
    peaks = []
    for n_repeats in (9, 24):
        for i, audio in enumerate(make_song((0.0, 5.0, 10.0), (0, 1))):
            soundfile.write(tmp_path / f"{i}.wav", np.tile(audio, n_repeats), RATE)
        model.net.calls = Forgetful()
        tracemalloc.start()
        detect_lead(tmp_path, model=model)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 150 s more of three stems are 43 MB of audio.
    assert peaks[1] - peaks[0] < 2e6


class Forgetful(list):
    def append(self, _):
        pass


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"stems": np.zeros((2, 100), np.float32)}, "sample_rate"),
        ({"stems": np.zeros((1, 100), np.float32), "sample_rate": RATE}, "separate it first"),
        ({"stems": np.zeros(100, np.float32), "sample_rate": RATE}, r"\(track, time\)"),
        ({"stems": [], "sample_rate": RATE}, "no stems"),
        ({"stems": "nowhere"}, "nowhere: there is no such folder"),
        ({"stems": ["a.wav", "b.wav"]}, r"a\.wav: there is no such file"),
        ({"stems": np.ones((2, 100)), "sample_rate": RATE, "instruments": ["vocal"]}, "one for each"),
        ({"stems": np.ones((2, 100)), "sample_rate": RATE, "instruments": ["vocal", "spoon"]}, "spoon"),
        ({"stems": np.ones((2, 100)), "sample_rate": RATE, "instruments": {"track 3": "vocal"}}, "track 3"),
        ({"stems": np.ones((2, 100)), "sample_rate": RATE, "temperature": 0.0}, "temperature"),
        ({"stems": np.full((2, 100), np.nan), "sample_rate": RATE}, "nan"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, text, model):
    with pytest.raises(ValueError, match=text) as caught:
        detect_lead(**arguments, model=model)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_stem_is_named(folder, model):
    (folder / "keys.mp3").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"keys\.mp3"):
        detect_lead(folder, model=model)
    assert not model.net.calls


def test_a_network_that_names_instruments_is_refused(model):
    model.net.classifies = "instrument"
    with pytest.raises(ValueError, match="loudest: tells which instrument"):
        detect_lead(make_song(EDGES, LEADERS), RATE, model=model)


def test_weights_bring_their_settings(tmp_path):
    from lead_detection.model import LeadDetector

    parts = {
        "encoder": {"class_path": "LogMelEncoder", "init_args": {"dim": 8, "channels": [2, 2, 2], "dilations": [1]}},
        "head": {"class_path": "PointerHead", "init_args": {}},
    }
    path = tmp_path / "own.safetensors"
    extra = {"name": "mine", "decode": {"temperature": 1.5}, "norm": "stem_peak"}
    checkpoint.save(path, LeadDetector(**parts), parts, **extra)
    model = load(path)
    assert (model.name, model.settings, model.norm) == ("mine", DecodeSettings(temperature=1.5), "stem_peak")
    assert model.net.encoder.micro_batch == MICRO_BATCH
    lead = detect_lead(make_song(EDGES, LEADERS), RATE, model=model)
    assert lead.segments["end"][-1] == 20.004
    np.testing.assert_allclose(lead.probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_an_unknown_model_is_told_the_known_ones():
    with pytest.raises(ValueError, match="huge: no such model; the shipped ones are"):
        load("huge")


def test_importing_is_light_and_detecting_needs_no_trainer():
    code = """
import sys, numpy, lead_detection
assert "torch" not in sys.modules
from lead_detection import detect_lead
from lead_detection.inference import Model
assert "torch" not in sys.modules
from tests.lead_detection.loudest import Loudest, make_song
detect_lead(make_song((0.0, 1.0), (1,)), 24000, model=Model(Loudest()))
import lead_detection.model
assert not {"lightning", "wandb", "sklearn", "music21"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
