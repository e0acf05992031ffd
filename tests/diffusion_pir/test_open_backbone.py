import pytest
import torch

from common import checkpoint
from common.checkpoint import CheckpointError
from diffusion_pir import backbones
from diffusion_pir.backbones import DenoiserBackbone, MelStatistics, open_backbone
from tests.diffusion_pir.patterns import INIT_ARGS, denoiser


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A network among the weights that we ship."""
    monkeypatch.setattr(backbones, "WEIGHTS", tmp_path)
    net = denoiser(seed=3)
    checkpoint.save(tmp_path / "small.safetensors", net, INIT_ARGS)
    return net


def test_a_name_or_a_path_is_the_network(shipped, tmp_path):
    for name in ("small", str(tmp_path / "small.safetensors")):
        backbone = open_backbone(name)
        assert isinstance(backbone, DenoiserBackbone)
        assert (backbone.name, backbone.digest()) == ("small", DenoiserBackbone(shipped).digest())


def test_controls_stand_on_the_same_network(shipped):
    random, mel = open_backbone("random:small"), open_backbone("mel:small")
    assert (random.name, mel.name) == ("random:small", "mel:small")
    assert random.digest() != open_backbone("small").digest()
    assert random.digest() == open_backbone("random:small").digest()
    assert isinstance(mel, MelStatistics)
    x = torch.randn(2, 16, 16)
    torch.testing.assert_close(mel.encode(x), open_backbone("small").encode(x))


def test_the_level_is_that_of_the_timestep(shipped):
    t, ratio = open_backbone("small").level(0.5)
    assert (t, round(ratio, 1)) == (495, -0.0)  # the study's table A4


@pytest.mark.parametrize("name", ["smal", "fuzzy:small", "random:smal", "missing.safetensors"])
def test_a_model_that_is_not_there_is_told_with_those_that_are(shipped, name):
    with pytest.raises(CheckpointError, match=rf"{name}: no such model; take small,.*random:NAME"):
        open_backbone(name)


def test_pipelines_of_others_are_opened_by_their_kind(tmp_path):
    with pytest.raises(ValueError, match="transformer of the pipeline"):
        open_backbone(f"stable-audio:{tmp_path}")
    with pytest.raises(ValueError, match="unet of the pipeline"):
        open_backbone(f"audioldm2:{tmp_path}")
