"""Instruments, as tables only: General MIDI programs and drum keys, their ranges, and the classes of the data sets.

Programs count from 0. Everything that says "program" in this project means these numbers.
"""

from collections.abc import Mapping, Sequence

# General MIDI level 1, instrument patch map: sixteen families of eight programs. MT3's "MIDI class" is the family.
FAMILIES = {
    "Piano": (
        "Acoustic Grand Piano", "Bright Acoustic Piano", "Electric Grand Piano", "Honky-tonk Piano",
        "Electric Piano 1", "Electric Piano 2", "Harpsichord", "Clavinet",
    ),
    "Chromatic Percussion": (
        "Celesta", "Glockenspiel", "Music Box", "Vibraphone", "Marimba", "Xylophone", "Tubular Bells", "Dulcimer",
    ),
    "Organ": (
        "Drawbar Organ", "Percussive Organ", "Rock Organ", "Church Organ",
        "Reed Organ", "Accordion", "Harmonica", "Tango Accordion",
    ),
    "Guitar": (
        "Acoustic Guitar (nylon)", "Acoustic Guitar (steel)", "Electric Guitar (jazz)", "Electric Guitar (clean)",
        "Electric Guitar (muted)", "Overdriven Guitar", "Distortion Guitar", "Guitar Harmonics",
    ),
    "Bass": (
        "Acoustic Bass", "Electric Bass (finger)", "Electric Bass (pick)", "Fretless Bass",
        "Slap Bass 1", "Slap Bass 2", "Synth Bass 1", "Synth Bass 2",
    ),
    "Strings": (
        "Violin", "Viola", "Cello", "Contrabass",
        "Tremolo Strings", "Pizzicato Strings", "Orchestral Harp", "Timpani",
    ),
    "Ensemble": (
        "String Ensemble 1", "String Ensemble 2", "Synth Strings 1", "Synth Strings 2",
        "Choir Aahs", "Voice Oohs", "Synth Choir", "Orchestra Hit",
    ),
    "Brass": (
        "Trumpet", "Trombone", "Tuba", "Muted Trumpet",
        "French Horn", "Brass Section", "Synth Brass 1", "Synth Brass 2",
    ),
    "Reed": (
        "Soprano Sax", "Alto Sax", "Tenor Sax", "Baritone Sax", "Oboe", "English Horn", "Bassoon", "Clarinet",
    ),
    "Pipe": (
        "Piccolo", "Flute", "Recorder", "Pan Flute", "Blown Bottle", "Shakuhachi", "Whistle", "Ocarina",
    ),
    "Synth Lead": (
        "Lead 1 (square)", "Lead 2 (sawtooth)", "Lead 3 (calliope)", "Lead 4 (chiff)",
        "Lead 5 (charang)", "Lead 6 (voice)", "Lead 7 (fifths)", "Lead 8 (bass + lead)",
    ),
    "Synth Pad": (
        "Pad 1 (new age)", "Pad 2 (warm)", "Pad 3 (polysynth)", "Pad 4 (choir)",
        "Pad 5 (bowed)", "Pad 6 (metallic)", "Pad 7 (halo)", "Pad 8 (sweep)",
    ),
    "Synth Effects": (
        "FX 1 (rain)", "FX 2 (soundtrack)", "FX 3 (crystal)", "FX 4 (atmosphere)",
        "FX 5 (brightness)", "FX 6 (goblins)", "FX 7 (echoes)", "FX 8 (sci-fi)",
    ),
    "Ethnic": (
        "Sitar", "Banjo", "Shamisen", "Koto", "Kalimba", "Bagpipe", "Fiddle", "Shanai",
    ),
    "Percussive": (
        "Tinkle Bell", "Agogo", "Steel Drums", "Woodblock", "Taiko Drum", "Melodic Tom", "Synth Drum", "Reverse Cymbal",
    ),
    "Sound Effects": (
        "Guitar Fret Noise", "Breath Noise", "Seashore", "Bird Tweet",
        "Telephone Ring", "Helicopter", "Applause", "Gunshot",
    ),
}  # fmt: skip

PROGRAM_NAMES = tuple(name for names in FAMILIES.values() for name in names)
FAMILY_OF_PROGRAM = tuple(family for family, names in FAMILIES.items() for _ in names)

