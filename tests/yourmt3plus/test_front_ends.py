"""Study check 15, and the released pictures against torchaudio's."""

import math

import numpy as np
import pytest
import torch
import torchaudio

from yourmt3plus.front_ends import SCALES, ConstantQ, FrontEnd, Mel, Spectrum

N_SAMPLES = 32_767
SHAPES = {Spectrum: (110, 1024), Mel: (256, 512), ConstantQ: (86, 252)}


def music(level: float = 0.3) -> torch.Tensor:
    """(1, time): a chord of tones with partials that fade, in a little noise."""
    rng = np.random.default_rng(0)
    t = np.arange(N_SAMPLES) / 16_000
    sound = 1e-4 * rng.standard_normal(N_SAMPLES)
    for pitch in (48, 60, 64, 67):
        f = 440 * 2 ** ((pitch - 69) / 12)
        sound += np.exp(-t) * sum(np.sin(2 * np.pi * h * f * t) / h for h in range(1, 9))
    return torch.from_numpy(level * sound / np.abs(sound).max()).float()[None]


def every(**options) -> list[FrontEnd]:
    return [kind(**options) for kind in SHAPES]


@pytest.mark.parametrize("scale", SCALES)
def test_shapes_range_and_silence(scale):
    for front_end in every(scale=scale):
        picture = front_end(torch.cat([music(), torch.zeros(1, N_SAMPLES)]))
        assert picture.shape == (2, *SHAPES[type(front_end)])
        assert (front_end.n_frames(N_SAMPLES), front_end.n_bins) == SHAPES[type(front_end)]
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture[0].max() > 0.6
        assert not picture[1].any()


def test_music_ten_times_quieter_looks_alike():
    for front_end in every():
        assert (front_end(music()) - front_end(0.1 * music())).abs().max() < 0.05


def test_noise_far_below_music_stays_dark_but_for_the_released_scale():
    hiss = 1e-5 * torch.randn(1, N_SAMPLES, generator=torch.Generator().manual_seed(0))
    ours, released = Spectrum()(hiss), Spectrum(scale="segment")(hiss)
    assert ours.max() < 0.6
    assert released.max() > 0.99


def test_levels_are_kept_below_the_floor_and_by_the_level_scale():
    """80 dB are 1: 20 dB less are a quarter less where nothing is cut."""
    for front_end in [*every(scale="level"), *every(floor_db=0.0)]:
        loud, quiet = front_end(music()), front_end(0.1 * music())
        bright = quiet > 0
        torch.testing.assert_close((loud - quiet)[bright], torch.full_like(loud, 0.25)[bright], rtol=0, atol=1e-4)


def test_a_sine_of_full_scale_is_one():
    t = torch.arange(N_SAMPLES) / 16_000
    sine = torch.sin(2 * math.pi * 1000 * t)[None]  # in the middle of bin 128, which is number 127 of the picture
    picture = Spectrum(scale="level")(sine)[0, 20:-20]
    torch.testing.assert_close(picture[:, 127], torch.ones(70), rtol=0, atol=1e-3)
    assert (picture.argmax(dim=1) == 127).all()


@pytest.mark.parametrize("scale", SCALES)
def test_a_segment_does_not_depend_on_the_others(scale):
    batch = torch.cat([0.1 ** (i / 3) * music().roll(1000 * i, dims=1) for i in range(8)])
    for front_end in every(scale=scale):
        torch.testing.assert_close(front_end(batch[3:4])[0], front_end(batch)[3], rtol=0, atol=2e-6)


def released(picture: torch.Tensor) -> torch.Tensor:
    log = torch.log(picture.double() + 1e-5)
    low, high = log.amin((1, 2), keepdim=True), log.amax((1, 2), keepdim=True)
    return ((log - low) / (high - low + 0.008)).mT.float()


def test_the_released_pictures_are_torchaudios():
    spectrum = torchaudio.transforms.Spectrogram(2048, hop_length=300, power=1)
    mel = torchaudio.transforms.MelSpectrogram(16_000, 2048, hop_length=128, f_min=50, f_max=8000, n_mels=512)
    # Noise, so that no bin is so dark that two transforms round it differently.
    audio = music() + 0.01 * torch.randn(1, N_SAMPLES, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Spectrum(scale="segment")(audio), released(spectrum(audio)[:, 1:]), rtol=0, atol=1e-3)
    torch.testing.assert_close(Mel(scale="segment")(audio), released(mel(audio)), rtol=0, atol=1e-3)


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="limited, level, segment"):
        Spectrum(scale="loud")
    with pytest.raises(ValueError, match="more than 1024 samples"):
        Spectrum()(torch.zeros(1, 1000))


def test_semitones_are_three_bins_apart_and_centred_from_the_lowest_note_of_a_bass():
    time = torch.arange(N_SAMPLES) / 16_000
    for pitch in (28, 45, 60, 111):
        tone = torch.sin(2 * math.pi * 440 * 2 ** ((pitch - 69) / 12) * time)
        loudest = ConstantQ()(tone[None])[0, 20:60].mean(dim=0).argmax()
        assert loudest == 3 * (pitch - 28) + 1
