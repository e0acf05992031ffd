import pytest

from common.corpus import Corpus
from tests.common import layouts, yourmt3_layouts
from yourmt3plus.data import YourMT3Data
from yourmt3plus.items import Shape
from yourmt3plus.prepare import prepare_command
from yourmt3plus.programs import MULTI
from yourmt3plus.sources import sources

SHAPE = Shape(16_000, 16_000, 100, MULTI)


def prepared(name: str, tmp_path, *options: str) -> Corpus:
    assert prepare_command([name, str(tmp_path / "set"), "-o", str(tmp_path / name), *options]) == 0
    return Corpus(tmp_path / name)


def test_a_data_set_is_trained_on_beside_others(tmp_path, capsys):
    layouts.slakh(tmp_path / "set")
    rendered = prepared("slakh", tmp_path)
    assert "recordings" in capsys.readouterr().out
    yourmt3_layouts.WRITERS["enst_drums"](tmp_path / "set")
    drums = prepared("enst-drums-mixed", tmp_path, "--split", "train=train", "--split", "test=validation")
    data = YourMT3Data({str(rendered.folder): 0.5, str(drums.folder): 0.5}, validation_seconds=1.0)
    dataset = data.train_set(SHAPE)
    known = {tuple(dataset[0, i].annotated[0].tolist()) for i in range(30)}
    assert (True,) * 13 in known
    assert (False,) * 12 + (True,) in known
    judged = data.evaluation_set("validation", SHAPE)
    assert {source.piece.id for source in judged.pieces} == {
        piece.id for corpus in (rendered, drums) for piece in corpus.pieces("validation")
    }
    assert not {id(source) for source in judged.pieces} & {id(s) for s in sources(rendered.pieces("train"))}


def test_a_data_set_without_splits_is_all_for_training(tmp_path):
    truth = layouts.bach10(tmp_path / "set")
    assert len(prepared("bach10", tmp_path).pieces("train")) == len(truth)


def test_what_is_wrong_is_said_and_nothing_is_raised(tmp_path, capsys):
    assert prepare_command(["slakh", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "error: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare_command(["slakh", str(tmp_path), "-o", "x", "--split", "train=valid"])
    assert "write ITS=OURS, where OURS is train, validation, test" in capsys.readouterr().err
