"""`make demo`: music becomes notes, and a network learns to hear them, before your eyes; one page shows it all.

It needs no account, no GPU and no network. What it makes lies in runs/demo (another root: TUTTI_RUNS): index.html, the
sounds and MIDI files that are inside that page as well, and a training run with its W&B record.
"""

import argparse
import csv
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from benchmarks import demo_diffusion, demo_lead, demo_yourmt3, page
from common import audio as sound
from common import corpus, plots
from common.composer import compose
from common.compositions import load_composition
from common.evaluation.multitrack import purity
from common.instruments import PROGRAM_NAMES, TRAIN_PROGRAMS
from common.midi import write_midi
from common.notes import Notes
from common.pieces import Piece, levels
from common.render import heard, render, render_score
from common.scores import Score
from common.stems import Multitrack, Stem
from common.storage import replacing
from lightweight_amt import inference, separation
from lightweight_amt.clustering import StopRule, cluster
from lightweight_amt.evaluate import score as score_notes
from lightweight_amt.targets import merge_unisons

RATE = 44100  # of the sounds on the page; the network resamples for itself
SECONDS = 25.0
N_SEPARATED = 3
SEED = corpus.FIRST_SEED["test"] + 3  # of the test split: a band with drums, chosen before anything was scored
WORK, WORK_TITLE = "beethoven/opus18no1/movement3", "Beethoven: String Quartet op. 18 no. 1, from the Scherzo"
# A point of the loss every five steps and five scores on the way make a curve of a run that is this short.
FINER = ("--trainer.log_every_n_steps=5", "--trainer.val_check_interval=30")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="base", help="shipped weights or an exported file (default: %(default)s)")
    options = parser.parse_args(argv)
    folder = Path(os.environ.get("TUTTI_RUNS", "runs"), "demo")
    start = time.monotonic()
    try:
        # One section for each sub-project, in the order of the README.
        sections = [lightweight_amt(folder, options.model), lead_detection(folder)]
        sections += [diffusion_pir(folder), yourmt3plus(folder)]
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: no page was written", file=sys.stderr)
        return 130
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    took = f"{minutes} min {seconds} s on {os.cpu_count()} CPU cores"
    path = folder / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(
            page.render(
                "tutti: music in, notes out",
                "What this machine has just done, without an account and without a network: it rendered music of "
                "which every note is known, wrote down what it heard, compared that with the truth, and taught a "
                "small network to do the same.",
                sections,
                f"Made by make demo in {took}, {time.strftime('%Y-%m-%d %H:%M')}.",
            ),
            encoding="utf-8",
        )
    print(f"\n{took}. Open this page in a browser:\n  {path.absolute()}")
    return 0


@contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and then how long it took."""
    print(f"\n{text}", flush=True)
    start = time.monotonic()
    yield
    print(f"  done in {time.monotonic() - start:.1f} s", flush=True)


# lightweight_amt: a mixture becomes notes, and the tiny preset is trained.


@dataclass(frozen=True)
class Take:
    """A piece whose notes are known, and what was heard in it."""

    name: str  # of its files
    title: str
    parts: str
    audio: np.ndarray  # float32 [time] at RATE
    truth: Notes
    estimate: Notes
    scores: dict[str, float]
    seconds: float  # that the transcription took


def lightweight_amt(folder: Path, model_name: str) -> page.Section:
    model = inference.load(model_name)
    with step("Rendering the tiny corpus, to train on"):
        tiny = corpus.build("tiny")
    with step(f"Composing and transcribing {SECONDS:g} s of band music"):
        band = listen("band", "A band, written by our composer", compose(SEED, "band", SECONDS, TRAIN_PROGRAMS), model)
    with step(f"Performing and transcribing {SECONDS:g} s of Beethoven"):
        excerpt = load_composition(WORK, np.random.default_rng(SEED), "strings", seconds=SECONDS)
        quartet = listen("quartet", WORK_TITLE, excerpt, model)
    with step(f"Telling {N_SEPARATED} instruments of the band apart"):
        timbre = inference.load(model_name, timbre=True)
        trio = separate(compose(SEED, "band", SECONDS, TRAIN_PROGRAMS), timbre)
    with step("Training the tiny preset"):
        run = train(folder)
    takes = [band, quartet]
    html = [
        page.paragraph(
            "Two pieces from the test split, which no training has heard, played by the default SoundFont and "
            f"transcribed on the CPU by the weights “{model.name}”; recordings of real rooms are harder. In the "
            "pictures blue notes were found, those in outline were missed, and orange ones nobody played. Drums have "
            "no pitch and are left out; what several players strike together on one pitch is one note."
        ),
        page.card("Scores", scores_table(takes)),
        present(band, folder),
        present_tracks(trio, timbre.rule),
        present(quartet, folder),
        present_training(run, tiny.pieces("train")),
    ]
    return page.Section("lightweight_amt: a recording becomes notes", "\n".join(html))


def lead_detection(folder: Path) -> page.Section:
    with step(f"Finding out who leads in {SECONDS:g} s of an ensemble"):
        return demo_lead.section(folder, SEED, SECONDS)


def diffusion_pir(folder: Path) -> page.Section:
    with step(f"Recognising who is heard above all in {demo_diffusion.SECONDS:g} s"):
        return demo_diffusion.section(folder, SEED)


def yourmt3plus(folder: Path) -> page.Section:
    with step(f"Writing down who plays what in {SECONDS:g} s of a band"):
        return demo_yourmt3.section(folder, SEED, SECONDS)


def scores_table(takes: Sequence[Take]) -> str:
    rows = [
        ("Note F: pitch right, onset within 50 ms", "note_f1"),
        ("Note F with ends: end right too, within 20 % of the duration or 50 ms", "note_offset_f1"),
        ("Frame F: what sounds at each moment", "frame_f1"),
    ]
    cells = [[text, *(f"{take.scores[name]:.2f}" for take in takes)] for text, name in rows]
    cells.append(["Notes played", *(str(len(take.truth)) for take in takes)])
    cells.append(["Notes heard", *(str(len(take.estimate)) for take in takes)])
    cells.append(["Time it took", *(f"{take.seconds:.1f} s" for take in takes)])
    return page.table(["1 is perfect", *(take.name.capitalize() for take in takes)], cells)


def listen(name: str, title: str, score: Score, model: inference.Model) -> Take:
    """Render a score, transcribe the mixture, and score what was heard against what was played."""
    rng = np.random.default_rng(SEED)
    stems = render_score(score, RATE, rng=rng)
    stems *= levels(stems, RATE, rng)[:, None].astype(np.float32)
    mixture, truth = stems.sum(axis=0), merge_unisons(heard(score.notes))
    start = time.monotonic()
    estimate = inference.transcribe(mixture, RATE, model=model)
    seconds = time.monotonic() - start
    n_frames = int(model.grid.frames(score.seconds))
    scores = score_notes(estimate, truth, model.grid, n_frames)
    print(f"  note F {scores['note_f1']:.2f}, frame F {scores['frame_f1']:.2f}")
    parts = ", ".join(part.name for part in score.parts)
    return Take(name, title, parts, mixture, truth, estimate, scores, seconds)


def present(take: Take, folder: Path) -> str:
    """A take as seen, heard and taken away."""
    seconds = len(take.audio) / RATE
    piece, echo = folder / f"{take.name}.mp3", folder / f"{take.name}-transcribed.mp3"
    for path, samples in ((piece, take.audio), (echo, render(take.estimate, RATE, seconds=seconds))):
        sound.write(path, 0.9 * samples / max(np.abs(samples).max(), 1e-3), RATE)
    midi = folder / f"{take.name}.mid"
    write_midi(midi, take.estimate)
    found = round(take.scores["note_recall"] * len(take.truth))
    alt = (
        f"Piano roll of “{take.title}”: of {len(take.truth)} notes {found} were found and {len(take.truth) - found} "
        f"missed; {len(take.estimate) - found} more were heard that nobody played."
    )
    return page.card(
        take.title,
        page.paragraph(f"{take.parts}. {seconds:.0f} seconds."),
        page.picture(plots.piano_roll(take.estimate, take.truth, seconds), alt),
        page.side_by_side(page.player("The piece", piece), page.player("What was heard, played on a piano", echo)),
        page.download("MIDI of what was heard", midi),
    )


def separate(score: Score, model: inference.Model) -> separation.Heard:
    """The first N_SEPARATED pitched instruments of a score together, transcribed with the direction of each note."""
    parts = {part.program: part for part in reversed(score.parts) if not part.is_drum}.values()
    chosen = replace(score, parts=tuple(parts)[-N_SEPARATED:][::-1])
    rng = np.random.default_rng(SEED)
    stems = render_score(chosen, model.grid.sample_rate, rng=rng)
    stems *= levels(stems, model.grid.sample_rate, rng)[:, None].astype(np.float32)
    return separation.hear(
        Multitrack(
            tuple(
                Stem(audio, part.program, False, part.name, heard(part.notes))
                for part, audio in zip(chosen.parts, stems, strict=True)
            ),
            model.grid.sample_rate,
        ),
        model,
    )


def present_tracks(trio: separation.Heard, rule: StopRule) -> str:
    """What was heard, coloured by the track it was put into, and the directions of its notes."""
    labels = cluster(trio.vectors, trio.k, trio.weights, rule=rule)
    found, instrument = trio.matched()
    share, guess = (
        purity(labels[found], instrument),
        len(np.unique(cluster(trio.vectors, weights=trio.weights, rule=rule, notes=trio.notes))),
    )
    names = [PROGRAM_NAMES[trio.truth[trio.truth.track == i].program[0]] for i in range(trio.k)]
    return page.card(
        f"{trio.k} instruments of the band, told apart",
        page.paragraph(
            f"{', '.join(names)} play together, and the timbre branch sorts the notes that were heard into {trio.k} "
            f"tracks, whatever instruments they are: of the notes that were heard rightly {share:.0%} lie in the right "
            f"track. Left to find the number of instruments by itself, it says {guess}."
        ),
        page.picture(
            plots.piano_roll(trio.notes.replace(track=labels), title="What was heard, a colour for each track"),
            f"Piano roll of {len(trio.notes)} notes in {trio.k} colours.",
        ),
        page.picture(
            plots.directions(
                {"Directions of the notes, coloured by who played them": (trio.vectors[found], instrument)}, names
            ),
            f"Points of {len(found)} notes in the plane of their greatest variance, coloured by instrument.",
        ),
    )


def train(folder: Path, *options: str) -> Path:
    """Train the tiny preset with the command line that trains everything; returns the folder of the run."""
    run = folder / "lightweight_amt" / "tiny"
    shutil.rmtree(run, ignore_errors=True)  # the run of an earlier demo
    command = ["-m", "lightweight_amt", "fit", "--config", str(files("lightweight_amt") / "configs" / "tiny.yaml")]
    command += [f"--name={run.name}", *FINER, *options]
    print(f"  {shlex.join(['python', *command])}", flush=True)
    # Offline also for a user who is logged in: a demo does not talk to anybody's account.
    settings = {"TUTTI_RUNS": str(folder), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    subprocess.run([sys.executable, *command], check=True, env=os.environ | settings)
    return run


def present_training(run: Path, pieces: list[Piece]) -> str:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    panels = {"loss": ("train/loss_step", "val/loss"), "F": ("val/note_f1", "val/frame_f1")}
    last = [float(row["val/note_f1"]) for row in rows if row["val/note_f1"]][-1]
    steps = 1 + int(rows[-1]["step"])
    record = next(run.glob("wandb/offline-run-*"))
    return page.card(
        "A network learns",
        page.paragraph(
            f"The tiny preset, trained for {steps} steps on {sum(piece.seconds for piece in pieces):.0f} seconds of "
            f"music in {len(pieces)} pieces, from random weights to a note F of {last:.2f} on pieces that it was not "
            "trained on. It shows that training works, not how well: the weights that were used above have heard "
            "hours."
        ),
        page.picture(
            plots.learning_curve(rows, panels),
            f"Learning curve over {steps} steps: loss in training and validation, note F and frame F in validation; "
            f"note F ends at {last:.2f}.",
        ),
        page.paragraph(
            f"The run lies in {run}: its configuration, its weights, metrics.csv, and the record of Weights & Biases "
            "in offline mode. That record is a folder on this machine and nothing was sent; whoever has an account "
            "can show it there with"
        ),
        page.code(f".venv/bin/wandb sync {record}"),
    )


if __name__ == "__main__":
    sys.exit(main())
