"""Reading MIDI: hand-made files against hand-computed notes, exact fractions and pretty_midi; broken files."""

import random
import struct
from fractions import Fraction

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.midi import MidiError, read_midi
from common.notes import Notes

TICKS_PER_SECOND = 1920  # 960 to the beat at 120 bpm


def variable(number: int) -> bytes:
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))


def smf(*tracks, division=480, kind=1, n_tracks=None) -> bytes:
    """A MIDI file from tracks of (tick, event bytes)."""
    header = struct.pack(">4sIHHH", b"MThd", 6, kind, len(tracks) if n_tracks is None else n_tracks, division & 0xFFFF)
    chunks = []
    for track in tracks:
        ticks = [0, *(tick for tick, _ in track)]
        body = b"".join(variable(tick - before) + event for before, (tick, event) in zip(ticks, track, strict=False))
        body += b"" if track and track[-1][1] == END else b"\x00" + END
        chunks.append(struct.pack(">4sI", b"MTrk", len(body)) + body)
    return header + b"".join(chunks)


END = b"\xff\x2f\x00"


def on(pitch, velocity=100, channel=0):
    return bytes([0x90 | channel, pitch, velocity])


def off(pitch, channel=0):
    return bytes([0x80 | channel, pitch, 64])


def program(number, channel=0):
    return bytes([0xC0 | channel, number])


def pedal(value, channel=0):
    return bytes([0xB0 | channel, 64, value])


