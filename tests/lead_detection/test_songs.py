from itertools import pairwise

import numpy as np
import pytest

from common.corpus import SIZES
from lead_detection import taxonomy
from lead_detection.songs import IGNORE, embedded_songs, mixture_peak, rasterise, stem_peaks
from tests.lead_detection.orchestra import Orchestra, Unreadable


def test_labels_at_times_by_hand():
    times = np.array([0.02, 0.06, 0.10, 0.14, 0.18])
    assert rasterise([(0.05, 0.12, 0), (0.12, 0.15, 2)], times).tolist() == [0, 1, 1, 3, 0]
    assert rasterise([], times).tolist() == [0] * 5
    # A segment is [start, end): a frame at its start is in it, one at its end is not.
    assert rasterise([(0.06, 0.14, 1)], times).tolist() == [0, 2, 2, 0, 0]
    # What overlaps belongs to the later one.
    assert rasterise([(0.0, 0.2, 0), (0.08, 0.15, 1)], times).tolist() == [1, 1, 2, 2, 1]
    known = [(0.05, 0.09), (0.13, 9.0)]
    assert rasterise([(0.05, 0.12, 0)], times, known).tolist() == [IGNORE, 1, IGNORE, 0, 0]


def test_labels_agree_with_asking_at_each_time():
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = np.sort(rng.uniform(-1, 11, 8))
        lead = [(a, b, int(rng.integers(4))) for a, b in pairwise(edges) if rng.random() < 0.7]
        times = (np.arange(250) + 0.5) * 0.04
        expected = [next((1 + i for a, b, i in lead if a <= time < b), 0) for time in times]
        assert rasterise(lead, times).tolist() == expected


def test_peaks_are_those_of_whole_stems():
    song = Orchestra()
    audio = song.multitrack().audio
    assert stem_peaks(song) == pytest.approx(np.abs(audio).max(axis=1))
    assert mixture_peak(song, own=True) == pytest.approx(np.abs(audio.sum(axis=0)).max(), rel=1e-5)
    gone = Orchestra(mixture=Unreadable())  # pyright: ignore[reportArgumentType]
    assert mixture_peak(gone, own=False) == mixture_peak(song, own=False)


def test_pieces_of_the_corpus_are_songs(lead_corpus):
    songs = [song for split in ("train", "validation", "test") for song in embedded_songs(lead_corpus, split)]
    assert len(songs) == 9
    for song in songs:
        tracks = song.multitrack()
        assert len(song.instruments) == len(tracks.stems) == len(song.piece.parts)
        assert tracks.lead == song.lead
        assert len(song.instruments) >= 3
        assert song.annotated == ((0.0, SIZES["lead-tiny"].seconds),)
        assert song.mixture is None
        for instrument, part in zip(song.instruments, song.piece.parts, strict=True):
            assert (taxonomy.VOCABULARY.name(instrument) == "drum") == part.is_drum
            assert instrument != taxonomy.UNKNOWN
