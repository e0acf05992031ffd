import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from common.encoders import LogMelEncoder
from lead_detection.__main__ import main
from lead_detection.data import Batch
from lead_detection.heads import MixHead, PointerHead
from lead_detection.model import LeadDetector
from lead_detection.optimizer import GroupError
from lead_detection.task import LeadTask

pytestmark = pytest.mark.filterwarnings("ignore:.*is already saved during checkpointing")

TINY = ["--config=lead_detection/configs/tiny.yaml", "--trainer.enable_progress_bar=false"]
QUICK = [
    *TINY,
    "--trainer.max_steps=6",
    "--trainer.val_check_interval=3",
    "--trainer.num_sanity_val_steps=0",
    "--checkpoint_every=2",
    "--data.budget=8",
    "--data.synthetic.seconds=2.0",
    "--data.augment.gain_db=6.0",
    "--data.augment.merge_p=0.5",
]


class Fall(L.Callback):
    """The run dies before a batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 5:
            raise RuntimeError("power cut")


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TUTTI_RUNS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    torch.set_num_threads(1)
    return tmp_path / "lead_detection"


def task(head=PointerHead, **options: Any) -> LeadTask:
    torch.manual_seed(0)
    encoder = LogMelEncoder(dim=16, channels=(4, 4, 4), dilations=(1,), n_mels=40)
    made = LeadTask(LeadDetector(encoder, head), torch.optim.AdamW, **{"groups": {"": {"lr": 0.01}}} | options)
    made.log = made.log_dict = lambda *args, **options: None
    return made


def batch(seed: int = 0, n_frames: int = 25) -> Batch:
    """Two clips of two and three tracks."""
    generator = torch.Generator().manual_seed(seed)
    clip = torch.tensor([0, 0, 1, 1, 1])
    return {
        "audio": 0.1 * torch.randn(5, n_frames * 960, generator=generator),
        "clip": clip,
        "instrument": torch.tensor([3, 4, 0, 5, 6]),
        "mixture": 0.1 * torch.randn(2, n_frames * 960, generator=generator),
        "lead": torch.stack([torch.randint(0, n, (n_frames,), generator=generator) for n in (3, 4)]),
    }


def test_a_network_of_instruments_is_trained_on_instruments():
    """Where track 0 of clip 1 leads, whose instrument is unknown, nothing is learnt."""
    made, given = task(MixHead), batch()
    given["lead"][1] = 1
    logits = made(given).detach().requires_grad_()
    made.loss(logits, given, "train").backward()
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0


def test_a_frozen_part_stays_as_it_is():
    made, given = task(freeze=["encoder.picture", "encoder.temporal"], schedule="plateau").train(), batch()
    assert made.net.encoder.picture.training is False
    assert made.net.head.training is True
    before = {name: value.clone() for name, value in made.net.state_dict().items()}
    optimizer = made.configure_optimizers()
    made.loss(made(given), given, "train").backward()
    optimizer.step()
    moved = {name.rsplit(".", 2)[0] for name, value in made.net.state_dict().items() if not value.equal(before[name])}
    assert not [name for name in moved if name.startswith(("encoder.picture", "encoder.temporal"))]
    assert {name.split(".")[0] for name in moved} == {"encoder", "head"}


def test_a_parameter_that_no_group_has_stops_training():
    with pytest.raises(GroupError, match=r"encoder\.picture"):
        task(groups={"head": {}}).configure_optimizers()


def test_training_on_plain_tones(runs):
    """Check 22: the loss falls, the lead is found, and what `detect` needs is in the checkpoint and in the run."""
    main(["fit", *TINY, "--name=learns", "--trainer.max_steps=80"])
    with (runs / "learns" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["train/loss_step"]) for row in rows if row["train/loss_step"]]
    scores = [float(row["val/track_accuracy"]) for row in rows if row.get("val/track_accuracy")]
    assert np.mean(losses[-3:]) < 0.4 * np.mean(losses[:3])
    assert scores[-1] >= 0.9
    checkpoint = torch.load(runs / "learns" / "best.ckpt", weights_only=True)
    assert checkpoint["norm"] == "song_peak"
    assert list((runs / "learns" / "pictures").glob("timeline-*.png"))
    main(["validate", *TINY, "--name=learns", "--ckpt_path=best"])
    assert json.loads((runs / "learns" / "decode.json").read_text()) == checkpoint["decode"]


@pytest.mark.parametrize(
    "words", [[], ["--model.schedule=plateau", "--trainer.accumulate_grad_batches=2"]], ids=["cosine", "plateau"]
)
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(runs, words):
    main(["fit", *QUICK, *words, "--name=whole"])
    broken = "--trainer.callbacks+=tests.lead_detection.test_task.Fall"
    with pytest.raises(RuntimeError, match="power cut"):
        main(["fit", *QUICK, *words, "--name=cut", broken])
    main(["fit", *QUICK, *words, "--name=cut", "--ckpt_path=last"])
    whole, cut = (torch.load(runs / name / "last.ckpt", weights_only=True) for name in ("whole", "cut"))
    assert whole["global_step"] == cut["global_step"] == 6
    assert whole["decode"] == cut["decode"]
    assert whole["plateau"] == cut["plateau"]
    assert all(torch.equal(value, cut["state_dict"][name]) for name, value in whole["state_dict"].items())


def test_the_plateau_is_the_papers(runs):
    """Half the rate when the fifth validation in a row is no better than the best one."""
    made = task(schedule="plateau", groups={"encoder": {"lr": 1e-5}, "head": {"lr": 1e-3}})
    optimizer = made.configure_optimizers()
    for value in (0.5, 0.4, 0.4, 0.5, 0.3, 0.2):
        assert {group["lr"] for group in optimizer.param_groups} == {1e-5, 1e-3}
        made.plateau.step(value)
    assert {group["lr"] for group in optimizer.param_groups} == {5e-6, 5e-4}


def test_a_checkpoint_holds_the_settings_of_the_decoder():
    made, again = task(), task()
    made.settings = type(made.settings)(temperature=1.5, null_bias=-1.0)
    again.on_load_checkpoint({"decode": asdict(made.settings), "plateau": None})
    assert again.settings == made.settings
