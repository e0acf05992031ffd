"""The tables against General MIDI as pretty_midi has it, and against what the default SoundFont plays."""

from pathlib import Path

import librosa
import numpy as np
import pretty_midi
import pytest
import tinysoundfont
from pretty_midi import constants

from common.instruments import (
    DRUM_GROUPS,
    DRUM_KEYS,
    FAMILIES,
    FAMILY_OF_PROGRAM,
    HELD_OUT_PROGRAMS,
    IRMAS,
    IRMAS_NAMES,
    KICK_SNARE_HAT,
    MT3_CLASSES,
    PITCHED_PROGRAMS,
    PROGRAM_NAMES,
    RANGES,
    TRAIN_PROGRAMS,
    YOURMT3_CHANNELS,
    first_of_group,
)

RATE = 44100


def letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def test_there_are_sixteen_families_of_eight_programs():
    assert [len(names) for names in FAMILIES.values()] == [8] * 16
    assert len(set(PROGRAM_NAMES)) == 128


@pytest.mark.parametrize("program", range(128))
def test_names_are_those_of_general_midi(program):
    ours, theirs = letters(PROGRAM_NAMES[program]), letters(constants.INSTRUMENT_MAP[program])
    assert ours == theirs


@pytest.mark.parametrize("program", [0, 7, 8, 21, 40, 55, 71, 96, 127])
def test_family_of_a_program(program):
    ours, theirs = FAMILY_OF_PROGRAM[program], pretty_midi.program_to_instrument_class(program)
    assert letters(ours) == letters(theirs)


# General MIDI's name of the key for each of our short names that says the same in other words.
SYNONYMS = {
    "kick": "Bass Drum 1",
    "snare": "Acoustic Snare",
    "clap": "Hand Clap",
    "closed_hat": "Closed Hi Hat",
    "pedal_hat": "Pedal Hi Hat",
    "open_hat": "Open Hi Hat",
    "floor_tom": "High Floor Tom",
    "low_mid_tom": "Low-Mid Tom",
    "high_mid_tom": "Hi-Mid Tom",
    "crash": "Crash Cymbal 1",
    "ride": "Ride Cymbal 1",
    "china": "Chinese Cymbal",
    "splash": "Splash Cymbal",
    "crash_2": "Crash Cymbal 2",
    "ride_2": "Ride Cymbal 2",
    "high_bongo": "Hi Bongo",
}


@pytest.mark.parametrize(("name", "key"), DRUM_KEYS.items())
def test_drum_keys_are_those_of_general_midi(name, key):
    assert letters(pretty_midi.note_number_to_drum_name(key)) == letters(SYNONYMS.get(name, name))


def test_ranges_are_ranges():
    assert list(RANGES) == sorted(RANGES)
    assert set(RANGES) <= set(range(128))
    assert all(low >= 0 and low + 12 <= high <= 127 for low, high in RANGES.values())


@pytest.mark.parametrize(
    ("program", "lowest"), [(40, "G3"), (42, "C2"), (56, "F#3"), (71, "D3"), (33, "E1"), (24, "E2")]
)
def test_ranges_begin_at_the_lowest_note_that_musicians_know(program, lowest):
    assert RANGES[program][0] == librosa.note_to_midi(lowest)


def test_pitched_programs_leave_out_noises_and_effects():
    assert tuple(RANGES) == PITCHED_PROGRAMS
    assert not set(PITCHED_PROGRAMS) & {8, 9, 47, 55, *range(96, 104), *range(112, 128)}


def test_held_out_and_training_programs_part_the_pitched_ones():
    assert not set(HELD_OUT_PROGRAMS) & set(TRAIN_PROGRAMS)
    assert {*HELD_OUT_PROGRAMS, *TRAIN_PROGRAMS} == set(PITCHED_PROGRAMS)
    assert len(set(HELD_OUT_PROGRAMS)) == len(HELD_OUT_PROGRAMS) == 18


def test_held_out_and_training_programs_share_every_family_but_the_synthesisers():
    families = [{FAMILY_OF_PROGRAM[program] for program in half} for half in (HELD_OUT_PROGRAMS, TRAIN_PROGRAMS)]
    assert families[1] - families[0] == {"Synth Lead", "Synth Pad"}
    assert families[0] <= families[1]


