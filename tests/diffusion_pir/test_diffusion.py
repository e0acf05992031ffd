import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from diffusion_pir import diffusion
from diffusion_pir.diffusion import (
    N_TIMESTEPS,
    SCHEDULER,
    add_noise,
    ddim,
    guided,
    log_snr_db,
    recover,
    sampling_timesteps,
    sigma_to_timestep,
    stratified_timesteps,
    timestep_to_sigma,
    velocity,
)
from tests.diffusion_pir.patterns import denoiser

EVERY = torch.arange(N_TIMESTEPS)


def pair(n: int = N_TIMESTEPS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, 3, generator=generator), torch.randn(n, 4, 3, generator=generator)


def test_the_noise_levels_are_those_of_the_published_library():
    """Check 5, and the table of the study's A4."""
    sigma = timestep_to_sigma(EVERY.numpy())
    assert np.abs(sigma - ((EVERY.numpy() + 1) / 1000 + 0.008) / 1.008)[20:].max() < 2e-3
    levels = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9]
    assert sigma_to_timestep(np.array(levels)).tolist() == [13, 42, 92, 193, 293, 495, 697, 898]
    assert sigma_to_timestep(0.0) == 0
    assert (sigma_to_timestep(sigma) == EVERY.numpy()).all()
    given = log_snr_db(np.array([0, 50, 100, 200, 300, 500, 700, 900, 999]))
    np.testing.assert_allclose(given, [43.8, 20.8, 15.3, 9.4, 5.6, -0.1, -6.0, -16.2, -86], atol=0.3)


def test_noise_and_velocity_are_those_of_cosine_and_sine():
    """Check 5: alpha x + beta eps and alpha eps - beta x, as diffusers' scheduler has them too."""
    x, eps = pair()
    angle = torch.from_numpy(timestep_to_sigma(EVERY.numpy()) * np.pi / 2).float()[:, None, None]
    torch.testing.assert_close(add_noise(x, eps, EVERY), angle.cos() * x + angle.sin() * eps, atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity(x, eps, EVERY), angle.cos() * eps - angle.sin() * x, atol=1e-5, rtol=0)
    torch.testing.assert_close(add_noise(x, eps, EVERY), SCHEDULER.add_noise(x, eps, EVERY), atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity(x, eps, EVERY), SCHEDULER.get_velocity(x, eps, EVERY), atol=1e-5, rtol=0)


def test_a_velocity_gives_picture_and_noise_back():
    """Check 5."""
    x, eps = pair()
    found_x, found_eps = recover(add_noise(x, eps, EVERY), velocity(x, eps, EVERY), EVERY)
    torch.testing.assert_close(found_x, x, atol=1e-4, rtol=0)
    torch.testing.assert_close(found_eps, eps, atol=1e-4, rtol=0)


def test_a_batch_has_one_timestep_of_each_stratum():
    torch.manual_seed(0)
    drawn = torch.stack([stratified_timesteps(10) for _ in range(300)])
    assert (drawn // 100).sort(1).values.equal(torch.arange(10).expand(300, 10))
    assert drawn.min() < 10
    assert drawn.max() > 990
    assert abs(drawn.double().mean() - 499.5) < 5


class Untaught:
    """Tells a velocity that depends on all it is given, in a way that is easy to compute again."""

    def knows(self, labels):
        return labels.any(1)

    def prompt(self, labels, dropped=None):
        if labels is None:
            return None
        told = labels.float() if dropped is None else labels.float() * ~dropped[:, None]
        return told, told.bool()

    def __call__(self, x, t, prompt=None):
        told = torch.zeros(len(x), 1, 1) if prompt is None else prompt[0].sum(1)[:, None, None]
        return 0.4 * x + 1e-4 * t[:, None, None] + told


def test_guidance_one_is_the_prompt_and_zero_is_none():
    """Check 15, on a network and exactly."""
    net = denoiser().eval()
    x, t = torch.randn(3, 16, 16), torch.tensor([5, 400, 900])
    labels = torch.tensor([[True, False], [False, True], [True, True]])
    told, null = net(x, t, net.prompt(labels)), net(x, t)
    assert not torch.allclose(told, null)
    torch.testing.assert_close(guided(net, x, t, labels, 1.0), told)
    torch.testing.assert_close(guided(net, x, t, labels, 0.0), null)
    torch.testing.assert_close(guided(net, x, t, None, 5.0), null)
    torch.testing.assert_close(guided(net, x, t, labels, 3.0), null + 3 * (told - null), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 8, 50])
def test_ddim_is_that_of_diffusers(steps):
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == sampling_timesteps(steps).tolist()
    noise = torch.randn(2, 4, 3)
    labels = torch.tensor([[True, False], [True, True]])
    expected = noise
    for t in scheduler.timesteps:
        v = guided(Untaught(), expected, t.expand(2), labels, 2.0)
        expected = scheduler.step(v, int(t), expected).prev_sample
    seen = []
    found = ddim(Untaught(), noise, steps, 2.0, labels, progress=lambda done, of: seen.append((done, of)))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert seen == [(done, steps) for done in range(1, steps + 1)]


def test_the_same_noise_gives_the_same_picture():
    net = denoiser().eval()
    noise = torch.randn(2, 16, 16)
    assert ddim(net, noise, 4).equal(ddim(net, noise.clone(), 4))


def test_a_perfect_denoiser_changes_nothing_but_the_noise():
    """From the middle, too, a network that knows the picture leads to it."""
    x = torch.randn(1, 4, 3)

    class Knows(Untaught):
        def __call__(self, x_t, t, prompt=None):
            alpha, beta = diffusion.alpha_beta(t)
            return velocity(x, (x_t - alpha * x) / beta, t)

    for start in (300, N_TIMESTEPS - 1):
        noisy = add_noise(x, torch.randn_like(x), torch.tensor([start]))
        torch.testing.assert_close(ddim(Knows(), noisy, 10, start=start), x, atol=1e-4, rtol=0)


def test_labels_without_a_prompt_are_not_passed_over():
    with pytest.raises(ValueError, match="no prompt"):
        ddim(Untaught(), torch.randn(2, 4, 3), 2, labels=torch.tensor([[True, False], [False, False]]))


@pytest.mark.parametrize(("steps", "start"), [(0, 999), (1001, 999), (12, 10)])
def test_steps_that_there_are_not(steps, start):
    with pytest.raises(ValueError, match=f"{steps} sampling steps"):
        sampling_timesteps(steps, start)
