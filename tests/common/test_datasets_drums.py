"""What only the data sets of drums have: labels and keys of their own, splits by drummer or performance."""

import numpy as np
import pytest

from common.audio import write
from common.datasets import egmd, enst_drums
from common.datasets.files import DatasetError
from common.instruments import DRUM_GROUPS, KICK_SNARE_HAT
from common.stems import DRUMS
from tests.common import yourmt3_layouts as layouts
from tests.common.layouts import RATE, write_table

MINUS_ONE = "drummer_1/annotation/107_minus-one_salsa_sticks.txt"


def labelled(root, *labels: str):
    layouts.enst_drums(root)
    write_table(root / MINUS_ONE, [(0.1 * (i + 1), label) for i, label in enumerate(labels)], " ")
    return enst_drums.recordings(root)[1].notes


def test_enst_splits_are_by_drummer(tmp_path):
    layouts.enst_drums(tmp_path)
    splits = {piece.id: piece.split for piece in enst_drums.recordings(tmp_path)}
    assert splits == {
        "1_001_hits_snare-drum_sticks_x6": "train",
        "1_107_minus-one_salsa_sticks": "train",
        "2_115_minus-one_salsa_sticks": "train",
        "3_016_phrase_disco_simple_slow_sticks": "test_alone",
        "3_126_minus-one_salsa_sticks": "test",
    }
    drummers = {split: {id[0] for id in splits if splits[id] == split} for split in splits.values()}
    assert not drummers["train"] & (drummers["test"] | drummers["test_alone"])


def test_enst_labels_are_general_midi_keys_however_they_are_spelt(tmp_path):
    hits = labelled(tmp_path, "bd", "sd", "sd-", "chh", "ohh", "rc2", "cr1", "c4", "cs", "CB", "lft")
    assert hits.pitch.tolist() == [36, 38, 38, 42, 46, 51, 49, 57, 37, 56, 41]
    assert hits.is_drum.all()
    assert np.allclose(hits.offset - hits.onset, 0.01)


def test_enst_sounds_without_a_key_never_count_as_kick_snare_or_hat():
    counted = {key for keys in KICK_SNARE_HAT.values() for key in keys}
    named = {label: key for label, key in enst_drums.KEYS.items() if key in counted}
    assert set(named) == {"bd", "sd", "chh", "ohh"}
    grouped = {key for keys in DRUM_GROUPS.values() for key in keys}
    assert {label for label, key in enst_drums.KEYS.items() if key not in grouped} == {"sweep", "sticks"}


@pytest.mark.parametrize("label", ["xyz", "12"])
def test_enst_label_that_it_has_not(tmp_path, label):
    with pytest.raises(DatasetError, match=r"107_minus-one_salsa_sticks\.txt: .*row 2 has the label"):
        labelled(tmp_path, "bd", label)


def test_enst_line_without_a_label(tmp_path):
    layouts.enst_drums(tmp_path)
    (tmp_path / MINUS_ONE).write_text("0.5 bd\n0.7\n")
    with pytest.raises(DatasetError, match=r"107_minus-one_salsa_sticks\.txt: .*row 2 has 1 of 2 columns"):
        enst_drums.recordings(tmp_path)[1].notes  # noqa: B018


