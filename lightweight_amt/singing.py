"""Decoder settings that singing asks for, chosen on pieces and on their melodies sung, without losing the pieces.

Rendered pieces hardly contain a voice. Their melodies, slurred and sung by the voices of `common.synth` through rooms
and noise, do: held, sliding notes that often begin without an onset to speak of.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from common import corpus as corpora
from common import effects
from common.notes import Notes
from common.pieces import content_hash
from common.synth import lines, synthesise
from lightweight_amt.decode import DecodeSettings
from lightweight_amt.evaluate import Clip, choose_settings, hear, listen, score_clips
from lightweight_amt.inference import Model
from lightweight_amt.targets import merge_unisons

SETTINGS = ("relative", "unstruck_threshold", "unstruck_length")  # what is chosen: what may sound, and be a note
ROLES = ("melody", "voice")
VOICE = 54  # program
MIDDLE = 62  # median pitch of a melody, which is moved by octaves
FEWEST_NOTES = 15
BREATH = 0.4  # seconds; over shorter rests the voice goes on


def melody(piece: corpora.Piece) -> Notes | None:
    """The first part that one singer could sing, slurred and where a voice lies; None if there is none."""
    for track, part in enumerate(piece.parts):
        notes = piece.notes[piece.notes.track == track].sort()
        if part.role in ROLES and len(notes) >= FEWEST_NOTES and len(lines(notes)) == 1:
            octaves = round((MIDDLE - float(np.median(notes.pitch))) / 12)
            return slurred(notes.replace(pitch=notes.pitch.astype(int) + 12 * octaves, program=VOICE))
    return None


def slurred(notes: Notes) -> Notes:
    """Sorted notes of one line, each held until the next where there is no time to breathe."""
    following = np.append(notes.onset[1:], np.inf)
    return notes.replace(offset=np.where(following - notes.offset < BREATH, following, notes.offset))


def sung(piece: corpora.Piece, model: Model) -> Clip | None:
    """The melody of a piece as a singer in some room would sing it, the same one each time."""
    notes = melody(piece)
    if notes is None:
        return None
    rng = np.random.default_rng(int(content_hash("sung", piece.id)[:16], 16))
    rate = model.grid.sample_rate
    audio = effects.random_chain(synthesise(notes, rate, rng, piece.seconds), rate, rng)
    return listen(audio, merge_unisons(notes), model)


def choose(model: Model, corpus: corpora.Corpus) -> tuple[DecodeSettings, dict[str, Any]]:
    """The settings that serve the validation pieces and their sung melodies best together, and scores of both.

    A piece and a melody count alike. The scores are those of the decoder alone.
    """
    clips = {split: heard(corpus.pieces(split), model) for split in ("validation", "test")}
    chosen = choose_settings(
        [clip for group in clips["validation"].values() for clip in group], model.grid, model.settings, names=SETTINGS
    )
    scores = {
        split: {kind: compare(group, model, chosen) for kind, group in groups.items()}
        for split, groups in clips.items()
    }
    return chosen, {"settings": {name: getattr(chosen, name) for name in SETTINGS}, **scores}


def heard(pieces: list[corpora.Piece], model: Model) -> dict[str, list[Clip]]:
    ways: dict[str, Callable[[corpora.Piece, Model], Clip | None]] = {"pieces": hear, "sung": sung}
    clips = {kind: [way(piece, model) for piece in tqdm(pieces, desc=kind, unit="piece")] for kind, way in ways.items()}
    return {kind: [clip for clip in group if clip is not None] for kind, group in clips.items()}


def compare(clips: list[Clip], model: Model, chosen: DecodeSettings) -> dict[str, Any]:
    """How many clips there are, and their main scores with the settings of the model and with the chosen ones."""
    if not clips:
        return {"clips": 0}
    rows = {"before": score_clips(clips, model.settings, model.grid), "after": score_clips(clips, chosen, model.grid)}
    names = ("note_f1", "note_offset_f1", "frame_f1")
    return {"clips": len(clips)} | {
        when: {name: round(scores[name], 4) for name in names} for when, scores in rows.items()
    }
