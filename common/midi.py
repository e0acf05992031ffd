"""Notes <-> Standard MIDI File."""

import io
from collections.abc import Mapping
from pathlib import Path

import mido
import numpy as np

from common.bends import BEND, CENTRE, RANGE_SEMITONES, wheel
from common.instruments import PROGRAM_NAMES
from common.notes import Notes
from common.storage import replacing

DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
SUSTAIN = 64  # controller; the pedal is down from the value 64 on

# What sequencers count in themselves. At 120 bpm half a tick is 0.26 ms (below 1 ms from 32 bpm on), and an hour stays
# under the ten million ticks beyond which pretty_midi refuses a file.
TICKS_PER_BEAT = 960

# Limits of what is read, far above music; the number of notes is bounded by the bytes.
MAX_BYTES = 2**23
MAX_TRACKS = 1024
MAX_SECONDS = 24 * 3600.0
MAX_TICKS = 2**31
# The format's own limit for the time between two events.
MAX_DELTA = 2**28 - 1


class MidiError(ValueError):
    """A file that cannot be read as MIDI, or notes that cannot be written; one line with the file and the remedy."""


def read_midi(path: str | Path, sustain: bool = True) -> Notes:
    """The notes of a Standard MIDI File of format 0 or 1, sorted, in seconds.

    A note ends at its note-off, at the next onset of its pitch in its track and channel, or with its track. Notes
    without length are dropped. `track` counts the (MIDI track, channel, program) that have notes, channel 10 is drums.

    Args:
        path: the file.
        sustain: whether the pedal holds notes that are let go, until it is up or their pitch starts again. It does not
            hold drums.

    Raises:
        MidiError: no such file, not MIDI, damaged, or beyond the limits above.
    """
    midi = _parse(path)
    rows = [(index, *row) for index, track in enumerate(midi.tracks) for row in _rows(track, sustain)]
    return _notes(midi, rows, path)


def read_midi_tracks(path: str | Path, sustain: bool = True) -> list[tuple[str, Notes]]:
    """The name and the notes of each MIDI track that has notes, otherwise as `read_midi`.

    A track without a name has an empty one. Names are decoded as Latin-1, which the format does not say.
    """
    midi = _parse(path)
    tracks = []
    for index, track in enumerate(midi.tracks):
        name = next((message.name for message in track if message.type == "track_name"), "")
        notes = _notes(midi, [(index, *row) for row in _rows(track, sustain)], path)
        tracks += [(name, notes)] if len(notes) else []
    return tracks


def _notes(midi: mido.MidiFile, rows: list[tuple], path: str | Path) -> Notes:
    """Notes of rows (index of the MIDI track, *row of `_rows`), sorted."""
    midi_track, start, end, pitch, velocity, program, channel = np.array(rows, np.int64).reshape(-1, 7).T
    onset, offset = _seconds(midi, start), _seconds(midi, end)
    if offset.max(initial=0.0) > MAX_SECONDS:
        raise MidiError(f"{path}: lasts longer than a day, its tempo or its times are damaged; export it again")
    sounding = offset > onset
    part = (midi_track * 16 + channel) * 128 + program
    track = np.unique(part[sounding], return_inverse=True)[1]
    columns = (onset, offset, pitch, velocity, program, channel == DRUM_CHANNEL)
    return Notes.build(*(column[sounding] for column in columns), track=track).sort()