def tempo(microseconds_per_beat):
    return b"\xff\x51\x03" + microseconds_per_beat.to_bytes(3, "big")


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A path to write to, again and again."""
    return tmp_path_factory.mktemp("midi") / "song.mid"


@pytest.fixture(scope="module")
def read(song):
    """bytes of a MIDI file, options -> what read_midi makes of them."""

    def read_bytes(data: bytes, **options) -> Notes:
        song.write_bytes(data)
        return read_midi(song, **options)

    return read_bytes


def spans(notes: Notes) -> list[tuple]:
    return list(zip(notes.pitch.tolist(), notes.onset.tolist(), notes.offset.tolist(), strict=True))


# Reading. At 480 ticks to the beat and 120 bpm, 960 ticks are a second.


def test_a_note_is_read_with_all_it_has(read):
    notes = read(smf([(0, program(41, 3)), (240, on(60, 77, 3)), (960, off(60, 3))]))
    assert notes == Notes.build(0.25, 1.0, 60, velocity=77, program=41, track=0)


def test_note_on_without_velocity_is_a_note_off(read):
    assert spans(read(smf([(0, on(60)), (480, on(60, 0))]))) == [(60, 0.0, 0.5)]


def test_running_status_of_a_file_that_leaves_status_bytes_out(read):
    body = [(0, on(60)), (0, bytes([64, 100])), (480, bytes([60, 0])), (960, bytes([64, 0]))]
    assert spans(read(smf(body))) == [(60, 0.0, 0.5), (64, 0.0, 1.0)]


def test_a_repeated_onset_ends_the_earlier_note(read):
    notes = read(smf([(0, on(60, 10)), (480, on(60, 20)), (960, off(60)), (1440, off(60))]))
    assert spans(notes) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]
    assert notes.velocity.tolist() == [10, 20]


def test_an_onset_written_before_the_end_it_meets_survives(read):
    body = [(0, on(60)), (480, on(60)), (480, off(60)), (960, off(60))]
    assert spans(read(smf(body))) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]
    # A second end in that tick leaves the new note without length.
    assert spans(read(smf([*body[:3], (480, off(60)), (960, END)]))) == [(60, 0.0, 0.5)]


def test_notes_that_are_never_let_go_end_with_their_track(read):
    notes = read(smf([(0, on(60)), (1920, END)], [(0, on(62)), (9600, END)]))
    assert spans(notes) == [(60, 0.0, 2.0), (62, 0.0, 10.0)]


def test_notes_without_length_and_stray_ends_are_left_out(read):
    body = [(0, off(70)), (0, on(60)), (0, off(60)), (480, on(62)), (960, off(62)), (960, off(62))]
    assert spans(read(smf(body))) == [(62, 0.5, 1.0)]


def test_format_0_and_1_give_the_same_notes(read):
    first = [(0, program(40, 0)), (0, on(60)), (960, off(60))]
    second = [(0, program(32, 1)), (240, on(40, channel=1)), (720, off(40, channel=1))]
    joined = sorted(first + second, key=lambda event: event[0])
    assert read(smf(first, second)) == read(smf(joined, kind=0))


def test_tracks_are_those_with_notes_by_midi_track_channel_and_program(read):
    conductor = [(0, tempo(500_000))]
    changing = [
        (0, on(60, channel=5)), (10, off(60, channel=5)), (10, program(7, 5)),
        (20, on(61, channel=5)), (30, off(61, channel=5)), (30, on(62, channel=2)), (40, off(62, channel=2)),
    ]  # fmt: skip
    drums = [(0, program(99, 9)), (50, on(36, channel=9)), (60, off(36, channel=9))]
    silent = [(0, program(12, 4))]
    notes = read(smf(conductor, changing, silent, drums))
    assert notes.pitch.tolist() == [60, 61, 62, 36]
    assert notes.program.tolist() == [0, 7, 0, 99]
    assert notes.is_drum.tolist() == [False, False, False, True]
    assert notes.track.tolist() == [1, 2, 0, 3]


def test_a_program_change_does_not_touch_the_note_that_sounds(read):
    assert read(smf([(0, on(60)), (100, program(5)), (200, off(60))])).program.tolist() == [0]


# Tempo


def test_tempo_changes_of_any_track_move_all(read):
    # 960 ticks at 120 bpm: 1 s. Then 60 bpm: 480 ticks a second. Then 240 bpm: 1,920.
    notes = read(
        smf(
            [(0, on(60)), (960, off(60)), (960, on(62)), (1440, off(62)), (1440, on(64)), (3360, off(64))],
            [(960, tempo(1_000_000)), (1440, tempo(250_000))],
        )
    )
    assert spans(notes) == [(60, 0.0, 1.0), (62, 1.0, 2.0), (64, 2.0, 3.0)]


def test_of_two_tempi_in_one_tick_the_later_holds(read):
    assert spans(read(smf([(0, tempo(100)), (0, tempo(1_000_000)), (0, on(60)), (480, off(60))]))) == [(60, 0, 1)]


@settings(deadline=None, max_examples=60)
@given(
    division=st.integers(1, 32767),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 2**24 - 1)), max_size=8, unique_by=lambda c: c[0]),
    ticks=st.lists(st.integers(0, 6000), min_size=2, max_size=2, unique=True),
)
def test_seconds_are_exact_under_any_tempo_map(read, division, changes, ticks):
    start, end = sorted(ticks)
    conductor = [(tick, tempo(microseconds)) for tick, microseconds in sorted(changes)]

    def seconds(tick):
        time, beat, last = Fraction(0), 500_000, 0
        for at, next_beat in sorted(changes):
            if at <= tick:
                time, beat, last = time + Fraction(beat * (at - last), division * 10**6), next_beat, at
        return float(time + Fraction(beat * (tick - last), division * 10**6))

    notes = read(smf(conductor, [(start, on(60)), (end, off(60))], division=division))
    np.testing.assert_allclose(notes.intervals, [[seconds(start), seconds(end)]], rtol=1e-15)


# The sustain pedal


STRIKE = [(0, on(60)), (240, off(60))]
HELD = {
    "until it is up": ([(0, pedal(127)), *STRIKE, (960, pedal(0))], [(60, 0.0, 1.0)]),
    "only what is let go while it is down": ([*STRIKE, (240, pedal(127)), (960, pedal(0))], [(60, 0.0, 0.25)]),
    "what was struck before it": ([(0, on(60)), (120, pedal(127)), (240, off(60)), (960, pedal(0))], [(60, 0.0, 1.0)]),
    "not what is down when it is up": ([(0, pedal(127)), (0, on(60)), (9, pedal(0)), (960, off(60))], [(60, 0.0, 1.0)]),
    "until the pitch starts again": (
        [(0, pedal(127)), *STRIKE, (480, on(60)), (720, off(60)), (960, pedal(0))],
        [(60, 0.0, 0.5), (60, 0.5, 1.0)],
    ),
    "from 64 on": ([(0, pedal(64)), *STRIKE, (960, pedal(63))], [(60, 0.0, 1.0)]),
    "not below 64": ([(0, pedal(63)), *STRIKE, (960, pedal(0))], [(60, 0.0, 0.25)]),
    "to the end of the track": ([(0, pedal(127)), *STRIKE, (1920, END)], [(60, 0.0, 2.0)]),
    "its own channel": ([(0, pedal(127, 1)), *STRIKE, (960, pedal(0, 1))], [(60, 0.0, 0.25)]),
    "though that of another channel is up": (
        [(0, pedal(127)), (0, pedal(127, 1)), *STRIKE, (480, pedal(0, 1)), (960, pedal(0))],
        [(60, 0.0, 1.0)],
    ),
    "no drums": (
        [(0, pedal(127, 9)), (0, on(36, channel=9)), (240, off(36, 9)), (960, pedal(0, 9))],
        [(36, 0.0, 0.25)],
    ),
}


@pytest.mark.parametrize(("events", "expected"), HELD.values(), ids=HELD.keys())
def test_the_pedal_holds(read, events, expected):
    assert spans(read(smf(events))) == expected


def test_the_pedal_can_be_left_out(read):
    body = [(0, pedal(127)), (0, on(60)), (240, off(60)), (960, pedal(0))]
    assert spans(read(smf(body), sustain=False)) == [(60, 0.0, 0.25)]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_pedal_holds_what_pretty_midi_says_it_should(read, song, data):
    # Every event has a tick of its own, so that nothing depends on an order within a tick.
    ticks = iter(data.draw(st.lists(st.integers(0, 4000), min_size=60, max_size=60, unique=True)).copy())
    events = [(next(ticks), pedal(data.draw(st.sampled_from([0, 63, 64, 127])))) for _ in range(10)]
    for pitch in (60, 64):
        times = sorted(next(ticks) for _ in range(data.draw(st.sampled_from([2, 8, 20]))))
        events += [(tick, off(pitch) if index % 2 else on(pitch)) for index, tick in enumerate(times)]
    notes = read(smf(sorted(events), [(0, END)]))

    instrument = pretty_midi.PrettyMIDI(str(song)).instruments[0]
    pedals = [change for change in instrument.control_changes if change.number == 64]
    end_of_track = max(tick for tick, _ in events) / 960
    expected = []
    for note in instrument.notes:
        is_down = [change.value >= 64 for change in sorted(pedals, key=lambda c: c.time) if change.time < note.end]
        ups = [change.time for change in pedals if change.time > note.end and change.value < 64]
        again = [other.start for other in instrument.notes if other.pitch == note.pitch and other.start > note.start]
        end = min([*ups, *again, end_of_track]) if is_down and is_down[-1] else note.end
        expected.append((note.pitch, note.start, end))
    by_onset = sorted(expected, key=lambda span: span[1])
    np.testing.assert_allclose(spans(notes), by_onset, atol=1e-9)


# Broken files

GOOD = smf([(0, tempo(600_000))], [(0, program(40)), (0, pedal(127)), (0, on(60)), (480, off(60)), (960, pedal(0))])


def refused(path) -> str:
    """The message of the error; one line that names the file and tells what to do."""
    with pytest.raises(MidiError) as caught:
        read_midi(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert ";" in message
    return message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "EOFError"),
        (b"RIFF" + bytes(100), "not a MIDI file"),
        (GOOD[:-20], "damaged"),
        (GOOD[:16], "damaged"),
        (smf([], division=0), "quarter note"),
        (smf([], division=-(25 << 8) + 40), "quarter note"),
        (smf([], kind=2), "format 2"),
        (smf([], kind=7), "format 7"),
        (smf(), "0 tracks"),
        (smf([], n_tracks=65535), "tracks"),
        (smf([], n_tracks=2), "damaged"),
        (smf(*[[]] * 1025), "1025 tracks"),
        (smf([(0, tempo(0)), (0, on(60)), (480, off(60))]), "tempo of 0"),
        (smf([(0, on(60)), (2**28 - 1, off(60))]), "longer than a day"),
        (smf([(0, on(60)), (2**40, off(60))]), "ticks"),
        (smf([(0, b"\xff\x59\x02\x09\x01")]), "key"),
        (smf([(0, b"\x90\x90\x64")]), "damaged"),
        (smf([(0, b"\xf0\xff\xff\x7f")]), "damaged"),
        (bytes(2**23 + 1), "larger than 8 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_files_are_refused_in_one_line(song, data, words):
    song.write_bytes(data)
    assert words in refused(song)


def test_what_is_not_a_file_is_refused_in_one_line(tmp_path):
    assert "No such file" in refused(tmp_path / "missing.mid")
    assert "directory" in refused(tmp_path)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Bytes with a few of them replaced, put in or taken out."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        gone = rng.randint(0, 2)
        data[at : at + gone] = rng.randbytes(rng.choice([gone, gone, 0, 2]))
    return bytes(data)


def test_mutated_files_give_notes_or_one_line(song):
    rng = random.Random(0)
    tracks = [[(0, program(index, index)), (9, on(60, 90, index)), (99, off(60, index))] for index in range(16)]
    one_track = sorted((event for track in tracks for event in track), key=lambda event: event[0])
    seeds = [GOOD, smf(*tracks), smf(one_track, kind=0)]
    read = 0
    for _ in range(600):
        song.write_bytes(mutate(rng.choice(seeds), rng))
        try:
            notes = read_midi(song)
        except MidiError:
            refused(song)
        else:
            read += 1
            assert np.isfinite(notes.intervals).all()
            assert (notes.offset > notes.onset).all()
            assert ((notes.velocity > 0) & (notes.velocity < 128) & (notes.program < 128)).all()
    assert 50 < read < 550
