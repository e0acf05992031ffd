import json
from collections.abc import Iterator

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common.datasets import medleydb
from common.instruments import FAMILY_OF_PROGRAM, PROGRAM_NAMES
from lead_detection.taxonomy import (
    MEDLEYDB,
    MIX,
    MJN_VOCABULARY,
    PROGRAMS,
    UNKNOWN,
    VOCABULARY,
    guess,
    of_medleydb,
    of_program,
)
from tests.lead_detection import study

# The lists as the study of the paper has them, read out of the authors' code.
PAPER_34 = """accordion, acoustic_bass, acoustic_guitar, backing_track, banjo, brass, cajon, chimes, claps, dizi, drum,
electric_bass, electric_guitar, erhu, glockenspiel, guzheng, harmonica, kantele, keyboards, lute, mandolin, melodica,
mix, na, organ, sax, shaker, string, synthesizer, trumpet, vibraphone, vocal, woodwind, yangqin"""
PAPER_16 = """acoustic_guitar, backing_track, brass, cajon, drum, electric_bass, electric_guitar, kantele, keyboards,
mix, na, organ, sax, synthesizer, trumpet, vocal"""


def words(text: str) -> list[str]:
    return text.replace("\n", " ").split(", ")


def test_the_ids_are_those_of_the_paper():
    assert [VOCABULARY.name(i) for i in range(1, 35)] == words(PAPER_34)
    assert [MJN_VOCABULARY.name(i) for i in range(1, 17)] == words(PAPER_16)
    assert (len(VOCABULARY), len(MJN_VOCABULARY)) == (35, 17)
    assert (VOCABULARY.id("mix"), VOCABULARY.id("na"), MJN_VOCABULARY.id("mix"), MJN_VOCABULARY.id("na")) == (
        23,
        24,
        10,
        11,
    )
    assert all(VOCABULARY.id(VOCABULARY.name(i)) == i for i in range(35))
    assert VOCABULARY.name(UNKNOWN) == "unknown"


# The odd ones of the study, and one of each kind that the authors lack.
CLASSES = {
    "scratches": "vocal", "fx/processed sound": "backing_track", "sampler": "backing_track",
    "Main System": "backing_track", "lap steel guitar": "electric_guitar", "oud": "lute", "liuqin": "lute",
    "zhongruan": "lute", "trumpet section": "brass", "trumpet": "trumpet", "bassoon": "woodwind", "double bass":
    "acoustic_bass", "tack piano": "keyboards", "violin section": "string", "male rapper": "vocal", "gu": "drum",
    "cello section": "string", "harp": "lute", "choir": "vocal", "bongo": "drum", "electronic organ": "organ",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), CLASSES.items())
def test_instruments_of_medleydb(name, kind):
    assert VOCABULARY.name(of_medleydb(name)) == kind
    annotated = name.replace(" ", "_").replace("/", "_")
    assert VOCABULARY.name(of_medleydb(annotated)) == kind
    assert of_medleydb(["never heard of", name]) == of_medleydb(name)


def test_what_nobody_knows_is_unknown():
    assert of_medleydb("Unlabeled") == of_medleydb([]) == of_medleydb("") == UNKNOWN
    assert of_medleydb("accordion", MJN_VOCABULARY) == UNKNOWN
    assert of_medleydb(["accordion", "piano"], MJN_VOCABULARY) == MJN_VOCABULARY.id("keyboards")


def leaves(tree) -> Iterator[str]:
    if isinstance(tree, list):
        yield from tree
    else:
        for branch in tree.values():
            yield from leaves(branch)


@study.needs_study
def test_every_instrument_of_the_taxonomy_has_a_class():
    tree = yaml.safe_load((study.MEDLEYDB / "resources" / "taxonomy.yaml").read_text())
    names = sorted(leaves(tree))
    assert len(names) == 122
    assert [name for name in names if of_medleydb(name) == UNKNOWN] == ["Unlabeled"]
    assert sorted({name for names in MEDLEYDB.values() for name in names}) == sorted(set(names) - {"Unlabeled"})


@study.needs_study
def test_every_stem_and_every_lead_of_the_annotated_songs_has_a_class():
    songs = medleydb.songs(study.MEDLEYDB)
    assert len(songs) == 109
    kinds = {of_medleydb(stem.instruments) for song in songs for stem in song.stems}
    assert UNKNOWN not in kinds
    assert len(kinds) == 29  # the paper's "29 instruments"
    annotated = json.loads((study.ANNOTATIONS / "metadata_song.json").read_text())
    leads = {of_medleydb(lead["lead_inst"].split("#")[1]) for song in annotated.values() for lead in song}
    assert UNKNOWN not in leads
    assert len(leads) == 25


STEMS = {
    "03_Lead Vox.wav": "vocal", "BGV": "vocal", "01-LeadVocal.aif": "vocal", "back-vocal.mp3": "vocal",
    "no_vocals.wav": "backing_track", "pc": "backing_track", "GTR_L": "electric_guitar", "e-guitar_2":
    "electric_guitar", "AcGtr.flac": "acoustic_guitar", "Acoustic":
    "acoustic_guitar", "a-guitar_3": "acoustic_guitar", "Kick In": "drum",
    "BassDrum_01.flac": "drum", "OH L": "drum", "HiHat": "drum", "Tom1": "drum", "Bass DI.wav": "electric_bass",
    "E. Bass.wav": "electric_bass", "Upright Bass": "acoustic_bass", "Bass Clarinet": "woodwind", "Bassoon": "woodwind",
    "Bass Trombone": "brass", "alto sax": "sax", "Tpt 1": "trumpet", "Vln I": "string", "Hammond B3": "organ", "key_2":
    "keyboards", "Rhodes": "keyboards", "Synth Pad": "synthesizer", "cajon": "cajon", "kantele": "kantele", "synth":
    "synthesizer", "Hand Claps": "claps", "8#male_singer": "vocal", "5#fx_processed_sound": "backing_track",
    "3#trumpet_section": "brass", "Song_MIX.wav": "mix",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), STEMS.items())
def test_names_that_people_give_to_stems(name, kind):
    assert VOCABULARY.name(guess(name)) == kind


@pytest.mark.parametrize("name", ["Track 01.wav", "other.wav", "S01", "Song_STEM_08.wav", "Audio 3", "", "...", "12"])
def test_names_that_tell_nothing(name):
    assert guess(name) == UNKNOWN


@given(st.text())
def test_any_name_has_some_id(name):
    assert 0 <= guess(name) < len(VOCABULARY)


def test_every_instrument_of_the_vocabulary_is_guessed_by_its_own_name():
    for name in VOCABULARY.names:
        if name != "na":
            assert guess(name) == VOCABULARY.id(name), name


def test_every_program_has_a_class_that_fits_its_name():
    assert sorted(program for programs in PROGRAMS.values() for program in programs) == list(range(128))
    ids = np.array([of_program(program) for program in range(128)])
    assert MIX not in ids
    assert UNKNOWN not in ids
    # What the name of a program says, where it says anything, by the rules for names.
    spoken = {PROGRAM_NAMES[i]: guess(PROGRAM_NAMES[i]) for i in range(80) if FAMILY_OF_PROGRAM[i] != "Bass"}
    told = {name: kind for name, kind in spoken.items() if kind}
    differ = {name for name, kind in told.items() if kind != ids[PROGRAM_NAMES.index(name)]}
    assert len(told) > 60
    assert differ == {"Synth Strings 1", "Synth Strings 2", "Orchestra Hit"}
    assert of_program(0, is_drum=True) == VOCABULARY.id("drum")
