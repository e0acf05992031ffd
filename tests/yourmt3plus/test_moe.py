"""Study check 17: the grouped product against all experts at once, and against transformers' experts."""

import pytest
import torch
from torch.nn import functional as F
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralExperts, load_balancing_loss_func

from yourmt3plus import moe
from yourmt3plus.moe import MixtureOfExperts, Routing


def mixture(dim: int = 32, hidden: int = 48, **options) -> MixtureOfExperts:
    torch.manual_seed(0)
    return MixtureOfExperts(dim, hidden, **options)


def tokens(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def all_experts(net: MixtureOfExperts, x: torch.Tensor) -> torch.Tensor:
    """Every expert hears every token (token, dim), and the weights of those not picked are 0."""
    gate, up = torch.einsum("td,ehd->teh", x, net.gate_up_proj).chunk(2, dim=-1)
    heard = torch.einsum("teh,edh->ted", F.silu(gate) * up, net.down_proj)
    probability = net.router(x).softmax(dim=-1)
    kept = probability >= probability.sort(dim=-1, descending=True).values[:, net.top_k - 1 : net.top_k]
    weight = probability * kept
    return torch.einsum("ted,te->td", heard, weight / weight.sum(dim=-1, keepdim=True))


def assert_same_gradients(first, second, net: MixtureOfExperts, x: torch.Tensor, tolerance: float) -> None:
    probe = tokens(*x.shape).to(x.dtype)
    inputs = [x.requires_grad_(), *net.parameters()]
    ours, theirs = (torch.autograd.grad((y * probe).sum(), inputs) for y in (first(x), second(x)))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [{}, {"n_experts": 4, "top_k": 1}, {"dim": 6, "hidden": 5, "n_experts": 3}])
def test_equals_all_experts_at_once_and_so_do_the_gradients(sizes):
    net = mixture(**sizes)
    x = tokens(57, net.down_proj.shape[1])
    torch.testing.assert_close(net(x)[0], all_experts(net, x), rtol=0, atol=1e-5)
    assert_same_gradients(lambda x: net(x)[0], lambda x: all_experts(net, x), net, x, 2e-5)


def test_grouped_and_looped_products_agree_incl_gradients(monkeypatch):
    net, x = mixture(), tokens(57, 32)
    grouped = net(x)[0]

    def looped(x):
        monkeypatch.setattr(moe, "grouped_linear", moe.looped_linear)
        return net(x)[0]

    assert_same_gradients(lambda x: net(x)[0], looped, net, x, 1e-5)
    torch.testing.assert_close(looped(x), grouped, rtol=0, atol=1e-5)


def test_double_precision_is_exact():
    net, x = mixture().double(), tokens(57, 32).double()
    torch.testing.assert_close(net(x)[0], all_experts(net, x), rtol=0, atol=1e-14)


def test_the_layout_is_that_of_mixtral():
    net, x = mixture(), tokens(57, 32)
    config = MixtralConfig(hidden_size=32, intermediate_size=48, num_local_experts=8, num_experts_per_tok=2)
    theirs = MixtralExperts(config)
    theirs.load_state_dict({name: tensor for name, tensor in net.state_dict().items() if "proj" in name})
    expert, weight, _ = net.route(x)
    torch.testing.assert_close(net(x)[0], theirs(x, expert, weight), rtol=0, atol=1e-5)


def test_each_token_uses_two_experts_whose_weights_sum_to_one():
    net = mixture()
    expert, weight, routing = net.route(tokens(500, 32))
    assert (expert[:, 0] != expert[:, 1]).all()
    torch.testing.assert_close(weight.sum(dim=1), torch.ones(500))
    torch.testing.assert_close(routing.share, torch.bincount(expert.flatten(), minlength=8) / 1000)
    torch.testing.assert_close(routing.probability.sum(), torch.tensor(1.0))


def test_no_expert_is_overrun_at_first():
    _, routing = mixture(128, 64)(tokens(2000, 128))
    assert 2 * routing.share.max() < 0.4  # of tokens, each of which goes to two


def test_idle_experts_do_no_harm():
    net = mixture()
    with torch.no_grad():
        net.router.weight.zero_()
        net.router.weight[5, 0], net.router.weight[2, 0] = 50.0, 40.0
    x = tokens(20, 32)
    x[:, 0] = 1.0
    heard, routing = net(x)
    assert routing.share.nonzero().flatten().tolist() == [2, 5]
    torch.testing.assert_close(heard, all_experts(net, x), rtol=0, atol=1e-5)
    heard.sum().backward()
    assert not net.down_proj.grad[0].any()


def test_any_leading_shape():
    net, x = mixture(), tokens(3, 19, 32)
    torch.testing.assert_close(net(x)[0].flatten(0, 1), net(x.flatten(0, 1))[0])


def test_balance_loss_is_transformers_for_each_layer():
    net = mixture()
    with torch.no_grad():
        net.router.weight[0] += 0.3
    x = tokens(300, 32) + 0.2
    routing = net.route(x)[2]
    theirs = load_balancing_loss_func((net.router(x),), num_experts=8, top_k=2)
    torch.testing.assert_close(2 * routing.balance_loss(), theirs)
    stacked = Routing.stack([routing, routing])
    torch.testing.assert_close(stacked.balance_loss(), routing.balance_loss())
    assert stacked.share.shape == (2, 8)
    assert Routing.stack([]) is None


def test_balance_loss_balances():
    net = mixture()
    with torch.no_grad():
        net.router.weight[0] += 1.0
    x = tokens(400, 32) + 0.5
    optimizer = torch.optim.Adam(net.router.parameters(), 0.01)
    before = net.route(x)[2].share
    for _ in range(60):
        optimizer.zero_grad()
        net.route(x)[2].balance_loss().backward()
        optimizer.step()
    after = net.route(x)[2].share
    assert before.max() / before.mean() > 3
    assert after.max() / after.mean() < 2


def test_autocast_runs_in_bfloat16():
    net, x = mixture(), tokens(57, 32)
    with torch.autocast("cpu", torch.bfloat16):
        heard = net(x)[0]
    torch.testing.assert_close(heard.float(), net(x)[0], rtol=0.1, atol=0.05)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="top_k"):
        MixtureOfExperts(8, 8, n_experts=2, top_k=3)
