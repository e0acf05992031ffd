import json
import math
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.datasets.files import DatasetError
from common.datasets.medleydb import Stem
from lead_detection.annotations import (
    CLIP_FRAMES,
    CLIP_MS,
    LEAD,
    annotated,
    clip_labels,
    clip_starts,
    milliseconds,
    plain_warnings,
    rasterise_clip,
    read_annotations,
    read_songs,
    segments,
    split_of,
    statistics,
)
from tests.lead_detection import study


def leads(*rows: tuple[int, int, int]) -> np.ndarray:
    return np.array(list(rows), LEAD)


def write_song_file(path: Path, **songs: list[tuple[str, str, str]]) -> Path:
    keys = ("lead_start", "lead_end", "lead_inst")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({id: [dict(zip(keys, lead, strict=True)) for lead in song] for id, song in songs.items()})
    )
    return path


SONG = [("00:00.500", "01:40.001", "8#male_singer"), ("01:40.002", "1:02:03.004", "3#fx_processed_sound")]
STEMS = (
    Stem(1, ("drum set",), "", "1.wav"),
    Stem(3, ("fx/processed sound",), "", "3.wav"),
    Stem(8, ("male singer", "piano"), "melody", "8.wav"),
)


@pytest.mark.parametrize("place", ["", "annotations", "MedleyDB", "datasets/MedleyDB"])
def test_a_song_of_the_file_from_any_folder_of_the_clone(tmp_path, place):
    path = write_song_file(tmp_path / place / "metadata_song.json", A_Song=SONG, Schumann_Mignon=SONG[:1])
    for given_path in (tmp_path, path, str(path.parent)):
        song, other = read_annotations(given_path)
        assert (song.id, song.split, song.names) == ("A_Song", "train", ("male_singer", "fx_processed_sound"))
        assert song.leads.tolist() == [(500, 100_001, 8), (100_002, 3_723_004, 3)]
        assert other.split == "test"


@pytest.mark.parametrize(
    ("text", "number"), [("00:00.000", 0), ("01:36.619", 96_619), ("75:00.001", 4_500_001), ("1:00:00.010", 3_600_010)]
)
def test_times(text, number):
    assert milliseconds(text) == number


@pytest.mark.parametrize("text", ["", "36.619", "01:36", "01:36.6", "-1:36.619", "01:36,619", "01:6.619"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="no time like"):
        milliseconds(text)


BAD = [
    [],
    [("00:01.000", "00:01.000", "1#piano")],
    [("00:02.000", "00:01.000", "1#piano")],
    [("00:01.0", "00:02.000", "1#piano")],
    [("00:01.000", "00:02.000", "piano")],
    [("00:01.000", "00:02.000", "one#piano")],
]


@pytest.mark.parametrize("song", BAD)
def test_a_damaged_song_is_told_with_the_file(tmp_path, song):
    path = write_song_file(tmp_path / "metadata_song.json", A_Song=song)
    with pytest.raises(DatasetError, match=f"^{path}: a damaged annotation") as caught:
        read_annotations(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "[1]", "{", '{"A_Song": 3}', '{"A_Song": [{}]}', "{}"])
def test_a_file_that_is_something_else(tmp_path, text):
    (tmp_path / "metadata_song.json").write_text(text)
    with pytest.raises(DatasetError, match=r"metadata_song\.json: "):
        read_annotations(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match=r"metadata_song\.json: missing; give a clone"):
        read_annotations(tmp_path)


def test_stems_are_found_by_number(tmp_path):
    (song,) = read_annotations(write_song_file(tmp_path / "a.json", A_Song=SONG))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolved = song.resolve(STEMS)
    assert resolved.leads["stem"].tolist() == [3, 2]
    assert song.leads["stem"].tolist() == [8, 3]


def test_a_name_that_differs_is_told_once_and_a_number_that_is_missing_ends_it(tmp_path):
    (song,) = read_annotations(write_song_file(tmp_path / "a.json", A_Song=[*SONG, *SONG]))
    renamed = (*STEMS[:2], Stem(8, ("flute",), "", "8.wav"))
    with pytest.warns(UserWarning, match="A_Song: stem 8 leads as male_singer, and is flute") as told:
        assert song.resolve(renamed).leads["stem"].tolist() == [3, 2, 3, 2]
    assert len(told) == 1
    with pytest.raises(DatasetError, match="A_Song: stem 8 leads and is not in the metadata"):
        song.resolve(STEMS[:2])