# Keys of the General MIDI percussion channel that a kit of our composer is made of.
DRUM_KEYS = {
    "kick": 36, "side_stick": 37, "snare": 38, "clap": 39, "closed_hat": 42, "pedal_hat": 44, "open_hat": 46,
    "low_floor_tom": 41, "floor_tom": 43, "low_tom": 45, "low_mid_tom": 47, "high_mid_tom": 48, "high_tom": 50,
    "crash": 49, "ride": 51, "china": 52, "ride_bell": 53, "splash": 55, "crash_2": 57, "ride_2": 59,
    "tambourine": 54, "cowbell": 56, "high_bongo": 60, "low_bongo": 61, "maracas": 70, "claves": 75,
}  # fmt: skip

# Program -> lowest and highest MIDI number, as it sounds, of what players commonly play and TimGM6mb plays at the
# written pitch (test_instruments listens). The font cuts some ranges short: its accordions are half a semitone flat
# above theirs, its shakuhachi sharp below, and its alto sax has no sample for E4. Left out are celesta, glockenspiel,
# tubular bells, timpani, orchestra hit and effects (inharmonic), organs 16-19 (their sub-octave is as loud as the
# note), guitar harmonics (two octaves up), whistle, charang and fifths leads, and all above Ethnic.
RANGES = {
    0: (21, 108), 1: (21, 108), 2: (21, 108), 3: (21, 108), 4: (28, 100), 5: (28, 100), 6: (29, 89), 7: (29, 88),
    10: (60, 96), 11: (53, 89), 12: (45, 96), 13: (65, 100), 15: (60, 86),
    20: (36, 89), 21: (53, 72), 22: (60, 93), 23: (45, 72),
    24: (40, 83), 25: (40, 83), 26: (40, 84), 27: (40, 86), 28: (40, 76), 29: (40, 86), 30: (40, 86),
    32: (28, 60), 33: (28, 64), 34: (28, 64), 35: (28, 64), 36: (28, 60), 37: (28, 60), 38: (28, 60), 39: (28, 60),
    40: (55, 96), 41: (48, 86), 42: (36, 76), 43: (28, 60), 44: (36, 88), 45: (36, 88), 46: (28, 96),
    48: (36, 91), 49: (36, 91), 50: (36, 91), 51: (36, 91), 52: (43, 79), 53: (43, 79), 54: (43, 79),
    56: (54, 82), 57: (40, 70), 58: (28, 58), 59: (54, 82), 60: (41, 77), 61: (41, 82), 62: (41, 84), 63: (41, 84),
    64: (56, 87), 65: (65, 80), 66: (44, 75), 67: (37, 69), 68: (58, 89), 69: (52, 81), 70: (34, 72), 71: (50, 91),
    72: (74, 102), 73: (60, 96), 74: (65, 93), 75: (62, 91), 76: (55, 84), 77: (65, 86), 79: (69, 89),
    80: (48, 91), 81: (48, 88), 82: (48, 91), 83: (48, 91), 85: (48, 88), 87: (40, 84),
    88: (36, 84), 89: (36, 84), 90: (36, 84), 91: (36, 84), 92: (36, 84), 93: (36, 84), 94: (36, 84), 95: (36, 84),
    104: (48, 79), 105: (50, 84), 106: (50, 81), 107: (50, 86), 108: (57, 88), 109: (66, 81), 110: (55, 93),
    111: (60, 84),
}  # fmt: skip

PITCHED_PROGRAMS = tuple(RANGES)

# Never heard in training, at least one of each family of acoustic and electric instruments. TimGM6mb plays some of them
# with samples of programs that are heard: viola and fiddle with all those of the violin, reed organ with the
# accordion's, pan flute with those of leads 82, 83 and 85. These are unseen as presets, not as recordings.
HELD_OUT_PROGRAMS = (6, 12, 20, 26, 34, 41, 46, 53, 59, 60, 70, 72, 74, 75, 77, 104, 105, 110)
TRAIN_PROGRAMS = tuple(program for program in PITCHED_PROGRAMS if program not in HELD_OUT_PROGRAMS)

# IRMAS, in the order of its publication -> programs of the class, the most typical first. Some are held out.
IRMAS = {
    "cel": (42,),
    "cla": (71,),
    "flu": (73, 72),
    "gac": (24, 25),
    "gel": (27, 26, 28, 29, 30, 31),
    "org": (16, 17, 18, 19, 20),
    "pia": (0, 1, 2, 3),
    "sax": (65, 66, 64, 67),
    "tru": (56, 59),
    "vio": (40, 110),
    "voi": (52, 53, 54),
}

