"""The whole network: published sizes (study check 16), learning by heart (check 21), and what goes where."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common import checkpoint
from tests.yourmt3plus import toy_band
from tests.yourmt3plus.networks import DECODER, ENCODER, FRONT_END, N_SAMPLES, tiny
from yourmt3plus.decode import Repairs, decode
from yourmt3plus.decoder import Decoder
from yourmt3plus.front_ends import Mel, Spectrum
from yourmt3plus.generate import Rows, fast
from yourmt3plus.grammar import Grammar
from yourmt3plus.model import Bridge, YourMT3
from yourmt3plus.perceiver import PerceiverTF
from yourmt3plus.programs import MULTI, SINGLE
from yourmt3plus.rows import RowBatch, bucket
from yourmt3plus.t5 import T5Encoder
from yourmt3plus.tokenizer import PAD, SHIFT

PLAIN = partial(PerceiverTF, n_experts=0, widening=1, residual=False, positions="trainable")
PRESETS = {  # front-end, encoder, channels, and the study's millions: in all, pre-encoder and encoder, bridge
    "ymt3": (Mel, T5Encoder, 1, 45.73, 19.41, 0.0),
    "yptf_single": (Spectrum, partial(PLAIN, n_latents=24), 1, 30.40, 0.74 + 1.77, 1.57),
    "yptf_multi": (Spectrum, PLAIN, 13, 28.99, 0.74 + 1.80, 0.13),
    "yptf_moe_multi": (Spectrum, PerceiverTF, 13, 47.08, 0.74 + 19.89, 0.13),
}


def millions(net: torch.nn.Module) -> float:
    """As the study counts: the sinusoids, which are constants here, are among the parameters there."""
    tables = [buffer for name, buffer in net.named_buffers() if name.endswith("positions.table")]
    return sum(tensor.numel() for tensor in (*net.parameters(), *tables)) / 1e6


@pytest.mark.parametrize("preset", PRESETS)
def test_sizes_are_the_published_ones(preset):
    front_end, encoder, n_channels, total, encoding, bridge = PRESETS[preset]
    with torch.device("meta"):
        net = YourMT3(front_end(), encoder, Decoder(), n_channels)
    assert millions(net) == pytest.approx(total, rel=0.01)
    assert millions(net.encoder) == pytest.approx(encoding, rel=0.02)
    assert millions(net.bridge) == pytest.approx(bridge, abs=0.005)
    assert millions(net.decoder) == pytest.approx(25.71 + 2 * 0.305, rel=0.01)


def audio(batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, N_SAMPLES, generator=torch.Generator().manual_seed(0))


def tokens(batch: int = 2, n_channels: int = 4) -> torch.Tensor:
    return torch.randint(3, 596, (batch, n_channels, 9), generator=torch.Generator().manual_seed(0))


def test_rows_have_the_logits_of_their_segment_and_channel_whatever_the_batches():
    net = tiny()
    heard = net.encode(audio())
    assert heard.memory.shape == (2, 4, 32, 64)
    assert heard.routing.share.shape == (2, 4)
    whole = net.decoder(tokens().flatten(0, 1), heard.memory.flatten(0, 1))
    shuffled = torch.tensor([5, 0, 7, 2])
    batches = [RowBatch(row, tokens().flatten(0, 1)[row, :width]) for row, width in ((shuffled, 9), (shuffled[:2], 4))]
    predicted = net(audio(), batches)
    torch.testing.assert_close(predicted.logits[0], whole[shuffled], rtol=0, atol=1e-5)
    torch.testing.assert_close(predicted.logits[1], whole[shuffled[:2], :4], rtol=0, atol=1e-5)
    torch.testing.assert_close(predicted.routing.share, heard.routing.share)


def test_a_segment_does_not_depend_on_the_others():
    net = tiny()
    torch.testing.assert_close(net.encode(audio(3)[1:2]).memory[0], net.encode(audio(3)).memory[1], rtol=0, atol=1e-5)


def test_a_channel_is_made_of_its_own_latents():
    torch.manual_seed(0)
    bridge = Bridge(8, 3, 4, 5)
    latents = torch.randn(1, 2, 8, 3)
    changed = latents.clone()
    changed[:, :, 4:6] += 1
    moved = (bridge(changed) - bridge(latents)).abs().amax(dim=(0, 2, 3))
    assert (moved > 0).tolist() == [False, False, True, False]
    torch.testing.assert_close(bridge(latents)[0, 2, 1], bridge.linear.weight @ latents[0, 1, 4:6].flatten())
    assert isinstance(Bridge(4, 8, 2, 16).linear, torch.nn.Identity)
    with pytest.raises(ValueError, match="multiple of the 3 channels"):
        Bridge(8, 3, 3, 5)


def test_tasks_are_those_of_the_rows_segments():
    net = tiny(decoder={"n_tasks": 2})
    batch = RowBatch(torch.tensor([6, 1]), tokens().flatten(0, 1)[[6, 1]])
    memory = net.encode(audio()).memory
    task = torch.tensor([0, 1])
    truth = net.decoder(batch.tokens, memory.flatten(0, 1)[batch.row], torch.tensor([1, 0]))
    torch.testing.assert_close(net.write(memory, batch, task), truth)
    torch.testing.assert_close(net(audio(), [batch], task).logits[0], truth, rtol=0, atol=1e-5)


def test_the_gate_hears_the_memory_and_learns():
    net = tiny(gate=True)
    logits = net.silence(net.encode(audio()).memory)
    assert logits.shape == (2, 4)
    logits.sum().backward()
    assert net.gate.weight.grad.any()
    with pytest.raises(ValueError, match="gate=True"):
        tiny().silence(torch.zeros(2, 4, 32, 64))


def test_clock_and_channels():
    net = tiny()
    assert (net.sample_rate, net.n_ticks) == (16_000, 102)
    with pytest.raises(ValueError, match="4 rows"):
        _ = net.channels
    assert tiny(1).channels is SINGLE
    assert tiny(13, n_latents=13).channels is MULTI


def test_a_checkpoint_holds_all_and_names_no_code(tmp_path):
    init_args = {
        "front_end": {"class_path": "yourmt3plus.front_ends.Mel", "init_args": {"n_fft": 512, "n_bins": 32}},
        "encoder": {"class_path": "yourmt3plus.t5.T5Encoder", "init_args": {"dim": 16, "n_layers": 1, "ff_dim": 16}},
        "decoder": {"class_path": "yourmt3plus.decoder.Decoder", "init_args": {"dim": 16, "n_layers": 1}},
        "n_channels": 1,
        "n_samples": N_SAMPLES,
    }
    net = YourMT3(**init_args).eval()
    checkpoint.save(tmp_path / "net.safetensors", net, init_args)
    again, _ = checkpoint.load(YourMT3, tmp_path / "net.safetensors")
    torch.testing.assert_close(again.encode(audio()).memory, net.encode(audio()).memory)
    with pytest.raises(ValueError, match="no part of such a network"):
        YourMT3(**{**init_args, "decoder": {"class_path": "os.system"}})


def test_bfloat16_steps_have_finite_gradients():
    net = tiny().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = token_loss(net(audio(), bucket(tokens())).logits, bucket(tokens()))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def token_loss(logits: list[torch.Tensor], rows: list[RowBatch]) -> torch.Tensor:
    """Mean cross entropy over the tokens of all rows."""
    total = sum(
        F.cross_entropy(predicted.flatten(0, 1).float(), batch.tokens.flatten(), ignore_index=PAD, reduction="sum")
        for predicted, batch in zip(logits, rows, strict=True)
    )
    return total / sum((batch.tokens != PAD).sum() for batch in rows)


def learn(net: YourMT3, sound: torch.Tensor, rows: list[RowBatch], n_steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(net.train().parameters(), 3e-3)
    losses = []
    for _ in range(n_steps):
        loss = token_loss(net(sound, rows).logits, rows)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    return losses


def test_learns_eight_segments_by_heart():
    sound, truth, notes = toy_band.segments()
    net = tiny()
    rows = bucket(truth, widths=(2, 32))
    assert learn(tiny(), sound, rows, 3) == learn(net, sound, rows, 3)
    assert learn(net, sound, rows, 90)[-1] < 0.01
    memory = net.encode(sound).memory
    written = fast(net.decoder, Rows.of(memory), 32, Grammar(toy_band.channels(), toy_band.N_TICKS)).unflatten(
        0, (8, 4)
    )
    assert torch.equal(written, truth)
    for row, expected in zip(written.numpy(), notes, strict=True):
        heard, repairs = decode(row[None], toy_band.N_TICKS)
        assert repairs == Repairs()
        assert np.array_equal(np.sort(heard.pitch), np.sort(expected.pitch))
        assert np.allclose(np.sort(heard.onset), np.sort(expected.onset))


def test_a_clock_lets_what_follows_a_shift_listen_there():
    """Before it has learnt anything: silence in the memory, and shifts to all of its frames."""
    torch.manual_seed(0)
    net = YourMT3(FRONT_END(), ENCODER, DECODER(), 4, N_SAMPLES, clock=True)
    assert net.clock is not None
    assert net.clock.shape == (32, 64)
    ticks = torch.tensor([0, 13, 51, 90])
    layer = net.decoder.layers[0].memory
    q = layer.query(layer.norm(net.decoder.embedding(SHIFT + ticks))).unflatten(-1, (-1, layer.head_dim))
    keys, _ = layer.project(net.clock[None])
    scores = torch.einsum("thd,hfd->tf", q, keys[0])
    frames = ticks * 16_000 / 512 / 100
    assert (scores.argmax(dim=1) - frames).abs().max() <= 1.5
    silent = net.encode(torch.zeros(1, N_SAMPLES)).memory - net.bridge(
        net.encoder(net.front_end(torch.zeros(1, N_SAMPLES))).latents
    )
    torch.testing.assert_close(silent[0, 2], net.clock, rtol=0, atol=1e-5)
    assert not any("clock" in name for name in net.state_dict())
