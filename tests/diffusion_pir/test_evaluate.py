import csv
import json

import numpy as np
import pytest
import soundfile
from sklearn.metrics import average_precision_score, f1_score, label_ranking_average_precision_score

from common.datasets.files import DatasetError
from common.melspec import SAMPLE_RATE
from diffusion_pir import recognise
from diffusion_pir.commands import evaluate_command
from diffusion_pir.evaluate import clips_of, decisions, said_of
from diffusion_pir.inference import load
from diffusion_pir.labelled import open_labelled
from diffusion_pir.melstore import MelStore, write_store
from diffusion_pir.sources import csv_sources
from tests.diffusion_pir.planted import CLASSES, duet, write_backbone, write_head

LABELS = {"test": ["flu", "sax", "flu;sax", "sax;gong"], "validation": ["flu", "sax", "flu;sax"], "train": ["flu"]}


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return write_head(folder / "head.safetensors", write_backbone(folder / "tiny.safetensors"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV of clips of 2.5 s in all splits, and a validation clip that is shorter."""
    folder = tmp_path_factory.mktemp("sounds")
    rows = [("path", "labels", "split")]
    for split, all_labels in LABELS.items():
        for i, labels in enumerate(all_labels):
            soundfile.write(folder / f"{split}{i}.wav", duet(labels[:3], 2.5, seed=len(rows)), SAMPLE_RATE)
            rows.append((f"{split}{i}.wav", labels, split))
    soundfile.write(folder / "short.wav", duet("flu", 1.0), SAMPLE_RATE)
    rows.append(("short.wav", "flu", "validation"))
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def store(table, tmp_path_factory) -> MelStore:
    return write_store(tmp_path_factory.mktemp("store"), csv_sources(table), ("flu", "gong", "sax"))


def command(head, *args) -> int:
    options = ["--head", head, "--model", head.with_name("tiny.safetensors")]
    return evaluate_command([str(arg) for arg in [*args, *options]])


def test_scores_are_those_of_sklearn_for_what_recognise_says(head, store, tmp_path, capsys):
    assert command(head, "--data", store.folder, "--csv", tmp_path / "a.csv", "--json", tmp_path / "a.json") == 0
    captured = capsys.readouterr()
    assert "labels that the head does not know do not count: gong" in captured.err
    document = json.loads((tmp_path / "a.json").read_text())
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["chosen_by"], row["rule"]) for row in rows] == [
        ("head", "S2"),
        ("validation", "S1"),
        ("validation", "S2"),
    ]
    found = [
        recognise(clip.path, head=head, model=head.with_name("tiny.safetensors"), hop=1.0)
        for clip in store.clips("test")
    ]
    # The store holds 16 bits, and names windows otherwise, which changes their noise.
    np.testing.assert_allclose(
        [clip["scores"] for clip in document["clips"]], [each.scores for each in found], atol=0.1
    )
    truth = np.array([[name in clip.labels for name in CLASSES] for clip in store.clips("test")])
    scores = np.array([clip["scores"] for clip in document["clips"]])
    estimate = np.array([[name in clip["estimate"] for name in CLASSES] for clip in document["clips"]])
    row = rows[0]
    assert float(row["micro"]) == pytest.approx(f1_score(truth, estimate, average="micro"), abs=1e-4)
    assert float(row["macro"]) == pytest.approx(f1_score(truth, estimate, average="macro"), abs=1e-4)
    assert float(row["f1_sax"]) == pytest.approx(f1_score(truth[:, 1], estimate[:, 1]), abs=1e-4)
    assert float(row["lrap"]) == pytest.approx(label_ranking_average_precision_score(truth, scores), abs=1e-4)
    assert float(row["map"]) == pytest.approx(average_precision_score(truth, scores, average="macro"), abs=1e-4)
    assert f"thresholds of the head, S2: micro-F {float(row['micro']):.3f}" in captured.out


def test_thresholds_come_from_validation_clips_as_long_as_those_that_are_judged(head, store, monkeypatch):
    model = load(head.with_name("tiny.safetensors"), head)
    asked = []
    monkeypatch.setattr("diffusion_pir.evaluate.said_of", lambda *args: asked.append(args[2]) or said_of(*args))
    found = decisions(model, store, store.clips("test"))
    assert [clip.id for clip in asked[0]] == ["validation0.wav", "validation1.wav", "validation2.wav"]
    assert found["head, S2"] == model.decision
    assert set(found) == {"head, S2", "validation, S1", "validation, S2"}
    assert set(decisions(model, store, store.clips("validation"))) == {"head, S2"}


def test_a_folder_is_scored_whole_and_kept_until_a_file_changes(head, tmp_path, capsys):
    for i in range(2):
        for label in CLASSES:
            (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "in" / label / f"{i}.wav", duet(label, 1.0, i), SAMPLE_RATE)
    assert command(head, "--data", tmp_path / "in", "--cache", tmp_path / "cache") == 0
    told = capsys.readouterr().out
    assert [line.split()[:2] for line in told.splitlines()[1:3]] == [["flu", "2"], ["sax", "2"]]
    first = open_labelled(tmp_path / "in", tmp_path / "cache")
    assert open_labelled(tmp_path / "in", tmp_path / "cache").folder == first.folder
    soundfile.write(tmp_path / "in" / "flu" / "0.wav", duet("flu", 1.5, 9), SAMPLE_RATE)
    changed = open_labelled(tmp_path / "in", tmp_path / "cache")
    assert changed.folder != first.folder
    assert changed.clips()[0].n_frames == 75


def test_splits_are_named_or_those_for_tests(store):
    assert {clip.split for clip in clips_of(store, None)} == {"test"}
    assert {clip.split for clip in clips_of(store, "validation")} == {"validation"}


@pytest.mark.parametrize(
    ("labels", "arguments", "text"),
    [
        ("gong", [], "has no label that the head knows; it knows flu, sax"),
        ("flu", ["--split", "test"], "no clips in the test split"),
        ("flu", ["--head", "nothing"], "nothing: there is no such head"),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_exit_code_2(labels, arguments, text, head, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", duet("flu", 1.0), SAMPLE_RATE)
    (tmp_path / "a.csv").write_text(f"path,labels\na.wav,{labels}\n")
    weights = ["--head", str(head), "--model", str(head.with_name("tiny.safetensors"))]
    assert evaluate_command([*weights, "--data", str(tmp_path / "a.csv"), "--cache", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert text in error[-1]


def test_prepared_data_of_another_front_end_is_refused(table, tmp_path):
    write_store(tmp_path / "han", csv_sources(table), CLASSES, "han")
    with pytest.raises(DatasetError, match="was prepared as LogMel 22050"):
        open_labelled(tmp_path / "han")
