import math
from functools import partial

import pytest
import torch

from common.encoders import SSLEncoder
from lead_detection.baselines import CRNNHead, MelEncoder, SegmentHead
from lead_detection.heads import Heard, MixHead
from lead_detection.model import LeadDetector

SMALL = {"n_instruments": 5, "mixture_id": 3}
TONES = (220.0, 310.0, 440.0, 620.0)


def heard(counts: list[int], dim: int = 40, n_frames: int = 9) -> Heard:
    generator = torch.Generator().manual_seed(0)
    clip = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    tracks, mixture = (torch.randn(len(rows), n_frames, dim, generator=generator) for rows in (clip, counts))
    instrument = torch.randint(0, 6, clip.shape, generator=generator)
    return Heard(tracks, mixture, mixture[:0], torch.zeros(len(clip), n_frames, 3), clip, instrument)


def clips_of_tones(n_clips: int, seed: int) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Clips of three quiet tones of which one is loud for half of the time; instrument i plays TONES[i - 1]."""
    generator = torch.Generator().manual_seed(seed)
    n_frames, hop = 16, 320
    time = torch.arange(n_frames * hop) / 24_000
    audio, instrument, target = [], [], []
    for _ in range(n_clips):
        played = torch.randperm(len(TONES), generator=generator)[:3]
        first, second = torch.randint(0, 3, (2,), generator=generator).tolist()
        leader = torch.tensor([first] * (n_frames // 2) + [second] * (n_frames // 2))
        for track in range(3):
            gain = torch.where(leader == track, 0.3, 0.03).repeat_interleave(hop)
            audio.append(gain * torch.sin(2 * math.pi * TONES[played[track]] * time))
        instrument.append(played + 1)
        target.append((played + 1)[leader])
    audio = torch.stack(audio)
    mixture = audio.unflatten(0, (n_clips, 3)).sum(1)
    return (audio, torch.arange(n_clips).repeat_interleave(3), torch.cat(instrument), mixture), torch.stack(target)


def train(net: LeadDetector, steps: int) -> float:
    """Accuracy on clips that it has not heard."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(steps):
        batch, target = clips_of_tones(4, seed=step)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net.train()(*batch).mT, target).backward()
        optimizer.step()
    batch, target = clips_of_tones(16, seed=10_000)
    with torch.no_grad():
        return (net.eval()(*batch).argmax(-1) == target).float().mean().item()


@pytest.mark.parametrize(("dim", "size"), [(128, 768), (768, 4864)])
def test_widths_are_those_of_the_paper(dim, size):
    head = CRNNHead(dim, n_instruments=16)
    assert head.recurrent.input_size == size
    assert sum(p.numel() for p in head.convolutions[0][0].parameters()) == 10 * 128 * 9 + 128
    assert head.classifier[-1].out_features == 17


def test_mel_features_are_those_of_torchaudio():
    transforms = pytest.importorskip("torchaudio").transforms
    audio = 0.1 * torch.randn(1, 24_000, generator=torch.Generator().manual_seed(0))
    reference = transforms.MelSpectrogram(24_000, n_fft=2048, hop_length=320, pad_mode="constant")(audio)[0].T[:75]
    assert torch.allclose(MelEncoder(log=False)(audio)[0], reference, rtol=1e-3, atol=1e-4)
    logs = MelEncoder()(audio)[0]
    assert torch.allclose(((logs - 1) * -math.log(1e-7)).exp(), reference, rtol=1e-3, atol=1e-4)
    assert torch.allclose(MelEncoder()(0 * audio), torch.zeros(1, 75, 128), atol=1e-6)
    assert MelEncoder().grid.rate == 75


@pytest.mark.parametrize("attention", [False, True])
def test_a_clip_alone_has_the_logits_that_it_has_among_others(attention):
    torch.manual_seed(0)
    head, together = CRNNHead(40, **SMALL, attention=attention).eval(), heard([3, 1, 5])
    alone = together._replace(
        tracks=together.tracks[3:4],
        mixture=together.mixture[1:2],
        clip=together.clip[:1],
        instrument=together.instrument[3:4],
    )
    logits = head(together)
    assert logits.shape == (3, 9, 6)
    assert torch.allclose(head(alone)[0], logits[1], atol=1e-5)


def test_as_published_the_loss_has_a_floor():
    head = CRNNHead(40, n_instruments=16, sigmoid=True).eval()
    logits = head(heard([3]))
    assert logits.min() >= 0
    assert logits.max() <= 1
    best = torch.nn.functional.cross_entropy(torch.eye(17), torch.arange(17))
    assert best.item() == pytest.approx(1.93, abs=0.01)


def test_more_tracks_than_channels_are_refused():
    assert CRNNHead(40)(heard([9])).shape == (1, 9, 35)
    with pytest.raises(ValueError, match="max_tracks"):
        CRNNHead(40)(heard([10]))
    assert CRNNHead(40, attention=True)(heard([10])).shape == (1, 9, 35)


@pytest.mark.parametrize("attention", [False, True])
def test_gradients_reach_every_parameter(attention):
    torch.manual_seed(0)
    head = CRNNHead(40, **SMALL, attention=attention)
    head(heard([3, 1, 5])).log_softmax(-1).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters())


def test_the_repaired_one_learns_tones():
    torch.manual_seed(0)
    net = LeadDetector(MelEncoder(), partial(CRNNHead, n_instruments=4, max_tracks=4, mixture_id=0))
    # Four instruments, alike in number: a constant is right a quarter of the time.
    assert train(net, 60) > 0.6


def test_a_segment_is_the_mean_of_its_mixture():
    torch.manual_seed(0)
    head, one = SegmentHead(40), heard([3, 2])
    assert head(one).shape == (2, 1, 2)
    assert torch.allclose(head(one)[:, 0], head.classifier(one.mixture.mean(1)), atol=1e-6)
    assert not head.needs_tracks


def test_the_papers_encoder_takes_them_all():
    tiny = {"hidden_size": 40, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    tiny |= {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    for head in (CRNNHead, partial(CRNNHead, attention=True), SegmentHead, MixHead):
        net = LeadDetector(SSLEncoder(config=tiny), head).eval()
        n_samples = net.n_samples(5)
        logits = net(
            torch.randn(3, n_samples), torch.tensor([0, 0, 1]), torch.zeros(3).long(), torch.randn(2, n_samples)
        )
        assert len(logits) == 2
        assert torch.isfinite(logits).all()
