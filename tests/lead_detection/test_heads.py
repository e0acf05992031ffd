from functools import partial

import pytest
import torch

from lead_detection.heads import AttentionHead, AverageHead, Heard, MixHead, PointerHead, masked_mean, pad_tracks

DIM, N_FRAMES = 24, 9
SMALL = {"hidden": 16, "n_instruments": 5, "dilations": (1, 2)}
POINTERS = {
    "default": partial(PointerHead, **SMALL),
    "attention": partial(PointerHead, **SMALL, n_heads=2),
    "gru": partial(PointerHead, **SMALL, temporal="gru"),
    "bare": partial(PointerHead, **SMALL, temporal="none", level_features=False),
}
PAPER = partial(AttentionHead, max_tracks=8, n_instruments=5, mixture_id=3, n_heads=4)


def heard(counts: list[int], seed: int = 0) -> Heard:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    clip = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    instrument = torch.randint(0, 6, clip.shape, generator=generator)
    tracks, mixture = draw(len(clip), N_FRAMES, DIM), draw(len(counts), N_FRAMES, DIM)
    return Heard(tracks, mixture, draw(1, N_FRAMES, DIM), draw(len(clip), N_FRAMES, 3), clip, instrument)


def only(all_heard: Heard, index: int) -> Heard:
    """One clip of several."""
    mine = all_heard.clip == index
    return Heard(
        all_heard.tracks[mine],
        all_heard.mixture[index : index + 1],
        all_heard.silence[:0],
        all_heard.levels[mine],
        torch.zeros_like(all_heard.clip[mine]),
        all_heard.instrument[mine],
    )


def reordered(one: Heard, order: torch.Tensor) -> Heard:
    return one._replace(tracks=one.tracks[order], levels=one.levels[order], instrument=one.instrument[order])


def make(head) -> torch.nn.Module:
    torch.manual_seed(0)
    return head(DIM).eval()


@pytest.mark.parametrize("name", POINTERS)
def test_the_order_of_tracks_orders_the_logits(name):
    head, one = make(POINTERS[name]), heard([6])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    logits = head(reordered(one, order))
    assert (logits - head(one)[..., torch.cat([torch.tensor([0]), 1 + order])]).abs().max() < 1e-5


@pytest.mark.parametrize("name", POINTERS)
def test_any_number_of_tracks(name):
    head = make(POINTERS[name])
    for count in (1, 2, 7, 40):
        assert head(heard([count])).shape == (1, N_FRAMES, 1 + count)


@pytest.mark.parametrize(
    "head",
    [
        *POINTERS.values(),
        partial(PAPER, mask_padding=True),
        partial(PAPER, mask_padding=True, pseudo_mix=True, mix_in_kv=False),
        partial(PAPER, mask_padding=True, classifies="instrument"),
        partial(AverageHead, n_instruments=5, mixture_id=3, mask_padding=True),
        partial(MixHead, n_instruments=5),
    ],
)
def test_a_clip_alone_has_the_logits_that_it_has_among_others(head):
    head, together = make(head), heard([3, 1, 5])
    logits = head(together._replace(silence=together.silence[:0]))
    for index, count in enumerate([3, 1, 5]):
        alone = head(only(together, index))
        assert (alone[0] - logits[index, :, : alone.shape[2]]).abs().max() < 1e-5
        if head.classifies == "track":
            assert alone.shape[2] == 1 + count
            assert torch.isneginf(logits[index, :, 1 + count :]).all()


@pytest.mark.parametrize(
    "head", [PAPER, partial(PAPER, classifies="instrument"), partial(AverageHead, n_instruments=5, mixture_id=3)]
)
def test_unmasked_padding_changes_a_clip_as_in_the_papers_code(head):
    head, together = make(head), heard([3, 1, 5])
    assert head.needs_silence
    assert (head(only(together, 1))[0] - head(together)[1]).abs().max() > 1e-2


