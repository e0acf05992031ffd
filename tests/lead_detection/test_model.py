import shutil
from functools import partial

import pytest
import torch

from common import checkpoint
from common.encoders import LogMelEncoder, SSLEncoder
from lead_detection import model
from lead_detection.heads import AttentionHead, MixHead, PointerHead
from lead_detection.model import LeadDetector

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    **dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0),
}
MEL = {"dim": 16, "channels": (4, 4, 8), "dilations": (1,), "n_mels": 16}
POINTER = {"hidden": 16, "dilations": (1,), "dropout": 0.0}


def mel_detector(**options) -> LeadDetector:
    torch.manual_seed(0)
    return LeadDetector(LogMelEncoder(**MEL), partial(PointerHead, **POINTER, **options))


def ssl_detector(head=PointerHead, **options) -> LeadDetector:
    torch.manual_seed(0)
    return LeadDetector(SSLEncoder(config=TINY, freeze="none"), partial(head, **options))


def batch(net: LeadDetector, counts: list[int], n_frames: int = 6) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    n_samples = net.n_samples(n_frames)
    clip = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    audio = 0.1 * torch.randn(len(clip), n_samples, generator=generator)
    mixture = torch.zeros(len(counts), n_samples).index_add(0, clip, audio)
    return audio, clip, torch.randint(0, 5, clip.shape, generator=generator), mixture


def loss(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(logits[..., 0].numel()) % 2)


@pytest.mark.parametrize("make", [mel_detector, ssl_detector])
def test_one_row_of_logits_for_each_frame_of_the_clock(make):
    net = make().eval()
    logits = net(*batch(net, [3, 1, 5]))
    assert logits.shape == (3, 6, 6)
    assert logits.dtype == torch.float32
    assert (net.classifies, net.grid) == ("track", net.encoder.grid)


def test_silent_tracks_of_another_clip_change_nothing():
    net = mel_detector().eval()
    audio, clip, instrument, mixture = batch(net, [3])
    alone = net(audio, clip, instrument, mixture)
    silence = torch.zeros(4, audio.shape[1])
    beside = net(
        torch.cat([audio, silence]),
        torch.cat([clip, torch.ones(4, dtype=torch.int64)]),
        torch.cat([instrument, torch.zeros(4, dtype=torch.int64)]),
        torch.cat([mixture, silence[:1]]),
    )
    assert (beside[0, :, :4] - alone[0]).abs().max() < 1e-5
    assert torch.isfinite(beside[1]).all()


def test_only_what_is_needed_is_encoded():
    rows = []

    class Counting(LogMelEncoder):
        def forward(self, audio):
            rows.append(len(audio))
            return super().forward(audio)

    paper = partial(AttentionHead, n_heads=4)
    for head, counts in ((PointerHead, [3, 1]), (paper, [3, 1]), (paper, [2, 2]), (MixHead, [3, 1])):
        net = LeadDetector(Counting(**MEL), head).eval()
        net(*batch(net, counts))
    # Tracks and mixtures; with the paper's padding one silent clip, for all that are padded; mixtures only.
    assert rows == [6, 7, 6, 2]


def test_the_papers_padding_is_the_encoded_silence():
    net = ssl_detector(AttentionHead, n_heads=4).eval()
    audio, clip, instrument, mixture = batch(net, [2, 1])
    padded = (torch.cat([audio, torch.zeros_like(audio[:1])]), torch.tensor([0, 0, 1, 1]))
    explicit = net(*padded, torch.cat([instrument, torch.tensor([0])]), mixture)
    assert torch.allclose(net(audio, clip, instrument, mixture), explicit, atol=1e-5)


def test_27_tracks_in_parts_give_the_gradient_of_all_at_once(monkeypatch):
    """Parts whose activations are computed again for it, and those of a CPU, whose are kept."""
    gradients = []
    for cpu_rows, micro_batch in ((27, 0), (27, 4), (5, 0)):
        monkeypatch.setattr(model, "CPU_ROWS", cpu_rows)
        net = ssl_detector().train()
        net.head.eval()  # no dropout
        net.encoder.micro_batch = micro_batch
        loss(net(*batch(net, [26], n_frames=4))).backward()
        gradients.append({name: p.grad for name, p in net.named_parameters() if p.grad is not None})
    whole, *others = gradients
    for parts in others:
        assert whole.keys() == parts.keys()
        for name, gradient in whole.items():
            assert (gradient - parts[name]).abs().max() <= 1e-5 * max(1.0, gradient.abs().max().item())


