from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import lightweight_amt
from common import checkpoint
from common.evaluation.multitrack import purity
from lightweight_amt.__main__ import main
from lightweight_amt.clustering import spherical_kmeans
from lightweight_amt.model import NANO, Transcriber
from lightweight_amt.timbre import TimbreEncoder, note_vectors
from lightweight_amt.timbre_data import TimbreDataset
from lightweight_amt.timbre_task import TimbreTask

CONFIGS = sorted((Path(lightweight_amt.__file__).parent / "configs" / "timbre").glob("*.yaml"))


@pytest.fixture(scope="module")
def transcriber(tmp_path_factory) -> str:
    """Weights of a transcription branch that has learnt nothing: every cell weighs about the same."""
    path = tmp_path_factory.mktemp("weights") / "some.safetensors"
    torch.manual_seed(0)
    checkpoint.save(path, Transcriber(**NANO), dict(NANO), name="some", decode={})
    return str(path)


@pytest.fixture
def task(transcriber) -> TimbreTask:
    torch.manual_seed(0)
    task = TimbreTask(TimbreEncoder(), torch.optim.AdamW, transcriber)
    task.log = lambda *args, **options: None
    return task


@pytest.fixture(scope="module")
def batch(tiny_corpus) -> dict[str, torch.Tensor]:
    grid = Transcriber(**NANO).grid
    dataset = TimbreDataset(tiny_corpus.pieces("train"), grid, 200, 20, size=4, seed=0, augment=0.0)
    items = [dataset[(0, index)] for index in range(4)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def separation(task: TimbreTask, batch: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        log_energy, frame = task.hear(batch)
        embeddings = task.net.encode(log_energy)
    purities = []
    for embedding, weight, note, instrument in zip(embeddings, frame, batch["note"], batch["instrument"], strict=True):
        truth = instrument[instrument >= 0].numpy()
        if len(np.unique(truth)) > 1:
            vectors = note_vectors(embedding, note, weight, len(instrument))[instrument >= 0].numpy()
            purities.append(purity(spherical_kmeans(vectors, len(np.unique(truth))), truth))
    return float(np.mean(purities))


@pytest.mark.parametrize("loss_function", ["info_nce", "affinity_mse"])
def test_the_instruments_of_a_batch_come_apart(task, batch, loss_function):
    task.loss_function = loss_function
    optimizer = torch.optim.AdamW(task.net.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(task.training_step(batch, 0))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert separation(task, batch) >= 0.95


def test_the_transcription_branch_is_neither_trained_nor_saved(task, batch):
    before = {name: value.clone() for name, value in task.frozen[0].state_dict().items()}
    task.train()
    task.training_step(batch, 0).backward()
    assert all(parameter.grad is None for parameter in task.frozen[0].parameters())
    assert all(torch.equal(value, before[name]) for name, value in task.frozen[0].state_dict().items())
    assert all(name.startswith("net.") for name in task.state_dict())


def test_purity_is_logged_for_what_was_heard(task, batch):
    logged = {}
    task.log = lambda name, value, **options: logged.update({name: value})
    task.eval()
    with torch.no_grad():
        task.validation_step(batch, 0)
    task.on_validation_epoch_end()
    assert logged["val/purity"] == pytest.approx(separation(task, batch), abs=0.1)
    assert task.purities == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_whole_and_says_how_it_is_used(path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit-timbre", "--config", str(path), "--print_config"])
    assert stop.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["note_weight"] + config["model"]["cell_weight"] > 0
    assert "make train-timbre" in path.read_text().split("\nmodel:")[0]
