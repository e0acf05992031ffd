"""The part of `make demo` on predominant instruments: a clip in which another comes to the fore; what noise does."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks import page
from benchmarks.diffusion import FLOOR, MEL
from benchmarks.harness import RESULTS
from common import audio as sound
from common import plots
from common.instruments import IRMAS_NAMES
from common.predominance import switching_clip
from diffusion_pir import recognise
from diffusion_pir.files import draw, in_words
from diffusion_pir.inference import Recognition
from diffusion_pir.streams import Overview

RATE = 44_100
SECONDS = 7.0
FIRST, SECOND = "sax", "pia"
RECORD = RESULTS / "eval-diffusion.json"


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
    """How well instruments are told by what one layer hears under noise, as `benchmarks.diffusion` has found it."""
    results = json.loads(record.read_text(encoding="utf-8"))["results"]
    curve = {float(sigma): scores["micro"] for sigma, scores in results["noise"].items()}
    floors = {name: results["systems"][name]["micro"]["mean"] for name in (MEL, FLOOR)}
    best, most = max(curve, key=lambda sigma: curve[sigma]["mean"]), max(curve)
    found, left = (f"{curve[sigma]['mean']:.2f}" for sigma in (best, most))
    return page.card(
        "What noise does",
        page.paragraph(
            "The same denoiser is shown clips under noise, and a small classifier is trained on what one of its layers "
            f"then hears. This has been measured before, on {results['data']['excerpts']} excerpts of held-out music: "
            f"at noise level {best:g} a micro-F of {found} is reached, at {most:g} {left}. Dashed is what the same "
            "answer for every excerpt reaches, and dotted what the spectrogram tells with no network."
        ),
        page.picture(draw_curve(curve, floors), f"Micro-F over noise level: {found} at {best:g}, {left} at {most:g}."),
    )


@rc_context(plots.STYLE)
def draw_curve(curve: Mapping[float, Mapping[str, float | None]], floors: Mapping[str, float]) -> Figure:
    """Mean and deviation over seeds for each noise level, and a line for what has none."""
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    axes = figure.add_subplot()
    sigmas = np.sort(list(curve))
    mean, deviation = (np.array([curve[sigma][name] or 0.0 for sigma in sigmas]) for name in ("mean", "deviation"))
    axes.fill_between(sigmas, mean - deviation, mean + deviation, color=plots.TRUTH, linewidth=0)
    axes.plot(sigmas, mean, color=plots.FOUND, marker="o", markersize=3, label="bottleneck of the denoiser")
    for (name, level), style in zip(floors.items(), (":", "--"), strict=True):
        axes.axhline(level, color=plots.MISSED, linewidth=1.0, linestyle=style, label=name)
    axes.set(xlabel="noise level", ylabel="micro-F", xlim=(0, 1), ylim=(0, None))
    axes.grid(color="#eeeeee", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
