import numpy as np
import pytest

from common.notes import Notes
from yourmt3plus.instruments import Chosen
from yourmt3plus.programs import MULTI, SINGLE


@pytest.mark.parametrize(
    ("names", "programs", "drums"),
    [
        ("piano", {0, 2}, False),  # the classes of acoustic and electric piano
        ("Piano, BASS", {0, 2, 32, 33}, False),
        ("drums", set(), True),
        ("percussion,piano", {0, 2}, True),
        ("violin", {40}, False),
        ("Strings + Ensemble", {40, 41, 42, 43, 46, 47, 48, 50, 52, 55}, False),
        ("strings", {40, 41, 42, 43, 46, 47, 48}, False),  # the family; its tremolo strings are written as ensemble
        ("flute", {73}, False),  # all pipes are written as flute
        ("sax", {64, 66, 67}, False),
        ("acoustic guitar", {24}, False),
        ("vocals", {100, 101}, False),
    ],
)
def test_names(names, programs, drums):
    chosen = Chosen.of(names)
    assert set(np.flatnonzero(chosen.programs).tolist()) == programs
    assert chosen.drums == drums


@pytest.mark.parametrize("name", ["kazoo", "", "piano,,bass", "ano"])
def test_what_nothing_is_called_is_refused(name):
    with pytest.raises(ValueError, match=r"no instrument .*; there are piano, .* drums"):
        Chosen.of(name)


def test_only_their_channels_are_written():
    assert np.flatnonzero(Chosen.of("bass, violin, drums").channels(MULTI)).tolist() == [4, 5, 12]
    assert Chosen.of("drums").channels(SINGLE).tolist() == [True]


def test_only_their_notes_are_kept():
    program, is_drum = [0, 33, 40, 0, 73], [False, False, False, True, False]
    notes = Notes.build(np.arange(5.0), np.arange(5.0) + 1, 60, 100, program, is_drum, np.arange(5))
    kept = Chosen.of(["violin", "drums", "piccolo"]).keep(notes)
    assert kept.program.tolist() == [40, 0, 73]
    assert kept.track.tolist() == [0, 2, 1]