def write_midi(
    path: str | Path,
    notes: Notes,
    tempo: float = 120.0,
    names: Mapping[int, str] | None = None,
    bends: np.ndarray | None = None,
) -> None:
    """Write notes as format 1: a track with the tempo, then one for each `track`, drums on channel 10.

    What a MIDI track cannot hold is changed as in `Notes.without_overlaps`: a note ends where its pitch starts again,
    and without length it is dropped. What lies before 0 s is cut. A `track` with several programs, or with drums and
    others, becomes several. Up to 15 melodic tracks have their own channel; more share one channel for each program,
    and from the sixteenth program on channels are used again.

    Args:
        path: the file, written whole or not at all; its folders are made.
        notes: times in seconds, rounded to ticks: TICKS_PER_BEAT to the beat.
        tempo: beats per minute. It moves no note, it only lays the grid of beats that a sequencer shows.
        names: `track` -> name, for those that shall not be called by their General MIDI program.
        bends: (point,) BEND, how the pitches of the notes move; none: they stand still. Written where one note of a
            channel sounds alone, see `common.bends.wheel`.

    Raises:
        MidiError: a value that MIDI has no room for.
    """
    if not 4 <= tempo <= 1000:
        raise MidiError(f"{path}: a tempo of {tempo} bpm; choose one from 4 to 1000")
    _check(notes, path)
    microseconds_per_beat = round(60e6 / tempo)
    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT, charset="utf-8")
    midi.add_track().append(mido.MetaMessage("set_tempo", tempo=microseconds_per_beat))

    heard = notes.offset > np.maximum(notes.onset, 0.0)
    bends = _checked_bends(bends, heard, path)
    notes = notes[heard].crop(0.0, np.inf)
    _, first, part = np.unique(
        [notes.track, notes.is_drum, notes.program], axis=1, return_index=True, return_inverse=True
    )
    parts = notes[first]
    # From here on times are whole ticks, so that what overlaps is judged after the rounding.
    rate = 1e6 * TICKS_PER_BEAT / microseconds_per_beat  # ticks per second
    start, end = np.rint(notes.intervals.T * rate)
    if end.max(initial=0.0) > MAX_DELTA:
        raise MidiError(f"{path}: notes end at {notes.end:.0f} s; split them, or choose a slower tempo than {tempo}")
    part = part.reshape(-1)
    ticks = notes.replace(onset=start, offset=np.maximum(end, start + 1), track=part).without_overlaps()
    turn = np.rint(bends["seconds"] * rate)  # of the wheel
    inside = (turn >= start[bends["note"]]) & (turn < end[bends["note"]])

    channels = np.array(_channels(parts), np.int64)
    for index, (head, channel) in enumerate(zip(parts.table, channels.tolist(), strict=True)):
        name = "Drums" if head["is_drum"] else PROGRAM_NAMES[head["program"]]
        track = midi.add_track((names or {}).get(int(head["track"]), name))
        track.append(mido.Message("program_change", channel=channel, program=int(head["program"])))
        mine = inside & (part[bends["note"]] == index)
        company = ticks[channels[ticks.track] == channel]
        moves = wheel(turn[mine], bends["cents"][mine], company.onset, company.offset)
        track.extend(_bend_range(channel) if len(moves[0]) else [])
        track.extend(_messages(ticks[ticks.track == index], channel, *moves))
    with replacing(path) as temporary:
        midi.save(temporary)


