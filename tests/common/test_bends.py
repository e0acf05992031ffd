"""Bends in MIDI: written, they come back from mido as they were, and never bend a second note."""

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bends import BEND, wheel
from common.midi import MidiError, read_midi, write_midi
from common.notes import Notes


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A path to write to, again and again."""
    return tmp_path_factory.mktemp("bends") / "song.mid"


def bends(*points) -> np.ndarray:
    return np.array(list(points), BEND)


def moves(path, channel: int = 0) -> list[tuple[float, int]]:
    """Seconds (at 120 bpm) and positions of the wheel of a channel."""
    found = []
    for track in mido.MidiFile(path).tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "pitchwheel" and message.channel == channel:
                found.append((tick / 1920, message.pitch))
    return found


def test_wheel_follows_a_lone_note_and_comes_back():
    tick, position = wheel(np.array([0, 10, 20]), np.array([50.0, -100.0, 300.0]), np.array([0]), np.array([30]))
    assert list(zip(tick, position, strict=True)) == [(0, 2048), (10, -4096), (20, 8191), (30, 0)]


def test_wheel_rests_while_two_notes_sound():
    points = np.arange(0, 60, 10)
    tick, position = wheel(points, np.full(6, 25.0), np.array([0, 15]), np.array([60, 35]))
    assert list(zip(tick, position, strict=True)) == [(0, 1024), (15, 0), (40, 1024), (60, 0)]


def test_wheel_does_not_repeat_itself():
    tick, position = wheel(np.arange(100), np.full(100, 10.2), np.array([0]), np.array([100]))
    assert list(zip(tick, position, strict=True)) == [(0, 410), (100, 0)]
    assert len(wheel(np.arange(100), np.full(100, 0.4), np.array([0]), np.array([100]))[0]) == 0


def test_written_bends_are_read_by_mido(song):
    notes = Notes.build([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [60, 62, 62])
    write_midi(song, notes, bends=bends((0, 0.25, 100.0), (1, 1.0, -50.0), (2, 2.5, 50.0)))
    # The wheel is back before a note ends, and where the next one wants it before that starts.
    assert moves(song) == [(0.25, 4096), (1.0, 0), (1.0, -2048), (2.0, 0), (2.5, 2048), (3.0, 0)]
    track = mido.MidiFile(song).tracks[1]
    settings = [(m.control, m.value) for m in track if m.type == "control_change"]
    assert settings == [(101, 0), (100, 0), (6, 2), (38, 0), (101, 127), (100, 127)]
    assert read_midi(song) == notes


def test_bends_of_notes_that_are_not_written_are_not_either(song):
    notes = Notes.build([-1.0, 0.0, 1.0], [-0.5, 0.0, 2.0], [60, 61, 62])
    write_midi(song, notes, bends=bends((0, -0.75, 10.0), (1, 0.0, 20.0), (2, 1.0, 100.0), (2, 5.0, 30.0)))
    assert moves(song) == [(1.0, 4096), (2.0, 0)]


def test_tracks_of_one_channel_do_not_bend_each_other(song):
    """Seventeen instruments have fifteen channels; those of one program share one."""
    notes = Notes.build(np.zeros(17), np.ones(17), 60, program=np.arange(17) // 2, track=np.arange(17))
    write_midi(song, notes, bends=bends(*((i, 0.5, 50.0) for i in range(17))))
    assert [len(moves(song, channel)) for channel in range(9)] == [0] * 8 + [2]


def test_without_bends_not_a_byte_changes(song):
    notes = Notes.build([0.0, 0.5], [1.0, 2.0], [60, 62])
    write_midi(song, notes)
    plain = song.read_bytes()
    write_midi(song, notes, bends=bends())
    assert song.read_bytes() == plain
    write_midi(song, notes, bends=bends((0, 0.7, 50.0)))  # two notes sound
    assert song.read_bytes() == plain


@pytest.mark.parametrize("point", [(0, np.nan, 1.0), (0, 0.0, np.inf), (1, 0.0, 1.0), (-1, 0.0, 1.0)])
def test_what_is_no_bend_is_refused(point, song):
    with pytest.raises(MidiError, match="bend"):
        write_midi(song, Notes.build([0.0], [1.0], [60]), bends=bends(point))


@st.composite
def bent_pieces(draw) -> tuple[Notes, np.ndarray]:
    moment = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.0, 5.0))
    starts = draw(st.lists(moment, min_size=1, max_size=8))
    columns = ([draw(st.sampled_from(values)) for _ in starts] for values in ([0.25, 1.0], [60, 61], [0, 1]))
    length, pitch, track = columns
    notes = Notes.build(starts, np.add(starts, length), pitch, track=track)
    point = st.tuples(st.integers(0, len(starts) - 1), st.floats(-1.0, 7.0), st.floats(-300.0, 300.0))
    return notes, bends(*draw(st.lists(point, max_size=20)))


@given(bent_pieces())
@settings(max_examples=60, deadline=None)
def test_the_wheel_is_at_rest_when_a_note_ends_and_while_two_sound(song, piece):
    notes, points = piece
    write_midi(song, notes)
    plain = read_midi(song)
    write_midi(song, notes, bends=points)
    assert read_midi(song) == plain
    for track in mido.MidiFile(song).tracks:
        position, sounding = 0, set()
        for message in track:
            if message.time:
                assert position == 0 or len(sounding) == 1
            if message.type == "pitchwheel":
                position = message.pitch
            elif message.type == "note_on" and message.velocity == 0:
                assert position == 0
                sounding.remove(message.note)
            elif message.type == "note_on":
                sounding.add(message.note)
        assert position == 0
        assert not sounding
