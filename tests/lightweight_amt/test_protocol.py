import json
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from common.datasets import catalogue
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.inference import load, transcribe
from lightweight_amt.protocol import PLANS, oracle, protocol_command, score_recordings, score_take, summary
from tests.common import layouts, yourmt3_layouts

GRID = FrameGrid(layouts.RATE, 80)
FOLDERS = {**layouts.WRITERS, **yourmt3_layouts.WRITERS, "musicnet-em": layouts.musicnet}


@pytest.fixture(scope="module")
def chorales(tmp_path_factory):
    root = tmp_path_factory.mktemp("bach10")
    layouts.bach10(root)
    return root


def recordings_of(dataset, root):
    return catalogue.recordings(dataset, root, *PLANS[dataset].splits)


def takes_of(dataset, root):
    plan = PLANS[dataset]
    return [take for recording in recordings_of(dataset, root) for take in plan.takes(recording, GRID.sample_rate)]


class Perfect:
    """Knows every take by its sound."""

    def __init__(self, dataset, root):
        takes = takes_of(dataset, root)
        self.answers = {take.audio.tobytes(): take.notes for take in takes}
        self.mixes = {take.audio.tobytes(): take.notes for take in takes if take.kind.endswith("-mix")}

    def transcribe(self, audio, sample_rate) -> Notes:
        assert sample_rate == GRID.sample_rate
        return self.answers[audio.tobytes()].replace(track=0)

    def separate(self, audio, sample_rate, n_instruments) -> Notes:
        notes = self.mixes[audio.tobytes()]
        assert len(set(notes.track.tolist())) == n_instruments
        return notes.replace(track=7 - notes.track)


def perfect_pair(dataset, root):
    perfect = Perfect(dataset, root)
    return perfect.transcribe, perfect.separate


def deaf(*_) -> Notes:
    return Notes.empty()


def scores(dataset, root, transcriber, separator=None) -> dict:
    plan = PLANS[dataset]
    return summary(score_recordings(recordings_of(dataset, root), plan, GRID, transcriber, separator))


def test_bach10_is_played_as_the_paper_does(chorales):
    kinds = Counter(take.kind for take in takes_of("bach10", chorales))
    # of ten pieces: 10, 40, 60, 40, 10
    assert kinds == {"tutti": 2, "stems": 8, "2-mix": 12, "3-mix": 8, "4-mix": 2}


def test_a_mix_is_the_plain_sum_of_its_stems(chorales):
    takes = {take.id: take for take in takes_of("bach10", chorales)}
    assert len(takes) == 32
    name = "01-AchGottundHerr"
    mix = takes[f"{name}/1+3"]
    assert np.allclose(mix.audio, takes[f"{name}/1"].audio + takes[f"{name}/3"].audio, atol=1e-6)
    programs = {track: set(mix.notes.program[mix.notes.track == track].tolist()) for track in (0, 1)}
    assert programs == {0: {40}, 1: {66}}


def test_urmp_mixes_are_pieces_of_two_or_three_instruments_and_equal_ones_are_one(tmp_path):
    for piece in ("01_Jupiter_vn_vc", "04_Allegro_fl_fl", "12_Spring_vn_vn_vc", "17_Nocturne_vn_fl_vc"):
        layouts.urmp_piece(tmp_path, piece)
    layouts.urmp_piece(tmp_path, "25_Pirates_vn_va_sax_fl")
    takes = takes_of("urmp", tmp_path)
    mixes = {take.id: take for take in takes if take.kind.endswith("-mix")}
    assert {id: take.kind for id, take in mixes.items()} == {
        "01_Jupiter_vn_vc": "2-mix",
        "12_Spring_vn_vn_vc": "2-mix",
        "17_Nocturne_vn_fl_vc": "3-mix",
    }
    spring = mixes["12_Spring_vn_vn_vc"].notes
    assert [spring.program[spring.track == i].tolist() for i in (0, 1)] == [[40] * 6, [42] * 3]
    assert Counter(take.kind for take in takes) == {"tutti": 5, "stems": 14, "2-mix": 2, "3-mix": 1}
    everything = scores("urmp", tmp_path, *perfect_pair("urmp", tmp_path))
    assert {row["note_f1"] for row in everything.values()} == {1.0}
    assert everything["2-mix"]["track_f1"] == 1.0


