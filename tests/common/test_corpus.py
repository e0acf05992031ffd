import json
import pickle
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import corpus
from common.corpus import SIZES, CorpusError, build, main, plan
from common.instruments import HELD_OUT_PROGRAMS, TRAIN_PROGRAMS
from common.pieces import FULL_SCALE, Piece, Recipe, levels, make_piece
from common.render import default_soundfont
from common.storage import replacing

SPLITS = ("train", "validation", "test")
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def other_font(tmp_path) -> Path:
    """A SoundFont of other content and the same sound: one letter of its name is changed."""
    font = bytearray(default_soundfont().read_bytes())
    font[font.index(b"INAM") + 8] ^= 1
    path = tmp_path / "other.sf2"
    path.write_bytes(font)
    return path


def test_every_split_has_pieces_and_every_piece_its_tracks(tiny_corpus):
    assert Counter(piece.split for piece in tiny_corpus.pieces()) == SIZES["tiny"].composed
    for piece in tiny_corpus.pieces():
        assert piece.audio.dtype == np.int16
        assert piece.audio.shape == (len(piece.parts), round(piece.seconds * tiny_corpus.sample_rate))
        assert set(piece.notes.track.tolist()) <= set(range(len(piece.parts)))
        for i, part in enumerate(piece.parts):
            own = piece.notes[piece.notes.track == i]
            assert set(own.program.tolist()) == {part.program}
            assert set(own.is_drum.tolist()) == {part.is_drum}


def test_stems_sound_where_their_notes_are_and_sum_to_the_mixture(tiny_corpus):
    for piece in tiny_corpus.pieces():
        band = piece.multitrack()
        rate = band.sample_rate
        for stem in band.stems:
            audio = np.abs(stem.audio)
            assert audio[: int(max(stem.notes.onset.min() - 0.15, 0.0) * rate)].max(initial=0.0) < 1e-4
            for onset, offset in stem.notes.intervals:
                assert audio[int(onset * rate) : int(offset * rate) + 1].max() > 1e-3
        mixture = band.mixture()
        assert np.abs(mixture).max() <= 1.001
        assert np.array_equal(mixture, sum(stem.audio for stem in band.stems))


def test_sixteen_bits_are_used_in_full(tiny_corpus):
    for piece in tiny_corpus.pieces():
        assert np.abs(piece.audio.astype(np.int32)).max(axis=1).tolist() == [FULL_SCALE] * len(piece.parts)


def test_lead_follows_its_stem(tiny_corpus):
    led = [piece for piece in tiny_corpus.pieces() if piece.lead]
    assert led
    for piece in led:
        turned = piece.multitrack().select(range(len(piece.parts))[::-1])
        assert piece.multitrack().lead == piece.lead
        assert turned.lead == tuple((start, end, len(piece.parts) - 1 - track) for start, end, track in piece.lead)


@pytest.mark.parametrize("size", SIZES)
def test_splits_share_no_seed_no_composer_and_no_held_out_preset(size):
    recipes = plan(size, 22050, [default_soundfont()])
    assert Counter(recipe.split for recipe in recipes) == Counter(SIZES[size].composed) + Counter(SIZES[size].works)
    assert len({recipe.id for recipe in recipes}) == len(recipes)
    for source in (lambda recipe: recipe.seed, lambda recipe: recipe.work.split("/")[0] or recipe.seed):
        splits = {split: {source(recipe) for recipe in recipes if recipe.split == split} for split in SPLITS}
        assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
    unseen = [recipe.split for recipe in recipes if recipe.unseen]
    assert set(unseen) == {"test"}
    assert len(unseen) == sum(counts.get("test", 0) // 3 for counts in (SIZES[size].composed, SIZES[size].works))


def test_what_was_rendered_before_keeps_its_name():
    """Hours of audio are on disks, and weights have been trained on them."""
    font = default_soundfont()
    tiny = Recipe("train", 0, "", 6.0, False, 22050, "0" * 64, font)
    work = Recipe("test", 27, "beethoven/opus59no2/movement3", 60.0, False, 22050, "0" * 64, font)
    unseen = Recipe("test", 2_000_002, "", 60.0, True, 24000, "0" * 64, font)
    assert [recipe.id for recipe in (tiny, work, unseen)] == [
        "composed-0-c66d9ad3c08c",
        "beethoven-opus59no2-movement3-27-57fce1e8d940",
        "composed-2000002-0e604e611438",
    ]
    assert [corpus.folder_name(size, 22050, ["0" * 64], False) for size in ("tiny", "small", "full")] == [
        "tiny-22050-c4967941",
        "small-22050-ecc0e13f",
        "full-22050-b3ee0b6f",
    ]
    assert tiny.id != replace(tiny, style="ensemble").id


def test_works_are_taken_from_all_composers_in_turn():
    works = [recipe.work for recipe in plan("full", 22050, [default_soundfont()]) if recipe.work]
    assert Counter(work.split("/")[0] for work in works[:12]) == {"bach": 4, "monteverdi": 4, "mozart": 4}
    assert len(works) == 186


@pytest.mark.parametrize("unseen", [False, True])
def test_a_real_work_becomes_a_piece(tmp_path, monkeypatch, unseen):
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path))
    font = default_soundfont()
    recipe = Recipe("test", 0, "bach/bwv10.7", 8.0, unseen, 22050, "0", font)
    entry = json.loads(make_piece(recipe, tmp_path).read_text())
    piece = Piece.from_json(tmp_path, entry)
    assert piece.composer == "bach"
    assert piece.id.startswith("bach-bwv10.7-0-")
    assert {part.program for part in piece.parts} <= set(HELD_OUT_PROGRAMS if unseen else TRAIN_PROGRAMS)
    assert 4.0 < piece.seconds <= 8.0
    assert len(piece.notes) > 8
    assert np.abs(piece.multitrack().mixture()).max() > 0.05


