import pytest

from common.instruments import IRMAS
from diffusion_pir.__main__ import main
from diffusion_pir.melstore import MelStore
from tests.common import irmas_layout as layout


def test_data_sets_together_in_one_store(tmp_path, capsys):
    layout.irmas_training(tmp_path / "irmas")
    layout.irmas_testing(tmp_path / "irmas")
    metadata, root = layout.openpir(tmp_path), layout.openmic(tmp_path)
    sources = ["--irmas", str(tmp_path / "irmas"), "--openpir", str(metadata), str(root)]
    assert main(["prepare", *sources, "--out", str(tmp_path / "store")]) == 0
    told = capsys.readouterr().out
    assert told.endswith(" validation, 5 test; 11 classes\n")
    store = MelStore.open(tmp_path / "store")
    assert len(store.clips("train")) + len(store.clips("validation")) == len(layout.TRAINING) + 4
    assert f"{len(store.clips('train'))} train, " in told
    assert store.classes == tuple(IRMAS)
    assert store.labels(store.clips()).sum() == len(layout.TRAINING) + 9 + 4
    assert {clip.n_frames for clip in store.clips()} == {13, 25, 50}


def test_own_classes(tmp_path, capsys):
    for label in ("harp", "viola"):
        for i in range(3):
            layout.noise(tmp_path / "sounds" / label / f"{i}.wav")
    given = ["prepare", "--folder", str(tmp_path / "sounds")]
    assert main([*given, "--out", str(tmp_path / "all")]) == 0
    assert MelStore.open(tmp_path / "all").classes == ("harp", "viola")
    assert main([*given, "--classes", "viola,sax", "--validation", "0", "--out", str(tmp_path / "some")]) == 0
    some = MelStore.open(tmp_path / "some")
    assert some.classes == ("viola", "sax")
    assert some.labels(some.clips("train")).sum(axis=0).tolist() == [3, 0]
    capsys.readouterr()
    assert main([*given, "--out", str(tmp_path / "some")]) == 2
    assert "holds other prepared data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "error: nothing to prepare; name a source"),
        (["--folder", "nowhere"], "error: nowhere: no such folder; give a folder that has one for each label"),
        (["--predominance", "predominance-tiny", "--soundfont", "no.sf2"], "cannot read this SoundFont"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, given, told):
    assert main(["prepare", *given, "--root", str(tmp_path), "--out", str(tmp_path / "store")]) == 2
    assert told in capsys.readouterr().err
