import re
import sys
import zipfile

import numpy as np
import pytest

from common import compositions as module
from common.compositions import (
    ORCHESTRATIONS,
    RESERVED,
    SPLITS,
    TWINS,
    CompositionError,
    compositions,
    load_composition,
    notice_allows,
    written_notes,
)
from common.instruments import RANGES, TRAIN_PROGRAMS
from common.scores import SHORTEST

CHORALE = "bach/bwv66.6"

TINY = """<?xml version="1.0"?>
<score-partwise version="3.0">
  <identification>{rights}</identification>
  <part-list><score-part id="P1"><part-name>Clarinet in Bb</part-name></score-part></part-list>
  <part id="P1"><measure number="1">
    <attributes><divisions>2</divisions><time><beats>4</beats><beat-type>4</beat-type></time>
      <transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose></attributes>
    <note><grace/><pitch><step>B</step><octave>4</octave></pitch><type>eighth</type></note>
    <note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration><tie type="start"/></note>
    <note><pitch><step>C</step><octave>5</octave></pitch><duration>2</duration><tie type="stop"/></note>
    <note><pitch><step>E</step><octave>5</octave></pitch><duration>1</duration></note>
    <note><chord/><pitch><step>G</step><octave>5</octave></pitch><duration>1</duration></note>
    <note><rest/><duration>1</duration></note>
  </measure></part>
</score-partwise>
"""


