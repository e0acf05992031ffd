"""Both multi-instrument F scores on the crafted cases of our study, and against mir_eval put together as published."""

import mir_eval
import numpy as np
import pytest

from common.evaluation.multi import (
    PITCHED_CLASSES,
    class_scores,
    drum_scores,
    instrument_scores,
    leakage_ratio,
    multi_f1_mt3,
    multi_f1_ymt3,
    singing_scores,
    wrong_instrument_share,
)
from common.evaluation.notes import note_scores
from common.instruments import DRUM_GROUPS, KICK_SNARE_HAT
from common.notes import Notes

ELEVEN = {name: members for name, members in PITCHED_CLASSES.items() if name != "Singing"}
NOTHING = Notes.empty()


def note(program=0, onset=0.0, seconds=1.0, pitch=60) -> Notes:
    return Notes.build(onset, onset + seconds, pitch, program=program)


def hits(*keys: int) -> Notes:
    onset = np.arange(len(keys)) + 0.5
    return Notes.build(onset, onset + 0.01, keys, is_drum=True)


def both(*tables: Notes) -> Notes:
    return Notes.concatenate(tables)


VIOLIN, CRASH, SEVEN = note(40), hits(49), both(*(note(0, onset) for onset in range(6)), hits(49))
TABLE = {  # case -> reference, estimate, and the scores of MT3, of YourMT3+ with KSH and with all groups
    "identical": (SEVEN, SEVEN, 1, 1, 1),
    "violin as string ensemble": (VIOLIN, note(48), 0, 1, 1),
    "one right, one spurious of program 110": (note(), both(note(), note(110, 3.0)), 2 / 3, 1, 1),
    "one right, one spurious of program 100": (note(), both(note(), note(100, 3.0)), 2 / 3, 1, 1),
    "missed crash in a piece of seven": (SEVEN, SEVEN.tuned(), 12 / 13, 1, 12 / 13),
    "one of two notes a snare of key 40": (both(note(), hits(38)), both(note(), hits(40)), 0.5, 1, 1),
    "a crash only, found": (CRASH, CRASH, 1, np.nan, 1),
    "offset late by 0.19 s": (note(), note(seconds=1.19), 1, 1, 1),
    "offset late by 0.21 s": (note(), note(seconds=1.21), 0, 0, 0),
    "empty estimate": (both(note(), hits(38)), NOTHING, 0, 0, 0),  # NaN in the code of YourMT3+
    "empty estimate of a crash": (CRASH, NOTHING, 0, np.nan, 0),
    "empty reference": (NOTHING, both(note(), hits(38)), 0, 0, 0),
    "nothing, and nothing found": (NOTHING, NOTHING, 0, np.nan, np.nan),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_crafted_cases_of_the_study(case):
    reference, estimate, mt3, three, nineteen = TABLE[case]
    assert multi_f1_mt3(reference, estimate) == pytest.approx(mt3)
    assert multi_f1_ymt3(reference, estimate, ELEVEN) == pytest.approx(three, nan_ok=True)
    assert multi_f1_ymt3(reference, estimate, ELEVEN, DRUM_GROUPS) == pytest.approx(nineteen, nan_ok=True)


def test_singing_counts_once_it_is_a_class():
    reference, estimate = note(), both(note(), note(100, 3.0))
    assert multi_f1_ymt3(reference, estimate) == pytest.approx(2 / 3)


def random_pair(seed: int) -> tuple[Notes, Notes]:
    """Crowded notes of nine programs and some drums, and what a poor transcription of them might be."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 80))
    onset = rng.uniform(0, 4, n)
    programs = rng.choice([0, 4, 33, 40, 48, 53, 100, 101, 110], n)
    reference = Notes.build(
        onset,
        onset + rng.uniform(0.05, 1, n),
        rng.choice([36, 38, 40, 42, 44, 49], n),
        program=programs,
        is_drum=rng.random(n) < 0.4,
    )
    shaken = reference.replace(
        onset=(onset + rng.normal(0, 0.03, n)).clip(0),
        offset=onset + rng.uniform(0.2, 1.2, n),
        program=np.where(rng.random(n) < 0.7, programs, rng.permutation(programs)),
        pitch=np.where(rng.random(n) < 0.8, reference.pitch, reference.pitch + 1),
    )
    kept = shaken[rng.random(n) < 0.8]
    return reference, Notes(rng.permutation(kept.table))


def published(pairs: list[tuple[Notes, Notes]]) -> float:
    """The F of precisions weighted with the numbers of estimates and recalls with those of references, by mir_eval."""
    sums = np.zeros(4)
    for reference, estimate in pairs:
        columns = (reference.intervals, reference.hz, estimate.intervals, estimate.hz)
        drums = reference.is_drum.any() or estimate.is_drum.any()
        ratio = {"offset_ratio": None} if drums else {}
        precision, recall, _, _ = mir_eval.transcription.precision_recall_f1_overlap(*columns, **ratio)
        sums += precision * len(estimate), len(estimate), recall * len(reference), len(reference)
    precision, recall = sums[0] / max(sums[1], 1), sums[2] / max(sums[3], 1)
    return mir_eval.util.f_measure(precision, recall)


def split(notes: Notes, programs) -> Notes:
    return notes[np.isin(notes.program, programs) & ~notes.is_drum]


def renamed_hits(notes: Notes, groups) -> Notes:
    names = {key: members[0] for members in groups.values() for key in members}
    kept = notes[notes.is_drum & np.isin(notes.pitch, list(names))]
    return kept.replace(pitch=[names[key] for key in kept.pitch.tolist()])


@pytest.mark.filterwarnings("ignore:(Reference|Estimated) notes are empty")
@pytest.mark.parametrize("seed", range(100))
def test_both_scores_are_mir_evals_summed_over_instruments(seed):
    pair = random_pair(seed)
    families = [tuple(split(notes, range(low, low + 8)) for notes in pair) for low in range(0, 128, 8)]
    assert multi_f1_mt3(*pair) == pytest.approx(published([*families, tuple(n[n.is_drum] for n in pair)]))

    classes = [tuple(split(notes, members) for notes in pair) for members in PITCHED_CLASSES.values()]
    for groups in (KICK_SNARE_HAT, DRUM_GROUPS):
        drums = tuple(renamed_hits(notes, groups) for notes in pair)
        wanted = published([*classes, drums]) if any(map(len, sum([*classes, drums], ()))) else np.nan
        assert multi_f1_ymt3(*pair, drums=groups) == pytest.approx(wanted, nan_ok=True)
        assert drum_scores(*pair, groups)["drum_f1"] == pytest.approx(published([drums]))


@pytest.mark.parametrize("seed", range(20))
def test_no_score_depends_on_the_order_of_the_notes(seed):
    reference, estimate = random_pair(seed)
    rng = np.random.default_rng(seed)
    mixed = Notes(rng.permutation(reference.table)), Notes(rng.permutation(estimate.table))
    for score in (
        multi_f1_mt3,
        multi_f1_ymt3,
        drum_scores,
        singing_scores,
        class_scores,
        leakage_ratio,
        instrument_scores,
        wrong_instrument_share,
    ):
        np.testing.assert_equal(score(reference, estimate), score(*mixed))


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_estimate_is_perfect(seed):
    piece, _ = random_pair(seed)
    assert multi_f1_mt3(piece, piece) == 1
    assert leakage_ratio(piece, piece) == 1
    assert instrument_scores(piece, piece)["instrument_f1"] == 1
    assert np.nan_to_num(wrong_instrument_share(piece, piece)) == 0


def test_hits_need_no_duration():
    reference = hits(36, 38)
    estimate = reference.replace(offset=reference.onset)
    assert drum_scores(reference, estimate)["drum_f1"] == 1
    assert multi_f1_mt3(reference, estimate) == 1


def test_drums_are_judged_by_groups_and_what_has_none_is_left_out():
    reference, estimate = hits(35, 40, 46, 49, 38), hits(36, 38, 42, 37, 36)
    scores = drum_scores(reference, estimate)
    assert (scores["n_reference"], scores["n_estimate"]) == (4, 4)
    assert scores["drum_f1"] == 0.75
    assert drum_scores(reference, estimate, DRUM_GROUPS)["drum_f1"] == pytest.approx(0.4)


@pytest.mark.filterwarnings("ignore:(Reference|Estimated) notes are empty")
@pytest.mark.parametrize("seed", range(20))
def test_singing_is_judged_as_mir_eval_does_it(seed):
    pair = random_pair(seed)
    reference, estimate = (split(notes, (100, 101)) for notes in pair)
    scores = singing_scores(*pair)
    if len(reference) and len(estimate):
        onset = mir_eval.transcription.onset_precision_recall_f1(reference.intervals, estimate.intervals)[2]
        assert scores["singing_onset_f1"] == pytest.approx(onset)
    columns = (reference.intervals, reference.hz, estimate.intervals, estimate.hz)
    for name, ratio in (("singing_f1", None), ("singing_offset_f1", 0.2)):
        wanted = mir_eval.transcription.precision_recall_f1_overlap(*columns, offset_ratio=ratio)[2]
        assert scores[name] == pytest.approx(wanted)


def test_each_class_is_judged_alone():
    reference = both(note(0), note(40, 1.0), note(48, 2.0))
    scores = class_scores(reference, both(note(0), note(0, 1.0), note(50, 2.0)))
    assert scores["Piano"] == note_scores(note(0), both(note(0), note(0, 1.0)))
    assert scores["Strings + Ensemble"]["note_f1"] == pytest.approx(2 / 3)
    assert scores["Brass"]["n_reference"] == 0


def test_a_part_that_hops_between_instruments_leaks():
    reference = both(*(note(40, onset) for onset in range(4)), hits(36))
    hopping = both(note(40, 0.0), note(41, 1.0), note(48, 2.0), note(49, 3.0), hits(36))
    assert leakage_ratio(reference, hopping) == 2  # violin, viola, ensemble and drums for violin and drums
    scores = instrument_scores(reference, hopping)
    assert (scores["instrument_precision"], scores["instrument_recall"]) == (0.5, 1)
    assert wrong_instrument_share(reference, hopping) == 0.75
    assert leakage_ratio(reference, hopping.replace(program=0)) == 1
    assert leakage_ratio(reference, NOTHING) == 0
    assert np.isnan(leakage_ratio(NOTHING, hopping))
    assert instrument_scores(NOTHING, NOTHING)["instrument_f1"] == 0
    assert np.isnan(wrong_instrument_share(reference, NOTHING))


def test_notes_that_cannot_be_scored_are_refused():
    with pytest.raises(ValueError, match="estimate: every offset must come after its onset"):
        multi_f1_mt3(note(), note(seconds=0.0))