def test_a_cpu_encodes_a_few_tracks_at_a_time_and_another_device_all():
    rows = []

    class Counting(LogMelEncoder):
        def forward(self, audio):
            rows.append(len(audio))
            return audio

    net = LeadDetector(Counting(**MEL), PointerHead)
    assert len(net.encode(torch.zeros(19, 10))) == 19
    net.encode(torch.zeros(19, 10, device="meta"))
    net.encoder.micro_batch = 4  # goes in parts of its own
    net.encode(torch.zeros(19, 10))
    assert rows == [8, 8, 3, 19, 19]


def test_sizes_of_the_papers_network():
    with torch.device("meta"):
        net = LeadDetector(SSLEncoder(config={}), partial(AttentionHead, n_instruments=16, ln_trainable=True))
    sizes = {name: sum(p.numel() for p in child.parameters()) for name, child in net.head.named_children()}
    assert sum(p.numel() for p in net.encoder.parameters()) == 94_371_712
    assert sizes["attention"] == 4 * 768 * 768 + 4 * 768  # 2.36 million
    assert sizes["track"] == sizes["instrument"] == 17 * 768
    assert sizes["classifier"] == 768 * 16 + 16
    assert sizes["norm"] == 2 * 768


def test_the_default_is_below_a_million():
    net = LeadDetector(LogMelEncoder(), PointerHead)
    assert sum(p.numel() for p in net.parameters()) < 600_000


def test_a_checkpoint_holds_its_parts_as_names_and_arguments(tmp_path):
    net = mel_detector(n_instruments=7).eval()
    init_args = {
        "encoder": {"class_path": "common.encoders.LogMelEncoder", "init_args": MEL},
        "head": {
            "class_path": "lead_detection.heads.PointerHead",
            "init_args": {**POINTER, "n_instruments": 7},
        },
    }
    checkpoint.save(tmp_path / "net.safetensors", net, init_args)
    again, _ = checkpoint.load(LeadDetector, tmp_path / "net.safetensors")
    data = batch(net, [2, 3])
    assert torch.equal(again(*data), net(*data))


def test_a_transformer_is_rebuilt_without_its_folder(tmp_path):
    folder, cache = tmp_path / "mert", tmp_path / "cache"
    SSLEncoder(config=TINY).network.save_pretrained(folder)
    init_args = {
        "encoder": {
            "class_path": "common.encoders.SSLEncoder",
            "init_args": {"path": str(folder), "freeze": "all", "layers": "weighted", "cache": str(cache)},
        },
        "head": {"class_path": "lead_detection.heads.PointerHead", "init_args": POINTER},
    }
    net = LeadDetector(**init_args).eval()
    checkpoint.save(tmp_path / "net.safetensors", net, net.standalone(init_args))
    shutil.rmtree(folder)
    again, _ = checkpoint.load(LeadDetector, tmp_path / "net.safetensors")
    data = batch(net, [2, 3])
    net.encoder.store = None
    assert torch.equal(again(*data), net(*data))
    assert not cache.exists()
    mel = {"encoder": {"class_path": "common.encoders.LogMelEncoder", "init_args": MEL}, "head": init_args["head"]}
    assert LeadDetector(**mel).standalone(mel) == mel


def test_a_checkpoint_cannot_name_code_of_its_own(tmp_path):
    head = {"class_path": "lead_detection.heads.PointerHead", "init_args": {}}
    with pytest.raises(ValueError, match="no part"):
        LeadDetector({"class_path": "subprocess.Popen", "init_args": {"args": "true"}}, head)


def test_half_precision_where_the_device_wants_it():
    net = mel_detector(n_heads=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(*batch(net, [3, 1]))
    assert logits.dtype == torch.float32
    loss(logits.masked_fill(logits.isneginf(), -1e4)).backward()
    for head in (partial(AttentionHead, n_heads=4), partial(AttentionHead, n_heads=4, mask_padding=True)):
        net = ssl_detector(head).train()
        with torch.autocast("cpu", torch.bfloat16):
            assert net(*batch(net, [3, 1])).dtype == torch.float32
