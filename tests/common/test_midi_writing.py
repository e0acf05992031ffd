"""Writing MIDI: what is written must come back, from our reader, from mido and from pretty_midi."""

from fractions import Fraction

import mido
import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.instruments import PROGRAM_NAMES
from common.midi import MidiError, read_midi, read_midi_tracks, write_midi
from common.notes import COLUMNS, Notes


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A path to write to, again and again."""
    return tmp_path_factory.mktemp("midi") / "song.mid"


@st.composite
def pieces(draw) -> Notes:
    """Notes of up to five tracks, one program each, that overlap and repeat: few pitches, few moments."""
    tracks = draw(st.lists(st.tuples(st.booleans(), st.integers(0, 127)), min_size=1, max_size=5))
    moments = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 1.0002, 1.5]), st.floats(0.0, 30.0))
    table = []
    for track, (is_drum, number) in enumerate(tracks):
        for _ in range(draw(st.integers(1, 8))):
            onset = draw(moments)
            duration = draw(st.one_of(st.sampled_from([0.5, 1e-4, 1.0]), st.floats(1e-3, 10.0)))
            pitch, velocity = draw(st.sampled_from([36, 60, 61, 127])), draw(st.integers(1, 127))
            table.append((onset, onset + duration, pitch, velocity, number, is_drum, track))
    return Notes.build(*np.array(draw(st.permutations(table))).T)


def rows(notes: Notes, ticks: np.ndarray) -> list[tuple]:
    """(track, drum, pitch, start, end, velocity, program) of each note, sorted."""
    columns = (notes.track, notes.is_drum, notes.pitch, *ticks.T, notes.velocity, notes.program)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def expected_rows(notes: Notes, rate: Fraction) -> list[tuple]:
    """What a MIDI file holds of notes, found note by note: on each key and tick the longest, until the next."""
    ticks = [[round(Fraction(time) * rate) for time in interval] for interval in notes.intervals.tolist()]
    longest = {}
    for *key, start, end, velocity, number in zip(
        notes.track, notes.is_drum, notes.pitch, *zip(*ticks, strict=True), notes.velocity, notes.program, strict=True
    ):
        end = max(end, start + 1)
        if end >= longest.get((*key, start), [0])[0]:
            longest[*key, start] = (end, velocity, number)
    cut = []
    for (*key, start), (end, *rest) in longest.items():
        following = [next_start for *other, next_start in longest if other == key and next_start > start]
        cut.append((*key, start, min([end, *following]), *rest))
    return sorted(cut)


@settings(deadline=None, max_examples=80)
@given(notes=pieces(), bpm=st.sampled_from([120.0, 60.0, 97.3, 240.0]))
def test_what_is_written_is_read_back(song, notes, bpm):
    write_midi(song, notes, tempo=bpm)
    back = read_midi(song)
    rate = Fraction(960 * 10**6, round(60e6 / bpm))
    ticks = np.rint(back.intervals * float(rate)).astype(int)
    np.testing.assert_allclose(back.intervals, ticks / float(rate), rtol=1e-14)
    assert rows(back, ticks) == expected_rows(notes, rate)


@settings(deadline=None, max_examples=60)
@given(notes=pieces(), bpm=st.floats(31.25, 500.0))
def test_times_move_by_half_a_tick_at_most_and_nothing_else_moves(song, notes, bpm):
    # Apart by more than rounding, each pitch for itself: nothing to cut.
    order = np.arange(len(notes))
    notes = notes.replace(onset=order * 0.4 + notes.onset / 100, offset=order * 0.4 + notes.onset / 100 + 0.05)
    write_midi(song, notes, tempo=bpm)
    back = read_midi(song)
    half_tick = 60 / bpm / 960 / 2 * (1 + 1e-5)  # the tempo is rounded to microseconds a beat
    assert half_tick <= 1.01e-3
    np.testing.assert_allclose(back.intervals, notes.sort().intervals, rtol=0, atol=half_tick)
    for name in COLUMNS[2:]:
        np.testing.assert_array_equal(back.table[name], notes.sort().table[name])


def test_ends_come_before_the_starts_of_their_tick(song):
    write_midi(song, Notes.build([0.0, 0.5, 0.5], [0.5, 1.0, 1.0], [60, 60, 40]))
    events = [message for message in mido.MidiFile(song).tracks[1] if message.type == "note_on"]
    assert [(m.time, m.note, m.velocity > 0) for m in events] == [
        (0, 60, True),
        (960, 60, False),
        (0, 40, True),
        (0, 60, True),
        (960, 40, False),
        (0, 60, False),
    ]


@settings(deadline=None, max_examples=30)
@given(notes=pieces())
def test_written_twice_is_the_same_to_the_byte(song, notes):
    write_midi(song, notes)
    first = song.read_bytes()
    write_midi(song, read_midi(song))
    assert song.read_bytes() == first


@settings(deadline=None, max_examples=30)
@given(notes=pieces())
def test_pretty_midi_reads_what_we_write(song, notes):
    write_midi(song, notes)
    ours = read_midi(song)
    theirs = pretty_midi.PrettyMIDI(str(song)).instruments
    assert len(theirs) == ours.track.max() + 1
    for track, instrument in enumerate(theirs):
        mine = ours[ours.track == track]
        assert {(instrument.program, instrument.is_drum)} == set(zip(mine.program, mine.is_drum, strict=True))
        assert instrument.name == ("Drums" if instrument.is_drum else PROGRAM_NAMES[instrument.program])
        read = sorted((n.start, n.pitch, n.end, n.velocity) for n in instrument.notes)
        np.testing.assert_allclose(
            np.stack([mine.onset, mine.pitch, mine.offset, mine.velocity], axis=1), np.reshape(read, (-1, 4)), atol=1e-9
        )


def test_we_read_what_pretty_midi_writes(song):
    rng = np.random.default_rng(0)
    piece = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=93.0)
    for number, is_drum in ((0, False), (48, False), (0, True), (73, False)):
        instrument = pretty_midi.Instrument(number, is_drum)
        starts = np.cumsum(rng.uniform(0.01, 0.5, 50))
        for start, pitch, velocity in zip(starts, np.tile(np.arange(40, 90), 1), rng.integers(1, 128, 50), strict=True):
            instrument.notes.append(pretty_midi.Note(int(velocity), int(pitch), start, start + rng.uniform(0.01, 2.0)))
        piece.instruments.append(instrument)
    piece.write(str(song))
    ours, theirs = read_midi(song), pretty_midi.PrettyMIDI(str(song))
    assert len(ours) == 200
    for track, instrument in enumerate(theirs.instruments):
        mine = ours[ours.track == track]
        assert set(mine.program) == {instrument.program}
        assert set(mine.is_drum) == {instrument.is_drum}
        read = [(n.start, n.end, n.pitch, n.velocity) for n in sorted(instrument.notes, key=lambda n: n.start)]
        np.testing.assert_allclose(
            np.stack([mine.onset, mine.offset, mine.pitch, mine.velocity], axis=1), read, atol=1e-9
        )


def test_an_hour_is_not_too_long_for_pretty_midi(song):
    write_midi(song, Notes.build(3600.0, 3601.0, 60))
    note = pretty_midi.PrettyMIDI(str(song)).instruments[0].notes[0]
    assert (note.start, note.end) == pytest.approx((3600.0, 3601.0), abs=1e-6)


def test_the_tempo_is_written_and_moves_nothing(song):
    notes = Notes.build([0.0, 1.0], [0.5, 1.75], [60, 62])
    for bpm in (60.0, 120.0, 240.0):
        write_midi(song, notes, tempo=bpm)
        assert read_midi(song) == notes
        assert pretty_midi.PrettyMIDI(str(song)).get_tempo_changes()[1].tolist() == [bpm]


def test_no_notes_make_a_file_without_notes(song):
    write_midi(song, Notes.empty())
    assert read_midi(song) == Notes.empty()
    assert pretty_midi.PrettyMIDI(str(song)).instruments == []


def test_names_replace_those_of_the_programs(song):
    write_midi(song, Notes.build([0, 0, 0], 1.0, 60, program=[40, 41, 42], track=[3, 5, 7]), names={5: "Ольга <b>"})
    assert [track.name for track in mido.MidiFile(song, charset="utf-8").tracks] == ["", "Violin", "Ольга <b>", "Cello"]


def test_a_track_of_several_programs_becomes_several_tracks(song):
    write_midi(song, Notes.build([0, 1, 2, 3], [1, 2, 3, 4], 60, program=[5, 0, 5, 0], is_drum=[0, 0, 0, 1], track=2))
    back = read_midi(song)
    assert back.program.tolist() == [5, 0, 5, 0]
    assert back.is_drum.tolist() == [False, False, False, True]
    assert back.track.tolist() == [1, 0, 1, 2]


def channels(path) -> list[set[int]]:
    """The channels of the notes of each track but the first."""
    return [{m.channel for m in track if m.type == "note_on"} for track in mido.MidiFile(path).tracks[1:]]


def many(n_tracks, programs) -> Notes:
    """A note in each of many tracks, the last of them drums."""
    index = np.arange(n_tracks + 1)
    return Notes.build(
        index, index + 1.0, 60, program=np.resize(programs, n_tracks + 1), is_drum=index == n_tracks, track=index
    )


def test_fifteen_tracks_have_channels_of_their_own(song):
    write_midi(song, many(15, [7]))
    assert channels(song) == [{c} for c in (*range(9), *range(10, 16), 9)]


def test_more_tracks_share_a_channel_by_program(song):
    write_midi(song, many(40, [0, 30]))
    assert channels(song) == [{0}, {1}] * 20 + [{9}]


def test_more_programs_than_channels_use_them_again_and_are_still_told_apart(song):
    notes = many(60, np.arange(60))
    write_midi(song, notes)
    assert set.union(*channels(song)[:-1]) == set(range(16)) - {9}
    assert read_midi(song) == notes


def test_time_before_zero_and_notes_without_length_are_cut(song):
    write_midi(song, Notes.build([-1, -2, 1, 2], [1, -1, 1, 1.5], [60, 61, 62, 63]))
    assert read_midi(song) == Notes.build(0.0, 1.0, 60)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("onset", np.nan, "not finite"),
        ("offset", np.inf, "not finite"),
        ("pitch", -1, "pitch"),
        ("pitch", 128, "pitch"),
        ("velocity", 0, "velocity"),
        ("velocity", 128, "velocity"),
        ("program", 128, "program"),
        ("offset", 2e5, "split"),
    ],
)
def test_notes_that_midi_cannot_hold_are_refused_before_anything_is_written(tmp_path, column, value, words):
    notes = Notes.build([0, 1], [1, 2], 60)
    notes.table[column][1] = value
    with pytest.raises(MidiError, match=rf"song\.mid.*{words}"):
        write_midi(tmp_path / "song.mid", notes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bpm", [0.0, -1.0, 3.0, 1e4, float("nan")])
def test_tempi_that_midi_cannot_hold_are_refused(tmp_path, bpm):
    with pytest.raises(MidiError, match=r"song\.mid.*bpm"):
        write_midi(tmp_path / "song.mid", Notes.empty(), tempo=bpm)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    def full_disk(midi, filename):
        filename.write_bytes(b"MThd")
        raise OSError("No space left on device")

    path = tmp_path / "song.mid"
    path.write_bytes(b"old")
    monkeypatch.setattr(mido.MidiFile, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_midi(path, Notes.build(0, 1, 60))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_tracks_have_their_names_and_their_notes(tmp_path):
    melody = Notes.build([0.0, 1.0], [0.5, 1.5], [60, 62], program=40)
    bass = Notes.build([0.5], [1.0], 36, program=33, track=1)
    hits = Notes.build([0.25], [0.5], 38, is_drum=True, track=2)
    everything = Notes.concatenate([melody, bass, hits]).sort()
    write_midi(tmp_path / "a.mid", everything, names={0: "MELODY", 1: ""})
    tracks = read_midi_tracks(tmp_path / "a.mid")
    assert [name for name, _ in tracks] == ["MELODY", "", "Drums"]
    columns = ["onset", "offset", "pitch", "program", "is_drum"]
    for (_, notes), expected in zip(tracks, (melody, bass, hits), strict=True):
        assert notes.table[columns].tolist() == expected.table[columns].tolist()
    together = Notes.concatenate(notes.replace(track=i) for i, (_, notes) in enumerate(tracks))
    assert together.sort() == read_midi(tmp_path / "a.mid")
