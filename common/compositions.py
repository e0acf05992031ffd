"""Real compositions, from the corpus inside the music21 package: which may be used for what, read and performed."""

import os
import re
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from common.instruments import PITCHED_PROGRAMS, PROGRAM_NAMES, RANGES
from common.notes import Notes
from common.scores import TOUCHES, VOICES, Part, Score, clock, into_range, perform
from common.storage import replacing

SPLITS = {  # by composer
    "train": ("bach", "monteverdi", "mozart"),
    "validation": ("haydn",),
    "test": ("beethoven", "schumann_robert", "weber"),
}
RESERVED = {  # kept for judging, in no split
    "bach/bwv281",
    "bach/bwv66.6",
    "haydn/opus1no1/movement1",
    "mozart/k155/movement2",
    "weber/concertino_clarinet",
}
TWINS = {"monteverdi/madrigal.3.1_old", "schumann_robert/dichterliebe_no2"}  # of works that are there under other names
SUFFIXES = (".mxl", ".xml")

ORCHESTRATIONS = {  # who plays the parts
    "keyboard": (*range(8), 11, 20, 21, 23),  # all of them on one instrument
    "strings": (40, 41, 42, 43, 110),
    "winds": (60, 68, 69, 70, 71, 72, 73, 74),
    "brass": (56, 57, 58, 59, 60, 61),
    "saxophones": (64, 65, 66, 67),
    "plucked": (15, 24, 25, 26, 27, 45, 46, 105, 106, 107),
    "choirs": (48, 49, 50, 51, 52, 53, 54, 89, 91),
    "mixed": PITCHED_PROGRAMS,
}


class CompositionError(ValueError):
    """A composition is not there or must not be used; the message says which, and what to do."""


def notice_allows(text: str) -> bool:
    """Whether the notices in a file of the corpus let us read it on the user's behalf.

    The corpus comes with the permission of its encoders; for exceptions its licence refers to the notices in the files.
    So silence is permission. A file is left out if it reserves rights (all of Palestrina), asks for non-commercial use,
    or claims a copyright without a word of permission beside it (two madrigals name a publisher). The chorales' "PDF ©"
    is no such claim: it speaks of the printed pages, which are not here.
    """
    if re.search(r"reserved|non-?\s?commercial|\bnc\b", text, re.IGNORECASE):
        return False
    claim = re.search(r"(?<!PDF )(©|\(c\)|copyright)", text, re.IGNORECASE)
    return not claim or bool(re.search(r"permission|public domain|creative commons|\bcc", text, re.IGNORECASE))


@cache
def compositions(split: str) -> tuple[str, ...]:
    """The works of "train", "validation" or "test": paths within the corpus, without suffix, sorted."""
    if split not in SPLITS:
        raise CompositionError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    root = _corpus()
    files = (file for name in SPLITS[split] for file in (root / name).rglob("*") if file.suffix in SUFFIXES)
    allowed = {file.relative_to(root).with_suffix("").as_posix() for file in files if notice_allows(_notices(file))}
    return tuple(sorted(allowed - RESERVED - TWINS))


def written_notes(work: str) -> Notes:
    """All notes of a work as they stand in the score, ties joined: times in quarters, track = number of the part.

    music21 parses a work once; the notes are kept in the folder `compositions` of $TUTTI_DATA (or `data`).

    Args:
        work: one of `compositions`, or the path of another work within the corpus.

    Raises:
        CompositionError: there is no such work, or the notice in its file forbids its use.
    """
    data = Path(os.environ.get("TUTTI_DATA", "data"))
    cached = data / "compositions" / f"music21-{version('music21')}" / f"{work}.npy"
    if not cached.exists():
        file = next((file for suffix in SUFFIXES if (file := _corpus() / f"{work}{suffix}").is_file()), None)
        if file is None:
            raise CompositionError(f"{work}: not in the corpus of music21; `compositions` lists the works")
        if not notice_allows(_notices(file)):
            raise CompositionError(f"{work}: the notice in its file restricts its use; take another work")
        with replacing(cached) as path:
            np.save(path, _parse(file).table)
    return Notes(np.load(cached))


