"""What counts in the losses, and what has a gradient of exactly 0 (study checks 9 and 17)."""

import pytest
import torch
from torch.nn import functional as F

from yourmt3plus.loss import gate_loss, silent_channels, token_scores
from yourmt3plus.moe import Routing
from yourmt3plus.rows import RowBatch, bucket
from yourmt3plus.tokenizer import EOS, PAD, TIE

N_TOKENS = 596
TOKENS = torch.tensor(
    [
        [[TIE, EOS, PAD, PAD, PAD], [340, 339, 220, EOS, PAD]],
        [[340, 339, 220, 221, EOS], [TIE, EOS, PAD, PAD, PAD]],
    ]
)
ANNOTATED = torch.tensor([[True, False], [True, True]])


def logits_of(rows: list[RowBatch]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*batch.tokens.shape, N_TOKENS, generator=generator, requires_grad=True) for batch in rows]


def test_what_is_not_annotated_has_a_gradient_of_exactly_zero():
    rows = bucket(TOKENS)  # all of them: the loss alone has to leave rows out
    logits = logits_of(rows)
    gradients = torch.autograd.grad(token_scores(logits, rows, ANNOTATED).loss, logits)
    for gradient, batch in zip(gradients, rows, strict=True):
        known = ANNOTATED.flatten()[batch.row]
        assert (gradient[~known] == 0).all()
        assert (gradient[known].abs().sum(dim=-1) > 0).equal(batch.tokens[known] != PAD)


def test_the_loss_is_the_mean_over_what_is_annotated_and_not_padding():
    rows = bucket(TOKENS)
    logits = logits_of(rows)
    by_hand, right = [], []
    for predicted, batch in zip(logits, rows, strict=True):
        for row, place in (batch.tokens != PAD).nonzero().tolist():
            if ANNOTATED.flatten()[batch.row[row]]:
                token = batch.tokens[row, place]
                by_hand.append(-predicted[row, place].softmax(dim=0)[token].log())
                right.append(predicted[row, place].argmax() == token)
    scores = token_scores(logits, rows, ANNOTATED)
    assert scores.n_tokens == len(by_hand) == 9
    torch.testing.assert_close(scores.loss, torch.stack(by_hand).mean())
    torch.testing.assert_close(scores.accuracy, torch.stack(right).float().mean())


@pytest.mark.parametrize("rows", [bucket(TOKENS), []], ids=["masked", "none"])
def test_nothing_known_costs_nothing(rows):
    logits = logits_of(rows)
    scores = token_scores(logits, rows, torch.zeros_like(ANNOTATED))
    assert scores.loss == scores.accuracy == scores.n_tokens == 0
    if rows:
        assert not any(gradient.any() for gradient in torch.autograd.grad(scores.loss, logits))


def test_the_gate_learns_from_annotated_channels_alone():
    assert silent_channels(TOKENS).tolist() == [[True, False], [False, True]]
    logits = torch.tensor([[0.5, 9.0], [-1.0, 2.0]], requires_grad=True)
    loss = gate_loss(logits, TOKENS, ANNOTATED)
    by_hand = [F.softplus(torch.tensor(x)) for x in (-0.5, -1.0, -2.0)]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    assert torch.autograd.grad(loss, logits)[0][0, 1] == 0
    assert gate_loss(logits, TOKENS, torch.zeros_like(ANNOTATED)) == 0


def test_losses_are_float32_under_bfloat16():
    rows = bucket(TOKENS)
    with torch.autocast("cpu", torch.bfloat16):
        scores = token_scores([predicted.bfloat16() for predicted in logits_of(rows)], rows, ANNOTATED)
        gate = gate_loss(torch.zeros(2, 2, dtype=torch.bfloat16), TOKENS, ANNOTATED)
    assert scores.loss.dtype == gate.dtype == torch.float32


def test_training_on_the_balance_loss_evens_out_a_router():
    """A router that sends nearly all to one expert: with the loss, the busiest ends below twice the mean."""
    torch.manual_seed(0)
    x, router = torch.randn(512, 16), torch.nn.Linear(16, 8)
    with torch.no_grad():
        router.bias[3] = 5.0
    optimizer = torch.optim.Adam(router.parameters(), 0.05)

    def routing() -> Routing:
        probability = router(x).softmax(dim=-1)
        expert = probability.topk(2, dim=-1).indices
        share = torch.bincount(expert.flatten(), minlength=8) / expert.numel()
        return Routing(share[None], probability.mean(dim=0)[None])

    assert routing().share.max() * 8 > 3
    for _ in range(150):
        optimizer.zero_grad()
        routing().balance_loss().backward()
        optimizer.step()
    assert routing().share.max() * 8 < 2
    even = torch.full((3, 8), 1 / 8)
    assert Routing(even, even).balance_loss() == pytest.approx(1.0)
