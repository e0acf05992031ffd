"""The popular songs of RWC, whose tracks are told by their names."""

import pytest

from common.datasets import rwc_pop
from common.datasets.files import DatasetError
from tests.common import yourmt3_layouts

MIDI = "annotations/AIST.RWC-MDB-P-2001.SMF_SYNC"
# Names that the files have, by those who read them, and who plays.
PLAYERS = {
    "MELODY": 100, "MAIN VOCAL": 100, "Melo (rap)": 100, "SUB VOCAL": 101, "Chorus 2": 101, "SUB MELODY": 101,
    "GT MELO": 24, "DRUMS": -1, "DR": -1, "BD&SD": -1, "TOM": -1, "KICK": -1, "ATOMOS": None,
    "P.F.": 0, "PF": 0, "A.PIANO": 0, "CLAVI": 0, "CEMBALO": 0, "E.PIANO": 2, "E.P": 2,
    "GLOCKEN": 8, "VIBE": 8, "MARIMBA": 8, "CHIME": 8, "TUBULAR BELL": 8, "ORGAN": 16, "HAMOND": 16, "ACCORDION": 16,
    "A.G": 24, "E.G": 24, "AC.GT": 24, "NYLON GUITAR": 24, "SITAR": 24, "CLEAN": 24,
    "DIST GT": 30, "DIS.SOLO": 30, "D.G": 30, "OD L": 30, "E.G SOLO": 30, "E.GUITAR (SOLO)": 30,
    "BASS": 33, "SYN BASS": 33, "STRINGS": 48, "ST": 48, "VIOLIN": 48, "VN": 48, "HARP": 48, "PIZZ": 48, "ORCH HIT": 48,
    "BRASS": 56, "TP": 56, "TROMBONE": 56, "HORN": 56, "A.SAX": 64, "OBOE": 64, "FLUTE": 72, "PICOLO": 72,
    "SYN SOLO": 80, "SYN.LEAD": 80, "SYNTH(SEQ)": 80, "SQ": 80, "SYNTH": 88, "SYN PAD": 88, "FANTASIA": 88,
    "INTRO SE": -2, "PERC": -2, "REVERSE": -2, "S.E": -2, "SHAKER": -2, "808": -2, "KIRA": None, "FUE": None,
}  # fmt: skip


@pytest.mark.parametrize(("name", "player"), PLAYERS.items())
def test_who_plays_is_told_by_the_name_of_the_track(name, player):
    assert next((who for pattern, who in rwc_pop.INSTRUMENTS if pattern.search(name.upper())), None) == player


def test_sung_parts_and_parts_of_nobody(tmp_path):
    yourmt3_layouts.rwc_pop(tmp_path)
    piece = rwc_pop.recordings(tmp_path)[0]
    assert [part.name for part in piece.parts] == ["melody", "chorus", "Drums", "BASS", "KIRA"]
    assert [part.program for part in piece.parts] == [100, 101, 0, 33, 98]
    assert [part.is_drum for part in piece.parts] == [False, False, True, False, False]
    with pytest.raises(DatasetError, match=r"take mixture\(\)"):
        piece.multitrack()


def test_songs_are_counted_through_the_discs(tmp_path):
    places = {
        1: "m01/1",
        16: "m01/16",
        17: "m02/1",
        80: "m05/16",
        81: "m06/1",
        90: "m06/10",
        91: "m07/1",
        100: "m07/10",
    }
    for number, place in places.items():
        for path in (tmp_path / MIDI / f"RM-P{number:03d}.SMF_SYNC.MID", tmp_path / f"audio/rwc-p-{place}.wav"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = {piece.id: piece.mix_path for piece in rwc_pop.recordings(tmp_path)}
    assert found == {f"RM-P{number:03d}": tmp_path / f"audio/rwc-p-{place}.wav" for number, place in places.items()}


@pytest.mark.parametrize("name", ["RM-P101.SMF_SYNC.MID", "RM-P000.SMF_SYNC.MID", "song.MID"])
def test_midi_with_a_strange_name(tmp_path, name):
    yourmt3_layouts.rwc_pop(tmp_path)
    (tmp_path / MIDI / name).touch()
    with pytest.raises(DatasetError, match="not named as the data set does"):
        rwc_pop.recordings(tmp_path)
