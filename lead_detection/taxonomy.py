"""Instruments of tracks: the paper's classes and their ids, and the ways from names and programs to them.

Ids count from 1 in the order of the alphabet, as in the authors' code; 0 is an instrument that nobody knows. The 34
classes of the runs across data sets are what this project uses; the 16 of MJN alone are for rows that are to be
compared with the paper. Both hold `mix` and `na` (nobody leads), which are the instrument of no stem.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

UNKNOWN = 0


@dataclass(frozen=True)
class Vocabulary:
    """Classes by id."""

    names: tuple[str, ...]  # from id 1 on

    @cached_property
    def ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names, 1)}

    def __len__(self) -> int:
        """Number of ids, that of the unknown included."""
        return len(self.names) + 1

    def id(self, name: str) -> int:
        """0 for a name that is not in it."""
        return self.ids.get(name, UNKNOWN)

    def name(self, id: int) -> str:
        """ "unknown" for 0."""
        return self.names[id - 1] if id > 0 else "unknown"


VOCABULARY = Vocabulary((
    "accordion", "acoustic_bass", "acoustic_guitar", "backing_track", "banjo", "brass", "cajon", "chimes", "claps",
    "dizi", "drum", "electric_bass", "electric_guitar", "erhu", "glockenspiel", "guzheng", "harmonica", "kantele",
    "keyboards", "lute", "mandolin", "melodica", "mix", "na", "organ", "sax", "shaker", "string", "synthesizer",
    "trumpet", "vibraphone", "vocal", "woodwind", "yangqin",
))  # fmt: skip
MJN_VOCABULARY = Vocabulary((
    "acoustic_guitar", "backing_track", "brass", "cajon", "drum", "electric_bass", "electric_guitar", "kantele",
    "keyboards", "mix", "na", "organ", "sax", "synthesizer", "trumpet", "vocal",
))  # fmt: skip
MIX, VOCAL = VOCABULARY.id("mix"), VOCABULARY.id("vocal")
NO_STEM = (MIX, VOCABULARY.id("na"))
# What a simple rule does not take for a lead while something else sounds.
RHYTHM = tuple(map(VOCABULARY.id, ("acoustic_bass", "cajon", "chimes", "claps", "drum", "electric_bass", "shaker")))

# Class -> instruments of MedleyDB's taxonomy. Where the authors have none, which would end their code with an error,
# the class is that of the instrument's neighbours in the taxonomy. Scratches are vocal by their choice.
MEDLEYDB = {
    "accordion": ("accordion", "bandoneon", "concertina"),
    "acoustic_bass": ("double bass",),
    "acoustic_guitar": ("acoustic guitar", "slide guitar", "ukulele"),
    "backing_track": ("Main System", "fx/processed sound", "sampler"),
    "banjo": ("banjo",),
    "brass": (
        "brass section", "euphonium", "french horn", "french horn section", "horn section", "trombone",
        "trombone section", "trumpet section", "tuba",
    ),
    "chimes": ("chimes", "sleigh bells", "triangle"),
    "claps": ("claps", "snaps"),
    "dizi": ("dizi",),
    "drum": (
        "auxiliary percussion", "bass drum", "bongo", "castanet", "conga", "cowbell", "cymbal", "darbuka", "doumbek",
        "drum machine", "drum set", "gong", "gu", "guiro", "high hat", "kick drum", "rattle", "snare drum", "tabla",
        "tambourine", "timpani", "toms",
    ),
    "electric_bass": ("electric bass",),
    "electric_guitar": ("clean electric guitar", "distorted electric guitar", "lap steel guitar"),
    "erhu": ("erhu",),
    "glockenspiel": ("glockenspiel",),
    "guzheng": ("guzheng",),
    "harmonica": ("harmonica",),
    "keyboards": ("electric piano", "harpsichord", "piano", "tack piano"),
    "lute": ("harp", "liuqin", "oud", "sitar", "zhongruan"),
    "mandolin": ("mandolin",),
    "melodica": ("melodica",),
    "organ": ("electronic organ", "harmonium", "pipe organ"),
    "sax": ("alto saxophone", "baritone saxophone", "soprano saxophone", "tenor saxophone"),
    "shaker": ("cabasa", "maracas", "shaker"),
    "string": (
        "cello", "cello section", "dilruba", "string section", "viola", "viola section", "violin", "violin section",
    ),
    "synthesizer": ("synthesizer", "theremin"),
    "trumpet": ("cornet", "trumpet"),
    "vibraphone": ("marimba", "vibraphone", "xylophone"),
    "vocal": (
        "beatboxing", "choir", "crowd", "female rapper", "female screamer", "female singer", "female speaker",
        "male rapper", "male screamer", "male singer", "male speaker", "scratches", "vocalists",
    ),
    "woodwind": (
        "bagpipe", "bamboo flute", "bass clarinet", "bassoon", "clarinet", "clarinet section", "english horn", "flute",
        "flute section", "oboe", "panpipes", "piccolo", "recorder", "whistle",
    ),
    "yangqin": ("dulcimer", "yangqin"),
}  # fmt: skip

# Class -> programs of General MIDI.
PROGRAMS = {
    "accordion": (21, 23),
    "acoustic_bass": (32, 43),
    "acoustic_guitar": (24, 25),
    "backing_track": (55, *range(120, 128)),
    "banjo": (105,),
    "brass": (57, 58, 60, 61, 62, 63),
    "chimes": (14,),
    "drum": (47, *range(112, 120)),
    "electric_bass": tuple(range(33, 40)),
    "electric_guitar": tuple(range(26, 32)),
    "glockenspiel": (8, 9, 10),
    "guzheng": (107,),
    "harmonica": (22,),
    "keyboards": tuple(range(0, 8)),
    "lute": (46, 104, 106),
    "organ": tuple(range(16, 21)),
    "sax": (64, 65, 66, 67),
    "string": (40, 41, 42, 44, 45, 48, 49, 50, 51, 110),
    "synthesizer": tuple(range(80, 104)),
    "trumpet": (56, 59),
    "vibraphone": (11, 12, 13, 108),
    "vocal": (52, 53, 54),
    "woodwind": (*range(68, 80), 109, 111),
    "yangqin": (15,),
}

# What people write on stems, as whole words; the first pattern that is found anywhere in the name decides. A bass
# clarinet, a bass drum and a double bass are therefore seen before the bass.
WORDS = (
    ("backing_track", "no voc(al)?s?|instrumentals?|accomp(animent)?|backing (track|trk)s?|playback|pc"),
    ("vocal", "vox|voc|vocals?|vocalists?|voices?|singers?|singing|choir|bgvs?|bvs?|bv|lv|rap|rappers?|spoken|"
              "speech|ad ?libs?|beat ?box(ing)?|vocoder"),
    ("sax", "sax|saxe?s|saxophones?|saxphone|[abst]sax"),
    ("trumpet", "trumpets?|tpts?|trp|cornet|flugel(horn)?"),
    ("woodwind", "flutes?|piccolo|recorder|(bass )?clarinets?|oboes?|bassoons?|(english|tin) (horn|whistle)|"
                 "cor anglais|whistle|pan ?(flute|pipes)|woodwinds?|winds|bagpipes?"),
    ("brass", "trombones?|tbns?|tuba|euphonium|(french )?horns?|hrns?|brass"),
    ("cajon", "cajon"),
    ("claps", "(hand ?)?claps?|snaps?"),
    ("shaker", "shakers?|maracas|cabasa"),
    ("glockenspiel", "glock(enspiel)?|celesta|music box"),
    ("vibraphone", "vibes|vibraphone|marimba|xylo(phone)?|kalimba"),
    ("chimes", "(wind ?)?chimes?|triangle|(sleigh|tubular) bells"),
    ("drum", "drums?|drum ?(kit|set)|drm?s|kick|kik|bd|snares?|snr|sd|toms?|floor|hi ?hats?|hats?|hh|cym(bal)?s?|"
             "crash|ride|overheads?|ohs?|percussions?|percs?|congas?|bongos?|tablas?|timpani|tamb(ourine)?|cow ?bell|"
             "djembe|darbuka|doumbek|timbales?|beats?|808"),
    ("acoustic_bass", "(upright|double|acoustic|string|stand ?up) bass|contra ?bass|upright"),
    ("electric_bass", "bass|bs|[es]bass|bgtr"),
    ("banjo", "banjo"),
    ("mandolin", "mandolin|mando"),
    ("acoustic_guitar", "(acoustic|ac|acou?s?|aco|a|nylon|classical|spanish|folk|steel string|12 string) ?"
                        "(guitars?|gtrs?|gt|guit)|(guitars?|gtrs?|gt|guit) (acoustic|ac|acou?s?|nylon)|agtrs?|"
                        "nylon|uke(lele)?|ukulele"),
    ("electric_guitar", "guitars?|gtrs?|gt|guit|egtrs?|strat|tele|(lap|pedal) steel"),
    ("organ", "organ|hammond|b ?3|leslie|farfisa|harmonium"),
    ("accordion", "accordion|accordeon|bandoneon|concertina"),
    ("harmonica", "harmonica|(blues|mouth) harp"),
    ("melodica", "melodica"),
    ("kantele", "kantele"),
    ("guzheng", "guzheng|koto"),
    ("yangqin", "yangqin|dulcimer|santur|cimbalom"),
    ("dizi", "dizi"),
    ("erhu", "erhu"),
    ("lute", "lute|oud|pipa|liuqin|zhongruan|sitar|bouzouki|harp"),
    ("keyboards", "(e|el|electric)? ?piano|pno|keys?|keyboards?|kbds?|rhodes|wurl(i|y|itzer)|clav(inet)?|harpsichord"),
    ("synthesizer", "synth(esi[sz]er)?s?|syn|moog|pads?|arp(eggio|eggiator)?s?|theremin"),
    ("string", "strings?|str|violins?|vlns?|violas?|vlas?|cell(o|os|i)|vlcs?|vcs?|fiddle|orch(estra)?"),
    ("acoustic_guitar", "acoustics?"),
    ("backing_track", "s?fx|effects?|samples?|sampler|loops?|ambience|noise"),
    ("mix", "mix|mixture|mix ?down|master"),
)  # fmt: skip

_CLASS_OF_NAME = {re.sub(r"\W+", " ", name.lower()): kind for kind, names in MEDLEYDB.items() for name in names}
_CLASS_OF_PROGRAM = {program: kind for kind, programs in PROGRAMS.items() for program in programs}
_PATTERNS = tuple((kind, re.compile(rf"\b(?:{pattern})\b")) for kind, pattern in WORDS)


def of_medleydb(instrument: str | Sequence[str], vocabulary: Vocabulary = VOCABULARY) -> int:
    """Id of an instrument as MedleyDB's metadata names it; of several that are one stem, the first that has a class.

    Underscores may stand for spaces and slashes, as in the annotations of the lead.
    """
    for name in [instrument] if isinstance(instrument, str) else instrument:
        kind = _CLASS_OF_NAME.get(re.sub(r"[\W_]+", " ", name.lower()), "")
        if kind in vocabulary.ids:
            return vocabulary.id(kind)
    return UNKNOWN


def of_program(program: int, is_drum: bool = False, vocabulary: Vocabulary = VOCABULARY) -> int:
    """Id of a General MIDI program, or of drums."""
    return vocabulary.id("drum" if is_drum else _CLASS_OF_PROGRAM[program])


def guess(name: str, vocabulary: Vocabulary = VOCABULARY) -> int:
    """Id of the instrument that somebody named a stem or its file after, 0 if nothing in the name tells.

    "03_Lead Vox.wav", "GTR_L", "KickIn" and "8#male_singer" are read as they are meant.
    """
    name = re.sub(r"\.[A-Za-z]\w{1,3}$", "", name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)", " ", name)
    words = re.sub(r"[\W_]+", " ", name).strip().lower()
    known = of_medleydb(re.sub(r"\b\d+\b", "", words).strip(), vocabulary)
    if known:
        return known
    return next((vocabulary.id(kind) for kind, pattern in _PATTERNS if pattern.search(words)), UNKNOWN)
