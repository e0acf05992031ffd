import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch

from common import checkpoint
from common.notes import Notes
from common.stems import Multitrack, Stem
from lead_detection import segments
from lead_detection.baselines import MelEncoder, SegmentHead
from lead_detection.model import LeadDetector
from lead_detection.segments import Segments, describe_songs, evaluate, fit, leads_in, mixture_of, score, song_clips
from lead_detection.songs import IGNORE
from lead_detection.taxonomy import VOCABULARY

GUITAR, VOCAL = VOCABULARY.id("electric_guitar"), VOCABULARY.id("vocal")
RATE = 16_000


@dataclass(frozen=True, eq=False)
class Duet:
    """A low hum of a voice and a high buzz of a guitar; whoever leads is loud."""

    id: str
    split: str
    lead: tuple[tuple[float, float, int], ...]
    annotated: tuple[tuple[float, float], ...] = ((0.0, 10.0),)
    seconds: float = 5.0
    instruments: tuple[int, ...] = (VOCAL, GUITAR)
    mixture: None = None

    @cached_property
    def sound(self) -> Multitrack:
        time = np.arange(round(self.seconds * RATE)) / RATE
        stems = []
        for track, frequency in enumerate((150.0, 900.0)):
            gain = np.full(len(time), 0.02)
            for start, end, leader in self.lead:
                gain[(time >= start) & (time < end)] = 0.3 if leader == track else 0.02
            samples = (gain * np.sign(np.sin(2 * np.pi * frequency * time))).astype(np.float32)
            stems.append(Stem(samples, 0, False, str(track), Notes.empty()))
        return Multitrack(tuple(stems), RATE)

    def multitrack(self) -> Multitrack:
        return self.sound


def duets(split: str) -> list[Duet]:
    return [Duet(f"{split}-{leader}", split, ((0.0, 10.0, leader),)) for leader in (0, 1)]


def drawn(n_clips: int, seed: int) -> Segments:
    """42 numbers of which the first tells."""
    rng = np.random.default_rng(seed)
    leads = rng.integers(0, 2, n_clips)
    features = rng.standard_normal((n_clips, 42)) * 100
    features[:, 0] = 5000 + 20 * leads + rng.standard_normal(n_clips)
    return Segments(features, leads)


def test_more_than_half_by_hand():
    instruments = np.array([VOCAL, GUITAR, 0])
    frames = {"nobody": 0, "vocal": 1, "guitar": 2, "unknown": 3, "ignored": IGNORE}

    def told(**counts: int) -> int:
        lead = np.repeat([frames[name] for name in counts], list(counts.values()))
        return leads_in(lead, instruments, [GUITAR])

    assert told(guitar=3, vocal=2) == 1
    assert told(guitar=2, nobody=2) == 0
    assert told(guitar=2, unknown=3) == 0
    assert told(guitar=2, ignored=2) == 0
    assert leads_in(np.array([1, 1, 2]), instruments, [GUITAR, VOCAL]) == 1


def test_clips_of_a_song():
    song = Duet("a", "train", ((0.0, 5.1, 0), (5.1, 10.0, 1)), seconds=10.0)
    clips = list(song_clips(song, mixture_of(song), [GUITAR]))
    assert [clip.start for clip in clips] == [0.0, 2.5, 5.0]
    assert [clip.leads for clip in clips] == [0, 0, 1]  # a little less than half of the second
    assert all(clip.audio.shape == (5 * RATE,) for clip in clips)
    # The pitch follows who leads.
    features = describe_songs([song], [GUITAR]).features
    assert features.shape == (3, 42)
    assert features[2, 17] > features[0, 17] + 12


def test_clips_of_which_not_all_is_annotated_do_not_count():
    song = Duet("a", "train", ((0.0, 10.0, 1),), annotated=((0.0, 6.0),), seconds=7.5)
    assert len(list(song_clips(song, mixture_of(song), [GUITAR]))) == 1
    with pytest.raises(ValueError, match="no annotated clip"):
        describe_songs([Duet("a", "train", (), annotated=())], [GUITAR])