def test_a_command_tells_its_warnings_as_they_are(capsys):
    with plain_warnings():
        warnings.warn("A_Song: beware", stacklevel=1)
        warnings.warn("A_Song: beware", stacklevel=1)
    assert capsys.readouterr().err == "A_Song: beware\n" * 2


def test_clips_reach_two_seconds_beyond_the_leads():
    assert clip_starts(leads((3_000, 6_000, 1))).tolist() == [1_000]
    assert clip_starts(leads((3_000, 6_500, 1))).tolist() == [1_000, 3_500]
    assert clip_starts(leads((3_000, 6_499, 1))).tolist() == [1_000]
    assert clip_starts(leads((500, 4_000, 1))).tolist() == [0]
    assert clip_starts(leads((500, 1_000, 1))).tolist() == []


def test_a_gap_of_four_seconds_is_bridged_and_a_longer_one_starts_anew():
    assert clip_starts(leads((2_000, 4_000, 1), (8_000, 9_000, 2))).tolist() == [0, 2_500, 5_000]
    assert clip_starts(leads((2_000, 4_000, 1), (8_001, 10_000, 2))).tolist() == [0, 6_001]


def test_a_lead_that_is_listed_late_does_not_move_the_start():
    later = leads((20_000, 30_000, 1))
    assert clip_starts(np.concatenate([later, leads((10_000, 20_000, 2))])).tolist() == clip_starts(later).tolist()


def test_labels_of_a_clip():
    labels = rasterise_clip(leads((0, 2_000, 3), (2_001, 9_000, 5)), 1_000)
    assert len(labels) == CLIP_FRAMES == 375
    assert labels.tolist() == [3] * 75 + [5] * 300
    # A seam of 1 ms costs a frame where it holds the start of one.
    assert rasterise_clip(leads((0, 1_999, 3), (2_000, 9_000, 5)), 1_000)[72:77].tolist() == [3, 3, 0, 5, 5]
    # In floating point 1.64 s is a little before the start of frame 123.
    assert rasterise_clip(leads((1_640, 2_000, 1)), 0).nonzero()[0][0] == 122
    # Later leads overwrite earlier ones; what is outside of the clip does not count.
    assert rasterise_clip(leads((0, 5_000, 1), (1_000, 2_000, 2), (5_000, 6_000, 3)), 0).tolist() == (
        [1] * 75 + [2] * 75 + [1] * 225
    )


ROWS = st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 12_000), st.integers(0, 4)), min_size=1, max_size=6)


def table(rows: list[tuple[int, int, int]]) -> np.ndarray:
    return leads(*((start, start + length, stem) for start, length, stem in rows))


@given(ROWS.map(lambda rows: [(start, length, stem + 1) for start, length, stem in rows]))
def test_segments_say_what_the_leads_say_and_a_seam_belongs_to_the_lead_before_it(rows):
    truth, found = np.full(50_000, -1), np.full(50_000, -1)
    for start, end, stem in np.sort(table(rows), order="start_ms", kind="stable").tolist():
        truth[start:end] = stem - 1
    for start, end, index in segments(table(rows)):
        found[round(start * 1000) : round(end * 1000)] = index
    assert all(found[at] in truth[max(at - 10, 0) : at] for at in np.flatnonzero(truth != found))


@given(ROWS)
def test_annotated_stretches_are_the_union_of_the_leads(rows):
    known = np.zeros(50_000, bool)
    for start, end, _ in table(rows).tolist():
        known[start:end] = True
    stretches = annotated(table(rows))
    assert all(end + 0.010 < start for (_, end), (start, _) in pairwise(stretches))
    covered = np.zeros(50_000, bool)
    for start, end in stretches:
        covered[round(start * 1000) : round(end * 1000)] = True
    assert (covered >= known).all()
    extra = np.flatnonzero(covered & ~known)
    assert all(known[max(at - 10, 0) : at].any() and known[at : at + 11].any() for at in extra)


def test_seams_close_and_gaps_stay():
    song = leads((5_001, 8_000, 2), (0, 5_000, 1), (8_020, 9_000, 1))
    assert segments(song) == ((0.0, 5.001, 0), (5.001, 8.0, 1), (8.02, 9.0, 0))
    assert annotated(song) == ((0.0, 8.0), (8.02, 9.0))


def test_nobody_is_known_to_lead_where_the_annotation_says_so():
    song = leads((0, 1_000, 0), (1_000, 2_000, 1))
    assert segments(song) == ((1.0, 2.0, 0),)
    assert annotated(song) == ((0.0, 2.0),)


