import math

import pytest
import torch
from torch.nn import functional as F

from lightweight_amt.contrastive import affinity_mse, info_nce, sample_balanced


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cells(n: int, n_instruments: int, dim: int = 6, spread: float = 1.0, seed: int = 0):
    """Unit vectors scattered around a direction for each instrument, and the instruments."""
    rng = generator(seed)
    labels = torch.arange(n) % n_instruments
    directions = F.normalize(torch.randn(n_instruments, dim, generator=rng), dim=1)
    return F.normalize(directions[labels] + spread * torch.randn(n, dim, generator=rng), dim=1), labels


def cell_losses(embeddings: torch.Tensor, labels: torch.Tensor, temperature: float) -> dict[int, float]:
    """InfoNCE of each cell that has a partner, written out."""
    affinities = torch.exp(embeddings.double() @ embeddings.double().T / temperature).tolist()
    names = labels.tolist()
    losses = {}
    for i, row in enumerate(affinities):
        partners = [row[j] for j in range(len(row)) if j != i and names[j] == names[i]]
        if partners:
            losses[i] = -math.log(sum(partners) / (sum(row) - row[i]))
    return losses


def test_info_nce_of_three_cells_by_hand():
    """Two cells of an instrument at a right angle, a third one opposite to the first: exponents 0, -1 and 0."""
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    expected = (math.log(1 + math.exp(-1)) + math.log(2)) / 2  # the third has no partner
    assert info_nce(embeddings, torch.tensor([4, 4, 9]), temperature=1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.07, 0.15, 1.0])
def test_info_nce_is_what_brute_force_says(temperature):
    embeddings, labels = cells(40, 3)
    labels[0] = 7  # alone of its instrument
    losses = cell_losses(embeddings, labels, temperature)
    assert 0 not in losses
    mean = sum(losses.values()) / len(losses)
    assert info_nce(embeddings, labels, temperature).item() == pytest.approx(mean, rel=1e-4)
    weights = torch.rand(40, generator=generator())
    weighted = sum(weights[i].item() * loss for i, loss in losses.items()) / sum(weights[i].item() for i in losses)
    assert info_nce(embeddings, labels, temperature, weights).item() == pytest.approx(weighted, rel=1e-4)


def test_one_instrument_costs_nothing():
    embeddings, _ = cells(30, 4)
    assert info_nce(embeddings, torch.full((30,), 5)).item() == 0.0


@pytest.mark.parametrize("labels", [[], [3], [0, 1, 2]])
def test_cells_without_partners_cost_nothing_and_move_nothing(labels):
    embeddings = F.normalize(torch.ones(len(labels), 4), dim=1).requires_grad_()
    loss = info_nce(embeddings, torch.tensor(labels, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0
    assert (embeddings.grad == 0).all()


@pytest.mark.parametrize("renamed", [[2, 0, 1], [30, 20, 10]])
def test_which_numbers_the_instruments_have_does_not_matter(renamed):
    embeddings, labels = cells(60, 3)
    order = torch.randperm(60, generator=generator())
    again = info_nce(embeddings[order], torch.tensor(renamed)[labels][order])
    assert again.item() == pytest.approx(info_nce(embeddings, labels).item(), rel=1e-5)


def test_gradients_are_finite_with_the_coldest_temperature_and_lead_to_clusters():
    embeddings, labels = cells(60, 3, dim=4)
    free = embeddings.clone().requires_grad_()
    info_nce(F.normalize(free, dim=1), labels, temperature=0.005).backward()
    assert torch.isfinite(free.grad).all()
    optimizer = torch.optim.Adam([free], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        info_nce(F.normalize(free, dim=1), labels).backward()
        optimizer.step()
    near = F.normalize(free.detach(), dim=1) @ F.normalize(free.detach(), dim=1).T
    assert (labels[near.fill_diagonal_(-1).argmax(dim=1)] == labels).all()


def test_a_balanced_sample_has_the_loss_of_the_whole():
    """Study, check 20: within 3 standard errors; balanced instruments, as the sample keeps their shares."""
    embeddings, labels = cells(1200, 3, dim=12, spread=0.4)
    whole = info_nce(embeddings, labels).item()
    parts = [sample_balanced(labels, 300, generator(seed)) for seed in range(20)]
    losses = torch.tensor(list(cell_losses(embeddings[parts[0]], labels[parts[0]], 0.15).values()))
    for part in parts:
        assert abs(info_nce(embeddings[part], labels[part]).item() - whole) <= 3 * losses.std() / math.sqrt(300)


def test_sample_is_balanced_and_a_rare_instrument_leaves_its_share_to_the_others():
    labels = torch.tensor([0] * 5 + [7] * 100 + [3] * 1000)
    chosen = sample_balanced(labels, 45, generator())
    assert len(set(chosen.tolist())) == 45
    assert {name: int((labels[chosen] == name).sum()) for name in (0, 7, 3)} == {0: 5, 7: 20, 3: 20}
    assert sorted(sample_balanced(labels, 5000, generator()).tolist()) == list(range(1105))
    assert torch.equal(chosen, sample_balanced(labels, 45, generator()))
    assert not torch.equal(chosen, sample_balanced(labels, 45, generator(1)))
    assert sample_balanced(torch.zeros(0, dtype=torch.long), 5).shape == (0,)


def test_every_cell_of_an_instrument_is_as_likely_as_any_other():
    labels = torch.tensor([0] * 4 + [1] * 12)
    rng = generator()
    drawn = torch.zeros(16)
    for _ in range(2000):
        drawn[sample_balanced(labels, 6, rng)] += 1
    assert torch.allclose(drawn[:4] / 2000, torch.full((4,), 3 / 4), atol=0.04)
    assert torch.allclose(drawn[4:] / 2000, torch.full((12,), 3 / 12), atol=0.04)


def test_affinity_mse_is_the_mean_over_all_pairs():
    embeddings, labels = cells(50, 4)
    memberships = F.one_hot(labels, 4)
    memberships[0, 1:3] = 1  # a cell in which several instruments sound
    affinities = memberships.double() @ memberships.double().T
    difference = embeddings.double() @ embeddings.double().T - affinities
    assert affinity_mse(embeddings, memberships).item() == pytest.approx(difference.square().mean().item(), rel=1e-4)


def test_affinity_mse_is_0_for_orthogonal_instruments_and_a_half_for_everything_in_one_place():
    memberships = F.one_hot(torch.arange(8) % 2, 2)
    assert affinity_mse(memberships.float(), memberships).item() == pytest.approx(0.0, abs=1e-6)
    together = F.one_hot(torch.zeros(8, dtype=torch.long), 2).float()
    assert affinity_mse(together, memberships).item() == pytest.approx(0.5)
    assert affinity_mse(torch.zeros(0, 3), torch.zeros(0, 2)).item() == 0.0


@pytest.mark.parametrize("loss", ["info_nce", "affinity_mse"])
def test_half_precision_around_a_loss_does_not_reach_into_it(loss):
    embeddings, labels = cells(64, 2)
    compute = info_nce if loss == "info_nce" else lambda v, y: affinity_mse(v, F.one_hot(y, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compute(embeddings, labels).item() == compute(embeddings, labels).item()
        half = compute(embeddings, labels)
    assert torch.equal(half, compute(embeddings, labels))
