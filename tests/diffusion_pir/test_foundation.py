import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from librosa.filters import mel

from diffusion_pir.features import FeatureSpec, hear
from diffusion_pir.foundation import AudioLDM2Backbone, BackboneError, StableAudioBackbone
from tests.diffusion_pir.pipelines import write_audioldm2, write_stable_audio


def noise(*shape) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def stable_audio(tmp_path_factory):
    return write_stable_audio(tmp_path_factory.mktemp("stable-audio-tiny"))


@pytest.fixture(scope="module")
def audioldm2(tmp_path_factory):
    return write_audioldm2(tmp_path_factory.mktemp("audioldm2-tiny"))


def inputs(network: torch.nn.Module, run) -> tuple:
    """What a network is given in a run."""
    given = []
    with network.register_forward_pre_hook(lambda _, args, kwargs: given.append((args, kwargs)), with_kwargs=True):
        run()
    ((args, kwargs),) = given
    return args, kwargs


@pytest.mark.parametrize(("kind", "folder"), [(StableAudioBackbone, "stable_audio"), (AudioLDM2Backbone, "audioldm2")])
def test_features_of_every_layer_come_from_windows_of_audio(kind, folder, request):
    backbone = kind.load(request.getfixturevalue(folder))
    assert backbone.takes == "audio"
    assert backbone.name.startswith(folder.replace("_", "-"))
    spec = FeatureSpec(tuple(backbone.taps), (0.1, 0.7), pool="mean_std")
    windows = 0.1 * noise(3, backbone.sample_rate // 2)
    heard = hear(backbone, windows, ["a", "b", "c"], spec)
    assert set(heard) == set(spec.cells)
    for features in heard.values():
        assert features.shape[0] == 3
        assert features.isfinite().all()
        assert (features[0] - features[1]).abs().max() > 1e-6
    alone = hear(backbone, windows[1:2], ["b"], spec)
    for cell, features in alone.items():
        torch.testing.assert_close(features[0], heard[cell][1], rtol=1e-4, atol=1e-5)


def test_stable_audio_sees_what_it_was_trained_on(stable_audio):
    """EDM's x + s eps over sqrt(1 + s^2), and its time, are our x_t and sigma (CosineDPMSolverMultistepScheduler)."""
    backbone = StableAudioBackbone.load(stable_audio)
    x0, eps, sigma = noise(2, 4, 10), noise(2, 4, 10).flip(0), 0.4
    (seen, time), kwargs = inputs(backbone.transformer, lambda: backbone.denoise(x0, sigma, eps))
    s = torch.tensor(np.tan(sigma * np.pi / 2)).float()
    torch.testing.assert_close(seen, (x0 + s * eps) / (1 + s**2).sqrt())
    torch.testing.assert_close(time, (s.atan() * 2 / np.pi).expand(2))
    assert backbone.level(sigma)[1] == pytest.approx(-20 * np.log10(s.item()))
    assert (kwargs["encoder_hidden_states"] == 0).all()


def test_stable_audio_is_told_how_long_the_window_is(stable_audio):
    backbone = StableAudioBackbone.load(stable_audio)
    x0 = backbone.encode(noise(2, 8000))
    assert x0.shape == (2, 4, 1000)  # hop 8
    assert backbone.encode(noise(2, 8001)).shape == (2, 4, 1001)
    given = inputs(backbone.projection, lambda: backbone.denoise(x0, 0.5, x0))[1]
    assert (given["start_seconds"].item(), given["end_seconds"].item()) == (0.0, 1.0)


def test_null_prompts_of_zeros_do_not_depend_on_their_number(stable_audio, audioldm2):
    """The pipeline gives its network 130 zeros; to attend to one of them is the same."""
    backbone = StableAudioBackbone.load(stable_audio)
    x0 = noise(1, 4, 10)
    (seen, time), kwargs = inputs(backbone.transformer, lambda: backbone.denoise(x0, 0.3, x0))
    many = kwargs | {"encoder_hidden_states": torch.zeros(1, 130, 8)}
    torch.testing.assert_close(
        backbone.transformer(seen, time, **many).sample, backbone.denoise(x0, 0.3, x0).sample, rtol=1e-4, atol=1e-5
    )
    ldm = AudioLDM2Backbone.load(audioldm2)
    x0 = noise(1, 4, 12, 16)
    one = ldm.denoise(x0, 0.3, x0).sample
    ldm.prompt = torch.zeros(1, 8, 8), torch.zeros(1, 5, 16)
    torch.testing.assert_close(ldm.denoise(x0, 0.3, x0).sample, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sigma", "timestep"), [(0.05, 6), (0.1, 26), (0.2, 92), (0.5, 354), (0.9, 845)])
def test_audioldm2_sees_its_own_scheduler_at_the_nearest_noise(audioldm2, sigma, timestep):
    """The timesteps are those that the study lists for this table."""
    backbone = AudioLDM2Backbone.load(audioldm2)
    x0, eps = noise(1, 4, 12, 16), noise(1, 4, 12, 16).flip(2)
    (seen, t), _ = inputs(backbone.unet, lambda: backbone.denoise(x0, sigma, eps))
    assert backbone.level(sigma)[0] == t
    scheduler = DDIMScheduler.from_pretrained(audioldm2 / "scheduler")
    torch.testing.assert_close(seen, scheduler.add_noise(x0, eps, torch.tensor([t])))
    power = float(scheduler.alphas_cumprod[t])
    assert backbone.level(sigma)[1] == pytest.approx(10 * np.log10(power / (1 - power)), abs=1e-3)
    assert np.arctan(np.sqrt((1 - power) / power)) * 2 / np.pi == pytest.approx(sigma, abs=0.01)
    assert t == pytest.approx(timestep, abs=1)


def test_audioldm2_hears_a_mel_at_the_level_it_knows(audioldm2):
    backbone = AudioLDM2Backbone.load(audioldm2)
    windows = noise(2, 16_000)
    x0 = backbone.encode(windows)
    assert x0.shape == (2, 4, 25, 16)  # 100 frames and 64 bins, quartered
    torch.testing.assert_close(backbone.encode(0.01 * windows + 0.3), x0, rtol=1e-3, atol=1e-3)
    audio = windows[:1] / windows[:1].abs().max()
    audio = 0.5 * (audio - audio.mean()) / (audio - audio.mean()).abs().max()
    (heard,), _ = inputs(backbone.vae.encoder, lambda: backbone.encode(audio))
    frames = np.lib.stride_tricks.sliding_window_view(audio[0].numpy(), 1024)[128::160]  # from frame 4
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(1025)[:-1]))
    expected = np.log(np.maximum(magnitudes @ mel(sr=16_000, n_fft=1024, n_mels=64).T, 1e-5))
    np.testing.assert_allclose(heard[0, 0, 4:97], expected, atol=1e-3)