def test_training_never_hears_what_is_held_out(tiny_corpus):
    for piece in tiny_corpus.pieces():
        programs = {part.program for part in piece.parts if not part.is_drum}
        assert programs <= set(HELD_OUT_PROGRAMS if piece.unseen else TRAIN_PROGRAMS)
        assert not piece.unseen or piece.split == "test"
    assert any(piece.unseen for piece in tiny_corpus.pieces("test"))


def test_two_processes_make_the_same_bytes_as_one(tiny_corpus, tmp_path):
    again = build("tiny", root=tmp_path, jobs=2, progress=False)
    assert again.folder.name == tiny_corpus.folder.name
    assert contents(again.folder) == contents(tiny_corpus.folder)


def test_what_is_built_is_opened_and_not_made_again(tiny_corpus, monkeypatch):
    monkeypatch.setattr(corpus, "make_piece", None)
    root = tiny_corpus.folder.parents[1]
    assert [piece.id for piece in build("tiny", root=root).pieces()] == [piece.id for piece in tiny_corpus.pieces()]


def test_a_killed_build_goes_on_where_it_died(tiny_corpus, tmp_path):
    program = f"""
import os, signal
import numpy as np
from common import corpus
save, calls = np.save, []
def dying(path, array):
    save(path, array)
    calls.append(path)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
np.save = dying
corpus.build("tiny", root={str(tmp_path)!r}, jobs=1, progress=False)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == -signal.SIGKILL
    (folder,) = (tmp_path / "corpus").iterdir()
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.json")}
    assert len(finished) == 2
    (left,) = folder.glob(".*")
    with replacing(folder / "other.npy") as temporary:  # of another build in the same folder
        built = build("tiny", root=tmp_path, jobs=1, progress=False)
        assert contents(built.folder) == contents(tiny_corpus.folder)
        assert list(folder.glob(".*")) == [temporary]
        assert temporary != left
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_fonts_take_turns_and_the_test_may_have_its_own(other_font):
    default = default_soundfont()
    turns = [recipe.soundfont for recipe in plan("tiny", 22050, [default, other_font]) if recipe.split == "train"]
    assert turns == [default, other_font] * 2
    for recipe in plan("tiny", 22050, [default], other_font):
        assert recipe.soundfont == (other_font if recipe.split == "test" else default)


def test_font_rate_and_size_make_another_corpus(tiny_corpus, other_font, tmp_path):
    plain = {recipe.id for recipe in plan("tiny", 22050, [default_soundfont()])}
    assert plain == {piece.id for piece in tiny_corpus.pieces()}
    for other in (plan("tiny", 22050, [other_font]), plan("tiny", 16000, [default_soundfont()])):
        assert not plain & {recipe.id for recipe in other}


def test_loudness_is_drawn_for_the_time_in_which_a_stem_plays():
    tone = np.sin(np.arange(4000) * 0.5).astype(np.float32)[None] * 0.3
    tone[:, 2000:] = 0.0
    full = 0.3 * np.sqrt(0.5)
    found = [20.0 * np.log10(full * levels(tone, 1000, np.random.default_rng(seed))[0]) for seed in range(300)]
    assert np.mean(found) == pytest.approx(-26.0, abs=0.6)
    assert np.std(found) == pytest.approx(3.5, abs=0.5)


def test_levels_keep_the_sum_below_full_scale_and_take_silence():
    rng = np.random.default_rng(0)
    stems = np.concatenate([rng.standard_normal((60, 2000)), np.zeros((1, 2000))]).astype(np.float32)
    factors = levels(stems, 1000, rng)
    assert np.isfinite(factors).all()
    assert np.abs(factors @ stems).max() == pytest.approx(1.0)


def test_a_piece_travels_to_another_process_without_its_audio(tiny_corpus):
    piece = tiny_corpus.pieces("train")[-1]
    assert np.abs(piece.multitrack().mixture()).max() > 0
    packed = pickle.dumps(piece)
    assert len(packed) < 5000
    assert np.array_equal(pickle.loads(packed).multitrack().mixture(), piece.multitrack().mixture())


def test_what_is_wrong_is_said(tmp_path, monkeypatch, tiny_corpus):
    with pytest.raises(CorpusError, match="no corpus of size 'huge'; there are tiny, small, full"):
        build("huge")
    with pytest.raises(CorpusError, match="8000 to 48000"):
        build("tiny", sample_rate=0)
    with pytest.raises(CorpusError, match="make corpus"):
        corpus.Corpus(tmp_path)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(CorpusError, match="make corpus"):
        corpus.Corpus(tmp_path)
    with pytest.raises(CorpusError, match="'dev'"):
        tiny_corpus.pieces("dev")
    usage = corpus.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(corpus.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(CorpusError, match="TUTTI_DATA"):
        build("tiny", root=tmp_path)


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TUTTI_DATA", str(tmp_path))
    assert main(["build", "tiny", "--jobs", "1"]) == 0
    assert "tiny-22050-" in capsys.readouterr().out
    assert len(list((tmp_path / "corpus").glob("tiny-22050-*/index.json"))) == 1
    for font in (tmp_path / "nothing.sf2", tmp_path, ROOT / "pyproject.toml"):
        assert main(["build", "tiny", "--jobs", "1", "--soundfont", str(font)]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ")
        assert font.name in error
