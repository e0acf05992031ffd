"""How well instruments come apart when their number is known: notes put into tracks, or single cells (the paper's two).

By notes: what was transcribed goes into tracks, each note by the direction of its cells together. By frames: each cell
that sounds goes into a track by itself, and then every track is decoded alone, which may break a note in two. Both are
clustered by the same algorithm, where the paper's code takes another one for frames as soon as they are many.
"""

import numpy as np

from common.evaluation.multitrack import purity, track_scores
from common.frames import FrameGrid
from common.notes import Notes
from lightweight_amt.clustering import spherical_kmeans
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.evaluate import Clip, decode_clip
from lightweight_amt.tracks import NoteVectors


def by_notes(clip: Clip, settings: DecodeSettings, grid: FrameGrid, k: int) -> Notes:
    """The notes of a clip that has an "embedding", (dim, pitch, frame); `track` is one of k."""
    notes, vectors = decode_clip(clip, settings, grid), NoteVectors()
    vectors.push(clip.activations["frame"], clip.activations["embedding"])
    return notes.replace(track=spherical_kmeans(vectors.vectors(notes, grid)[0], k))


def by_frames(clip: Clip, settings: DecodeSettings, grid: FrameGrid, k: int) -> Notes:
    """The same with every cell in a track of its own choice."""
    maps = {name: values for name, values in clip.activations.items() if name != "embedding"}
    sounds = maps["frame"] >= settings.frame_threshold
    track = np.full(sounds.shape, -1)
    track[sounds] = spherical_kmeans(clip.activations["embedding"][:, sounds].T, k)

    def alone(i: int) -> Notes:
        own = {name: np.where((track == i) | ~sounds, values, 0.0) for name, values in maps.items()}
        return decode_clip(Clip(own, clip.notes), settings, grid).replace(track=i)

    return Notes.concatenate(alone(i) for i in range(k)).sort()


def track_f1(clip: Clip, settings: DecodeSettings, grid: FrameGrid, k: int) -> dict[str, float]:
    """Mean note F of the instruments of a clip, each against its track."""
    ways = {"track_f1": by_notes, "frame_track_f1": by_frames}
    return {name: track_scores(clip.notes, way(clip, settings, grid, k))["track_f1"] for name, way in ways.items()}


def purities(vectors: np.ndarray, instrument: np.ndarray, cells: np.ndarray, owner: np.ndarray) -> dict[str, float]:
    """Share of the true notes in the right track, and of their cells when these are clustered.

    Args:
        vectors: (note, dim) of unit length.
        instrument: (note,) who plays it; there are as many tracks.
        cells: (cell, dim) of unit length.
        owner: (cell,) whose it is.
    """
    k = len(np.unique(instrument))
    return {
        "purity": purity(spherical_kmeans(vectors, k), instrument),
        "frame_purity": purity(spherical_kmeans(cells, k), owner),
    }