def _parse(path: str | Path) -> mido.MidiFile:
    """The messages of a file that is within the limits."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MidiError(f"{path}: {error.strerror}; give the path of a MIDI file") from error
    if len(data) > MAX_BYTES:
        raise MidiError(f"{path}: larger than {MAX_BYTES >> 20} MiB; split it")
    try:
        midi = mido.MidiFile(file=io.BytesIO(data))
    # mido lets what it stumbles over through: EOFError, OSError, ValueError, IndexError, KeyError, its own Exceptions.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise MidiError(f"{path}: not a MIDI file, or a damaged one ({reason}); export it again") from error
    faults = {
        f"is of format {midi.type}; export it as format 0 or 1": midi.type not in (0, 1),
        "counts time in frames or not at all; export it with ticks per quarter note": midi.ticks_per_beat < 1,
        f"has {len(midi.tracks)} tracks; export it with 1 to {MAX_TRACKS}": not 1 <= len(midi.tracks) <= MAX_TRACKS,
        "has a tempo of 0; export it again": any(
            message.type == "set_tempo" and message.tempo == 0 for track in midi.tracks for message in track
        ),
        f"has more than {MAX_TICKS} ticks, its times are damaged; export it again": any(
            sum(message.time for message in track) > MAX_TICKS for track in midi.tracks
        ),
    }
    for fault, present in faults.items():
        if present:
            raise MidiError(f"{path}: {fault}")
    return midi


def _seconds(midi: mido.MidiFile, ticks: np.ndarray) -> np.ndarray:
    """Times of ticks under the tempo changes of all tracks; integers but for the last division."""
    changes = {0: 500_000}  # tick -> microseconds per beat; 120 bpm until something else is said
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                changes[tick] = message.tempo
    at, tempo = np.array(sorted(changes.items()), np.int64).T
    elapsed = np.concatenate([[0], np.cumsum(np.diff(at) * tempo[:-1])])
    segment = np.searchsorted(at, ticks, side="right") - 1
    return (elapsed[segment] + (ticks - at[segment]) * tempo[segment]) / (1_000_000 * midi.ticks_per_beat)


def _rows(track: mido.MidiTrack, sustain: bool) -> list[list[int]]:
    """[start, end, pitch, velocity, program, channel] of each note-on of a track, times in ticks."""
    rows = []
    down, ringing = {}, {}  # (channel, pitch) -> the row of a key that is down, or held by the pedal alone
    cut = {}  # (channel, pitch) -> tick at which a key that was down was struck again
    program, pedal = [0] * 16, [False] * 16
    tick = 0
    for message in track:
        tick += message.time
        if message.type == "program_change":
            program[message.channel] = message.program
        elif message.type == "control_change" and message.control == SUSTAIN:
            pedal[message.channel] = sustain and message.value >= 64 and message.channel != DRUM_CHANNEL
            if not pedal[message.channel]:
                for key in [key for key in ringing if key[0] == message.channel]:
                    ringing.pop(key)[1] = tick
        elif message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if message.type == "note_on" and message.velocity > 0:
                if key in down:
                    down[key][1] = cut[key] = tick
                if key in ringing:
                    ringing.pop(key)[1] = tick
                down[key] = [tick, -1, message.note, message.velocity, program[message.channel], message.channel]
                rows.append(down[key])
            # An off in the tick in which its key was struck again belongs to the earlier note: some write it late.
            elif key in down and cut.pop(key, -1) != tick:
                row = down.pop(key)
                if pedal[message.channel]:
                    ringing[key] = row
                else:
                    row[1] = tick
    for row in (*down.values(), *ringing.values()):
        row[1] = tick
    return rows


def _check(notes: Notes, path: str | Path) -> None:
    """Refuse values that MIDI has no room for."""
    faults = {
        "a time that is not finite": ~np.isfinite(notes.intervals).all(axis=1),
        "a pitch outside 0..127": (notes.pitch < 0) | (notes.pitch > 127),
        "a velocity outside 1..127": (notes.velocity < 1) | (notes.velocity > 127),
        "a program outside 0..127": notes.program > 127,
    }
    for fault, rows in faults.items():
        if rows.any():
            raise MidiError(f"{path}: note {rows.argmax()} has {fault}; mend or leave out such notes before writing")


def _channels(parts: Notes) -> list[int]:
    """A channel for each part, given one note of each: its own while they last, else one for each program."""
    melodic = parts.tuned()
    if len(melodic) <= len(MELODIC_CHANNELS):
        rank = np.arange(len(melodic))
    else:
        rank = np.unique(melodic.program, return_inverse=True)[1].reshape(-1)
    channels = np.full(len(parts), DRUM_CHANNEL)
    channels[~parts.is_drum] = np.take(MELODIC_CHANNELS, rank, mode="wrap")
    return channels.tolist()


def _checked_bends(bends: np.ndarray | None, kept: np.ndarray, path: str | Path) -> np.ndarray:
    """The bends of the notes that are kept (note,) bool, whose indices then count those alone."""
    if bends is None:
        return np.empty(0, BEND)
    finite = np.isfinite(bends["seconds"]) & np.isfinite(bends["cents"])
    if not (finite & (bends["note"] >= 0) & (bends["note"] < len(kept))).all():
        raise MidiError(f"{path}: a bend that is not finite or of no note; mend or leave out such bends before writing")
    bends = bends[kept[bends["note"]]]
    bends["note"] = (np.cumsum(kept) - 1)[bends["note"]]
    return bends


def _bend_range(channel: int) -> list[mido.Message]:
    """Set how far the wheel bends: registered parameter 0, and then none, so that nothing else changes it."""
    settings = ((101, 0), (100, 0), (6, RANGE_SEMITONES), (38, 0), (101, 127), (100, 127))
    return [mido.Message("control_change", channel=channel, control=number, value=value) for number, value in settings]


def _messages(ticks: Notes, channel: int, turn: np.ndarray, position: np.ndarray) -> list[mido.Message]:
    """Note-ons, note-ons of velocity 0 for the ends, of notes whose times are ticks, and moves of the pitch wheel."""
    time = np.concatenate([ticks.onset, ticks.offset, turn]).astype(np.int64)
    pitch = np.concatenate([np.tile(ticks.pitch, 2), np.full(len(turn), -1)])
    value = np.concatenate([ticks.velocity, np.zeros_like(ticks.velocity), position]).astype(np.int64)
    # In one tick the wheel comes back first, for the notes that end; then they end, or a repeated note would end where
    # it starts; then the wheel goes where the note that starts wants it.
    moves = pitch < 0
    rank = np.where(moves, np.where(value == CENTRE, 0, 2), np.where(value == 0, 1, 3))
    order = np.lexsort((pitch, rank, time))
    columns = (np.diff(time[order], prepend=0), pitch[order], value[order])
    return [
        mido.Message("note_on", channel=channel, note=note, velocity=number, time=delta)
        if note >= 0
        else mido.Message("pitchwheel", channel=channel, pitch=number, time=delta)
        for delta, note, number in zip(*(column.tolist() for column in columns), strict=True)
    ]