def test_a_perfect_transcriber_has_1_everywhere(chorales):
    table = scores("bach10", chorales, *perfect_pair("bach10", chorales))
    for kind, row in table.items():
        assert row["note_f1"] == row["frame_f1"] == 1.0
        assert row.get("track_f1", 1.0) == 1.0
        assert ("track_f1" in row) == kind.endswith("-mix")


def test_a_deaf_one_has_0(chorales):
    for row in scores("bach10", chorales, deaf, deaf).values():
        assert [row[name] for name in row if name != "takes"] == [0.0] * (len(row) - 1)


def test_one_that_hears_every_other_note_and_cannot_tell_who_plays(chorales):
    perfect = Perfect("bach10", chorales)

    def half(audio, sample_rate, *_) -> Notes:
        notes = perfect.transcribe(audio, sample_rate)
        return notes[::2]

    table = scores("bach10", chorales, half, half)
    assert table["tutti"]["note_f1"] == pytest.approx(2 / 3, abs=1e-4)  # half of the notes, none wrong
    assert table["2-mix"]["note_f1"] == pytest.approx(2 / 3, abs=1e-4)
    assert table["2-mix"]["track_f1"] == 0.5  # the parts take turns: one is heard in full, the other not at all


def test_without_a_separator_there_are_no_track_scores(chorales):
    table = scores("bach10", chorales, Perfect("bach10", chorales).transcribe)
    assert all("track_f1" not in row for row in table.values())


@pytest.mark.parametrize("dataset", PLANS)
def test_every_data_set_has_its_plan(dataset, tmp_path):
    FOLDERS[dataset](tmp_path)
    recordings = recordings_of(dataset, tmp_path)
    if PLANS[dataset].splits:
        assert {recording.split for recording in recordings} == {"test"}
    row = scores(dataset, tmp_path, Perfect(dataset, tmp_path).transcribe)["tutti"]
    assert row == {"takes": len(recordings), "note_f1": 1.0, "frame_f1": 1.0}


def test_a_folder_without_the_split_is_refused(tmp_path):
    layouts.slakh_track(tmp_path / "Track00001")
    with pytest.raises(ValueError, match="no recording of the test split here"):
        recordings_of("slakh", tmp_path)


def test_unisons_of_two_instruments_are_one_note_but_each_has_its_own(chorales):
    take = next(take for take in takes_of("bach10", chorales) if take.kind == "2-mix")
    doubled = Notes.concatenate([take.notes, take.notes.replace(track=2)])
    trio = replace(take, kind="3-mix", notes=doubled)
    row = score_take(trio, GRID, deaf, lambda *_: doubled)
    assert row["n_reference"] == row["n_estimate"] == len(take.notes)
    assert row["note_f1"] == row["track_f1"] == 1.0


def test_the_oracle_finds_better_thresholds_than_those_that_nobody_would_choose(chorales):
    plan, model = PLANS["bach10"], load("base")
    model.settings = DecodeSettings(onset_threshold=0.8, frame_threshold=0.7, unstruck_threshold=1.0)
    recordings = recordings_of("bach10", chorales)
    tutti = [next(plan.takes(recording, model.grid.sample_rate)) for recording in recordings]
    careless = [score_take(take, model.grid, partial(transcribe, model=model)) for take in tutti]
    best = oracle(tutti, model)
    for name in ("note_f1", "frame_f1"):
        assert best[name] >= np.mean([row[name] for row in careless]) - 2e-3  # its activations have 16 bits
    assert best["note_f1"] > 0.5


def test_the_command_prints_the_row_of_the_paper_and_writes_all_takes(tmp_path, capsys):
    layouts.phenicx(tmp_path / "data")
    out = tmp_path / "scores.json"
    words = ["--dataset", "phenicx", "--root", str(tmp_path / "data"), "--out", str(out)]
    assert protocol_command(words) == 0
    table = json.loads(capsys.readouterr().out)
    results = json.loads(out.read_text())
    assert table == results["summary"]
    assert table["tutti"]["paper"] == {"note_f1": 0.556, "frame_f1": 0.697}
    assert set(table["tutti"]["oracle"]) == {"note_f1", "frame_f1"}
    assert [take["id"] for take in results["takes"]] == ["beethoven"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, capsys):
    assert protocol_command(["--dataset", "bach10", "--root", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(str(tmp_path / "nowhere"))
    assert said.count("\n") == 1
