"""Sounds of instruments out of noise: prompt -> log-mels -> wav files and a picture."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from common import audio as sound
from common import checkpoint
from common.instruments import IRMAS, IRMAS_NAMES
from common.melspec import HOP_LENGTH, SAMPLE_RATE
from common.storage import replacing
from diffusion_pir.diffusion import Denoises, Prompt, add_noise, ddim, velocity
from diffusion_pir.inference import find_weights
from diffusion_pir.model import Denoiser
from diffusion_pir.vocoder import Vocoder, open_vocoder, vocode
from diffusion_pir.windows import FRAMES

KNOWN = FRAMES // 2  # frames of what is there already that the next window goes on from
AT_ONCE = 16  # sounds that are made together
PEAK = 0.9  # of the wav files
LONGEST = 600.0  # seconds


class PromptError(ValueError):
    """A prompt that names what the model does not know, or sounds that cannot be made."""


def open_denoiser(name: str | Path, device: str = "cpu") -> tuple[Denoiser, tuple[str, ...]]:
    """The network of shipped or exported weights, and its classes.

    Raises:
        WeightsError: there are no such weights.
        CheckpointError: they are damaged, or another network.
    """
    denoiser, extra = checkpoint.load(Denoiser, find_weights(name, "model"), device)
    return denoiser, tuple(extra.get("classes", IRMAS))


def parse_prompt(prompt: str, classes: Sequence[str]) -> tuple[int, ...]:
    """Indices of the classes that a prompt names, in its order; by their names in words or as in IRMAS.

    Raises:
        PromptError: it names none, or one that is not known.
    """
    names = {IRMAS_NAMES.get(label, label).lower(): i for i, label in enumerate(classes)}
    known = ", ".join(names)
    names |= {label.lower(): i for i, label in enumerate(classes)}
    wanted = [" ".join(part.lower().split()) for part in prompt.split(",")]
    unknown = [part for part in wanted if part and part not in names]
    if unknown:
        raise PromptError(f"no instrument is called {unknown[0]!r} here; there are {known}")
    if not any(wanted):
        raise PromptError(f"name one instrument or more, with commas between them, of {known}")
    return tuple(dict.fromkeys(names[part] for part in wanted if part))


class Continuation:
    """A denoiser of windows of which the beginning is known: there it says what leads back to just that.

    Inpainting by replacement: at each noise level the beginning is the known one with its share of noise.

    Args:
        denoiser: what says the rest.
        known: (batch, bin, frame) standardised log-mel with which the windows begin.
        noise: of the same shape.
    """

    def __init__(self, denoiser: Denoises, known: Float[Tensor, "batch bin frame"], noise: Tensor):
        self.denoiser = denoiser
        self.known = known
        self.noise = noise

    def knows(self, labels: Tensor) -> Tensor:
        return self.denoiser.knows(labels)

    def prompt(self, labels: Tensor | None, dropped: Tensor | None = None) -> Prompt | None:
        return self.denoiser.prompt(labels, dropped)

    def __call__(self, x: Tensor, t: Tensor, prompt: Prompt | None = None) -> Tensor:
        times = len(x) // len(self.known)  # guidance asks about every window twice
        known, noise = (part.repeat(times, 1, 1) for part in (self.known, self.noise))
        n_known = known.shape[2]
        told = self.denoiser(torch.cat([add_noise(known, noise, t), x[..., n_known:]], dim=2), t, prompt)
        return torch.cat([velocity(known, noise, t), told[..., n_known:]], dim=2)


def draw_noise(seed: int, sounds: Sequence[int], window: int, n_bins: int) -> Float[Tensor, "sound bin frame"]:
    """That of a window of some sounds; how many others are made does not matter."""
    drawn = [np.random.default_rng((seed, i, window)).standard_normal((n_bins, FRAMES), np.float32) for i in sounds]
    return torch.from_numpy(np.stack(drawn))


@torch.inference_mode()
def generate(
    denoiser: Denoiser,
    labels: Bool[np.ndarray, " class"],
    sounds: Sequence[int],
    n_frames: int,
    steps: int = 50,
    guidance: float = 3.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, "sound bin frame"]:
    """Log-mels of sounds with these instruments.

    What is longer than a window is made window by window, each going on from the second half of the one before.

    Args:
        denoiser: in evaluation mode.
        labels: the instruments.
        sounds: numbers of the sounds, which with the seed fix their noise.
        n_frames: of each.
        steps: of the sampler, for each window.
        guidance: how closely the labels are followed, see `diffusion.guided`.
        seed: of the noise.
        progress: called after each step, see `ddim`.
    """
    device = next(denoiser.parameters()).device
    told = torch.from_numpy(labels).to(device).expand(len(sounds), -1)
    made = torch.zeros(len(sounds), denoiser.n_bins, 0, device=device)
    for window in range(n_windows(n_frames)):
        noise = draw_noise(seed, sounds, window, denoiser.n_bins).to(device)
        known = made[..., -KNOWN:]
        n_known = known.shape[2]  # none in the first window
        asked: Denoises = Continuation(denoiser, known, noise[..., :n_known]) if n_known else denoiser
        x = ddim(asked, noise, steps, guidance, told, progress=progress)
        made = torch.cat([made, x[..., n_known:]], dim=2)
    return denoiser.unstandardise(made[..., :n_frames]).cpu()


def n_windows(n_frames: int) -> int:
    """How many windows are made for so many frames."""
    return 1 + max(-(-(n_frames - FRAMES) // (FRAMES - KNOWN)), 0)


def run(options: Namespace) -> int:
    """What the command line asks for; every file is whole or not there.

    Raises:
        ValueError: an instrument, model or vocoder that there is not, or sounds that cannot be made.
    """
    if not 0.0 < options.seconds <= LONGEST:
        raise PromptError(f"--seconds {options.seconds:g}: a sound lasts more than 0 and at most {LONGEST:g} seconds")
    denoiser, classes = open_denoiser(options.model, options.device)
    chosen = parse_prompt(options.prompt, classes)
    vocoder = open_vocoder(options.vocoder)
    names = [IRMAS_NAMES.get(classes[i], classes[i]) for i in chosen]
    name = "-".join(names).replace(" ", "-")
    labels = np.isin(np.arange(len(classes)), chosen)
    n_samples = max(round(options.seconds * SAMPLE_RATE), 1)
    n_frames = -(-n_samples // HOP_LENGTH)
    groups = [range(first, min(first + AT_ONCE, options.n)) for first in range(0, options.n, AT_ONCE)]
    made = []
    with tqdm(total=len(groups) * n_windows(n_frames) * options.steps, unit="step", leave=False) as bar:

        def advance(done: int, total: int) -> None:
            bar.update()

        for sounds in groups:
            settings = (options.steps, options.guidance, options.seed)
            made.append(generate(denoiser, labels, sounds, n_frames, *settings, progress=advance))
            for i, audio in zip(sounds, to_sound(vocoder, made[-1]), strict=True):
                path = options.out / f"{name}-{i + 1:0{len(str(options.n))}d}.wav"
                sound.write(path, audio[:n_samples], SAMPLE_RATE)
                bar.write(str(path))
    draw(options.out / f"{name}.png", torch.cat(made).numpy(), ", ".join(names))
    return 0


def to_sound(vocoder: Vocoder, log_mels: Tensor) -> np.ndarray:
    """(sound, time) float32, each at the same peak."""
    audio = vocode(vocoder, log_mels).numpy()
    return PEAK * audio / np.maximum(np.abs(audio).max(axis=1, keepdims=True), 1e-5)


def draw(path: Path, log_mels: np.ndarray, title: str) -> None:
    """A picture of all sounds, by their numbers."""
    from diffusion_pir.plots import spectrograms  # matplotlib, not before there is something to draw

    with replacing(path) as temporary:
        spectrograms(log_mels, [str(i + 1) for i in range(len(log_mels))], title).savefig(temporary)
    print(path)
