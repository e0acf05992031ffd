import json
import shutil
from collections import Counter

import numpy as np
import pytest

from common import predominance
from common.corpus import CorpusError
from common.instruments import HELD_OUT_PROGRAMS, IRMAS
from common.pieces import FULL_SCALE
from common.predominance import CLASSES, PredominanceSet, build, label_sets, main, plan, switching_clip
from common.render import default_soundfont


@pytest.fixture(scope="module")
def full():
    return plan("predominance", 22050, [default_soundfont()])


def test_clips_have_one_label_and_excerpts_one_to_three(tiny_predominance):
    for excerpt in tiny_predominance.excerpts():
        seconds = len(excerpt.audio) / excerpt.sample_rate
        if excerpt.kind == "clip":
            assert (seconds, len(excerpt.labels)) == (3.0, 1)
        else:
            assert 5.0 <= seconds <= 20.0
            assert 1 <= len(set(excerpt.labels)) == len(excerpt.labels) <= 3
    assert {excerpt.kind for excerpt in tiny_predominance.excerpts("train")} == {"clip"}
    assert {excerpt.kind for excerpt in tiny_predominance.excerpts("validation")} == {"clip", "excerpt"}
    assert {excerpt.kind for excerpt in tiny_predominance.excerpts("test")} == {"excerpt"}