def test_what_is_not_there_or_not_whole_is_told(audioldm2, tmp_path):
    with pytest.raises(BackboneError, match=r"nowhere: transformer .*config\.json"):
        StableAudioBackbone.load(tmp_path / "nowhere")
    for part in ("unet", "vae"):
        (tmp_path / part).symlink_to(audioldm2 / part)
    with pytest.raises(BackboneError, match="scheduler"):
        AudioLDM2Backbone.load(tmp_path)


def test_weights_that_are_missing_are_not_made_up(audioldm2, tmp_path):
    from safetensors.torch import load_file, save_file

    backbone = AudioLDM2Backbone.load(audioldm2)
    backbone.unet.save_pretrained(tmp_path / "unet")
    path = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("mid_block.resnets.0.conv1.weight")
    save_file(weights, path)
    with pytest.raises(BackboneError, match=r"unet.*mid_block\.resnets\.0\.conv1\.weight"):
        AudioLDM2Backbone.load(tmp_path)


def test_another_weight_is_another_digest(audioldm2):
    one, other = AudioLDM2Backbone.load(audioldm2), AudioLDM2Backbone.load(audioldm2)
    assert one.digest() == other.digest()
    with torch.no_grad():
        next(other.unet.parameters()).add_(1)
    assert one.digest() != other.digest()
