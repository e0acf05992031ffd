"""Against a fabricated file with the names and shapes of the authors' code, and their forward pass written out plainly.

Modules are called as theirs, so that the state dict of `Released` has their keys. The stacks of T5 are transformers'.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Stack

from common import checkpoint
from common.checkpoint import CheckpointError
from yourmt3plus.importer import RELEASED, import_checkpoint, import_command
from yourmt3plus.model import YourMT3
from yourmt3plus.positions import pixel_rope, rope, rotate, sinusoids

DIM, WIDE, LATENTS, BINS, HEADS = 16, 24, 26, 16, 4
N_SAMPLES = 16_384
KINDS = tuple(RELEASED)


def small(kind: str) -> dict[str, Any]:
    """The arguments of a released network with small sizes."""
    config = deepcopy(RELEASED[kind])
    is_mel = kind == "ymt3"
    bins: dict[str, int] = {"n_bins": WIDE} if is_mel else {"n_bins": 128}
    config["front_end"]["init_args"] |= {"n_fft": 512, "hop_length": 512, **bins}
    t5 = {"dim": WIDE, "n_layers": 2, "n_heads": 2, "head_dim": 8, "ff_dim": 24}
    config["decoder"]["init_args"] |= t5
    config["n_samples"] = N_SAMPLES
    if is_mel:
        config["encoder"]["init_args"] |= t5
        return config
    config["encoder"]["init_args"] |= {
        "channels": [8, 8, 8], "dim": DIM, "n_blocks": 2, "n_latent_layers": 2, "n_temporal_layers": 1,
        "n_heads": HEADS, "n_latents": 6 if kind == "yptf_single" else LATENTS,
    }  # fmt: skip
    if kind == "yptf_moe_multi":
        config["encoder"]["init_args"] |= {"n_experts": 4, "widening": 2}
    return config


class Block(nn.Module):
    def __init__(self, n_inputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(n_inputs, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        if n_inputs != 8:
            self.shortcut = nn.Conv2d(n_inputs, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        origin = self.shortcut(x) if hasattr(self, "shortcut") else x
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + origin
        return F.avg_pool2d(x.relu(), (1, 2))


class Attention(nn.Module):
    def __init__(self, source_dim: int | None, turn: Tensor | None, residual: bool):
        super().__init__()
        inner = nn.Module()
        inner.layernorm1, inner.layernorm2 = nn.LayerNorm(DIM), nn.LayerNorm(source_dim) if source_dim else None
        inner.query = nn.Linear(DIM, DIM)
        inner.key, inner.value = nn.Linear(source_dim or DIM, DIM), nn.Linear(source_dim or DIM, DIM)
        self.self = inner
        self.output = nn.Module()
        self.output.dense = nn.Linear(DIM, DIM)
        self.turn, self.residual = turn, residual

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        inner: Any = self.self
        normed = inner.layernorm1(x)
        listened = normed if source is None else inner.layernorm2(source)
        q, k, v = (
            layer(y).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer, y in ((inner.query, normed), (inner.key, listened), (inner.value, listened))
        )
        q = rotate(q, None if self.turn is None else self.turn[:, : q.shape[2]])
        heard = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        out = self.output.dense(heard.transpose(1, 2).flatten(2))
        return out + x if self.residual else out


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.gate = (nn.Linear(DIM, 2 * DIM, bias=False) for _ in range(2))
        self.w2 = nn.Linear(2 * DIM, DIM, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.gate(x))


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(DIM, 4, bias=False)
        self.experts = nn.ModuleList(Expert() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(-1).topk(2)
        weight = torch.zeros(*x.shape[:-1], 4).scatter(-1, chosen, weight / weight.sum(-1, keepdim=True))
        return sum(weight[..., [i]] * expert(x) for i, expert in enumerate(self.experts))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense2(F.gelu(self.dense1(x)))


class Layer(nn.Module):
    def __init__(self, turn: Tensor | None, experts: bool):
        super().__init__()
        self.attention = Attention(None, turn, True)
        self.layernorm = nn.LayerNorm(DIM)
        self.mlp = Experts() if experts else MLP()

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        return x + self.mlp(self.layernorm(x))


class Perceiver(nn.Module):
    def __init__(self, n_latents: int, experts: bool):
        super().__init__()
        self.latent_array = nn.Module()
        self.latent_array.latents = nn.Parameter(torch.randn(n_latents, DIM))
        along, across = (rope(32, 1), pixel_rope(n_latents, 1)) if experts else (None, None)
        if experts:
            for name in ("sca", "latent", "temporal"):
                rotary = nn.Module()
                rotary.freqs = nn.Parameter(torch.ones(HEADS // 4), requires_grad=False)
                setattr(self, f"rotary_emb_{name}", rotary)
        else:
            self.pos_emb = nn.Module()
            self.pos_emb._pos_emb = nn.Parameter(torch.randn(32 + 10, n_latents, DIM))
        self.blocks = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            block.spectral_cross_attention = Attention(BINS, across, experts)
            if experts:
                block.spectral_cross_attention.self.rotary_emb = self.rotary_emb_sca
            block.local_transformer = nn.ModuleList(Layer(across, experts) for _ in range(2))
            block.temporal_transformer = nn.ModuleList([Layer(along, experts)])
            self.blocks.append(block)

    def forward(self, source: Tensor) -> Tensor:
        """(batch, channel, frame, bin) -> (batch, frame, latent, dim)."""
        batch, _, n_frames, _ = source.shape
        x = self.latent_array.latents.expand(batch, n_frames, -1, -1)
        if hasattr(self, "pos_emb"):
            x = x + self.pos_emb._pos_emb[:n_frames]
        for block in self.blocks:
            x = block.spectral_cross_attention(x.flatten(0, 1), source.transpose(1, 2).flatten(0, 1))
            for layer in block.local_transformer:
                x = layer(x)
            x = x.unflatten(0, (batch, n_frames)).transpose(1, 2).flatten(0, 1)
            for layer in block.temporal_transformer:
                x = layer(x)
            x = x.unflatten(0, (batch, -1)).transpose(1, 2)
        return x


def t5(is_decoder: bool) -> nn.Module:
    """transformers' stack, without the embedding and the bias that theirs has not, with their table of places."""
    config = T5Config(
        vocab_size=8, d_model=WIDE, d_kv=8, d_ff=24, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu",
        is_decoder=is_decoder, is_encoder_decoder=False, use_cache=False, dropout_rate=0.0,
    )  # fmt: skip
    stack = T5Stack(config)
    del stack.embed_tokens
    stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data.zero_()
    stack.additive_pe = nn.Embedding(64, WIDE)
    stack.additive_pe.weight.data = sinusoids(64, WIDE)
    holder = nn.Module()
    holder.add_module("decoder" if is_decoder else "encoder", stack)
    return holder