def test_who_leads_is_learnt_and_beats_always_no():
    results = evaluate({split: duets(split) for split in segments.SPLITS}, [GUITAR])
    assert results["test"] == {"accuracy": 1.0, "lead_f1": 1.0, "macro_f1": 1.0}
    assert results["test, always no"]["accuracy"] == 0.5
    assert results["test, always no"]["lead_f1"] == 0.0


def test_features_are_scaled_as_in_training():
    """Were the test scaled by its own mean, a shift of all of it would change nothing."""
    machine, test = fit(drawn(200, seed=0)), drawn(100, seed=1)
    assert np.mean(machine.predict(test.features) == test.leads) > 0.7
    shifted = machine.predict(test.features + np.eye(42)[0] * 20)
    assert np.mean(shifted != machine.predict(test.features)) > 0.2


def test_one_label_only_is_refused():
    with pytest.raises(ValueError, match="--lead"):
        fit(Segments(np.zeros((3, 42)), np.zeros(3, np.int64)))


def test_scores_are_those_of_the_papers_confusion_matrix():
    # 499 and 22, 38 and 210, from the authors' infer_segment.py.
    truth = np.repeat([0, 0, 1, 1], [499, 22, 38, 210])
    estimate = np.repeat([0, 1, 0, 1], [499, 22, 38, 210])
    scores = score(truth, estimate)
    assert 100 * scores["accuracy"] == pytest.approx(92.20, abs=0.005)
    assert 100 * scores["lead_f1"] == pytest.approx(87.50, abs=0.005)
    assert 100 * scores["macro_f1"] == pytest.approx(90.91, abs=0.005)
    assert score(truth, 0 * truth)["lead_f1"] == 0.0


class Loud(LeadDetector):
    """Says yes where the mixture is high."""

    def __init__(self):
        super().__init__(MelEncoder(), SegmentHead)

    def forward(self, audio, clip, instrument, mixture):
        crossings = (mixture.sign().diff() != 0).float().sum(1, keepdim=True)
        return torch.stack([-crossings + 2000.0, crossings - 2000.0], dim=-1)


def test_a_network_is_scored_on_the_same_clips():
    songs = {"train": [], "validation": duets("validation"), "test": duets("test")}
    assert evaluate(songs, [GUITAR], Loud())["test"]["accuracy"] == 1.0
    assert evaluate(songs, [VOCAL], Loud())["test"]["accuracy"] == 0.0


def test_a_network_that_tells_tracks_apart_is_refused_before_any_song_is_read(tmp_path, capsys):
    parts = {
        "encoder": {"class_path": "lead_detection.baselines.MelEncoder"},
        "head": {"class_path": "lead_detection.heads.PointerHead"},
    }
    checkpoint.save(tmp_path / "net.safetensors", LeadDetector(**parts), parts)
    assert segments.segments_command(["--cache", "somewhere", "--network", str(tmp_path / "net.safetensors")]) == 2
    assert "trained on segments" in capsys.readouterr().err
    assert segments.segments_command(["--cache", "somewhere", "--network", "nowhere.safetensors"]) == 2
    assert "nowhere.safetensors" in capsys.readouterr().err


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(segments, "open_cache", lambda folder: [song for s in segments.SPLITS for song in duets(s)])
    out = tmp_path / "scores.json"
    assert segments.segments_command(["--cache", "somewhere", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["test"]["accuracy"] == 1.0
    assert "lead_f1 100.0" in capsys.readouterr().out
    assert segments.segments_command(["--cache", "somewhere", "--lead", "banjo"]) == 2
    assert "--lead" in capsys.readouterr().err
    monkeypatch.undo()
    assert segments.segments_command(["--cache", str(tmp_path)]) == 2