def test_irmas_has_eleven_disjoint_classes_in_the_published_order():
    assert list(IRMAS) == ["cel", "cla", "flu", "gac", "gel", "org", "pia", "sax", "tru", "vio", "voi"]
    assert list(IRMAS_NAMES) == list(IRMAS)
    guitars = {"gac": "acoustic guitar", "gel": "electric guitar"}
    assert all(name.startswith(code) or name == guitars[code] for code, name in IRMAS_NAMES.items())
    programs = [program for members in IRMAS.values() for program in members]
    assert len(set(programs)) == len(programs)
    assert [PROGRAM_NAMES[members[0]] for members in IRMAS.values()] == [
        "Cello",
        "Clarinet",
        "Flute",
        "Acoustic Guitar (nylon)",
        "Electric Guitar (clean)",
        "Drawbar Organ",
        "Acoustic Grand Piano",
        "Alto Sax",
        "Trumpet",
        "Violin",
        "Choir Aahs",
    ]


def test_yourmt3_has_thirteen_channels_that_leave_out_only_effects_and_beyond():
    programs = [program for members in YOURMT3_CHANNELS.values() for program in members]
    assert len(YOURMT3_CHANNELS) == 13
    assert len(set(programs)) == len(programs)
    assert set(range(128)) - set(programs) == {*range(96, 100), *range(102, 128)}


def test_yourmt3_joins_strings_and_ensemble_and_keeps_the_other_families():
    for channel, members in YOURMT3_CHANNELS.items():
        if channel in ("Singing", "Drums"):
            continue
        assert {FAMILY_OF_PROGRAM[program] for program in members} == set(channel.split(" + "))


def test_mt3_has_34_classes_of_all_programs_to_95_and_each_lies_in_one_channel():
    programs = [program for members in MT3_CLASSES.values() for program in members]
    assert len(MT3_CLASSES) == 34 + 2
    assert sorted(programs) == [*range(96), 100, 101]
    for members in MT3_CLASSES.values():
        assert sum(set(members) <= set(channel) for channel in YOURMT3_CHANNELS.values()) == 1


def test_drum_groups_share_no_key_and_hold_the_kits_of_our_composer():
    for groups, count in ((DRUM_GROUPS, 19), (KICK_SNARE_HAT, 3)):
        keys = [key for members in groups.values() for key in members]
        assert (len(groups), len(set(keys))) == (count, len(keys))
    assert {DRUM_KEYS[name] for name in ("kick", "snare", "closed_hat", "crash", "ride")} <= set(
        first_of_group(DRUM_GROUPS)
    )


def test_a_group_is_called_by_its_first_member():
    groups = {"a": (5, 3), "b": (100,)}
    assert [first_of_group(groups)[number] for number in (3, 5, 100, 4)] == [5, 5, 100, -1]
    assert first_of_group(groups, others_stay=True)[4] == 4
    assert len(first_of_group({})) == 128


@pytest.fixture(scope="module")
def play():
    """(program, pitch) -> half a second of one note of the default SoundFont, float32 [time]."""
    synth = tinysoundfont.Synth(samplerate=RATE)
    synth.sfload(str(Path(pretty_midi.__file__).with_name("TimGM6mb.sf2")))

    def note(program, pitch, seconds=0.5):
        synth.program_select(0, 0, 0, program)
        synth.noteon(0, pitch, 100)
        audio = np.frombuffer(synth.generate(round(seconds * RATE)), np.float32).reshape(-1, 2).mean(axis=1)
        synth.sounds_off()
        synth.generate(RATE // 10)  # let it die away
        return audio

    return note


@pytest.mark.parametrize("program", PITCHED_PROGRAMS)
def test_presets_sound_at_the_written_pitch(play, program):
    low, high = RANGES[program]
    # The search spans the range and an octave more, so that an octave's error would be found.
    fmin, fmax = librosa.midi_to_hz([low - 2, high + 13])
    for pitch in (low, (low + high) // 2, high):
        heard = librosa.yin(play(program, pitch)[RATE // 10 :], sr=RATE, fmin=fmin, fmax=fmax, frame_length=8192)
        assert librosa.hz_to_midi(np.median(heard)) == pytest.approx(pitch, abs=0.4)


def test_every_key_of_every_range_sounds(play):
    levels = {
        (program, pitch): np.abs(play(program, pitch, seconds=0.1)).max()
        for program, (low, high) in RANGES.items()
        for pitch in range(low, high + 1)
    }
    assert [key for key, level in levels.items() if level < 1e-3] == []
