import numpy as np
import pytest
import torch

from diffusion_pir.classifier import classify, gains
from diffusion_pir.diffusion import alpha_beta, sigma_to_timestep

SPREAD = 0.5  # of the pictures of a class around their mean
MEANS = torch.randn(3, 4, 6, generator=torch.Generator().manual_seed(0))  # (class, bin, frame)


class BestDenoiser:
    """The ideal denoiser of a mixture of Gaussians, one for each class, in closed form.

    A prompt is (batch, class) weights. Given x_t = alpha x + beta eps with x normal around a mean m,
    E[x] = m + alpha s^2 / (alpha^2 s^2 + beta^2) (x_t - alpha m), and v = (alpha x_t - x) / beta.
    """

    def __init__(self):
        self.asked = []

    def prompt(self, labels, dropped=None):
        return None if labels is None else (labels.float(), labels)

    def __call__(self, x, t, prompt=None):
        self.asked.append(x.clone())
        alpha, beta = alpha_beta(t)
        shrink = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + beta**2)
        clean = [mean + shrink * (x - alpha * mean) for mean in MEANS]
        if prompt is None:  # each class in proportion to its likelihood
            variance = alpha**2 * SPREAD**2 + beta**2
            logs = [-((x - alpha * mean) ** 2 / variance).sum((1, 2)) / 2 for mean in MEANS]
            weights = torch.stack(logs, 1).softmax(1)
        else:
            weights = prompt[0]
        expected = sum(weights[:, i, None, None] * x0 for i, x0 in enumerate(clean))
        return (alpha * x - expected) / beta


def pictures(n: int) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(1)
    truth = torch.arange(n) % 3
    return MEANS[truth] + SPREAD * torch.randn(n, 4, 6, generator=generator), truth.numpy()


def test_with_an_ideal_denoiser_it_is_nearly_as_good_as_can_be():
    """Bayes's rule takes the nearest mean."""
    x0, truth = pictures(90)
    best = (x0[:, None] - MEANS).square().sum((2, 3)).argmin(1).numpy()
    scores = classify(BestDenoiser(), x0, [str(i) for i in range(90)], 3, sigmas=(0.4, 0.6), draws=4)
    assert (best == truth).mean() == 1.0
    assert (scores.argmax(1) == best).mean() > 0.97
    # The ideal denoiser without a prompt gains nothing on average from the truth that it guessed, and loses by lies.
    assert scores[np.arange(90), truth].mean() > 0
    assert scores[np.arange(90), (truth + 1) % 3].mean() < 0


def test_a_gain_is_what_it_says():
    """One window, by hand."""
    x0, _ = pictures(1)
    noise = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(2))
    sigma = 0.5
    t = torch.tensor([int(sigma_to_timestep(sigma))])
    (alpha,), (beta,) = (part.flatten().tolist() for part in alpha_beta(t))
    x_t, v = alpha * x0 + beta * noise, alpha * noise - beta * x0
    net, sets = BestDenoiser(), torch.tensor([[True, False, False], [False, True, False]])
    told = [((net(x_t, t, net.prompt(row[None])) - v) ** 2).mean() for row in sets]
    null = ((net(x_t, t) - v) ** 2).mean()
    expected = [float(null - error) for error in told]
    assert gains(net, x0, noise, sets, sigma)[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_all_classes_are_asked_about_the_same_noise_and_windows_keep_theirs():
    x0, _ = pictures(4)
    together = BestDenoiser()
    scores = classify(together, x0, ["a", "b", "c", "d"], 3, sigmas=(0.5,))
    assert len(together.asked) == 4  # three classes and none
    assert all(torch.equal(seen, together.asked[0]) for seen in together.asked)
    alone = classify(BestDenoiser(), x0[2:3], ["c"], 3, sigmas=(0.5,))
    np.testing.assert_allclose(alone[0], scores[2], rtol=1e-5, atol=1e-6)