# Class -> the instrument's name, as users and text encoders read it.
IRMAS_NAMES = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "acoustic guitar", "gel": "electric guitar",
    "org": "organ", "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "voice",
}  # fmt: skip

# The thirteen decoder channels of YourMT3+, in their order -> programs. Sung melody and chorus are its programs 100 and
# 101; drums have a flag and no program; programs 96-99 and 102-127 have no channel.
YOURMT3_CHANNELS = {
    "Piano": tuple(range(0, 8)),
    "Chromatic Percussion": tuple(range(8, 16)),
    "Organ": tuple(range(16, 24)),
    "Guitar": tuple(range(24, 32)),
    "Bass": tuple(range(32, 40)),
    "Strings + Ensemble": tuple(range(40, 56)),
    "Brass": tuple(range(56, 64)),
    "Reed": tuple(range(64, 72)),
    "Pipe": tuple(range(72, 80)),
    "Synth Lead": tuple(range(80, 88)),
    "Synth Pad": tuple(range(88, 96)),
    "Singing": (100, 101),
    "Drums": (),
}

# The classes by which MT3 tells instruments apart (J. Gardner et al., ICLR 2022, table 3), and the two of sung melody
# and chorus that YourMT3+ adds. A class is written as its first program. Other programs from 96 on have no class.
MT3_CLASSES = {
    "Acoustic Piano": (0, 1, 3, 6, 7),
    "Electric Piano": (2, 4, 5),
    "Chromatic Percussion": tuple(range(8, 16)),
    "Organ": tuple(range(16, 24)),
    "Acoustic Guitar": (24, 25),
    "Clean Electric Guitar": (26, 27, 28),
    "Distorted Electric Guitar": (29, 30, 31),
    "Acoustic Bass": (32, 35),
    "Electric Bass": (33, 34, 36, 37, 38, 39),
    "Violin": (40,),
    "Viola": (41,),
    "Cello": (42,),
    "Contrabass": (43,),
    "Orchestral Harp": (46,),
    "Timpani": (47,),
    "String Ensemble": (48, 49, 44, 45),
    "Synth Strings": (50, 51),
    "Choir and Voice": (52, 53, 54),
    "Orchestra Hit": (55,),
    "Trumpet": (56, 59),
    "Trombone": (57,),
    "Tuba": (58,),
    "French Horn": (60,),
    "Brass Section": (61, 62, 63),
    "Soprano and Alto Sax": (64, 65),
    "Tenor Sax": (66,),
    "Baritone Sax": (67,),
    "Oboe": (68,),
    "English Horn": (69,),
    "Bassoon": (70,),
    "Clarinet": (71,),
    "Pipe": (73, 72, 74, 75, 76, 77, 78, 79),
    "Synth Lead": tuple(range(80, 88)),
    "Synth Pad": tuple(range(88, 96)),
    "Singing Melody": (100,),
    "Singing Chorus": (101,),
}

# Drum keys that count as one instrument, the most typical first; 2, 22 and 26 are those of electronic kits. The
# nineteen groups of YourMT3+, and the three that drum transcription is most often judged by.
DRUM_GROUPS = {
    "Kick": (36, 35), "Side Stick": (37, 2), "Snare": (38, 40), "Closed Hat": (42, 44, 22), "Open Hat": (46, 26),
    "Low Floor Tom": (41,), "Floor Tom": (43,), "Low Tom": (45,), "Low-Mid Tom": (47,), "High-Mid Tom": (48,),
    "High Tom": (50,), "Crash": (49, 57), "Splash": (55,), "China": (52,), "Ride": (51,), "Ride Bell": (53,),
    "Ride 2": (59,), "Cowbell": (56,), "Vibraslap": (58,),
}  # fmt: skip
KICK_SNARE_HAT = {"Kick": (36, 35), "Snare": (38, 40), "Hi-Hat": (42, 44, 46, 22, 26)}


def first_of_group(groups: Mapping[str, Sequence[int]], others_stay: bool = False) -> tuple[int, ...]:
    """For each program or key 0..127 the first one of its group; those of none are -1, or themselves."""
    first = {number: number if others_stay else -1 for number in range(128)}
    first |= {member: members[0] for members in groups.values() for member in members}
    return tuple(first.values())
