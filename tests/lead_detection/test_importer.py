import sys
import types
from functools import partial
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from transformers import HubertConfig, HubertModel

from common import checkpoint
from common.checkpoint import CheckpointError
from lead_detection.importer import import_checkpoint, import_command
from lead_detection.model import LeadDetector
from lead_detection.taxonomy import MJN_VOCABULARY, VOCABULARY

DIM = 48
CONFIG = {
    "hidden_size": DIM,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
N_FRAMES = 5


class Released(nn.Module):
    """The modules of the authors' track classifier, and what their forward pass does with them."""

    def __init__(self, n_instruments: int, n_classes: int):
        super().__init__()
        self.mert = HubertModel(HubertConfig(**CONFIG))
        self.ch_cls_head = nn.Linear(DIM, n_classes)
        self.inst_emb = nn.Embedding(n_instruments + 1, DIM)
        self.ch_emb = nn.Embedding(n_classes + 1, DIM)
        self.channel_attn = nn.MultiheadAttention(DIM, 12, batch_first=True)
        self.ln = nn.LayerNorm(DIM)
        self.ln2 = nn.LayerNorm(DIM)

    def logits(self, mixture: torch.Tensor, stems: torch.Tensor, instruments: list[int]) -> torch.Tensor:
        """(frame, class) of one clip; the mixture is the first track."""
        x = self.mert(torch.cat([mixture[None], stems])).last_hidden_state[:, :N_FRAMES]
        x = x + self.inst_emb(torch.tensor(instruments))[:, None] + self.ch_emb(torch.arange(len(x)))[:, None]
        x = x.transpose(0, 1)  # (frame, track, dim)
        return self.ch_cls_head(self.ln(self.channel_attn(x[:, :1], x, x)[0]))[:, 0]


@pytest.fixture
def settings(monkeypatch) -> dict:
    """Settings as their files may hold them: objects of classes that nobody who reads the file has."""

    class Config(dict):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.__dict__["frozen"] = False

    Config.__module__, Config.__qualname__ = "mlconfig.config", "Config"
    module = types.ModuleType("mlconfig.config")
    module.__dict__["Config"] = Config
    monkeypatch.setitem(sys.modules, "mlconfig", types.ModuleType("mlconfig"))
    monkeypatch.setitem(sys.modules, "mlconfig.config", module)
    return {
        "model_config": Config(attn_heads=12, nested=Config(freeze_mert=False)),
        "train_config": OmegaConf.create({"lr": 1e-3, "values": [1, 2, {"a": None}]}),
        "infer": False,
    }


def save(path: Path, net: nn.Module, settings: dict) -> Path:
    """As Lightning does, with the old names of the normed convolution."""
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = {}
    for key, value in net.state_dict().items():
        for new, name in old.items():
            key = key.replace(new, name)
        state[f"model.{key}"] = value
    extra = {"epoch": 0, "global_step": 500, "pytorch-lightning_version": "1.9.5", "optimizer_states": [{"state": {}}]}
    torch.save({"state_dict": state, "hyper_parameters": settings, **extra}, path)
    return path


@pytest.mark.parametrize(("vocabulary", "n_classes"), [(MJN_VOCABULARY, 16), (VOCABULARY, 28)], ids=["mjn", "both"])
def test_an_imported_network_gives_the_same_logits(tmp_path, settings, vocabulary, n_classes):
    torch.manual_seed(0)
    theirs = Released(len(vocabulary.names), n_classes).eval()
    path = save(tmp_path / "released.ckpt", theirs, settings)
    del sys.modules["mlconfig.config"], sys.modules["mlconfig"]
    import_checkpoint(path, tmp_path / "ours.safetensors", CONFIG, name="released")
    ours, extra = checkpoint.load(LeadDetector, tmp_path / "ours.safetensors")
    assert extra == {"norm": "stem_peak", "name": "released"}
    names = ["vocal", "sax", "electric_guitar"]
    audio = 0.1 * torch.randn(4, ours.n_samples(N_FRAMES), generator=torch.Generator().manual_seed(0))
    expected = theirs.logits(audio[0], audio[1:], [vocabulary.id("mix"), *map(vocabulary.id, names)])
    ids = torch.tensor([VOCABULARY.id(name) for name in names])
    logits = ours(audio[1:], torch.zeros(3, dtype=torch.int64), ids, audio[:1])[0]
    assert logits.shape == expected.shape
    assert torch.allclose(logits[:, 0], expected[:, 0], atol=1e-5)  # nobody
    assert torch.allclose(logits[:, 1:-1], expected[:, 2:], atol=1e-5)  # the stems
    assert torch.allclose(logits[:, -1], expected[:, 1], atol=1e-5)  # the mixture


def test_the_classifier_of_segments(tmp_path, settings):
    torch.manual_seed(0)
    theirs = nn.ModuleDict({"mert": HubertModel(HubertConfig(**CONFIG)), "inst_cls_head": nn.Linear(DIM, 2)}).eval()
    import_checkpoint(save(tmp_path / "released.ckpt", theirs, settings), tmp_path / "ours.safetensors", CONFIG)
    ours, _ = checkpoint.load(LeadDetector, tmp_path / "ours.safetensors")
    audio = torch.randn(1, ours.n_samples(N_FRAMES))
    expected = theirs["inst_cls_head"](theirs["mert"](audio).last_hidden_state.mean(1))
    assert torch.allclose(ours(audio, torch.tensor([0]), torch.tensor([0]), audio)[:, 0], expected, atol=1e-5)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path, settings):
    few, many = Released(34, 28), Released(34, 28)
    del few.ln
    many.extra = nn.Linear(2, 2)
    for net, word in ((few, "norm"), (many, "extra")):
        path = save(tmp_path / "released.ckpt", net, settings)
        with pytest.raises(CheckpointError, match=word):
            import_checkpoint(path, tmp_path / "ours.safetensors", CONFIG)
    with pytest.raises(CheckpointError, match="30 instruments"):
        import_checkpoint(save(tmp_path / "released.ckpt", Released(30, 28), settings), tmp_path / "ours", CONFIG)
    assert not list(tmp_path.glob("ours*"))


class Touch:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [Path.touch, eval, exec, print])
def test_no_code_of_the_file_runs(tmp_path, settings, function, capsys):
    ran = tmp_path / "ran"
    argument = ran if function is Path.touch else f"open({str(ran)!r}, 'w')"
    path = tmp_path / "released.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": Touch(function, argument)}, path)
    with pytest.raises(CheckpointError):
        import_checkpoint(path, tmp_path / "ours.safetensors", CONFIG)
    assert not ran.exists()
    assert not capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk"])
def test_a_damaged_file_is_one_line_and_exit_code_2(tmp_path, content, capsys):
    (tmp_path / "released.ckpt").write_bytes(content)
    assert import_command([str(tmp_path / "released.ckpt"), "--name", "x", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "LongshenOu" in error
    assert import_command([str(tmp_path / "nothing.ckpt"), "--name", "x", "--out", str(tmp_path)]) == 2


def test_the_command_takes_the_papers_encoder(tmp_path, settings, monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr("lead_detection.importer.import_checkpoint", partial(_record, seen))
    assert import_command(["a.ckpt", "--name", "theirs", "--out", str(tmp_path)]) == 0
    assert seen == {"args": (Path("a.ckpt"), tmp_path / "theirs.safetensors"), "name": "theirs"}
    assert "theirs.safetensors" in capsys.readouterr().out


def _record(seen: dict, *args, **kwargs):
    seen.update(kwargs, args=args)
