"""The part of `make demo` on leads: who leads in a composed ensemble, as found from its stems and as written."""

from pathlib import Path

import numpy as np

from benchmarks import page
from common import audio as sound
from common import plots
from common.composer import compose
from common.evaluation.segments import from_frames
from common.instruments import TRAIN_PROGRAMS
from common.pieces import levels
from common.render import render_score
from lead_detection import detect_lead
from lead_detection.decode import NOBODY
from lead_detection.songs import rasterise
from lead_detection.taxonomy import of_program

RATE = 24_000


def section(folder: Path, seed: int, seconds: float) -> page.Section:
    """Compose, render, detect and show a piece of `seconds`; its sound goes into `folder`."""
    score = compose(seed, "ensemble", seconds, TRAIN_PROGRAMS)
    rng = np.random.default_rng(seed)
    stems = render_score(score, RATE, rng=rng)
    stems *= levels(stems, RATE, rng)[:, None].astype(np.float32)
    names = [f"{i} {part.name}" for i, part in enumerate(score.parts, 1)]
    instruments = [of_program(part.program, part.is_drum) for part in score.parts]
    lead = detect_lead(dict(zip(names, stems, strict=True)), RATE, instruments=instruments)

    times = lead.grid.times(np.arange(len(lead.probabilities)) + 0.5)
    truth = rasterise(score.lead, times)
    estimate = 1 + lead.segments["track"][np.searchsorted(lead.segments["end"][:-1], times, side="right")]
    right = float(np.mean(truth == estimate))
    print(f"  right in {right:.0%} of the time")
    edges, classes = from_frames(truth, lead.grid, lead.duration)
    picture = plots.timeline(
        10.0 ** (lead.levels.T / 20.0),
        names,
        np.append(0.0, lead.segments["end"]),
        lead.segments["track"],
        lead.segments["confidence"],
        (edges, classes + NOBODY),
    )
    mixture = stems.sum(axis=0)
    path = folder / "ensemble.mp3"
    sound.write(path, 0.9 * mixture / max(float(np.abs(mixture).max()), 1e-3), RATE)
    card = page.card(
        "An ensemble, written by our composer",
        page.paragraph(
            f"{len(names)} players, {seconds:.0f} seconds. The stems went in one by one, and for each moment one of "
            f"them, or nobody, came out; that is right in {right:.0%} of the time. Coloured is who was found to lead, "
            "and below the waveforms stands who does by the score."
        ),
        page.picture(picture, f"Waveforms of {len(names)} stems, the lead coloured; right in {right:.0%} of the time."),
        page.player("The piece", path),
    )
    return page.Section("lead_detection: stems become the timeline of the lead", card)
