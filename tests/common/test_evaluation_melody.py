import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.evaluation.melody import contour, melody_scores
from common.notes import Notes

NAMES = {
    "melody_rpa": "Raw Pitch Accuracy",
    "melody_rca": "Raw Chroma Accuracy",
    "melody_oa": "Overall Accuracy",
    "voicing_recall": "Voicing Recall",
    "voicing_false_alarm": "Voicing False Alarm",
}


def sung(*rows: tuple[float, float, int], program: int = 100) -> Notes:
    onset, offset, pitch = np.array(rows, np.float64).reshape(-1, 3).T
    return Notes.build(onset, offset, pitch, program=program)


def oracle(reference: Notes, estimate: Notes, seconds: float) -> dict[str, float]:
    """What mir_eval says of contours that are sampled one frame at a time."""
    time = np.arange(round(seconds * 100)) / 100

    def hz(notes: Notes) -> np.ndarray:
        pitch = np.zeros(len(time))
        for i, t in enumerate(time + 0.005):  # no note on the grid of 10 ms starts or ends in the middle of a frame
            playing = [note for note in notes.sort().table if note["onset"] <= t < note["offset"]]
            pitch[i] = 440.0 * 2.0 ** ((playing[-1]["pitch"] - 69.0) / 12.0) if playing else 0.0
        return pitch

    scores = mir_eval.melody.evaluate(time, hz(reference), time, hz(estimate))
    return {name: scores[theirs] for name, theirs in NAMES.items()}


@st.composite
def melodies(draw) -> Notes:
    n_notes = draw(st.integers(0, 6))
    start = draw(st.lists(st.integers(0, 90), min_size=n_notes, max_size=n_notes, unique=True))
    length = draw(st.lists(st.integers(1, 40), min_size=n_notes, max_size=n_notes))
    pitch = draw(st.lists(st.sampled_from([50, 60, 61, 62, 72, 74]), min_size=n_notes, max_size=n_notes))
    onset = np.array(start) / 100
    return Notes.build(onset, onset + np.array(length) / 100, pitch, program=100).sort()


@pytest.mark.filterwarnings("ignore:.*has no voiced frames")
@settings(max_examples=100, deadline=None)
@given(melodies(), melodies())
def test_scores_are_those_of_mir_eval(reference, estimate):
    scores = melody_scores(reference, estimate, 1.4)
    expected = oracle(reference, estimate, 1.4)
    assert {name: scores[name] for name in NAMES} == pytest.approx(expected, abs=1e-9)


def test_a_case_by_hand():
    reference = sung((0.0, 0.5, 60), (0.5, 1.0, 62))
    estimate = sung((0.0, 0.25, 60), (0.5, 0.75, 74), (0.75, 1.5, 63))
    scores = melody_scores(reference, estimate, 2.0)
    assert scores == pytest.approx(
        {
            "melody_rpa": 0.25,
            "melody_rca": 0.5,
            "melody_oa": 0.375,  # 25 frames right and 50 silent of 200
            "voicing_recall": 0.75,
            "voicing_false_alarm": 0.5,
            "n_frames": 100,
        }
    )


def test_only_singing_counts():
    others = [sung((0.0, 1.0, 60), program=program) for program in (52, 99, 102)]
    assert np.isnan(contour(Notes.concatenate(others), 100)).all()
    assert np.isnan(contour(sung((0.0, 1.0, 60)).replace(is_drum=True), 100)).all()
    assert (contour(sung((0.0, 1.0, 60), program=101), 100) == 60).all()


def test_the_later_of_two_notes_is_the_melody_while_it_lasts():
    line = contour(sung((0.0, 1.0, 60), (0.2, 0.4, 67)), 100)
    assert [line[frame] for frame in (10, 30, 50)] == [60, 67, 60]


def test_without_a_note_there_are_no_frames_unless_the_recording_has_some():
    nothing = sung()
    assert set(melody_scores(nothing, nothing).values()) == {0.0}
    scores = melody_scores(nothing, nothing, 1.0)
    assert (scores["melody_rpa"], scores["melody_oa"], scores["n_frames"]) == (0.0, 1.0, 0)


def test_silence_counts_as_far_as_the_recording_goes():
    melody = sung((0.0, 1.0, 60))
    wrong = sung((0.0, 1.0, 61))
    assert melody_scores(melody, wrong)["melody_oa"] == 0.0
    assert melody_scores(melody, wrong, 4.0)["melody_oa"] == 0.75
