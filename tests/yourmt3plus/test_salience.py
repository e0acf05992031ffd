"""Maps of notes beside the latents: alike for all pitches, exact as memory, and learnt from the truth."""

import pytest
import torch

from yourmt3plus.salience import BINS_PER_PITCH, Codes, Maps, Salience, told

N_BINS, N_CHANNELS = 72 * BINS_PER_PITCH, 3


@pytest.fixture
def salience() -> Salience:
    torch.manual_seed(0)
    return Salience(N_BINS, N_CHANNELS, width=4).eval()


@pytest.fixture
def codes() -> Codes:
    torch.manual_seed(0)
    return Codes(72, N_CHANNELS, 16)


def maps(n_frames: int = 6, n_keys: int = 72) -> Maps:
    return Maps(*torch.zeros(2, 1, N_CHANNELS, n_frames, n_keys))


@torch.inference_mode()
def test_what_is_a_semitone_higher_is_told_a_key_higher(salience):
    picture = torch.zeros(1, 5, N_BINS)
    picture[..., 100:110] = torch.rand(1, 5, 10)
    before, after = salience(picture), salience(picture.roll(BINS_PER_PITCH, dims=2))
    for low, high in zip(before, after, strict=True):
        pitched = low[:, :-1, :, 28:43], high[:, :-1, :, 29:44]  # where no convolution reaches an end of the picture
        torch.testing.assert_close(*pitched, rtol=0, atol=1e-5)
        assert pitched[0].std() > 1e-3


@torch.inference_mode()
def test_a_note_is_written_as_its_onset_its_sound_and_its_end(codes):
    onset, sounding = maps()
    onset[0, 1, 2, 7] = 1.0
    sounding[0, 1, 2:5, 7] = 1.0
    memory = codes(Maps(onset, sounding)) - codes(maps())
    begins, sounds, ends = codes.code.weight.T.unflatten(0, (3, 72))[:, 7]
    expected = torch.zeros_like(memory)
    expected[0, 1, 2:6] = torch.stack([begins + sounds, sounds, sounds, ends])
    torch.testing.assert_close(memory, expected, rtol=0, atol=1e-5)


def test_channels_differ_in_silence(codes):
    memory = codes(maps())[0]
    assert torch.equal(memory[0, 0], memory[0, 5])
    assert (memory[0] - memory[1]).abs().max() > 0.1


def test_some_are_told_the_truth():
    own, truth = (Maps(*torch.rand(2, 3, 2, 4, 5)) for _ in range(2))
    mixed = told(own, truth, torch.tensor([False, True, False]))
    for part in (0, 1):
        assert torch.equal(mixed[part][1], truth[part][1])
        assert torch.equal(mixed[part][::2], own[part][::2])


@pytest.mark.parametrize(("n_bins", "n_channels"), [(70, 13), (72, 1)])
def test_what_cannot_be_is_refused(n_bins, n_channels):
    with pytest.raises(ValueError, match=r"three bins|channels"):
        Salience(n_bins, n_channels)
