import logging
import os
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from common.audio import read
from common.datasets import irmas
from common.datasets.files import DatasetError
from tests.common import irmas_layout as layout

COUNTS = {  # of test labels, in the order of the classes
    "cel": 111, "cla": 62, "flu": 163, "gac": 535, "gel": 942, "org": 361, "pia": 995, "sax": 326, "tru": 167,
    "vio": 211, "voi": 1044,
}  # fmt: skip
SIZES = {1: 1236, 2: 1278, 3: 318, 4: 39, 5: 3}  # labels -> excerpts


def test_training_names_are_read_by_their_places(tmp_path):
    clips = irmas.training(layout.irmas_training(tmp_path))
    assert [(clip.labels[0], clip.audio.stem, clip.recording) for clip in clips] == sorted(layout.TRAINING)
    told = {clip.audio.stem: (clip.drums, clip.genre) for clip in clips}
    assert told["[cla][cla]0003__1"] == (None, "cla")
    assert told["046__[cla][nod][cla]0004__2"] == (False, "cla")
    assert told["052__[voi][dru][pop_roc]0006__1"] == (True, "pop_roc")
    assert all(len(read(clip.audio)[0]) for clip in clips)
    assert irmas.training(tmp_path) == clips


def test_of_twins_the_one_that_knows_of_drums_is_kept_and_the_other_is_told(tmp_path, caplog):
    root = layout.irmas_training(tmp_path)
    with caplog.at_level(logging.WARNING):
        names = [clip.audio.stem for clip in irmas.training(root)]
    plain, tagged = layout.TWIN
    assert tagged in names
    assert plain not in names
    assert [record.message for record in caplog.records] == [f"{root / 'cla' / plain}.wav: is there twice; left out"]


def test_thirty_three_twins_among_clips_of_one_class(tmp_path, caplog):
    folder = tmp_path / "gac"
    folder.mkdir()
    for i in range(100):
        (folder / f"[gac][pop_roc]{i:04}__1.wav").touch()
        if i < 33:
            (folder / f"{i:03}__[gac][dru][pop_roc]{i:04}__1.wav").touch()
    clips = irmas.training(tmp_path)
    assert len(clips) == 100
    assert len({clip.recording for clip in clips}) == 100
    assert Counter(clip.drums for clip in clips) == {True: 33, None: 67}
    assert len(caplog.records) == 33


def test_testing_in_its_three_parts(tmp_path):
    excerpts = {excerpt.audio.stem: excerpt for excerpt in irmas.testing(layout.irmas_testing(tmp_path))}
    assert len(excerpts) == len(layout.TESTING)
    for part, name, _, labels, recording in layout.TESTING:
        assert excerpts[name].labels == labels
        assert excerpts[name].recording == layout.RECORDINGS[recording]
        assert excerpts[name].id == f"{part}/{name}"
        assert excerpts[name].drums is None


def test_training_and_testing_in_one_folder_are_told_apart(tmp_path):
    layout.irmas_training(tmp_path)
    layout.irmas_testing(tmp_path)
    assert len(irmas.training(tmp_path)) == len(layout.TRAINING)
    assert len(irmas.testing(tmp_path)) == len(layout.TESTING)


def test_names_that_the_archive_garbled(tmp_path):
    stem = os.fsdecode(b"Canci\xf3n-2")  # Latin-1, which is not UTF-8
    (tmp_path / f"{stem}.wav").touch()
    (tmp_path / f"{stem}.txt").write_bytes(b"sax\t\r\n")
    (excerpt,) = irmas.testing(tmp_path)
    assert (excerpt.recording, excerpt.labels) == (os.fsdecode(b"Canci\xf3n"), ("sax",))


def label_matrix() -> np.ndarray:
    """(excerpt, class) with as many labels for each excerpt and each class as IRMAS has (Gale and Ryser's greedy)."""
    sizes = np.repeat(list(SIZES), list(SIZES.values()))[::-1]
    left = np.array(list(COUNTS.values()))
    matrix = np.zeros((len(sizes), len(left)), bool)
    for row, size in zip(matrix, sizes, strict=True):
        chosen = np.argsort(-left, kind="stable")[:size]
        row[chosen] = True
        left[chosen] -= 1
    assert not left.any()
    return matrix


def test_a_whole_test_set_has_the_counts_of_irmas(tmp_path):
    parts = [tmp_path / part for part in dict.fromkeys(row[0] for row in layout.TESTING)]
    for part in parts:
        part.mkdir(parents=True)
    names = np.array(irmas.CLASSES)
    for i, row in enumerate(label_matrix()):
        path = parts[i % 3] / f"{i % 208:03} - Title, [{i % 208}]-{i // 208}"
        path.with_name(f"{path.name}.wav").touch()
        path.with_name(f"{path.name}.txt").write_text("".join(f"{name}\t\n" for name in names[row]))
    excerpts = irmas.testing(tmp_path)
    assert len(excerpts) == 2874
    assert sum(len(excerpt.labels) for excerpt in excerpts) == 4917
    assert Counter(len(excerpt.labels) for excerpt in excerpts) == SIZES
    assert Counter(label for excerpt in excerpts for label in excerpt.labels) == COUNTS
    assert len({excerpt.recording for excerpt in excerpts}) == 208


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: (root / "04. Air-2.txt").unlink(), r"04\. Air-2\.txt: cannot be read"),
        (lambda root: (root / "04. Air-2.txt").write_bytes(b""), "it names no class"),
        (lambda root: (root / "04. Air-2.txt").write_bytes(b"gel\t\nbass\t\n"), "bas is no class of IRMAS"),
    ],
)
def test_damage_to_testing_is_told(tmp_path, damage, told):
    layout.irmas_testing(tmp_path)
    damage(tmp_path / layout.TESTING[-1][0])
    with pytest.raises(DatasetError, match=told):
        irmas.testing(tmp_path)


def test_damage_to_training_is_told(tmp_path):
    root = layout.irmas_training(tmp_path)
    (root / "cel" / "cello.wav").touch()
    with pytest.raises(DatasetError, match=r"cello\.wav: not a name of IRMAS.*remove or rename it"):
        irmas.training(root)
    with pytest.raises(DatasetError, match="no such folder; give the folder that an archive of IRMAS unpacks to"):
        irmas.training(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for read_all in (irmas.training, irmas.testing):
        with pytest.raises(DatasetError, match="nothing of the data set here"):
            read_all(tmp_path / "empty")


def test_every_pair_of_class_and_genre_is_understood(tmp_path):
    for label, genre in [*combinations(irmas.CLASSES, 2), *((name, name) for name in ("cla",))]:
        genre = irmas.GENRES[irmas.CLASSES.index(genre) % len(irmas.GENRES)]
        folder = tmp_path / label
        folder.mkdir(exist_ok=True)
        (folder / f"[{label}][{genre}]0001__1.wav").touch()
    clips = irmas.training(tmp_path)
    assert all(clip.audio.stem == f"[{clip.labels[0]}][{clip.genre}]0001__1" for clip in clips)
