import pytest
import torch

from diffusion_pir.heads import HEADS, AttentionHead, CNNHead, CRNNHead, MLPHead, PlusHead, concatenate, position_code


def n_parameters(head: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (MLPHead(1024), 132_619),
        (MLPHead(512), 67_083),
        (CNNHead(1024), 159_627),
        (CRNNHead(1024), 197_875),
        (AttentionHead(1024), 330_891),
    ],
)
def test_parameters_are_those_of_the_study(head, count):
    assert n_parameters(head) == count


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("n_classes", [1, 5])
def test_a_head_takes_maps_of_any_size_and_any_number_of_classes(kind, n_classes):
    head = HEADS[kind](24, n_classes).eval()
    for shape in ((24, 16, 13), (24, 16, 7), (24, 1, 1), (24, 13)):
        assert head(torch.randn(3, *shape)).shape == (3, n_classes)
    again = HEADS[kind](**head.init_args)
    again.load_state_dict(head.state_dict())
    maps = torch.randn(3, 24, 4, 5)
    assert torch.equal(again.eval()(maps), head(maps))


@pytest.mark.parametrize("kind", ["cnn", "crnn", "attention", "plus"])
def test_a_head_of_maps_refuses_their_means(kind):
    with pytest.raises(ValueError, match="pool"):
        HEADS[kind](24)(torch.randn(3, 24))


def test_the_mlp_of_a_map_is_that_of_its_mean():
    head = MLPHead(24).eval()
    head.standardise_by(torch.randn(24), torch.rand(24))
    maps = torch.randn(3, 24, 4, 5)
    assert torch.allclose(head(maps), head(maps.mean((2, 3))), atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_the_scale_of_features_does_not_matter(kind):
    torch.manual_seed(0)
    head, maps = HEADS[kind](24).eval(), torch.randn(8, 24, 4, 5)
    values = maps.transpose(0, 1).flatten(1)
    head.standardise_by(values.mean(1), values.std(1))
    logits = head(maps)
    scale, offset = 1 + torch.arange(24.0)[:, None, None], torch.arange(24.0)[:, None, None]
    values = (maps * scale + offset).transpose(0, 1).flatten(1)
    head.standardise_by(values.mean(1), values.std(1))
    assert torch.allclose(head(maps * scale + offset), logits, atol=1e-4)


def test_a_feature_that_never_varies_is_harmless():
    head = MLPHead(2).eval()
    head.standardise_by(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0]))
    assert head(torch.tensor([[3.0, 1.0]])).abs().max() < 10


def test_order_in_time_matters_to_those_that_hear_it_and_not_to_the_mlp():
    torch.manual_seed(0)
    maps = torch.randn(2, 24, 4, 8)
    turned = maps[..., torch.randperm(8)]
    for kind, hears_it in (("mlp", False), ("cnn", True), ("crnn", True), ("attention", True), ("plus", True)):
        head = HEADS[kind](24).eval()
        assert torch.allclose(head(maps), head(turned), atol=1e-5) != hears_it, kind


def test_plus_finds_the_one_column_that_tells():
    """With attention all on one column the clip's logits are that column's."""
    head = PlusHead(24, 3).eval()
    maps = torch.randn(2, 24, 4, 8)
    logits, attention = head.columns(head.standardise(maps))
    assert torch.allclose(attention.sum(1), torch.ones(2, 3))
    assert torch.allclose((logits * attention).sum(1), head(maps), atol=1e-6)
    with torch.no_grad():
        head.attention.weight.mul_(1e4)
    logits, attention = head.columns(head.standardise(maps))
    told = torch.gather(logits, 1, attention.argmax(1)[:, None])[:, 0]
    assert torch.allclose(head(maps), told, atol=1e-4)


def test_layers_of_different_rates_are_concatenated_at_the_lowest():
    fast, slow = torch.arange(26.0).expand(1, 2, 26), torch.zeros(1, 3, 13)
    both = concatenate([fast, slow])
    assert both.shape == (1, 5, 13)
    assert both[0, 0].tolist() == [0.5 + 2 * column for column in range(13)]
    maps = concatenate([torch.randn(1, 2, 16, 13), torch.ones(1, 3, 32, 26)])
    assert maps.shape == (1, 5, 16, 13)
    assert (maps[:, 2:] == 1).all()
    assert concatenate([torch.zeros(4, 2), torch.ones(4, 1)]).tolist() == [[0.0, 0.0, 1.0]] * 4


def test_every_place_has_a_code_of_its_own():
    codes = position_code(16, 13, 128).flatten(0, 1)
    assert torch.cdist(codes, codes).fill_diagonal_(9.0).min() > 0.5