def test_enst_with_accompaniment_is_the_minus_one_recordings_at_documented_shares(tmp_path):
    layouts.enst_drums(tmp_path)
    pieces = enst_drums.recordings(tmp_path, accompaniment=0.25)
    assert [piece.id[:5] for piece in pieces] == ["1_107", "2_115", "3_126"]
    rng = np.random.default_rng(0)
    drums, music = rng.uniform(-0.1, 0.1, RATE), rng.uniform(-0.5, 0.5, RATE // 2)
    drums[0], music[0] = 0.1, -0.5
    for kind, audio in (("wet_mix", drums), ("accompaniment", music)):
        write(tmp_path / "drummer_3/audio" / kind / "126_minus-one_salsa_sticks.wav", audio.astype(np.float32), RATE)
    mixture, rate = pieces[-1].mixture()
    expected = 7.5 * drums
    expected[: RATE // 2] += 0.5 * music
    assert rate == RATE
    assert np.allclose(mixture, expected, atol=1e-3)
    assert len(pieces[-1].mixture(4000)[0]) == RATE // 2


def test_enst_knows_everything_of_drums_alone_and_nothing_else_of_a_mixture(tmp_path):
    layouts.enst_drums(tmp_path)
    assert {piece.unknown for piece in enst_drums.recordings(tmp_path)} == {frozenset()}
    accompanied = enst_drums.recordings(tmp_path, accompaniment=0.4)
    assert {piece.unknown for piece in accompanied} == {frozenset(range(128))}
    assert DRUMS == 128


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_enst_share_that_is_none(tmp_path, share):
    with pytest.raises(DatasetError, match="give a share from 0 to below 1"):
        enst_drums.recordings(tmp_path, share)


def test_enst_minus_one_without_its_accompaniment(tmp_path):
    layouts.enst_drums(tmp_path)
    (tmp_path / "drummer_2/audio/accompaniment/115_minus-one_salsa_sticks.wav").unlink()
    assert len(enst_drums.recordings(tmp_path)) == 5
    with pytest.raises(DatasetError, match=r"115_minus-one_salsa_sticks\.wav: missing; "):
        enst_drums.recordings(tmp_path, 0.25)


def test_egmd_keys_are_mapped_to_what_was_struck_and_velocities_kept(tmp_path):
    layouts.egmd(tmp_path)
    hits = egmd.recordings(tmp_path)[0].notes
    assert hits.pitch.tolist() == [36, 42, 49]  # a Roland's 22 is the edge of the hi-hat, its 55 that of a crash
    assert hits.velocity.tolist() == [30, 60, 127]
    heads_and_bows = {22: 42, 26: 46, 40: 38, 50: 50, 47: 47, 58: 43, 55: 49, 59: 51}  # of what has a rim or an edge
    assert {key: egmd.KEY[key] for key in heads_and_bows} == heads_and_bows
    assert [egmd.KEY[key] for key in (48, 45, 43)] == [50, 47, 43]  # the heads of the toms themselves
    assert egmd.KEY[52] == egmd.KEY[57] == 57  # the second crash


def test_egmd_takes_of_a_performance_share_title_and_split(tmp_path):
    layouts.egmd(tmp_path)
    told = [(piece.title, piece.split) for piece in egmd.recordings(tmp_path)]
    assert told[::2] == told[1::2]
    assert [split for _, split in told[::2]] == ["train", "validation", "test"]
    assert len({title for title, _ in told}) == 3


def test_egmd_some_kits_alone(tmp_path):
    layouts.egmd(tmp_path)
    assert [piece.id[-2:] for piece in egmd.recordings(tmp_path, kits=[5, 10])] == ["_5"] * 3
    with pytest.raises(DatasetError, match="choose kits that the data set has"):
        egmd.recordings(tmp_path, kits=[99])


def changed(root, row: int, column: str, value: str) -> None:
    rows = layouts.egmd_rows(root)
    rows[row][rows[0].index(column)] = value
    write_table(root / "e-gmd-v1.0.0.csv", rows, ",")


@pytest.mark.parametrize(
    ("row", "column", "value", "told"),
    [
        (2, "split", "test", "drummer1/session1/1 is in two splits"),
        (2, "split", "dev", "row 2 has the split 'dev'"),
        (3, "audio_filename", "", "row 3 is not complete"),
        (0, "midi_filename", "midi", "damaged annotation .*midi_filename"),
    ],
)
def test_egmd_table_that_is_damaged(tmp_path, row, column, value, told):
    layouts.egmd(tmp_path)
    changed(tmp_path, row, column, value)
    with pytest.raises(DatasetError, match=rf"e-gmd-v1\.0\.0\.csv: .*{told}"):
        egmd.recordings(tmp_path)
