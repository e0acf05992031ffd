"""The diffusion process: what noise does to a picture, what the network is to say of it, and the way back.

v-diffusion on the cosine schedule: x_t = alpha x + beta eps, and the network tells v = alpha eps - beta x. The table of
alpha and beta is that of diffusers' `DDPMScheduler(1000, "squaredcos_cap_v2", "v_prediction")`, which is within 0.008
of sigma the process of audio-diffusion-pytorch that the paper builds on: alpha = cos(sigma pi/2) and beta =
sin(sigma pi/2).
"""

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from jaxtyping import Bool, Float, Int
from torch import Tensor

N_TIMESTEPS = 1000
SCHEDULER = DDPMScheduler(N_TIMESTEPS, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")

Prompt = tuple[Tensor, Tensor]  # tokens (batch, token, dim), and which of them count (batch, token)


class Denoises(Protocol):
    """What `ddim` asks of a network; see `diffusion_pir.model.Denoiser`."""

    def knows(self, labels: Tensor) -> Tensor: ...
    def prompt(self, labels: Tensor | None, dropped: Tensor | None = None) -> Prompt | None: ...
    def __call__(self, x: Tensor, t: Tensor, prompt: Prompt | None = None) -> Tensor: ...


@cache
def amounts(device: torch.device) -> tuple[Tensor, Tensor]:
    """alpha and beta of each timestep, kept on the device."""
    power = SCHEDULER.alphas_cumprod.double()
    return power.sqrt().float().to(device), (1.0 - power).sqrt().float().to(device)


def alpha_beta(t: Int[Tensor, " batch"]) -> tuple[Float[Tensor, " batch 1 1"], Float[Tensor, " batch 1 1"]]:
    """Amount of the picture and of the noise at timesteps, as (batch, 1, 1); the sum of their squares is one."""
    alpha, beta = amounts(t.device)
    return alpha[t][:, None, None], beta[t][:, None, None]


def timestep_to_sigma(t: np.ndarray | int) -> np.ndarray:
    """Noise level in [0, 1], 2/pi atan(beta / alpha), of timesteps."""
    power = SCHEDULER.alphas_cumprod.double().numpy()[t]
    return np.arctan2(np.sqrt(1.0 - power), np.sqrt(power)) * 2.0 / np.pi


def sigma_to_timestep(sigma: np.ndarray | float) -> np.ndarray:
    """The timesteps whose noise level is nearest; 0 where no noise is asked for, which then is 44 dB below."""
    levels = timestep_to_sigma(np.arange(N_TIMESTEPS))
    return np.abs(levels - np.asarray(sigma)[..., None]).argmin(-1)


def log_snr_db(t: np.ndarray | int) -> np.ndarray:
    """Level of the picture above the noise, in dB, where both have unit variance."""
    power = SCHEDULER.alphas_cumprod.double().numpy()[t]
    return 10.0 * np.log10(power / (1.0 - power))


def stratified_timesteps(n: int, device: torch.device | str = "cpu") -> Int[Tensor, " n"]:
    """Timesteps for a batch, one from each n-th part of the range: uniform, and the loss of a batch varies less."""
    places = (torch.arange(n, device=device) + torch.rand(n, device=device)) / n
    return (places * N_TIMESTEPS).long().clamp(max=N_TIMESTEPS - 1)


def add_noise(x: Tensor, eps: Tensor, t: Int[Tensor, " batch"]) -> Tensor:
    """x_t = alpha x + beta eps, for x (batch, bin, frame)."""
    alpha, beta = alpha_beta(t)
    return alpha * x + beta * eps


def velocity(x: Tensor, eps: Tensor, t: Int[Tensor, " batch"]) -> Tensor:
    """v = alpha eps - beta x: what the network is trained to tell."""
    alpha, beta = alpha_beta(t)
    return alpha * eps - beta * x


def recover(x_t: Tensor, v: Tensor, t: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Picture and noise that a velocity means: x = alpha x_t - beta v, eps = beta x_t + alpha v."""
    alpha, beta = alpha_beta(t)
    return alpha * x_t - beta * v, beta * x_t + alpha * v


def guided(
    denoiser: Denoises, x_t: Tensor, t: Int[Tensor, " batch"], labels: Bool[Tensor, " batch class"] | None, scale: float
) -> Tensor:
    """Velocity with classifier-free guidance: v(null) + scale (v(labels) - v(null)).

    Scale 1 is the prompt alone and 0, or no labels, the null prompt alone: these cost one forward, others two.
    """
    if labels is None or scale == 0.0:
        return denoiser(x_t, t, denoiser.prompt(None))
    if scale == 1.0:
        return denoiser(x_t, t, denoiser.prompt(labels))
    dropped = torch.arange(2 * len(x_t), device=x_t.device) >= len(x_t)
    prompt = denoiser.prompt(labels.repeat(2, 1), dropped)
    told, null = denoiser(x_t.repeat(2, 1, 1), t.repeat(2), prompt).chunk(2)
    return null + scale * (told - null)


def sampling_timesteps(steps: int, start: int = N_TIMESTEPS - 1) -> np.ndarray:
    """The timesteps that `ddim` visits, evenly spaced from `start` down ("trailing"), before it ends without noise.

    Raises:
        ValueError: fewer than one step, or more than there are timesteps.
    """
    if not 1 <= steps <= start + 1:
        raise ValueError(f"{steps} sampling steps: give a number from 1 to {start + 1}")
    return np.round(np.arange(start + 1, 0, -(start + 1) / steps)).astype(int)[:steps] - 1


@torch.inference_mode()
def ddim(
    denoiser: Denoises,
    x_t: Float[Tensor, " batch bin frame"],
    steps: int = 50,
    guidance: float = 3.0,
    labels: Bool[Tensor, " batch class"] | None = None,
    start: int = N_TIMESTEPS - 1,
    progress: Callable[[int, int], None] | None = None,
) -> Float[Tensor, " batch bin frame"]:
    """Pictures out of noise by deterministic DDIM.

    Args:
        denoiser: the network, in evaluation mode.
        x_t: at timestep `start`; by default pure noise. The same noise gives the same picture.
        steps: forwards of the network (twice as much work where `guidance` is neither 0 nor 1).
        guidance: see `guided`.
        labels: sets of instruments; None for the null prompt.
        start: timestep of `x_t`; a lower one changes a picture rather than making one.
        progress: called with steps done and steps in all.

    Returns:
        Standardised log-mel.

    Raises:
        ValueError: no such number of steps, or labels that have no prompt.
    """
    if labels is not None and not bool(denoiser.knows(labels).all()):
        raise ValueError("a set of instruments has no prompt in the model: name fewer of them, and at least one")
    times = sampling_timesteps(steps, start)
    x = x_t
    for done, now in enumerate(times, 1):
        t = torch.full((len(x),), int(now), device=x.device)
        x, eps = recover(x_t, guided(denoiser, x_t, t, labels, guidance), t)
        if done < steps:
            x_t = add_noise(x, eps, torch.full_like(t, int(times[done])))
        if progress:
            progress(done, steps)
    return x
