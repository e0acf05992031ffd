from dataclasses import asdict
from shutil import copy
from types import SimpleNamespace

import numpy as np
import pytest

from common.notes import Notes
from lightweight_amt import singing
from lightweight_amt.calibrate import calibrate_entry
from lightweight_amt.inference import load


def piece(*parts: tuple[str, Notes]):
    """A piece as far as a singer looks at it."""
    notes = Notes.concatenate(own.replace(track=i) for i, (_, own) in enumerate(parts)).sort()
    return SimpleNamespace(
        id="some", notes=notes, parts=[SimpleNamespace(role=role) for role, _ in parts], seconds=10.0
    )


def line(pitch: int, length: float = 0.4, count: int = 20) -> Notes:
    onset = 0.5 * np.arange(count)
    return Notes.build(onset, onset + length, pitch + np.arange(count) % 5, program=73)


def test_the_melody_is_the_first_part_that_one_singer_can_sing():
    chords = Notes.concatenate([line(60), line(64)])
    found = singing.melody(piece(("bass", line(30)), ("melody", chords), ("melody", line(85)), ("voice", line(60))))
    assert found is not None
    assert np.array_equal(found.pitch, line(85 - 24).pitch)
    assert set(found.program) == {singing.VOICE}
    assert singing.melody(piece(("bass", line(30)), ("melody", chords), ("melody", line(60, count=5)))) is None


def test_a_singer_goes_on_where_there_is_no_time_to_breathe():
    notes = Notes.build([0.0, 1.0, 2.0], [0.9, 1.5, 2.3], 60)
    assert singing.slurred(notes).offset.tolist() == [1.0, 1.5, 2.3]


def test_the_same_piece_is_always_sung_alike(graphs):
    first, again = (singing.sung(piece(("melody", line(60))), graphs["nano"]) for _ in range(2))
    assert np.array_equal(first.activations["frame"], again.activations["frame"])
    assert first.notes.end == pytest.approx(9.9, abs=0.01)


def test_what_serves_pieces_and_singers_is_written_into_the_weights(graph_files, tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(singing, "FEWEST_NOTES", 1)
    path = tmp_path / "nano.onnx"
    copy(graph_files["nano"], path)
    before = asdict(load(path).settings)
    results = calibrate_entry("decode", path, tiny_corpus)
    after = asdict(load(path).settings)
    assert {name: after[name] for name in singing.SETTINGS} == results["settings"]
    assert {name for name in before if before[name] != after[name]} <= set(singing.SETTINGS)
    for kinds in (results["validation"], results["test"]):
        assert kinds["pieces"]["clips"] >= kinds["sung"]["clips"]
    total = {
        when: sum(sum(kind[when].values()) * kind["clips"] for kind in results["validation"].values() if kind["clips"])
        for when in ("before", "after")
    }
    assert total["after"] >= total["before"]
