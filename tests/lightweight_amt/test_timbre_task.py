from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

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
from lightweight_amt.timbre_task import SCORES, TimbreTask

FOLDER = Path(lightweight_amt.__file__).parent / "configs" / "timbre"
CONFIGS = sorted(FOLDER.glob("*.yaml"))
ABLATIONS = sorted(FOLDER.glob("ablation/*.yaml"))


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
def dataset(tiny_corpus) -> TimbreDataset:
    grid = Transcriber(**NANO).grid
    return TimbreDataset(tiny_corpus.pieces("train"), grid, 200, 20, size=4, seed=0, augment=0.0)


@pytest.fixture(scope="module")
def batch(dataset) -> dict[str, torch.Tensor]:
    items = [dataset[(0, index)] for index in range(4)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def separation(task: TimbreTask, batch: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        log_energy, maps = task.hear(batch)
        embeddings = task.net.encode(log_energy)
    purities, tables = [], (embeddings, maps["frame"], batch["note"], batch["instrument"])
    for embedding, weight, note, instrument in zip(*tables, strict=True):
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


def test_a_clip_without_a_note_costs_nothing(task, batch):
    nothing = batch | {name: torch.full_like(batch[name], -1) for name in ("note", "instrument")}
    for loss_function in ("info_nce", "affinity_mse"):
        task.loss_function = loss_function
        loss = task.training_step(nothing, 0)
        assert loss == 0.0
        loss.backward()


def test_the_scores_of_what_was_heard_are_logged(task, batch, dataset):
    logged = {}
    task.log_dict = lambda values, **options: logged.update(values)
    task.trainer = SimpleNamespace(datamodule=SimpleNamespace(datasets={"validation": dataset}))
    task.eval()
    with torch.no_grad():
        task.validation_step(batch, 0)
    task.on_validation_epoch_end()
    assert logged["val/purity"] == pytest.approx(separation(task, batch), abs=0.1)
    assert logged.keys() == {f"val/{name}" for name in SCORES}
    assert all(0.0 <= value <= 1.0 for value in logged.values())
    assert task.rows == []


@pytest.mark.parametrize("path", [*CONFIGS, *ABLATIONS], ids=lambda path: path.stem)
def test_every_config_is_whole_and_says_how_it_is_used(path, capsys):
    config = resolved(capsys, path)
    assert config["model"]["note_weight"] + config["model"]["cell_weight"] > 0
    assert "make train-timbre" in path.read_text().split("\nmodel:")[0]


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_changes_one_thing_in_the_papers_branch(path, capsys):
    paper = FOLDER / "paper.yaml"
    before, after = resolved(capsys, paper)["model"], resolved(capsys, paper, path)["model"]
    assert len({name for name in before if before[name] != after[name]}) == 1
    module, name = after["net"]["class_path"].rsplit(".", 1)
    net = getattr(import_module(module), name)(**after["net"]["init_args"])
    assert net.encode(torch.zeros(1, 288, 5)).shape == (1, after["net"]["init_args"]["dim"], 84, 5)
    folder = "lightweight_amt/configs/timbre"
    command = f"--config {folder}/paper.yaml --config {folder}/ablation/{path.name}"
    assert f'make train-timbre ARGS="{command}"' in path.read_text()


def test_a_network_on_the_branch_is_given_that_of_the_task(transcriber, capsys):
    shared = FOLDER / "ablation" / "shared_block.yaml"
    model = resolved(capsys, shared, f"--model.transcriber={transcriber}")["model"]
    assert model["net"]["init_args"]["transcriber"] == transcriber


def resolved(capsys, *words) -> dict:
    """The whole configuration that config files and options give."""
    options = [word if isinstance(word, str) else f"--config={word}" for word in words]
    with pytest.raises(SystemExit) as stop:
        main(["fit-timbre", *options, "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)
