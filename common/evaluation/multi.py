"""Scores of who plays what where instruments have names: by program, and drums by key.

Two definitions of the multi-instrument F are in use and differ from 0 to 1 on small cases, so both have their own name.
Velocities count in neither.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from common.evaluation.notes import match_notes, note_scores, validate
from common.instruments import KICK_SNARE_HAT, MT3_CLASSES, YOURMT3_CHANNELS, first_of_group
from common.notes import Notes

Groups = Mapping[str, Sequence[int]]  # name -> programs, or drum keys, that count as one

# What YourMT3+ judges pitched instruments by. Strings and ensemble are one; programs 96-99 and 102-127 are not judged.
PITCHED_CLASSES: Groups = {name: members for name, members in YOURMT3_CHANNELS.items() if members}
SINGING = YOURMT3_CHANNELS["Singing"]


def multi_f1_mt3(reference: Notes, estimate: Notes) -> float:
    """MT3's F of onset, offset and program (J. Gardner et al., ICLR 2022), at the granularity "MIDI class".

    A note must have the family of eight programs of its match; hits must have the same key, and need no offset. All
    hits are one instrument, whatever their program.

    Returns:
        0..1, and 0 where one of the two has no notes.
    """
    families = {str(first): range(first, first + 8) for first in range(0, 128, 8)}
    drums = reference[reference.is_drum], estimate[estimate.is_drum]
    hits = _class_hits(reference, estimate, families) + _drum_hits(*drums)
    return _scores(hits, len(reference), len(estimate))["f1"]


def multi_f1_ymt3(
    reference: Notes, estimate: Notes, classes: Groups = PITCHED_CLASSES, drums: Groups = KICK_SNARE_HAT
) -> float:
    """YourMT3+'s F of onset, offset and class (S. Chang et al., MLSP 2024), but for an empty estimate.

    What belongs to no class and to no group of drums is left out on both sides. Hits need the group of their match and
    no offset. An empty estimate of a piece that has something scores 0; their evaluation drops such a piece.

    Args:
        reference: what is played.
        estimate: what was found.
        classes: of pitched instruments; their eleven are PITCHED_CLASSES without "Singing".
        drums: KICK_SNARE_HAT or DRUM_GROUPS.

    Returns:
        0..1, and NaN where there is nothing to score on either side.
    """
    sides = [(_of_class(notes, classes), _grouped_drums(notes, drums)) for notes in (reference, estimate)]
    (pitched, hit), (pitched_estimate, hit_estimate) = sides
    n_reference, n_estimate = (len(pitched) + len(hit) for pitched, hit in sides)
    if n_reference == n_estimate == 0:
        return float("nan")
    hits = _class_hits(pitched, pitched_estimate, classes) + _drum_hits(hit, hit_estimate)
    return _scores(hits, n_reference, n_estimate)["f1"]


def drum_scores(reference: Notes, estimate: Notes, groups: Groups = KICK_SNARE_HAT) -> dict[str, float]:
    """How well the onsets of drums are found, after both have been mapped to groups of keys.

    Args:
        reference: what is played; all but its drums is left out, and so are keys of no group.
        estimate: as the reference.
        groups: KICK_SNARE_HAT or DRUM_GROUPS.

    Returns:
        drum_precision, drum_recall, drum_f1, n_reference, n_estimate; all scores are 0 where one number is.
    """
    reference, estimate = _grouped_drums(reference, groups), _grouped_drums(estimate, groups)
    scores = _scores(_drum_hits(reference, estimate), len(reference), len(estimate))
    counts = {"n_reference": len(reference), "n_estimate": len(estimate)}
    return {f"drum_{name}": score for name, score in scores.items()} | counts


def singing_scores(reference: Notes, estimate: Notes) -> dict[str, float]:
    """Scores of the sung notes alone, programs 100 and 101, as E. Molina et al. (ISMIR 2014) have them.

    Returns:
        singing_onset_f1 (COn): onsets within 50 ms;
        singing_f1 (COnP): pitches within 50 cents too;
        singing_offset_f1 (COnPOff): offsets too, within 20 % of the duration or 50 ms;
        n_reference, n_estimate. All scores are 0 where one of them is.
    """
    reference, estimate = (_of_class(notes, {"Singing": SINGING}) for notes in (reference, estimate))
    scores = note_scores(reference, estimate)
    hits = _hits(reference, estimate, pitch_tolerance=np.inf, offset_ratio=None)
    return {
        "singing_onset_f1": _scores(hits, len(reference), len(estimate))["f1"],
        "singing_f1": scores["note_f1"],
        "singing_offset_f1": scores["note_offset_f1"],
        "n_reference": len(reference),
        "n_estimate": len(estimate),
    }


def class_scores(reference: Notes, estimate: Notes, classes: Groups = PITCHED_CLASSES) -> dict[str, dict[str, float]]:
    """`note_scores` of each class of instruments alone; with n_reference 0 one says nothing."""
    return {
        name: note_scores(*(_of_class(notes, {name: members}) for notes in (reference, estimate)))
        for name, members in classes.items()
    }


def leakage_ratio(reference: Notes, estimate: Notes, classes: Groups = MT3_CLASSES) -> float:
    """How many instruments are found for each that plays (H. H. Tan et al., MR-MT3, 2024): 1 at best, more with leaks.

    Args:
        reference: what is played.
        estimate: what was found.
        classes: programs that count as one; others count by themselves, and all drums as one.

    Returns:
        0 or more; NaN where nothing is played.
    """
    played = len(_instruments(reference, classes))
    return len(_instruments(estimate, classes)) / played if played else float("nan")


def instrument_scores(reference: Notes, estimate: Notes, classes: Groups = MT3_CLASSES) -> dict[str, float]:
    """Which instruments are found, however much they play.

    Args:
        reference: as `leakage_ratio`, and so are the others.
        estimate: what was found.
        classes: programs that count as one.

    Returns:
        instrument_precision, instrument_recall, instrument_f1; 0 where one of the two has no notes.
    """
    played, found = _instruments(reference, classes), _instruments(estimate, classes)
    scores = _scores(len(np.intersect1d(played, found)), len(played), len(found))
    return {f"instrument_{name}": score for name, score in scores.items()}


def wrong_instrument_share(reference: Notes, estimate: Notes, classes: Groups = MT3_CLASSES) -> float:
    """Of the notes that are found in onset and pitch whoever plays them, the share that are not found by instrument.

    Args:
        reference: as `leakage_ratio`, and so are the others; drums are left out.
        estimate: what was found.
        classes: programs that count as one.

    Returns:
        0..1; NaN where no note is found.
    """
    reference, estimate = (
        notes.replace(program=_by_itself(classes)[notes.program]).tuned() for notes in (reference, estimate)
    )
    programs = {str(program): (program,) for program in range(128)}
    found = _hits(reference, estimate, offset_ratio=None)
    return 1 - _class_hits(reference, estimate, programs, offset_ratio=None) / found if found else float("nan")


def _class_hits(reference: Notes, estimate: Notes, classes: Groups, offset_ratio: float | None = 0.2) -> int:
    """How many notes without drums can be matched within their class."""
    sides = [[_of_class(notes, {"": members}) for members in classes.values()] for notes in (reference, estimate)]
    return sum(_hits(*pair, offset_ratio=offset_ratio) for pair in zip(*sides, strict=True))


def _drum_hits(reference: Notes, estimate: Notes) -> int:
    """How many hits can be matched by onset and key. How long they last is not looked at."""
    return _hits(*(notes.replace(offset=notes.onset + 1.0) for notes in (reference, estimate)), offset_ratio=None)


def _hits(reference: Notes, estimate: Notes, offset_ratio: float | None = 0.2, pitch_tolerance: float = 50.0) -> int:
    """The size of a largest matching."""
    for name, notes in (("reference", reference), ("estimate", estimate)):
        validate(notes.intervals, notes.hz, name=name)
    columns = (reference.intervals, reference.hz, estimate.intervals, estimate.hz)
    return len(match_notes(*columns, pitch_tolerance=pitch_tolerance, offset_ratio=offset_ratio))


def _of_class(notes: Notes, classes: Groups) -> Notes:
    """The notes of these classes without drums."""
    programs = [program for members in classes.values() for program in members]
    return notes[~notes.is_drum & np.isin(notes.program, programs)]


def _grouped_drums(notes: Notes, groups: Groups) -> Notes:
    """The hits of these groups, each with the first key of its group."""
    hits = notes[notes.is_drum]
    key = np.array(first_of_group(groups))[hits.pitch]
    return hits.replace(pitch=key)[key >= 0]


def _instruments(notes: Notes, classes: Groups) -> np.ndarray:
    """The classes that play, by their first programs, 128 for drums."""
    return np.unique(np.where(notes.is_drum, 128, _by_itself(classes)[notes.program]))


def _by_itself(classes: Groups) -> np.ndarray:
    """(128,) the first program of the class of each, or itself."""
    return np.array(first_of_group(classes, others_stay=True))


def _scores(hits: int, n_reference: int, n_estimate: int) -> dict[str, float]:
    """0 with nothing to divide by."""
    return {
        "precision": hits / max(n_estimate, 1),
        "recall": hits / max(n_reference, 1),
        "f1": 2 * hits / max(n_reference + n_estimate, 1),
    }
