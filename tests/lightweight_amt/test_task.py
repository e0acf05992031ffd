import numpy as np
import pytest
import torch

from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.baselines import BasicPitch
from lightweight_amt.data import AMTDataset
from lightweight_amt.evaluate import Clip, choose_settings, score_clips
from lightweight_amt.loss import basic_pitch, focal, per_frame
from lightweight_amt.model import NANO, PAPER, Transcriber
from lightweight_amt.task import AMTTask


@pytest.fixture
def task() -> AMTTask:
    torch.manual_seed(0)
    weights = {"onset": 1.0, "frame": 0.5, "offset": 0.3}
    return AMTTask(Transcriber(**NANO), torch.optim.AdamW, dict.fromkeys(weights, 0.5), weights)


@pytest.fixture
def dataset(tiny_corpus, task) -> AMTDataset:
    return AMTDataset(tiny_corpus.pieces("train"), task.net.grid, 172, 40, size=4, seed=1, augment=0.0)


def batch_of(dataset: AMTDataset) -> dict[str, torch.Tensor]:
    items = [dataset[0, index] for index in range(len(dataset))]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def test_the_logits_are_those_of_the_frames_with_targets(task, dataset):
    batch = batch_of(dataset)
    task.eval()
    whole = task.net(batch["audio"])
    for name, logit in task(batch).items():
        assert logit.shape == batch[name].shape
        # Away from the border of the crop, where the trunk sees padding instead of frames.
        assert torch.allclose(logit[..., 30:-30], whole[name][..., 70:-70], atol=1e-4)


def test_a_batch_is_learnt_by_heart(task, dataset):
    batch = batch_of(dataset)
    optimizer = torch.optim.AdamW(task.net.parameters(), lr=0.01)
    task.log = task.log_dict = lambda *args, **options: None
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(task(batch), batch, "train").backward()
        optimizer.step()
    task.eval()
    with torch.no_grad():
        maps = {name: torch.sigmoid(logit).numpy() for name, logit in task(batch).items()}
    clips = [Clip({name: m[i] for name, m in maps.items()}, dataset.reference(i)) for i in range(len(dataset))]
    scores = score_clips(clips, choose_settings(clips, task.net.grid), task.net.grid)
    assert scores["frame_f1"] >= 0.95
    assert scores["note_f1"] >= 0.95


@pytest.mark.parametrize("name", ["focal", "basic_pitch"])
def test_the_loss_function_is_the_one_that_was_asked_for(name, dataset):
    weights = {"onset": 1.0, "frame": 0.5}
    task = AMTTask(BasicPitch(), torch.optim.AdamW, {"onset": 0.06, "frame": 0.2}, weights, loss_function=name)
    logged = {}
    task.log = lambda *args, **options: None
    task.log_dict = lambda values, **options: logged.update(values)
    batch = batch_of(dataset)
    logits = task(batch)
    total = task.loss(logits, batch, "train")
    for output, logit in logits.items():
        if name == "focal":
            expected = per_frame(focal(logit, batch[output], {"onset": 0.06, "frame": 0.2}[output]))
        else:
            expected = basic_pitch(output, logit, batch[output])
        assert torch.allclose(logged[f"train/{output}_loss"], expected)
    assert torch.allclose(total, logged["train/onset_loss"] + 0.5 * logged["train/frame_loss"])


def test_learnable_kernels_are_trained(dataset):
    weights = {"onset": 1.0, "frame": 0.5}
    net = Transcriber(**PAPER | {"learnable_cqt": True})
    task = AMTTask(net, torch.optim.AdamW, dict.fromkeys(weights, 0.5), weights)
    task.log = task.log_dict = lambda *args, **options: None
    batch = {name: value[:2] for name, value in batch_of(dataset).items()}
    task.loss(task(batch), batch, "train").backward()
    assert net.get_parameter("cqt.kernels").grad.abs().sum() > 0


def test_thresholds_are_the_best_of_the_candidates_among_the_candidates():
    """Activations with a known best threshold: onsets of 0.6 are notes, onsets of 0.4 are not."""
    grid = FrameGrid(22050, 256)
    onset, frame = np.zeros((84, 400), np.float32), np.zeros((84, 400), np.float32)
    onset[40, 50::100], onset[50, 50::100] = 0.6, 0.4
    for start in range(50, 400, 100):
        frame[[40, 50], start : start + 20] = 0.9
    notes = Notes.build(grid.times(np.arange(50, 400, 100)), grid.times(np.arange(70, 400, 100)), 64)
    settings = choose_settings([Clip({"onset": onset, "frame": frame}, notes)], grid)
    assert 0.4 < settings.onset_threshold <= 0.6
    assert score_clips([Clip({"onset": onset, "frame": frame}, notes)], settings, grid)["note_offset_f1"] == 1.0