# The rest is about the real files: checks 1 to 5 of the study.


@pytest.fixture(scope="module")
def their_clips() -> dict[str, list[dict]]:
    return json.loads((study.ANNOTATIONS / "metadata_splitted.json").read_text())


@study.needs_study
def test_clips_and_splits_are_the_authors_for_all_songs(their_clips):
    found = {song.id: song for song in read_annotations(study.FOLDER)}
    assert list(found) == list(their_clips)
    assert len(found) == 109
    counts = {"train": 0, "validation": 0, "test": 0}
    for id, clips in their_clips.items():
        theirs = [(milliseconds(clip["segment_start"]), milliseconds(clip["segment_end"])) for clip in clips]
        assert [(start, start + CLIP_MS) for start in clip_starts(found[id].leads).tolist()] == theirs
        assert {clip["split"] for clip in clips} == {{"validation": "valid"}.get(found[id].split, found[id].split)}
        counts[split_of(id)] += len(clips)
    assert counts == {"train": 5981, "validation": 819, "test": 1225}


@study.needs_study
def test_labels_from_the_song_are_those_of_the_authors_clips(their_clips):
    """Theirs by the rule for times relative to the clip, written out once more, for what their file says of a clip."""
    for song in read_annotations(study.FOLDER):
        ours = clip_labels(song.leads)
        for clip, labels in zip(their_clips[song.id], ours, strict=True):
            origin = milliseconds(clip["segment_start"]) / 1000
            expected = [0] * 375
            for lead in clip["annotations"]:
                start, end = (milliseconds(lead[key]) / 1000 - origin for key in ("lead_start", "lead_end"))
                start, end = (round(min(max(time, 0.0), 5.0), 3) for time in (start, end))
                for frame in range(math.floor(75 * start), math.floor(75 * end)):
                    expected[frame] = int(lead["lead_inst"].split("#")[0])
            assert labels.tolist() == expected


@study.needs_study
def test_every_lead_is_a_stem_and_one_goes_by_another_name():
    with pytest.warns(UserWarning, match="the number counts") as told:
        songs = read_songs(study.FOLDER, study.MEDLEYDB)
    assert len(told) == 1
    assert "EthanHein_GirlOnABridge: stem 5 leads as clean_electric_guitar" in str(told[0].message)
    for annotation, song in songs:
        assert annotation.id == song.id
        assert annotation.leads["stem"].min() >= 1
        assert annotation.leads["stem"].max() <= len(song.stems)


@study.needs_study
@pytest.mark.filterwarnings("ignore:EthanHein_GirlOnABridge")
def test_statistics_are_the_authors():
    found = statistics(read_songs(study.FOLDER, study.MEDLEYDB))
    # The histogram of files per clip that the authors publish.
    assert found["channels"] == {
        2: 51, 3: 925, 4: 178, 5: 1334, 6: 1001, 7: 291, 8: 628, 9: 902, 10: 409, 11: 955, 12: 415, 13: 180, 14: 223,
        16: 267, 18: 6, 19: 10, 27: 250,
    }  # fmt: skip
    assert found["switches"] == {0: 6661, 1: 1204, 2: 134, 3: 22, 4: 4}
    assert {split: round(100 * share, 2) for split, share in found["unlabelled"].items()} == {
        "train": 0.33, "validation": 0.32, "test": 0.40
    }  # fmt: skip
    assert (found["songs"], found["leads"], round(found["hours"], 2)) == (109, 806, 5.64)
    assert found["clips"] == {"train": 5981, "validation": 819, "test": 1225}
    hours = {name: round(value, 2) for name, value in found["lead_hours"].items()}
    assert list(hours)[:6] == ["vocal", "electric_guitar", "string", "keyboards", "accordion", "mandolin"]
    assert [hours[name] for name in ("vocal", "electric_guitar", "string", "keyboards")] == [2.22, 0.80, 0.52, 0.43]
    assert len(hours) == 25


@study.needs_study
def test_two_songs_are_known_in_part_and_no_gap_is_left_in_any():
    stretches = {song.id: annotated(song.leads) for song in read_annotations(study.FOLDER)}
    assert all(len(stretch) == 1 for stretch in stretches.values())
    assert stretches["AlexanderRoss_GoodbyeBolero"] == ((366.722, 413.98),)
    assert stretches["LizNelson_Rainfall"] == ((191.288, 284.275),)
