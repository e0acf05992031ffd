"""A classifier without a head: the instruments whose name helps the denoiser most are in the clip.

Paper: A. Li et al., "Your diffusion model is secretly a zero-shot classifier" (ICCV 2023). A diffusion model's loss
bounds a likelihood, so that how much less it errs when it is told a label than when it is told nothing says how likely
the label is. Noise is the same for all labels: their differences are small beside what noise does to each of them.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diffusion_pir.diffusion import Denoises, add_noise, sigma_to_timestep, velocity
from diffusion_pir.features import noise_of

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