def test_the_papers_head_by_hand():
    head, one = make(PAPER), heard([2])
    with torch.no_grad():
        instrument, track = head.instrument.weight, head.track.weight
        mixture = one.mixture[0] + instrument[3] + track[0]
        tracks = [one.tracks[i] + instrument[one.instrument[i]] + track[1 + i] for i in range(2)]
        keys = torch.stack([mixture, *tracks], dim=1)  # (frame, slot, dim)
        weight, bias = head.attention.in_proj_weight.split(DIM), head.attention.in_proj_bias.split(DIM)
        q, k, v = (x @ w.T + b for x, w, b in zip((mixture[:, None], keys, keys), weight, bias, strict=True))
        q, k, v = (x.unflatten(-1, (4, 6)).transpose(1, 2) for x in (q, k, v))  # (frame, head, slot, 6)
        attended = ((q @ k.mT / 6**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)[:, 0]
        attended = attended @ head.attention.out_proj.weight.T + head.attention.out_proj.bias
        normed = torch.nn.functional.layer_norm(attended, (DIM,))
        expected = normed @ head.classifier.weight.T + head.classifier.bias
    assert head(one).shape == (1, N_FRAMES, 9)
    assert torch.allclose(head(one)[0], expected, atol=1e-5)


def test_switches_change_what_they_say():
    one = heard([3])
    for name in ("mix_in_kv", "track_emb", "inst_emb"):
        torch.manual_seed(0)
        head = PAPER(DIM, **{name: False}).eval()
        without = {"track_emb": "track", "inst_emb": "instrument"}.get(name)
        assert without is None or getattr(head, without) is None
        assert head(one).shape == (1, N_FRAMES, 9)
    # Asked with the mean of the tracks, and without the mixture among them, it does not hear the mixture.
    blind = make(partial(PAPER, pseudo_mix=True, mix_in_kv=False))
    assert torch.equal(blind(one), blind(one._replace(mixture=one.mixture + 1)))
    leaking = make(partial(PAPER, pseudo_mix=True))
    assert not torch.equal(leaking(one), leaking(one._replace(mixture=one.mixture + 1)))
    # Without embeddings the order of tracks means nothing.
    plain = make(partial(PAPER, track_emb=False))
    assert torch.allclose(plain(one), plain(reordered(one, torch.tensor([2, 0, 1]))), atol=1e-5)


def test_the_norm_of_the_papers_code_never_learns():
    assert not any(p.requires_grad for p in PAPER(DIM).norm.parameters())
    assert all(p.requires_grad for p in PAPER(DIM, ln_trainable=True).norm.parameters())
    assert not list(PAPER(DIM, layer_norm=False).norm.parameters())


def test_more_tracks_than_classes_are_refused():
    assert PAPER(DIM)(heard([7])).shape[2] == 9
    with pytest.raises(ValueError, match="max_tracks"):
        PAPER(DIM)(heard([8]))


def test_the_mean_of_tracks_and_mixture():
    head, one = make(partial(AverageHead, n_instruments=5, mixture_id=3, inst_emb=False)), heard([3])
    mean = (one.tracks.sum(0) + one.mixture[0]) / 4
    assert torch.allclose(head(one)[0], head.classifier(mean), atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        *POINTERS.values(),
        partial(PAPER, ln_trainable=True),
        partial(AverageHead, n_instruments=5, mixture_id=3),
        MixHead,
    ],
)
def test_gradients_reach_every_parameter(head):
    head = head(DIM).train()
    logits = head(heard([3, 1, 5]))
    logits.masked_fill(logits.isneginf(), 0.0).log_softmax(-1).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters())


def test_absent_tracks_have_no_probability_and_no_gradient():
    head, together = make(POINTERS["default"]), heard([3, 1])
    probability = head(together).softmax(-1)
    assert (probability[1, :, 2:] == 0).all()
    assert torch.allclose(probability.sum(-1), torch.ones(2, N_FRAMES))
    tracks = together.tracks.clone().requires_grad_()
    head(together._replace(tracks=tracks)).softmax(-1)[1, :, :2].square().sum().backward()
    assert (tracks.grad[:3] == 0).all()
    assert tracks.grad[3].abs().max() > 0


def test_unknown_instruments_say_nothing():
    head, one = make(POINTERS["default"]), heard([3])
    assert (head.instrument.weight[0] == 0).all()
    known = head(one._replace(instrument=torch.tensor([1, 2, 3])))
    assert not torch.allclose(known, head(one._replace(instrument=torch.tensor([0, 0, 0]))))


def test_padding_by_hand():
    x, clip = torch.arange(1.0, 5.0)[:, None], torch.tensor([0, 1, 1, 1])
    padded, present = pad_tracks(x, clip, 2, fill=-1.0)
    assert padded[..., 0].tolist() == [[1, -1, -1], [2, 3, 4]]
    assert present.tolist() == [[True, False, False], [True, True, True]]
    assert masked_mean(padded[..., None], present)[..., 0, 0].tolist() == [1, 3]
