"""The part of `make demo` on predominant instruments: a clip in which another comes to the fore; what noise does."""

from pathlib import Path

import numpy as np

from benchmarks import page
from common import audio as sound
from common.instruments import IRMAS_NAMES
from common.predominance import switching_clip
from diffusion_pir import recognise
from diffusion_pir.files import draw, in_words
from diffusion_pir.fits import choose, over_seeds, pinned, read_rows
from diffusion_pir.inference import Recognition
from diffusion_pir.report import figures
from diffusion_pir.streams import Overview

RATE = 44_100
SECONDS = 7.0
FIRST, SECOND = "sax", "pia"
RECORD = Path(__file__).with_name("results") / "diffusion-noise.csv"  # of benchmarks/sweeps/diffusion-noise.yaml


def section(folder: Path, seed: int) -> page.Section:
    """Render, recognise and show a clip, and the curve that is on record; the sound goes into `folder`."""
    return page.Section(
        "diffusion_pir: who is heard above all others",
        "\n".join([present_clip(folder, seed), present_curve(RECORD)]),
    )


def present_clip(folder: Path, seed: int) -> str:
    """The clip as seen and heard."""
    audio = switching_clip(FIRST, SECOND, seed, SECONDS, RATE)
    overview = Overview()
    found = recognise(audio, RATE, watch=overview.push)
    right, n_windows = score(found)
    told = f"{right} of the {n_windows} windows"
    print(f"  right in {told} on either side of the change")
    path = folder / "switch.mp3"
    sound.write(path, 0.9 * audio / max(float(np.abs(audio).max()), 1e-3), RATE)
    first, second, labels = IRMAS_NAMES[FIRST], IRMAS_NAMES[SECOND], ", ".join(map(in_words, found.labels))
    return page.card(
        f"From {first} to {second}",
        page.paragraph(
            f"{SECONDS:.0f} seconds, rendered with instruments and tunes that no training has heard: until the middle "
            f"the {first} stands out, from there on the {second}; others play on below. A denoiser that was trained to "
            f"draw instruments looks at windows of 2 seconds, and a small head reads in its layers which of eleven "
            f"instruments it sees. The line is the one that is thought likeliest: the right one in {told} that lie on "
            f"one side of the change. For the clip as a whole it says: {labels}."
        ),
        page.picture(
            draw(found, overview.finish()),
            f"Spectrogram, and below it the probability of eleven instruments over time; right in {told}.",
        ),
        page.player("The clip", path),
    )


def score(found: Recognition) -> tuple[int, int]:
    """In how many windows on one side of the middle the likeliest class is the right one, and how many there are."""
    middle = found.duration / 2.0
    later = found.times >= middle
    away = later | (found.ends <= middle)
    wanted = np.where(later, found.classes.index(SECOND), found.classes.index(FIRST))
    return int((found.predominant == wanted)[away].sum()), int(away.sum())


def present_curve(record: Path) -> str:
    """How well instruments can be told by what one layer hears at different noise levels, as measured before."""
    rows = read_rows(record)
    chosen = choose(rows)
    own = pinned(rows, **{name: chosen[name] for name in ("model", "layer", "head")})
    means = {cell.row["sigma"]: cell.mean for cell in over_seeds(own, "micro").values()}
    best, most = max(means, key=lambda sigma: means[sigma]), max(means)
    return page.card(
        "What noise does",
        page.paragraph(
            "The same denoiser is shown clips under noise, and a small classifier is trained on what one of its layers "
            f"then hears; this has been measured before. At noise level {best:g} a micro-F of {means[best]:.2f} is "
            f"reached on clips of held-out music, at {most:g} {means[most]:.2f}. Dashed and dotted lines have learnt "
            "nothing: the network before training, the spectrogram alone, the same answer for every clip."
        ),
        page.picture(
            figures(rows)["noise"],
            f"Micro-F over noise level: {means[best]:.2f} at {best:g}, {means[most]:.2f} at {most:g}.",
        ),
    )
