"""The training step and what it logs, and a run by the command line that goes on where it stopped (study check 25)."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from common.cli import run
from tests.yourmt3plus import toy_band
from tests.yourmt3plus.networks import DECODER, ENCODER, N_SAMPLES, tiny
from yourmt3plus.data import Batch, YourMT3Data
from yourmt3plus.events import event_loss
from yourmt3plus.front_ends import ConstantQ
from yourmt3plus.grammar import Grammar
from yourmt3plus.model import YourMT3
from yourmt3plus.moe import Routing
from yourmt3plus.optimizer import AdamWScale
from yourmt3plus.reading import Thresholds
from yourmt3plus.rows import bucket
from yourmt3plus.salience import Maps
from yourmt3plus.task import YourMT3Task, loads, thinned
from yourmt3plus.tokenizer import EOS, TIE

WEIGHTS = {"token": 1.0, "gate": 0.5, "balance": 0.25, "event": 0.125}


def task_of(weights: dict[str, float], **options) -> tuple[YourMT3Task, dict[str, torch.Tensor]]:
    """A task on the tiny network of four channels, and where what it logs goes."""
    task, logged = YourMT3Task(tiny(gate=True).train(), AdamWScale, weights, **options), {}
    task.record = lambda values, stage, n_segments: logged.update(values)
    return task, logged


@pytest.fixture(scope="module")
def batch() -> Batch:
    audio, tokens, _ = toy_band.segments()
    annotated = torch.ones(8, 4, dtype=torch.bool)
    annotated[2, 1] = False
    return {
        "audio": audio,
        "tokens": tokens,
        "rows": bucket(tokens, annotated),
        "annotated": annotated,
        "task": torch.zeros(8, dtype=torch.int64),
        "excerpt": torch.arange(8),
        "truncated": torch.tensor([0, 3, 0, 0, 1, 0, 0, 0]),
        "dropped": torch.zeros(8, dtype=torch.int64),
    }


def test_the_loss_is_the_weighted_sum_of_what_is_logged(batch):
    task, logged = task_of(WEIGHTS)
    total = task.step(batch, batch["rows"], "train")[0]
    expected = sum(weight * logged[f"{name}_loss"] for name, weight in WEIGHTS.items())
    torch.testing.assert_close(total, expected)
    assert logged["truncated"] == 0.25
    assert 0 <= logged["token_accuracy"] < 0.2
    assert all(1 <= logged[f"expert_load_{layer}"] <= 4 for layer in range(2))


def test_a_term_without_weight_is_not_computed(batch):
    task, logged = task_of({"token": 1.0, "gate": 0.0})
    total = task.step(batch, batch["rows"], "train")[0]
    assert [name for name in logged if name.endswith("_loss")] == ["token_loss"]
    torch.testing.assert_close(total, logged["token_loss"])
    assert task.event_head is None


def test_bfloat16_steps_have_finite_gradients_and_float32_losses(batch):
    task, logged = task_of(WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        total = task.step(batch, batch["rows"], "train")[0]
    total.backward()
    assert all(value.dtype == torch.float32 for name, value in logged.items() if name.endswith("loss"))
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in task.parameters())


def test_a_batch_of_which_nothing_is_known_changes_nothing(batch):
    task, _ = task_of({"token": 1.0, "gate": 1.0, "event": 1.0})
    unknown = batch | {"annotated": torch.zeros(8, 4, dtype=torch.bool), "rows": []}
    total = task.step(unknown, [], "train")[0]
    total.backward()
    assert total == 0
    assert not any(parameter.grad.any() for parameter in task.parameters() if parameter.grad is not None)


@pytest.fixture
def listener() -> YourMT3Task:
    """A task on a network that tells notes beside its latents."""
    torch.manual_seed(0)
    encoder = partial(ENCODER, n_latents=13, pools=(3, 1), n_experts=0)
    net = YourMT3(ConstantQ(hop_length=512), encoder, DECODER(), 13, N_SAMPLES, clock=True, salience=4)
    return YourMT3Task(net, AdamWScale, {"event": 1.0}, told_until=10)


def test_maps_alone_are_learnt_without_encoder_and_decoder(listener, batch):
    wide = batch | {"tokens": F.pad(batch["tokens"], (0, 0, 0, 9)), "annotated": F.pad(batch["annotated"], (0, 9))}
    logged = {}
    listener.record = lambda values, stage, n_segments: logged.update(values)
    total, heard, maps = listener.step(wide, [], "train")
    total.backward()
    assert heard is None
    truth = listener.truth(wide)
    expected = event_loss(listener.net.maps(batch["audio"]), truth, wide["annotated"])
    torch.testing.assert_close(total, expected)
    assert maps.onset.shape == truth.onset.shape == (8, 13, 32, 84)
    learning = {name.split(".")[0] for name, parameter in listener.net.named_parameters() if parameter.grad is not None}
    assert learning == {"salience"}


def test_a_training_that_begins_is_told_the_truth(listener, batch, monkeypatch):
    wide = batch | {"tokens": F.pad(batch["tokens"], (0, 0, 0, 9)), "annotated": F.pad(batch["annotated"], (0, 9))}
    listener.eval()
    truth = listener.truth(wide)
    with torch.no_grad():
        plain = listener.net.encode(batch["audio"])
        hinted = listener.encode(wide, "train").memory
        difference = listener.net.codes(truth) - listener.net.codes(Maps(*(part.sigmoid() for part in plain.maps)))
        torch.testing.assert_close(hinted, plain.memory + difference, rtol=0, atol=1e-4)
        assert torch.equal(listener.encode(wide, "val").memory, plain.memory)
        monkeypatch.setattr(YourMT3Task, "global_step", 10)
        assert torch.equal(listener.encode(wide, "train").memory, plain.memory)


def test_thresholds_are_part_of_a_checkpoint(listener):
    listener.reader = replace(listener.reader, thresholds=Thresholds(0.6, 0.2))
    checkpoint = {}
    listener.on_save_checkpoint(checkpoint)
    listener.reader = replace(listener.reader, thresholds=Thresholds())
    listener.on_load_checkpoint(checkpoint)
    assert listener.reader.thresholds == Thresholds(0.6, 0.2)


def test_only_silent_rows_are_thinned(batch):
    torch.manual_seed(0)
    kept = thinned(batch["rows"], 0.25)
    for before, after in zip(batch["rows"], kept, strict=True):
        silent = before.tokens.shape[1] == 2
        assert len(after.row) == (round(len(before.row) / 4) if silent else len(before.row))
        for row, tokens in zip(after.row, after.tokens, strict=True):
            assert torch.equal(before.tokens[before.row == row][0], tokens)
    assert len(thinned(batch["rows"], 0.0)) == len(batch["rows"]) - 1
    assert all(torch.equal(a.row, b.row) for a, b in zip(thinned(batch["rows"], 1.0), batch["rows"], strict=True))


def test_the_gate_decides_which_rows_are_written(batch):
    task, _ = task_of({"token": 1.0, "gate": 1.0})
    task.eval()
    task.grammar = Grammar(toy_band.channels(), toy_band.N_TICKS)
    with torch.no_grad():
        memory = task.net.encode(batch["audio"]).memory
        task.net.gate.weight.zero_()
        task.net.gate.bias.fill_(1.0)
        silent = task.write(memory, batch["task"], 16)
        task.net.gate.bias.fill_(-1.0)
        heard = task.write(memory, batch["task"], 16)
    assert (silent[..., :2] == torch.tensor([TIE, EOS])).all()
    assert not torch.equal(heard, silent)
    assert (heard == EOS).any(dim=-1).all()


def test_load_is_1_where_all_experts_are_equally_busy():
    share = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]])
    found = loads(Routing(share, share))
    assert [float(load) for load in found.values()] == pytest.approx([1.0, 2.8])
    assert loads(None) == {}


def losses(folder: Path) -> dict[str, tuple[str, str]]:
    rows = list(csv.DictReader((folder / "metrics.csv").open(newline="")))
    return {row["step"]: (row["train/loss"], row["train/event_loss"]) for row in rows if row["train/loss"]}


def test_a_run_that_is_resumed_has_the_same_losses(tiny_corpus, tmp_path, monkeypatch):
    """Also of the whole chain: data, validation that writes notes, pictures, W&B without a network."""
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    words = [
        "fit", "--config=yourmt3plus/configs/tiny.yaml", f"--data.corpora={{{tiny_corpus.folder}: 1.0}}",
        "--model.net.init_args.front_end.init_args.sample_rate=22050", "--data.batch_size=2", "--name=run",
        "--data.validation_seconds=1.5", "--trainer.max_steps=4", "--trainer.val_check_interval=2",
        "--trainer.log_every_n_steps=1", "--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0",
    ]  # fmt: skip
    run(YourMT3Task, YourMT3Data, "yourmt3plus", words)
    folder = tmp_path / "yourmt3plus" / "run"
    assert list((folder / "wandb").glob("offline-run-*"))
    assert len(list((folder / "pictures").glob("piano_roll_*.png"))) == 4
    whole, last = losses(folder), torch.load(folder / "last.ckpt", weights_only=True)
    half = torch.load(folder / "best.ckpt", weights_only=True)
    assert (half["global_step"], last["global_step"]) == (2, 4)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(YourMT3Task, YourMT3Data, "yourmt3plus", [*words, "--ckpt_path=best"])
    assert losses(folder) == whole
    again = torch.load(folder / "last.ckpt", weights_only=True)
    for name, tensor in last["state_dict"].items():
        assert torch.equal(tensor, again["state_dict"][name]), name
