import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import diffusion_pir
from common import checkpoint, melspec
from diffusion_pir.model import SILENCE, Denoiser
from diffusion_pir.prompts import PromptTable
from tests.diffusion_pir.patterns import INIT_ARGS, denoiser

CONFIGS = Path(diffusion_pir.__file__).parent / "configs"


@cache
def on_meta(name: str, **options: Any) -> Denoiser:
    init_args = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]["net"]["init_args"]
    with torch.device("meta"):
        return Denoiser(**{**init_args, **options})


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_networks_have_the_sizes_of_the_study():
    """Check 3: base as the paper's 240 million, tiny as the study counted it."""
    base, tiny, small = on_meta("base"), on_meta("tiny", patch=1), on_meta("small")
    assert size(base.unet) == 237_865_857
    assert abs(size(base) / 240e6 - 1) < 0.01
    assert size(tiny.unet) == 1_099_769
    assert size(on_meta("tiny")) < 1_200_000
    assert 2 * size(small) < 11e6  # bytes, in 16 bits


def tapped(net: Denoiser, n_frames: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what the taps give for a picture, on the meta device."""
    shapes = {}
    hooks = [
        net.get_submodule(path).register_forward_hook(
            lambda module, given, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
        for name, path in net.taps.items()
    ]
    with torch.device("meta"):
        assert net(torch.empty(1, 128, n_frames), torch.empty(1, dtype=torch.long)).shape == (1, 128, n_frames)
    for hook in hooks:
        hook.remove()
    return shapes


@pytest.mark.parametrize(("n_frames", "times"), [(50, (14, 7)), (100, (26, 13)), (104, (26, 13))])
@pytest.mark.parametrize(("name", "maps"), [("base", (512, 1024)), ("tiny", (48, 64))])
def test_the_taps_are_those_of_the_paper(name, maps, n_frames, times):
    """Check 3: table B2 of the study, where the frames are extended to a multiple of eight."""
    sides = {"down": 0, "bottleneck_1": 1, "bottleneck_2": 1, "bottleneck_3": 1, "up_0": 1, "up_1": 0}
    expected = {tap: (maps[deep], (32, 16)[deep], times[deep]) for tap, deep in sides.items()}
    assert tapped(on_meta(name, patch=1), n_frames) == expected


def test_taps_of_a_network_of_patches():
    shapes = tapped(on_meta("small"), 100)
    assert shapes["bottleneck_2"] == (128, 8, 7)
    assert shapes["down"][1:] == shapes["up_1"][1:] == (16, 13)


def test_standardising_can_be_undone_and_silence_is_the_front_ends():
    net, log_mel = denoiser(mean=-3.0, std=2.0), torch.randn(2, 16, 8)
    assert net.standardise(torch.tensor([-3.0, -1.0])).tolist() == [0.0, 1.0]
    torch.testing.assert_close(net.unstandardise(net.standardise(log_mel)), log_mel)
    assert math.isclose(SILENCE, melspec.SILENCE, abs_tol=1e-5)


def test_missing_frames_are_silence():
    """What the network says of a short clip is what it says of one that was extended by silence."""
    net = denoiser().eval()
    x, t = torch.randn(2, 16, 13), torch.tensor([10, 800])
    silence = net.standardise(torch.full((2, 16, 3), SILENCE))
    torch.testing.assert_close(net(x, t), net(torch.cat([x, silence], 2), t)[..., :13])


def test_dropped_and_empty_prompts_are_the_null_prompt():
    net = denoiser().eval()
    x, t = torch.randn(1, 16, 16).expand(4, -1, -1), torch.full((4,), 300)
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    dropped = torch.tensor([False, True, False, False])
    v, null = net(x, t, net.prompt(labels, dropped)), net(x[:1], t[:1])[0]
    torch.testing.assert_close(v[1], null)
    torch.testing.assert_close(v[2], null)
    assert not torch.allclose(v[0], null)
    assert not torch.allclose(v[0], v[3])
    assert net.prompt(None) is None


def test_tokens_that_the_mask_leaves_out_change_nothing():
    net = denoiser().eval()
    x, t = torch.randn(1, 16, 16), torch.tensor([300])
    tokens, mask = net.prompt(torch.tensor([[True, False]]))
    assert mask.tolist() == [[True, True, False, False]]
    torch.testing.assert_close(net(x, t, (tokens, mask)), net(x, t, (tokens[:, :2], mask[:, :2])))


def test_the_null_prompt_learns():
    net = denoiser()
    net(torch.randn(1, 16, 16), torch.tensor([300])).square().mean().backward()
    assert net.null.grad.abs().sum() > 0


def test_a_checkpoint_builds_it_again(tmp_path):
    net = denoiser(1).eval()
    checkpoint.save(tmp_path / "net.safetensors", net, INIT_ARGS)
    again, _ = checkpoint.load(Denoiser, tmp_path / "net.safetensors")
    x, t = torch.randn(1, 16, 16), torch.tensor([300])
    assert again(x, t).equal(net(x, t))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 3}, "patch 3 must divide"),
        ({"prompts": PromptTable(2, 8)}, "prompts of 8 dimensions"),
        ({"prompts": {"class_path": "os.system", "init_args": {}}}, "no part of such a network"),
    ],
)
def test_arguments_that_do_not_fit_together(options, words):
    with pytest.raises(ValueError, match=words):
        denoiser(**options)