class Released(nn.Module):
    """The modules of the authors' networks, and what their forward pass does with them."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        self.spectrogram = nn.Module()
        self.spectrogram.register_buffer("window", torch.ones(8))
        self.pitchshift = nn.Module()
        self.pitchshift.register_buffer("kernel", torch.ones(100, 100))
        if kind == "ymt3":
            self.encoder = t5(is_decoder=False)
        else:
            blocks = nn.Module()
            blocks.blocks = nn.ModuleList(Block(n) for n in (1, 8, 8))
            self.pre_encoder = nn.Sequential(blocks)
            n_latents = 6 if kind == "yptf_single" else LATENTS
            self.encoder = Perceiver(n_latents, kind == "yptf_moe_multi")
            bridge = nn.Module()
            if kind == "yptf_single":
                bridge.projection_layer = nn.Linear(n_latents * DIM, WIDE, bias=False)
            else:
                bridge.linear = nn.Linear(2 * DIM, WIDE, bias=False)
            self.pre_decoder = nn.Sequential(bridge)
        self.decoder = t5(is_decoder=True)
        self.embed_tokens = nn.Embedding(596, WIDE)
        self.lm_head = nn.Module()
        self.lm_head.lm_head = nn.Linear(WIDE, 596, bias=False)

    def memory(self, picture: Tensor) -> Tensor:
        """(batch, frame, bin) -> (batch, channel, frame, dim)."""
        if self.kind == "ymt3":
            stack = self.encoder.encoder
            places = stack.additive_pe.weight[: picture.shape[1]]
            return stack(inputs_embeds=picture + places).last_hidden_state[:, None]
        source = picture[:, None]
        for block in self.pre_encoder[0].blocks:
            source = block(source)
        x = self.encoder(source)
        if self.kind == "yptf_single":
            return self.pre_decoder[0].projection_layer(x.flatten(2))[:, None]
        return self.pre_decoder[0].linear(x.unflatten(2, (13, 2)).flatten(3).transpose(1, 2))

    def logits(self, memory: Tensor, before: Tensor) -> Tensor:
        """Of rows (row, token), given the tokens before each."""
        stack = self.decoder.decoder
        inputs = self.embed_tokens(before) + stack.additive_pe.weight[: before.shape[1]]
        heard = stack(inputs_embeds=inputs, encoder_hidden_states=memory).last_hidden_state
        return self.lm_head.lm_head(heard * WIDE**-0.5 * WIDE**-0.5)


def released(kind: str) -> Released:
    torch.manual_seed(0)
    net = Released(kind).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    for tensor in net.state_dict().values():  # to be stored in 16 bits
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return net


def save(path: Path, net: Released, **changes: Tensor | None) -> Path:
    """As Lightning does; a change to None leaves a tensor out."""
    state = {key: value for key, value in net.state_dict().items() if "relative_attention_bias" not in key}
    state = {key: value for key, value in (state | changes).items() if value is not None}
    torch.save({"state_dict": state, "hyper_parameters": {"model_cfg": {}}, "optimizer_states": [{}]}, path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_network_computes_what_theirs_does(kind, tmp_path):
    theirs = released(kind)
    path = save(tmp_path / "model.ckpt", theirs)
    networks = {kind: small(kind) for kind in KINDS}
    assert import_checkpoint(path, tmp_path / "ours.safetensors", networks, name="theirs") == kind
    ours, extra = checkpoint.load(YourMT3, tmp_path / "ours.safetensors")
    assert extra == {"name": "theirs"}
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        audio = 0.1 * torch.randn(2, N_SAMPLES, generator=generator)
        memory = ours.encode(audio).memory
        torch.testing.assert_close(memory, theirs.memory(ours.front_end(audio)), rtol=1e-3, atol=2e-4)
        rows = memory.flatten(0, 1)[:3]
        before = torch.randint(0, 596, (len(rows), 7), generator=generator)
        before[:, 0] = 0
        logits = ours.decoder(before[:, 1:], rows)
        torch.testing.assert_close(logits, theirs.logits(rows, before)[:, :-1], rtol=5e-3, atol=1e-3)


def test_the_published_sizes_are_the_default():
    for kind, n_channels in {"ymt3": 1, "yptf_single": 1, "yptf_multi": 13, "yptf_moe_multi": 13}.items():
        with torch.device("meta"):
            net = YourMT3(**RELEASED[kind])
        assert (net.n_channels, net.n_samples) == (n_channels, 32_767)
        assert net.front_end.scale == "segment"


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path):
    theirs, networks = released("yptf_multi"), {kind: small(kind) for kind in KINDS}
    changes = {"decoder.decoder.final_layer_norm.weight": None}, {"singer.weight": torch.ones(2)}
    for change, word in zip(changes, ("decoder.norm", "singer.weight belongs to none"), strict=True):
        path = save(tmp_path / "model.ckpt", theirs, **change)
        with pytest.raises(CheckpointError, match=word):
            import_checkpoint(path, tmp_path / "ours.safetensors", networks)
    with pytest.raises(CheckpointError, match="size mismatch"):
        import_checkpoint(save(tmp_path / "model.ckpt", theirs), tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()


def test_other_rotations_are_refused(tmp_path):
    theirs, networks = released("yptf_moe_multi"), {kind: small(kind) for kind in KINDS}
    path = save(tmp_path / "model.ckpt", theirs, **{"encoder.rotary_emb_sca.freqs": torch.ones(2)})
    with pytest.raises(CheckpointError, match=r"turns \[1, 2\] pairs of each head, not \[1\]"):
        import_checkpoint(path, tmp_path / "ours.safetensors", networks)


def test_what_is_no_checkpoint_is_one_line_and_exit_code_2(tmp_path, capsys):
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    for name in ("junk.ckpt", "gone.ckpt"):
        assert import_command([str(tmp_path / name), "--name", "x", "--out", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "mimbres/YourMT3" in error
