"""Study check 18 for the rotation; T5's own classes of distances; Marian's sinusoids."""

import numpy as np
import pytest
import torch
from transformers.models.t5.modeling_t5 import T5Attention

from yourmt3plus.positions import Positions, buckets, pixel_rope, rope, rotate, sinusoids


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def scores(q: torch.Tensor, k: torch.Tensor, shift: int, turn_keys: bool = True, n_pairs: int = 8) -> torch.Tensor:
    turn = rope(30 + shift, n_pairs)[:, shift:]
    return rotate(q, turn) @ (rotate(k, turn) if turn_keys else k).mT


def test_rope_scores_do_not_change_with_a_common_shift():
    q, k = noise(2, 30, 16), noise(2, 30, 16).flip(0)
    for shift in (1, 7, 1000):
        torch.testing.assert_close(scores(q, k, shift), scores(q, k, 0), rtol=0, atol=1e-5)


def test_the_released_rope_turns_queries_only_and_changes_with_the_shift():
    q, k = noise(2, 30, 16), noise(2, 30, 16).flip(0)
    moved = scores(q, k, 7, turn_keys=False, n_pairs=2) - scores(q, k, 0, turn_keys=False, n_pairs=2)
    assert moved.abs().max() > 0.1


def test_rotation_is_that_of_complex_numbers_and_leaves_other_dims():
    x, turn = noise(5, 30, 16), rope(30, 3).double()
    turned = rotate(x, turn)
    pairs = torch.view_as_complex(x[..., :6].unflatten(-1, (3, 2)).contiguous())
    truth = torch.view_as_real(pairs * torch.complex(*turn)).flatten(-2)
    torch.testing.assert_close(turned[..., :6], truth)
    assert torch.equal(turned[..., 6:], x[..., 6:])
    assert rotate(x, None) is x


def test_frequencies_of_both_axes_as_released():
    """Two pairs: 1 and 0.01 per frame along time; 1 and 5 half turns from the middle to the end on other axes."""
    cosines, sines = rope(4, 2)
    torch.testing.assert_close(cosines[3], torch.tensor([3.0, 0.03]).cos())
    torch.testing.assert_close(sines[3], torch.tensor([3.0, 0.03]).sin())
    cosines, sines = pixel_rope(5, 2)
    torch.testing.assert_close(cosines[:, 0], torch.tensor([-1.0, 0, 1, 0, -1]), rtol=0, atol=1e-6)
    torch.testing.assert_close(sines[:, 1], torch.tensor([0.0, -1, 0, 1, 0]), rtol=0, atol=1e-6)


def test_sinusoids_are_marians():
    place, i = np.arange(20)[:, None], np.arange(4)
    angle = place / 10_000 ** (2 * i / 8)
    truth = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    torch.testing.assert_close(sinusoids(20, 8), torch.from_numpy(truth).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_classes_of_distances_are_t5s(bidirectional):
    distance = torch.arange(-400, 401)
    theirs = T5Attention._relative_position_bucket(distance, bidirectional, num_buckets=32, max_distance=128)
    assert torch.equal(buckets(distance, bidirectional), theirs)


def test_each_kind_does_one_thing():
    places = torch.arange(6)
    x = torch.zeros(1, 6, 8)
    done = {}
    for kind in ("sinusoidal", "rope", "relative"):
        positions = Positions(kind, 8, n_heads=2, head_dim=4)
        added, turn, bias = positions.add(x, places), positions.turn(places), positions.bias(places, places)
        done[kind] = (bool(added.any()), turn is not None, bias is not None)
        assert bool(positions.state_dict()) == (kind == "relative")
    assert done == {"sinusoidal": (True, False, False), "rope": (False, True, False), "relative": (False, False, True)}
    with pytest.raises(ValueError, match="sinusoidal, rope, relative"):
        Positions("absolute", 8, 2, 4)