def load_composition(
    work: str,
    rng: np.random.Generator,
    orchestration: str | None = None,
    programs: Sequence[int] = PITCHED_PROGRAMS,
    seconds: float = 45.0,
) -> Score:
    """Perform an excerpt of a real composition on instruments of our choice.

    Args:
        work: see `written_notes`.
        rng: draws excerpt, tempo, key, instruments and the performance.
        orchestration: one of ORCHESTRATIONS; None draws it.
        programs: General MIDI programs that may play. If the orchestration names none of them, any of them does.
        seconds: duration of the excerpt; a short work ends earlier.

    Raises:
        CompositionError: as in `written_notes`, or there is no such orchestration.
    """
    if orchestration not in (None, *ORCHESTRATIONS):
        raise CompositionError(f"no orchestration {orchestration!r}; there are {', '.join(ORCHESTRATIONS)}")
    orchestration = orchestration or list(ORCHESTRATIONS)[rng.integers(len(ORCHESTRATIONS))]
    players = [program for program in ORCHESTRATIONS[orchestration] if program in programs] or list(programs)
    written = written_notes(work)
    bpm = _tempo(rng, written)
    start = rng.uniform(0, max(written.end - seconds * bpm / 60, 0))
    start = written.onset[written.onset <= start].max(initial=written.onset.min())
    written = written[written.onset >= start].shift(-start)
    written = written.replace(
        pitch=written.pitch + rng.integers(-3, 4),
        velocity=74 + 6 * (written.onset % 1 == 0),
        track=0 if orchestration == "keyboard" else written.track,
    )
    to_seconds = clock(rng, bpm, seconds, rng.uniform(0.05, 0.4), rng.uniform(0.01, 0.03))
    end = min(seconds, float(to_seconds(written.offset).max()) + 1.0)
    parts: list[Part] = []
    for track in np.unique(written.track):
        program, notes = _cast(rng, written[written.track == track], players)
        notes = notes.replace(track=len(parts), program=program)
        notes = perform(rng, notes, to_seconds, end, TOUCHES[rng.integers(len(TOUCHES))])
        if len(notes):
            role = "voice" if program in VOICES else "melody"
            parts.append(Part(PROGRAM_NAMES[program], program, False, role, notes))
    return Score(work, tuple(parts), end, composer=work.split("/")[0])


def _tempo(rng: np.random.Generator, written: Notes) -> float:
    """Quarters a minute that make the typical note a quarter to three quarters of a second, and no run unplayable."""
    parts = (np.unique(written.onset[written.track == track]) for track in np.unique(written.track))
    steps = np.concatenate([np.diff(onsets) for onsets in parts])
    typical, fast = np.quantile(steps, [0.5, 0.05]) if len(steps) else (1.0, 1.0)
    return float(np.clip(60 * min(typical / np.exp(rng.uniform(np.log(0.25), np.log(0.75))), fast / 0.08), 30, 180))


def _cast(rng: np.random.Generator, notes: Notes, players: Sequence[int]) -> tuple[int, Notes]:
    """One of the programs that play the part with the fewest changes, and the part as it plays it.

    The part moves by whole octaves; single notes that still lie outside the range follow by themselves.
    """
    costs = {}
    for program in players:
        low, high = RANGES[program]
        for octaves in range(-3, 4):
            pitch = notes.pitch + 12 * octaves
            costs[program, octaves] = np.mean((pitch < low) | (pitch > high)) + 0.1 * abs(octaves)
    least = min(costs.values())
    good = [choice for choice, cost in costs.items() if cost <= least + 0.02]
    program, octaves = good[rng.integers(len(good))]
    return program, notes.replace(pitch=into_range(notes.pitch + 12 * octaves, *RANGES[program]))


def _parse(file: Path) -> Notes:
    from music21 import converter, stream

    score = converter.parse(file, forceSource=True)
    assert isinstance(score, stream.Score)
    score.toSoundingPitch(inPlace=True)
    rows = [
        (float(sound.offset), float(sound.offset + sound.quarterLength), pitch.midi, index)
        for index, part in enumerate(score.parts)
        for sound in part.stripTies().flatten().notes
        if sound.quarterLength > 0  # ornaments and chord symbols have no length
        for pitch in sound.pitches
    ]
    onset, offset, pitch, part = np.array(rows).T
    return Notes.build(onset, offset, pitch, track=part).without_overlaps()


def _notices(file: Path) -> str:
    """The words printed in a MusicXML file, and what it says about rights."""
    data = file.read_bytes()
    if file.suffix == ".mxl":
        with zipfile.ZipFile(file) as archive:
            name = next(name for name in archive.namelist() if not name.startswith("META-INF") and name[-1] != "/")
            data = archive.read(name)
    found = re.findall(rb"<(?:rights|credit-words|words|source|miscellaneous-field)\b[^>]*>([^<]*)<", data)
    return "\n".join(words.decode("utf-8", "replace") for words in found)


def _corpus() -> Path:
    """The folder of the corpus, found without the second that an import of music21 takes."""
    package = find_spec("music21")
    if package is None or package.origin is None:
        raise CompositionError("real compositions come with the package music21, which is not installed")
    return Path(package.origin).parent / "corpus"
