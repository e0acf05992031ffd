"""A classifier without a head: the instruments whose name helps the denoiser most are in the clip.

Paper: A. Li et al., "Your diffusion model is secretly a zero-shot classifier" (ICCV 2023). A diffusion model's loss
bounds a likelihood, so that how much less it errs when it is told a label than when it is told nothing says how likely
the label is. Noise is the same for all labels: their differences are small beside what noise does to each of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from diffusion_pir.backbones import DenoiserBackbone, open_backbone
from diffusion_pir.diffusion import Denoises, add_noise, sigma_to_timestep, velocity
from diffusion_pir.features import FeatureError, noise_of
from diffusion_pir.judge import Heard, choose, judge
from diffusion_pir.probe_sets import Part, ProbeSet
from diffusion_pir.prober import Result, together
from diffusion_pir.windows import FRAMES, ClipWindows

SIGMAS = (0.3, 0.5, 0.7)  # where a label helps: with less noise it is heard without, with more nothing is


@torch.inference_mode()
def gains(
    denoiser: Denoises,
    x0: Float[Tensor, "batch bin frame"],
    noise: Float[Tensor, "batch bin frame"],
    sets: Bool[Tensor, "set class"],
    sigma: float,
) -> Float[Tensor, "batch set"]:
    """By how much each label set lowers the squared error of the velocity, a mean over the picture; below 0 it harms.

    Args:
        denoiser: in evaluation mode, trained with prompts and with the null prompt.
        x0: standardised log-mel.
        noise: standard normal.
        sets: to choose among; for one instrument each, the identity matrix.
        sigma: noise level in 0..1.
    """
    t = torch.full((len(x0),), int(sigma_to_timestep(sigma)), device=x0.device)
    x_t, v = add_noise(x0, noise, t), velocity(x0, noise, t)

    def error(labels: Tensor | None) -> Tensor:
        said = denoiser(x_t, t, denoiser.prompt(labels))
        return (said - v).square().mean((1, 2))

    told = [error(labels.expand(len(x0), -1)) for labels in sets]
    return error(None)[:, None] - torch.stack(told, 1)


def classify(
    denoiser: Denoises,
    x0: Float[Tensor, "batch bin frame"],
    ids: Sequence[str],
    n_classes: int,
    sigmas: Iterable[float] = SIGMAS,
    draws: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """What each class by itself gains, averaged over noise levels and draws.

    Means over the windows of an excerpt are as meaningful: they are logarithms of likelihood ratios, but for a factor.

    Args:
        denoiser: see `gains`.
        x0: standardised log-mel.
        ids: of the windows, which fix their noise as they do for features.
        n_classes: that the denoiser was trained with.
        sigmas: noise levels in 0..1.
        draws: of noise.
        seed: of the noise.

    Returns:
        (window, class) float32, above 0 where the class helps.
    """
    sets = torch.eye(n_classes, dtype=torch.bool, device=x0.device)
    totals = []
    for draw in range(draws):
        noise = np.stack([noise_of(name, draw, seed, x0.shape[1:]) for name in ids])
        epsilon = torch.from_numpy(noise).to(x0)
        totals += [gains(denoiser, x0, epsilon, sets, sigma) for sigma in sigmas]
    return torch.stack(totals).mean(0).cpu().numpy()


def said_of(backbone: DenoiserBackbone, parts: Sequence[Part], seed: int = 0, batch_size: int = 32) -> Heard:
    """Gains of the classes in clips, from windows that do not overlap but at the end of a clip."""
    apart = []
    for part in parts:
        assert isinstance(part.windows, ClipWindows)
        first = part.windows.start % FRAMES == 0
        rows = np.flatnonzero(first)
        batches = np.split(rows, range(batch_size, len(rows), batch_size))
        told = []
        for batch in tqdm(batches, "denoising errors", unit="batch"):
            x0 = backbone.encode(torch.from_numpy(part.windows.load(batch)).to(backbone.device))
            ids = [part.windows.ids[row] for row in batch]
            told.append(classify(backbone.denoiser, x0, ids, part.labels.shape[1], seed=seed))
        apart.append((replace(part, clip=part.clip[rows]), np.concatenate(told)))
    return together([part for part, _ in apart], np.concatenate([gain for _, gain in apart]))


def zero_shot(model: str, data: ProbeSet, seed: int = 0, device: str = "cpu") -> Result:
    """Excerpts classified by denoising errors alone; validation brings the gains to scale and chooses a threshold.

    Args:
        model: our own diffusion model, see `backbones.open_backbone`.
        data: of which nothing is learnt from the training clips; its classes are those of the model's prompts.
        seed: of the noise.
        device: to compute on.

    Raises:
        FeatureError: another's model, or validation clips that are mixes.
    """
    backbone = open_backbone(model, device)
    if not isinstance(backbone, DenoiserBackbone) or backbone.denoiser.n_classes != len(data.classes):
        raise FeatureError(
            f"{model}: denoising errors are taken with prompts of the data's classes; give our own model"
        )
    validation, test = (said_of(backbone, parts, seed) for parts in (data.deciding, [data.test]))
    scale = float(validation.logits.std())
    validation, test = (replace(heard, logits=heard.logits / scale) for heard in (validation, test))
    decision = choose(validation, "S2", calibrated=True)
    row = {"model": backbone.name, "head": "", "layer": "", "noise": "+".join(f"{s:g}" for s in SIGMAS), "seed": seed}
    row |= {"agg": "S2", "threshold": decision.thresholds[0], "params": 0, **judge(decision, test, data.classes)}
    return Result(row, decision.scores(test.logits, test.excerpt, len(test.labels)))
