from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common.instruments import HELD_OUT_PROGRAMS, TRAIN_PROGRAMS, YOURMT3_CHANNELS
from common.notes import Notes
from common.stems import DRUMS, Multitrack, Stem, kinds
from yourmt3plus.programs import MULTI
from yourmt3plus.sources import NEAREST, Hidden, Source, kinds_of, sources


@pytest.fixture(scope="module")
def pieces(tiny_corpus):
    return tiny_corpus.pieces("train")


@pytest.fixture(scope="module")
def singer(pieces):
    """A piece whose first part is sung by a voice of common.synth."""
    first, *others = pieces[0].parts
    return replace(pieces[0], parts=(replace(first, role="voice", synthesised=True, is_drum=False), *others))


def test_voices_of_the_synthesiser_are_sung_melody(singer):
    band, written = singer.multitrack(), Source(singer).multitrack()
    assert written.stems[0].program == 100
    assert set(written.stems[0].notes.program) == {100}
    assert written.stems[0].samples is band.stems[0].samples
    assert np.array_equal(written.notes.onset, band.notes.onset)
    assert [s.notes for s in written.stems[1:]] == [s.notes for s in band.stems[1:]]


def test_choirs_of_a_soundfont_stay_choirs(singer):
    first, *others = singer.parts
    choir = replace(singer, parts=(replace(first, synthesised=False), *others))
    assert 100 not in Source(choir).multitrack().notes.program


def test_what_no_channel_writes_is_labelled_as_its_nearest(singer):
    first, *others = singer.parts
    for program, nearest in ((105, 25), (110, 40), (111, 68), (103, 103), (40, 40)):
        band = singer.multitrack()
        stem = replace(band.stems[0], program=program, notes=band.stems[0].notes.replace(program=program))
        piece = SimpleNamespace(
            parts=(replace(first, synthesised=False), *others),
            multitrack=lambda stem=stem, band=band: replace(band, stems=(stem, *band.stems[1:])),
        )
        labelled = Source(piece).multitrack().stems[0]  # pyright: ignore[reportArgumentType]
        assert (labelled.program, set(labelled.notes.program)) == (nearest, {nearest})
    assert all((MULTI.of_program[p] >= 0) != (p in NEAREST) for p in TRAIN_PROGRAMS + HELD_OUT_PROGRAMS)
    assert all(MULTI.of_program[nearest] >= 0 for nearest in NEAREST.values())


def test_hidden_labels_go_and_the_audio_stays(pieces):
    band = max((piece.multitrack() for piece in pieces), key=lambda piece: len(piece.stems))
    piece = next(piece for piece in pieces if piece.multitrack() is band)
    hidden = band.stems[0].kinds
    written = Source(piece, hidden).multitrack()
    assert np.array_equal(written.mixture(), band.mixture())
    assert not hidden & set(kinds(written.notes).tolist())
    assert written.unknown == hidden
    assert len(written.notes) == sum(len(s.notes) for s in band.stems if not s.kinds & hidden)


def test_of_a_mixture_only_the_notes_of_what_is_hidden_go():
    notes = Notes.build([0, 1, 2, 3], [1, 2, 3, 4], [60, 61, 62, 36], program=[0, 40, 0, 0], is_drum=[0, 0, 0, 1])
    stem = Stem(np.zeros(8, np.float32), 0, False, "mix", notes)

    class Mixed:
        parts = (SimpleNamespace(synthesised=False, role=""),)

        def multitrack(self):
            return Multitrack((stem,), 2)

    written = Source(Mixed(), frozenset({40, DRUMS})).multitrack()  # pyright: ignore[reportArgumentType]
    assert written.notes.pitch.tolist() == [60, 62]
    assert (written.unknown, written.stems[0].kinds) == ({40, DRUMS}, {0})


def test_a_piece_without_what_is_hidden_is_known(pieces):
    assert Source(pieces[0], frozenset({101})).multitrack().unknown == frozenset()


def test_labels_are_hidden_in_the_same_share_of_the_pieces_each_time():
    names = [f"piece {i}" for i in range(2000)]
    hidden = Hidden(("Drums", "Bass"), 0.5)
    once = [hidden.kinds(name) for name in names]
    assert once == [hidden.kinds(name) for name in names]
    assert set(once) == {frozenset(), frozenset({*range(32, 40), DRUMS})}
    assert np.mean([bool(of_piece) for of_piece in once]) == pytest.approx(0.5, abs=0.04)
    assert not any(Hidden(("Bass",), 0.0).kinds(name) for name in names)


def test_an_unknown_channel_is_named(pieces):
    with pytest.raises(ValueError, match=r"no channels \['Kazoo'\] to hide; there are Piano"):
        sources(pieces, Hidden(("Kazoo",), 1.0))


def test_every_channel_has_kinds_of_its_own():
    all_kinds = [kind for name in YOURMT3_CHANNELS for kind in kinds_of([name])]
    assert len(all_kinds) == len(set(all_kinds)) == 96 + 2 + 1
