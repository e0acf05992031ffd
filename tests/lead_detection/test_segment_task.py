import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.scores import WriteScores
from common.encoders import LogMelEncoder
from lead_detection.baselines import SegmentHead
from lead_detection.data import Batch
from lead_detection.model import LeadDetector
from lead_detection.segment_task import SegmentTask
from lead_detection.taxonomy import VOCABULARY
from lead_detection.validation import Window

pytestmark = pytest.mark.filterwarnings("ignore:.*is already saved during checkpointing")

GUITAR, VOCAL = VOCABULARY.id("electric_guitar"), VOCABULARY.id("vocal")
N_FRAMES = 10


def make() -> tuple[SegmentTask, dict[str, float]]:
    """A task, and what it logs."""
    torch.manual_seed(0)
    encoder = LogMelEncoder(dim=16, channels=(4, 4, 4), dilations=(), n_mels=40)
    task = SegmentTask(LeadDetector(encoder, SegmentHead), torch.optim.AdamW, {"": {"lr": 0.01}})
    logged = {}
    task.log = lambda name, value, **options: logged.update({name: value.item()})
    task.log_dict = lambda scores, **options: logged.update(scores)
    return task, logged


def batch(seed: int) -> Batch:
    """A guitar and a voice: in every other clip the guitar leads, and buzzes."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(N_FRAMES * 960) / 24_000
    leads = torch.randint(0, 2, (6,), generator=generator)
    tones = torch.stack([torch.sin(2 * torch.pi * (2000.0 if guitar else 200.0) * time) for guitar in leads])
    return {
        "audio": tones.repeat_interleave(2, 0),
        "clip": torch.arange(6).repeat_interleave(2),
        "instrument": torch.tensor([VOCAL, GUITAR]).repeat(6),
        "mixture": tones + 0.01 * torch.randn(tones.shape, generator=generator),
        "lead": (1 + leads)[:, None].expand(-1, N_FRAMES),
    }


def test_it_learns_which_clips_the_guitar_leads():
    task, logged = make()
    assert task.monitor == "val/lead_f1"
    optimizer = torch.optim.AdamW(task.net.parameters(), lr=0.01)
    losses = []
    for seed in range(12):
        given = batch(seed)
        optimizer.zero_grad()
        loss = task.loss(task(given), given, "train")
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert logged["train/loss"] == losses[-1]


def test_scores_are_of_clips():
    task, logged = make()
    instrument = np.array([VOCAL, GUITAR])
    cases = [("a", 2, 1), ("a", 1, 1), ("b", 2, 0), ("b", 0, 0)]
    windows = [
        Window(SimpleNamespace(id=song), 0, np.eye(2)[[said]], np.full(N_FRAMES, lead), instrument)  # pyright: ignore
        for song, lead, said in cases
    ]
    scores = task.log_scores(windows, "val")
    assert scores == {"accuracy": 0.5, "lead_f1": 0.5, "macro_f1": 0.5}
    assert logged["val/lead_f1"] == 0.5
    # Of each song by itself: of a's two clips one is led and both are said to be; of b's one is led and none is said.
    assert task.song_scores == {
        "accuracy": {"a": 0.5, "b": 0.5},
        "lead_f1": pytest.approx({"a": 2 / 3, "b": 0.0}),
        "macro_f1": pytest.approx({"a": 1 / 3, "b": 1 / 3}),
    }


def test_song_scores_are_what_a_record_of_a_test_holds(tmp_path):
    """The shape that `LeadTask` has, too."""
    task, _ = make()
    window = Window(SimpleNamespace(id="a"), 0, np.eye(2)[[1]], np.full(N_FRAMES, 2), np.array([VOCAL, GUITAR]))  # pyright: ignore
    task.log_scores([window], "test")
    path = tmp_path / "scores.json"
    WriteScores(str(path)).on_test_end(SimpleNamespace(callback_metrics={}), task)
    assert json.loads(path.read_text())["songs"]["lead_f1"] == {"a": 1.0}
