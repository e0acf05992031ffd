"""The part of `make demo` on all instruments: a band as it was played, and as it was written down, by instrument."""

import time
from pathlib import Path

import numpy as np

from benchmarks import page
from common import audio as sound
from common import plots
from common.composer import compose
from common.instruments import MT3_CLASSES, PROGRAM_NAMES, TRAIN_PROGRAMS
from common.midi import write_midi
from common.notes import Notes
from common.pieces import levels
from common.render import heard, render, render_score
from common.transcripts import Transcript
from yourmt3plus import inference
from yourmt3plus.files import PLAYED_AS
from yourmt3plus.programs import written
from yourmt3plus.sources import WRITABLE
from yourmt3plus.validation import scores

RATE = 44_100
CLASS_NAMES: dict[int, str] = {members[0]: name for name, members in MT3_CLASSES.items()}


def section(
    folder: Path, seed: int, seconds: float, model: inference.Model | inference.MapModel | None = None
) -> page.Section:
    """Compose, render, transcribe and show a piece of `seconds`; its sounds and MIDI go into `folder`.

    Args:
        folder: for files.
        seed: of the piece.
        seconds: of the piece.
        model: none takes the shipped weights.
    """
    model = inference.load() if model is None else model
    score = compose(seed, "band", seconds, TRAIN_PROGRAMS)
    rng = np.random.default_rng(seed)
    stems = render_score(score, RATE, rng=rng)
    stems *= levels(stems, RATE, rng)[:, None].astype(np.float32)
    mixture, truth = stems.sum(axis=0), of_classes(heard(score.notes))
    start = time.monotonic()
    estimate = inference.transcribe(mixture, RATE, model=model)
    took = time.monotonic() - start
    played_picture, heard_picture = pictures(truth, estimate, seconds)
    piece, copy, midi = sounds(mixture, estimate, seconds, folder)
    played = page.card(
        "A band, written by our composer",
        page.paragraph(
            f"{', '.join(part.name for part in score.parts)}. {seconds:.0f} seconds, which no training has heard. The "
            f"recording of all of them goes in, and the notes of each instrument come out, by the weights "
            f"“{model.name}”. An instrument has one colour in both pictures; drums have no pitch and are not drawn, "
            "but they are in the scores and in the sound."
        ),
        score_table(truth, estimate, took),
        played_picture,
        piece,
    )
    copied = page.card("What was heard of it", heard_picture, copy, midi)
    return page.Section("yourmt3plus: a recording becomes the parts of a score", f"{played}\n{copied}")


def of_classes(notes: Notes) -> Notes:
    """The notes with the programs and keys that a perfect transcription gives them: the first of each class."""
    notes = notes.replace(program=WRITABLE[notes.program])
    program, pitch = written(notes)
    return notes.replace(program=program, pitch=pitch)


def score_table(truth: Notes, estimate: Notes, took: float) -> str:
    found = scores(truth, estimate)
    print(f"  onset F {found['onset_f1']:.2f}, multi-F {found['multi_f1_ymt3']:.2f}, drum F {found['drum_f1']:.2f}")
    rows = [
        ("Onset F: pitch right, onset within 50 ms, whatever the instrument", "onset_f1"),
        ("Multi-F: instrument and end right too", "multi_f1_ymt3"),
        ("Drum F: kick, snare and hi-hat", "drum_f1"),
    ]
    cells = [[text, f"{found[name]:.2f}"] for text, name in rows]
    cells.append(["Notes played, and heard", f"{len(truth.tuned())}, {len(estimate.tuned())}"])
    cells.append(["Hits of drums played, and heard", f"{truth.is_drum.sum()}, {estimate.is_drum.sum()}"])
    cells.append(["Time it took", f"{took:.1f} s"])
    return page.table(["1 is perfect", "This piece"], cells)


def pictures(truth: Notes, estimate: Notes, seconds: float) -> list[str]:
    """Piano rolls of what was played and of what was heard, in the same colours."""
    programs = np.unique(np.concatenate([notes.tuned().program for notes in (truth, estimate)]))
    names = {program: CLASS_NAMES.get(program, PROGRAM_NAMES[program]) for program in map(int, programs)}
    return [
        page.picture(
            plots.piano_roll(notes, seconds=seconds, title=f"What was {what}", instruments=names),
            f"Piano roll of what was {what}: {len(notes.tuned())} notes, a colour for each instrument.",
        )
        for what, notes in (("played", truth), ("heard", estimate))
    ]


def sounds(mixture: np.ndarray, estimate: Notes, seconds: float, folder: Path) -> tuple[str, str, str]:
    """Players of the piece and of what was heard, and MIDI of the latter."""
    played = Transcript(estimate, "", seconds, RATE, played_as=PLAYED_AS).played
    echo = np.zeros_like(mixture)
    for track in np.unique(played.track):
        echo += render(played[played.track == track], RATE, seconds=seconds)
    piece, copy, midi = (folder / f"all-instruments{end}" for end in (".mp3", "-transcribed.mp3", ".mid"))
    for path, audio in ((piece, mixture), (copy, echo)):
        sound.write(path, 0.9 * audio / max(float(np.abs(audio).max()), 1e-3), RATE)
    write_midi(midi, played)
    return (
        page.player("The piece", piece),
        page.player("What was heard, played by its instruments", copy),
        page.download("MIDI with a track for each instrument", midi),
    )
