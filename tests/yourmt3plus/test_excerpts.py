import numpy as np

from tests.yourmt3plus.labels import on_grid
from yourmt3plus.decode import decode
from yourmt3plus.excerpts import Excerpts
from yourmt3plus.items import Shape
from yourmt3plus.programs import MULTI
from yourmt3plus.sources import sources

SHAPE = Shape(22_050, 22_050, 100, MULTI)  # the rate of the tiny corpus


def test_excerpts_are_stitched_to_what_they_are_judged_by(tiny_corpus):
    excerpts = Excerpts(sources(tiny_corpus.pieces("validation")), SHAPE, 4.0, augment=0.0, max_tokens=1024)
    for index in range(len(excerpts)):
        item = excerpts[0, index]
        assert item.audio.shape == (4, SHAPE.n_samples)
        assert (item.excerpt, item.task) == (index, 0)
        found, repairs = decode(item.tokens, SHAPE.n_ticks)
        expected = excerpts.reference(index)
        assert repairs.untied_notes == repairs.stray_tokens == 0
        assert on_grid(found, 400) == on_grid(expected, 400)
        assert (expected.onset >= 0).all()
        assert expected.end <= 4.0
        assert len(expected)


def test_a_whole_piece_is_covered_to_its_end(tiny_corpus):
    excerpts = Excerpts(sources(tiny_corpus.pieces("test")), SHAPE, None, augment=0.0, max_tokens=1024)
    for index, source in enumerate(excerpts.pieces):
        assert excerpts.n_segments(index) == 6
        assert len(excerpts.reference(index)) == len(source.multitrack().notes)
        assert np.allclose(excerpts[0, index].audio.reshape(-1), source.multitrack().mixture(), atol=1e-6)


def test_a_perfect_transcription_is_written_in_classes(tiny_corpus):
    excerpts = Excerpts(sources(tiny_corpus.pieces("test")), SHAPE, None, augment=0.0, max_tokens=1024)
    for index in range(len(excerpts)):
        reference = excerpts.reference(index)
        pitched = reference.tuned()
        assert all(
            program in MULTI.programs(int(MULTI.of(reference.tuned())[i])) for i, program in enumerate(pitched.program)
        )
        assert not reference[reference.is_drum].program.any()


def test_an_excerpt_is_the_same_each_time_and_goes_through_effects_if_asked(tiny_corpus):
    pieces = sources(tiny_corpus.pieces("validation"))
    plain, effects = (Excerpts(pieces, SHAPE, 3.0, augment, 1024) for augment in (0.0, 1.0))
    assert np.array_equal(effects[0, 1].audio, effects[5, 1].audio)
    assert not np.array_equal(effects[0, 1].audio, plain[0, 1].audio)
    assert np.array_equal(effects[0, 1].tokens, plain[0, 1].tokens)