def test_there_is_sound_in_every_clip(tiny_predominance):
    for excerpt in tiny_predominance.excerpts():
        audio = excerpt.audio
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        seconds = audio[: len(audio) // 11025 * 11025].reshape(-1, 11025)  # halves of seconds
        assert (np.abs(seconds).max(axis=1) > 4 / FULL_SCALE).mean() > 0.5
        assert 0.01 < np.abs(audio).max() <= 1.0


def test_classes_are_balanced(full):
    train = Counter(recipe.labels for recipe in full if recipe.split == "train")
    assert set(train) == {(name,) for name in CLASSES}
    assert len(set(train.values())) == 1
    test = Counter(label for recipe in full if recipe.split == "test" for label in recipe.labels)
    assert max(test.values()) - min(test.values()) <= 1


def test_as_many_labels_as_in_irmas(full):
    sizes = Counter(len(recipe.labels) for recipe in full if recipe.split == "test")
    total = sum(sizes.values())
    assert total > 200
    assert [sizes[n] / total for n in (1, 2, 3)] == pytest.approx([0.43, 0.44, 0.13], abs=0.01)


def test_sets_of_labels_are_balanced_and_in_order():
    sets = label_sets(np.random.default_rng(0), 500)
    used = Counter(label for labels in sets for label in labels)
    assert max(used.values()) - min(used.values()) <= 1
    assert all(list(labels) == sorted(set(labels), key=CLASSES.index) for labels in sets)
    pairs = Counter(labels for labels in sets if len(labels) == 2)
    assert len(pairs) > 45  # of 55 that there are
    assert label_sets(np.random.default_rng(0), 0) == []


def test_no_composition_is_in_two_splits(full, tiny_predominance):
    split_of = {}
    for recipe in full:
        assert split_of.setdefault(recipe.seed, recipe.split) == recipe.split
    groups = {split: {e.group for e in tiny_predominance.excerpts(split)} for split in ("train", "validation", "test")}
    assert not groups["train"] & groups["validation"]
    assert not groups["train"] & groups["test"]
    assert not groups["validation"] & groups["test"]


def test_training_hears_no_program_that_is_held_out(tiny_predominance):
    for excerpt in tiny_predominance.excerpts():
        leads = excerpt.programs[: len(excerpt.labels)]
        assert [program in IRMAS[label] for program, label in zip(leads, excerpt.labels, strict=True)]
        assert excerpt.unseen == bool(set(leads) & set(HELD_OUT_PROGRAMS))
        assert excerpt.split == "test" or not excerpt.unseen


def test_a_third_of_the_test_asks_for_programs_that_are_held_out(full):
    asked = [recipe.unseen for recipe in full if recipe.split == "test"]
    assert sum(asked) == len(asked) // 3
    assert not any(recipe.unseen for recipe in full if recipe.split != "test")


def test_soundfonts_take_turns_in_every_class(tmp_path):
    fonts = [tmp_path / f"{name}.sf2" for name in "abc"]
    for font in (*fonts, tmp_path / "test.sf2"):
        font.write_bytes(font.name.encode())
    recipes = plan("predominance", 22050, fonts, tmp_path / "test.sf2")
    played = Counter((recipe.labels, recipe.soundfont.stem) for recipe in recipes if recipe.split == "train")
    assert len(played) == 3 * len(CLASSES)
    assert len(set(played.values())) == 1
    assert {recipe.soundfont.stem for recipe in recipes if recipe.split == "test"} == {"test"}


def test_what_is_built_is_opened_and_an_interrupted_build_goes_on(tiny_predominance, tmp_path, monkeypatch):
    folder = tmp_path / "predominance" / tiny_predominance.folder.name
    shutil.copytree(tiny_predominance.folder, folder)
    (folder / "index.json").unlink()
    lost = next(folder.glob("cla-*.json"))
    audio = lost.with_suffix(".npy").read_bytes()
    lost.unlink()
    lost.with_suffix(".npy").unlink()
    made = []
    monkeypatch.setattr(predominance, "make_scene", lambda *a, make=predominance.make_scene: made.append(make(*a)))
    again = build("predominance-tiny", root=tmp_path, progress=False)
    assert made == [lost]
    assert lost.with_suffix(".npy").read_bytes() == audio
    assert [e.id for e in again.excerpts()] == [e.id for e in tiny_predominance.excerpts()]
    build("predominance-tiny", root=tmp_path, progress=False)
    assert len(made) == 1


def test_what_is_on_disks_is_found_again():
    """Features and weights were made of these: raise VERSION, and this name with it, when scenes become others."""
    recipe = plan("predominance", 22050, [default_soundfont()])[5]
    assert recipe.id == "org-5-08307c0dd6f9"


def test_the_predominant_timbre_switches_in_the_middle(monkeypatch):
    monkeypatch.setattr("common.scenes.DISTRACTORS", (1.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr("common.scenes.DRUMS", 0.0)
    monkeypatch.setattr("common.effects.random_chain", lambda audio, *_: audio)
    clip = switching_clip("flu", "cel", seed=1, sample_rate=16000)
    assert clip.shape == (7 * 16000,)
    again = switching_clip("flu", "cel", seed=1, sample_rate=16000)
    assert np.array_equal(clip, again)
    lows = [low_share(half) for half in (clip[: 3 * 16000], clip[4 * 16000 :])]
    assert lows[0] < 0.2 < lows[1]  # a flute has nothing below its lowest note, at 262 Hz


def low_share(audio: np.ndarray) -> float:
    energy = np.abs(np.fft.rfft(audio)) ** 2
    return float(energy[np.fft.rfftfreq(len(audio), 1 / 16000) < 250].sum() / energy.sum())


def test_what_is_wrong_is_said(tmp_path, tiny_predominance):
    with pytest.raises(CorpusError, match="no predominance set of size 'huge'; there are predominance-tiny"):
        build("huge", root=tmp_path)
    with pytest.raises(CorpusError, match="100 Hz cannot be made"):
        build("predominance-tiny", 100, root=tmp_path)
    with pytest.raises(CorpusError, match=r"nowhere: no predominance set here; run `python -m common\.predominance"):
        PredominanceSet(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="split into train, validation, test, not 'trian'"):
        tiny_predominance.excerpts("trian")


def test_command_line(tmp_path, capsys, monkeypatch, tiny_predominance):
    monkeypatch.setattr(predominance, "build", lambda *_: tiny_predominance)
    assert main(["build", "predominance-tiny"]) == 0
    assert capsys.readouterr().out.endswith(": 22 train, 25 validation, 7 test\n")
    monkeypatch.undo()
    assert main(["build", "predominance-tiny", "--root", str(tmp_path), "--soundfont", "no.sf2"]) == 2
    assert "cannot read this SoundFont" in capsys.readouterr().err
    assert json.loads((tiny_predominance.folder / "index.json").read_text())["size"] == "predominance-tiny"
