import pytest
import torch

from common.encoders import SSLEncoder
from common.pretrained import EncoderError

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def frozen(seed: int = 0, **options) -> SSLEncoder:
    torch.manual_seed(seed)
    return SSLEncoder(**{"config": TINY, "freeze": "all", **options})


def noise(n_clips: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_clips, 3520, generator=torch.Generator().manual_seed(seed))


def heard(encoder: SSLEncoder) -> list[int]:
    """How many clips go through the network, call by call."""
    calls = []
    encoder.network.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    return calls


@pytest.mark.parametrize("options", [{}, {"layers": "weighted"}, {"pool": 2}, {"micro_batch": 2}])
def test_kept_features_are_those_of_the_encoder(tmp_path, options):
    expected = frozen(**options)(noise(3))
    keeping = frozen(**options, cache=str(tmp_path)).train()
    calls = heard(keeping)
    for _ in range(2):
        assert torch.allclose(keeping(noise(3)), expected, atol=4e-3)  # half precision
    assert sum(calls) == 3
    # Another process finds them.
    again = frozen(**options, cache=str(tmp_path))
    calls = heard(again)
    assert torch.equal(again(noise(3)), keeping(noise(3)))
    assert not calls


def test_only_new_clips_are_heard_and_each_once(tmp_path):
    encoder = frozen(cache=str(tmp_path))
    calls = heard(encoder)
    first = encoder(noise(4))
    features = encoder(torch.cat([noise(4)[2:], noise(2, seed=1), noise(2, seed=1)]))
    assert calls == [4, 2]
    assert torch.equal(features[:2], first[2:])
    assert torch.equal(features[2:4], features[4:])


def test_other_weights_and_settings_have_files_of_their_own(tmp_path):
    kinds = [{}, {"seed": 1}, {"pool": 2}, {"normalise": True}, {"layers": "weighted"}]
    assert len({frozen(**kind, cache=str(tmp_path)).store.place for kind in kinds}) == len(kinds)


def test_weights_of_layers_still_learn(tmp_path):
    encoder = frozen(layers="weighted", cache=str(tmp_path))
    for _ in range(2):
        encoder.zero_grad()
        encoder(noise(2))[..., 0].sum().backward()
        assert encoder.weights.grad.abs().max() > 0


def test_an_encoder_that_learns_is_refused(tmp_path):
    with pytest.raises(EncoderError, match="freeze to all"):
        frozen(freeze="conv", cache=str(tmp_path))
