from dataclasses import replace

import numpy as np
import pytest

from lightweight_amt.separation import mixtures


def test_players_without_a_soundfont_can_be_left_out(tiny_corpus):
    piece = max(tiny_corpus.pieces("train"), key=lambda piece: len({part.program for part in piece.parts}))
    pitched = [part for part in piece.parts if not part.is_drum]
    only = pitched[0].program
    parts = tuple(replace(part, synthesised=part.program != only) for part in piece.parts)
    mixed = replace(piece, parts=parts)
    assert {stem.program for mixture in mixtures([mixed], 1, 5, synthesised=False) for stem in mixture.stems} == {only}
    with pytest.raises(ValueError, match="has 2 instruments; take a larger corpus"):
        next(mixtures([mixed], 2, 1, synthesised=False))


def test_leaving_nobody_out_changes_no_mixture(tiny_corpus):
    pieces = [
        replace(piece, parts=tuple(replace(part, synthesised=False) for part in piece.parts))
        for piece in tiny_corpus.pieces("test")
    ]
    for ours, theirs in zip(mixtures(pieces, 1, 3), mixtures(pieces, 1, 3, synthesised=False), strict=True):
        assert np.array_equal(ours.mixture(), theirs.mixture())
