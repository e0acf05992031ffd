import json

import pytest
import torch

from benchmarks import harness
from benchmarks.speed import decoding
from benchmarks.speed.t5_peer import Generator
from tests.yourmt3plus.rigged import SMALL
from yourmt3plus.decoder import Decoder
from yourmt3plus.generate import Rows, fast
from yourmt3plus.tokenizer import EOS, PAD

SIZES = {"n_heads": 2, "head_dim": 16, "ff_dim": 32}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Networks small enough for a test in the place of the paper's."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(decoding, "pin_threads", lambda: None)
    monkeypatch.setattr(decoding, "PAPER", {**SIZES, "n_layers": 1})
    monkeypatch.setattr(decoding, "Generator", lambda ours, n_layers, **sizes: Generator(ours, **sizes))
    monkeypatch.setattr(decoding, "SMALL", SMALL)
    for name, value in {"DIM": 32, "N_FRAMES": 10, "N_TOKENS": 12, "SEGMENTS": 2}.items():
        monkeypatch.setattr(decoding, name, value)
    return tmp_path


def test_generate_writes_what_ours_does():
    torch.manual_seed(0)
    ours = Decoder(32, n_layers=2, positions="relative", **SIZES).double().eval()
    with torch.no_grad():
        ours.embedding.weight *= 0.02
        ours.embedding.weight[EOS] = 0.0
    theirs = Generator(ours, **SIZES)
    theirs.net.double()
    memory = torch.randn(5, 7, 32, dtype=torch.float64)
    tokens = theirs(memory, 20)
    assert torch.equal(tokens, fast(ours, Rows(memory, torch.zeros(5, dtype=torch.int64)), 20))
    assert len(set(tokens.flatten().tolist())) > 10


def test_rows_of_a_piece_are_mostly_silent_and_end():
    tokens = decoding.written(4)
    assert tokens.shape[:2] == (4, 13)
    assert ((tokens == EOS).sum(axis=2) == 1).all()
    silent = (tokens != PAD).sum(axis=2) == 2
    assert 0.4 < silent.mean() < 1.0


def test_contenders_that_differ_are_refused():
    with pytest.raises(AssertionError, match="a and b do not write the same"):
        decoding.measure({"a": lambda: torch.zeros(2), "b": lambda: torch.ones(2)}, 1)


def test_the_record_has_all_ratios_and_their_goals(tiny, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["decoding", "--rounds", "1", "--seconds", "3"])
    decoding.main()
    record = json.loads((tiny / "decoding.json").read_text())
    assert [row["at_least"] for row in record["goals"]] == [1.5, 1.15, 3.0, 3.0]
    assert {name: row["rows"] for name, row in record["results"].items()} == {
        "1 row": 1,
        "13 rows": 13,
        "compaction": 26,
        "whole path": 39,
    }
    assert (tiny / "decoding.png").exists()
    assert "simple path" in capsys.readouterr().out
