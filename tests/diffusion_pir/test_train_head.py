import csv
import json

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from common.instruments import IRMAS_NAMES
from common.melspec import SAMPLE_RATE
from diffusion_pir import recognise, train_head
from diffusion_pir.commands import recognise_command, train_head_command
from diffusion_pir.decode import sigmoid
from diffusion_pir.judge import Heard
from diffusion_pir.train_head import constant, cross_scores, deal, only
from tests.diffusion_pir.planted import duet, tone, write_backbone

SWITCH = 3.5  # seconds


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_backbone(tmp_path_factory.mktemp("weights") / "tiny.safetensors", seed=2)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """<label>/<recording>.wav of two timbres, each with the other below."""
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(10):
        for label in ("flu", "sax"):
            (folder / label).mkdir(exist_ok=True)
            soundfile.write(folder / label / f"{i}.wav", duet(label, 5.0, seed=i), SAMPLE_RATE)
    return folder


def command(data, out, weights, *args) -> int:
    arguments = ["--data", data, "-o", out, "--model", weights, "--cache", out.parent / "cache", "--folds", 3, *args]
    return train_head_command([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def head(sounds, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("head") / "mine.safetensors"
    assert command(sounds, out, weights, "--epochs", 30) == 0
    return out


def test_what_is_learnt_is_told_and_kept(head):
    with safe_open(head, framework="np") as file:
        extra = json.loads(file.metadata()["extra"])
    assert (extra["name"], extra["classes"]) == ("mine", ["flu", "sax"])
    assert extra["notes"]["cross_validation"]["micro_f1"] >= 0.9
    assert (extra["spec"]["layers"], extra["spec"]["sigmas"]) == (["bottleneck_2", "up_1"], [0.1, 0.3])


def test_a_head_follows_a_switch_of_the_predominant_timbre(head, weights, tmp_path, capfd):
    """Check 25: seven seconds, in whose second half the other timbre comes to the fore."""
    first, second = duet("flu", SWITCH, 90), duet("sax", SWITCH, 91)
    soundfile.write(tmp_path / "switch.wav", np.concatenate([first, second]), SAMPLE_RATE)
    options = ["--head", head, "--model", weights, "--csv", "--json", "--plot", "-o", tmp_path / "out"]
    assert recognise_command([str(option) for option in [tmp_path / "switch.wav", *options]]) == 0
    with (tmp_path / "out" / "switch.instruments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    windows = np.array([(float(row["start"]), float(row["end"])) for row in rows[::2]])
    probabilities = np.array([float(row["probability"]) for row in rows]).reshape(-1, 2)
    away = (windows[:, 1] <= SWITCH) | (windows[:, 0] >= SWITCH)
    right = probabilities.argmax(1) == (windows[:, 0] >= SWITCH)
    assert away.sum() >= 14
    assert right[away].mean() >= 0.8, right
    decided = json.loads((tmp_path / "out" / "switch.instruments.json").read_text())["labels"]
    assert capfd.readouterr().out.endswith(f": {', '.join(IRMAS_NAMES[label] for label in decided)} (7.0 s)\n")


def test_the_same_seed_gives_the_same_head_and_features_are_taken_once(sounds, weights, head, tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(train_head.FeatureCache, "_write", lambda *args: taken.append(args) or 0)
    out = head.parent / "again.safetensors"
    assert command(sounds, out, weights, "--epochs", 30) == 0
    assert not taken
    mine, again = (recognise(tone("sax", 2.0), SAMPLE_RATE, head=path, model=weights) for path in (head, out))
    np.testing.assert_array_equal(mine.probabilities, again.probabilities)


def test_a_table_may_give_several_labels_and_groups(sounds, weights, tmp_path, capsys):
    rows = [(f"flu/{i}.wav", "flu;reed", f"r{i // 2}") for i in range(6)] + [
        (f"sax/{i}.wav", "sax;reed" if i else "sax", f"s{i // 2}") for i in range(6)
    ]
    table = sounds / "table.csv"
    table.write_text("path,labels,group\n" + "".join(f"{','.join(row)}\n" for row in rows))
    out = tmp_path / "head.safetensors"
    assert (
        command(table, out, weights, "--kind", "mlp", "--layers", "bottleneck_2", "--sigmas", "0.1", "--epochs", 3) == 0
    )
    told = capsys.readouterr().out
    assert "3 folds of 6 recordings, 12 clips" in told
    assert [line.split()[:2] for line in told.splitlines()[2:5]] == [["flu", "6"], ["reed", "11"], ["sax", "6"]]
    found = recognise(tone("flu", 2.0), SAMPLE_RATE, head=out, model=weights)
    assert found.classes == ("flu", "reed", "sax")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda folder: [path.unlink() for path in list((folder / "sax").iterdir())[1:]], "has 1 recordings of sax"),
        (lambda folder: [path.unlink() for path in (folder / "sax").iterdir()], "no audio file in this folder"),
        (lambda folder: (folder / "flu" / "1.wav").write_bytes(b"RIFF"), "1.wav"),
    ],
)
def test_data_that_cannot_be_used_is_one_line_and_exit_code_2(change, text, weights, tmp_path, capsys):
    for label in ("flu", "sax"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(2):
            soundfile.write(tmp_path / "data" / label / f"{i}.wav", tone(label, 0.5, i), SAMPLE_RATE)
    change(tmp_path / "data")
    assert command(tmp_path / "data", tmp_path / "head.safetensors", weights) == 2
    error = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if line and "|" not in line]
    assert len(error) == 1
    assert text in error[0]
    assert not (tmp_path / "head.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "nowhere", "-o", "head.safetensors"], "nowhere"),
        (["--data", "nowhere", "-o", "head.pt"], "head.pt: name the head with .safetensors"),
        (["--data", "nowhere", "-o", "head.safetensors", "--model", "nothing"], "nothing"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments, text, weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_head_command(["--model", str(weights), *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert text in error
    assert "\n" not in error


@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    n=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_recordings_are_dealt_out_whole_and_evenly(groups, n, seed):
    labels = np.random.default_rng(seed).random((len(groups), 3)) < 0.5
    part = deal([str(group) for group in groups], labels, n, seed)
    owners = {group: {int(p) for g, p in zip(groups, part, strict=True) if g == group} for group in groups}
    assert all(len(parts) == 1 for parts in owners.values())
    counts = np.bincount([parts.pop() for parts in owners.values()], minlength=n)
    assert counts.max() - counts.min() <= 1


def test_parts_have_the_same_labels():
    labels = np.eye(4)[np.arange(40) % 4]
    part = deal([str(i) for i in range(40)], labels, 5, 0)
    for k in range(5):
        np.testing.assert_array_equal(labels[part == k].sum(0), [2, 2, 2, 2])


def test_only_keeps_what_is_said_of_some_clips():
    heard = Heard(np.arange(10.0).reshape(5, 2), np.array([0, 0, 1, 2, 2]), np.eye(3)[:, :2])
    some = only(heard, np.array([0, 2]))
    np.testing.assert_array_equal(some.logits[:, 0], [0, 2, 6, 8])
    np.testing.assert_array_equal(some.excerpt, [0, 0, 1, 1])
    np.testing.assert_array_equal(some.labels, [[1, 0], [0, 0]])


def test_a_clip_is_not_decided_on_by_its_own_labels():
    rng = np.random.default_rng(0)
    labels = rng.random((60, 3)) < 0.4
    heard = Heard(rng.normal(size=(60, 3)) + 2 * labels, np.arange(60), labels)
    fold = np.arange(60) % 3
    before, estimate = cross_scores(heard, fold, "S1")
    garbled = np.where((fold == 1)[:, None], ~labels, labels)
    after, other = cross_scores(Heard(heard.logits, heard.excerpt, garbled), fold, "S1")
    np.testing.assert_array_equal(before[fold == 1], after[fold == 1])
    np.testing.assert_array_equal(estimate[fold == 1], other[fold == 1])


def test_the_floor_says_of_every_clip_how_often_classes_are_there():
    heard = Heard(np.zeros((4, 2)), np.arange(4), np.array([[1, 0], [1, 0], [1, 1], [0, 0]]))
    np.testing.assert_allclose(sigmoid(constant(heard).logits), np.tile([0.75, 0.25], (4, 1)))