@pytest.fixture(autouse=True, scope="module")
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTTI_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A corpus of our own: the work "tiny" with a given element about its rights."""

    def write(rights=""):
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / "tiny.xml").write_text(TINY.format(rights=rights))
        monkeypatch.setattr(module, "_corpus", lambda: tmp_path / "corpus")
        monkeypatch.setenv("TUTTI_DATA", str(tmp_path / "data"))

    return write


def test_splits_are_by_composer_and_disjoint():
    names = {split: {work.split("/")[0] for work in compositions(split)} for split in SPLITS}
    assert names == {
        "train": {"bach", "monteverdi", "mozart"},
        "validation": {"haydn"},
        "test": {"beethoven", "schumann_robert"},  # all there is of Weber is reserved
    }
    assert len(compositions("train")) > 400


def test_reserved_and_twin_works_are_in_no_split():
    works = {work for split in SPLITS for work in compositions(split)}
    root = module._corpus()
    for work in RESERVED | TWINS:
        assert list(root.glob(f"{work}.*")), f"{work} is no longer in the corpus under this name"
        assert work not in works
        # Neither as another encoding, arrangement or movement file of the same catalogue number.
        assert not {other for other in works if re.match(rf"{re.escape(work)}\b(?![.\d])", other)}


def test_madrigals_of_a_publisher_are_left_out():
    assert not {"monteverdi/madrigal.5.4", "monteverdi/madrigal.5.5"} & set(compositions("train"))
    with pytest.raises(CompositionError, match=r"madrigal\.5\.4.*notice"):
        written_notes("monteverdi/madrigal.5.4")


@pytest.mark.parametrize(
    ("notice", "allowed"),
    [
        ("", True),
        ("dolce\ncresc.", True),
        ("PDF © 2004 Margaret Greentree\nused by permission", True),
        ("PDF ©2004 Margaret Greentree www.jsbchorales.net", True),
        ("Copyright © 1998 by Oliver Seely\nReleased to Public Domain in 1998", True),
        ("© 2014, Creative Commons License (CC-BY)", True),
        ("© UT ORPHEUS EDIZIONI 2003", False),
        ("Copyright 1994, Center for Computer Assisted Research in the Humanities", False),
        ("Rights to all derivative electronic formats reserved.", False),
        ("CC BY-NC 4.0", False),
        ("Free for non-commercial use, by permission", False),
    ],
)
def test_notice_rule(notice, allowed):
    assert notice_allows(notice) is allowed


def test_a_chorale_is_read_as_bach_wrote_it():
    notes = written_notes(CHORALE)
    # "Christ, unser Herr" opens on the second half of an A major chord: C sharp, E, A, A from soprano to bass.
    assert [int(notes[(notes.onset == 0) & (notes.track == part)].pitch[0]) for part in range(4)] == [73, 64, 57, 57]
    with zipfile.ZipFile(module._corpus() / f"{CHORALE}.mxl") as archive:
        xml = next(archive.read(name).decode() for name in archive.namelist() if not name.startswith("META-INF"))
    for track, part in enumerate(re.findall(r"<part id=.*?</part>", xml, re.DOTALL)):
        sounds = [note for note in re.findall(r"<note\b.*?</note>", part, re.DOTALL) if "<rest" not in note]
        assert np.sum(notes.track == track) == sum('<tie type="stop"' not in note for note in sounds)


def test_ties_graces_chords_and_transposing_instruments(tiny):
    tiny()
    notes = written_notes("tiny")
    assert notes.pitch.tolist() == [70, 74, 77]  # a clarinet in B flat sounds a tone lower; the grace note is left out
    assert notes.onset.tolist() == [0, 3, 3]
    assert notes.offset.tolist() == [3, 3.5, 3.5]


def test_a_restricted_work_is_not_read(tiny):
    tiny("<rights>Copyright 2020 A Publisher</rights>")
    with pytest.raises(CompositionError, match=r"tiny.*notice"):
        written_notes("tiny")


def test_a_work_is_parsed_once(tiny, monkeypatch):
    tiny()
    first = load_composition("tiny", np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "music21", None)  # an import of it would now fail
    assert load_composition("tiny", np.random.default_rng(0)) == first


@pytest.mark.parametrize("orchestration", ORCHESTRATIONS)
def test_performances_are_playable(orchestration):
    for seed in range(5):
        score = load_composition(CHORALE, np.random.default_rng(seed), orchestration, TRAIN_PROGRAMS, seconds=15.0)
        assert len(score.parts) == (1 if orchestration == "keyboard" else 4)
        assert score.seconds <= 15.0
        assert score.composer == "bach"
        pool = set(ORCHESTRATIONS[orchestration]) & set(TRAIN_PROGRAMS)
        for index, part in enumerate(score.parts):
            low, high = RANGES[part.program]
            assert part.program in pool
            assert np.all(part.notes.track == index)
            assert np.all(part.notes.program == part.program)
            assert low <= part.notes.pitch.min()
            assert part.notes.pitch.max() <= high
            assert part.notes.onset.min() >= 0
            assert part.notes.end <= score.seconds
            assert np.min(part.notes.offset - part.notes.onset) >= SHORTEST
            assert part.notes == part.notes.without_overlaps()


def test_a_performance_is_the_work_in_another_key_and_tempo():
    written = written_notes(CHORALE)
    for seed in range(5):
        score = load_composition(CHORALE, np.random.default_rng(seed), "keyboard", (0,), seconds=90.0)
        played, once = score.notes.sort(), written.replace(track=0).without_overlaps()
        assert len(played) == len(once)
        assert abs(int(played.pitch.min()) - int(once.pitch.min())) <= 3
        np.testing.assert_array_equal(
            np.sort(played.pitch) - played.pitch.min(), np.sort(once.pitch) - once.pitch.min()
        )
        tempo = np.polyfit(np.sort(once.onset), np.sort(played.onset), 1)[0]
        assert 0.95 * 60 / 180 < tempo < 1.05 * 60 / 30


def test_errors_name_the_remedy():
    with pytest.raises(CompositionError, match=r"bach/nothing.*lists the works"):
        written_notes("bach/nothing")
    with pytest.raises(CompositionError, match=r"no split 'all'.*train"):
        compositions("all")
    with pytest.raises(CompositionError, match=r"no orchestration 'kazoos'.*keyboard"):
        load_composition(CHORALE, np.random.default_rng(0), "kazoos")
