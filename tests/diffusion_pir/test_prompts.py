import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoTokenizer, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from common import checkpoint
from diffusion_pir.__main__ import main
from diffusion_pir.model import Denoiser
from diffusion_pir.prompts import PromptError, PromptTable, TextPromptTable, build_table, orthogonal, sentence
from tests.diffusion_pir.patterns import INIT_ARGS, denoiser

CLASSES = ("cel", "gac", "gel")
DIM = 16


def test_tokens_of_classes_are_orthogonal_and_as_long_as_text_is():
    table = PromptTable(4, 16, n_tokens=3, seed=1)
    np.testing.assert_allclose(table.tokens @ table.tokens.T, 16 * np.eye(12), atol=1e-4)
    assert PromptTable(4, 16, n_tokens=3, seed=1).tokens.equal(table.tokens)
    assert not PromptTable(4, 16, n_tokens=3, seed=2).tokens.equal(table.tokens)
    many = orthogonal(10, 4, seed=0)  # more than can be orthogonal
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 2.0, rtol=1e-5)
    assert len(np.unique(many.round(3), axis=0)) == 10


def test_a_set_is_the_tokens_of_its_classes():
    table = PromptTable(3, 16, n_tokens=2)
    tokens, mask = table(torch.tensor([[True, False, True], [False, True, False]]))
    assert tokens[0][mask[0]].equal(table.tokens[[0, 1, 4, 5]])
    assert tokens[1][mask[1]].equal(table.tokens[[2, 3]])
    assert table.known(torch.tensor([[True, False, True], [False, False, False]])).tolist() == [True, False]


@pytest.fixture(scope="module")
def t5(tmp_path_factory) -> str:
    """A T5 of random weights with its tokenizer, as a folder."""
    folder = str(tmp_path_factory.mktemp("t5"))
    words = ["<pad>", "</s>", "<unk>", ",", "acoustic", "cello", "electric", "guitar"]
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(words), d_model=DIM, d_kv=4, d_ff=16, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def file(t5, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("table") / "prompts.safetensors"
    assert main(["prompts", "--t5", t5, "-o", str(path), "--classes", ",".join(CLASSES), "--labels", "2"]) == 0
    return str(path)


def test_the_table_is_what_t5_says_of_each_set(t5, file):
    encoder, tokenizer = T5EncoderModel.from_pretrained(t5).eval(), AutoTokenizer.from_pretrained(t5)
    table = TextPromptTable(len(CLASSES), DIM, file)
    for labels in ([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]):
        names = [name for name, label in zip(CLASSES, labels, strict=True) if label]
        with torch.no_grad():
            expected = encoder(**tokenizer(sentence(names), return_tensors="pt")).last_hidden_state[0]
        (tokens,), (mask,) = table(torch.tensor([labels]).bool())
        torch.testing.assert_close(tokens[mask], expected, atol=2e-3, rtol=2e-3)
        assert table.known(torch.tensor([labels]).bool()).all()
    others = torch.tensor([[False, False, False], [True, True, True]])
    assert not table.known(others).any()
    with safe_open(file, framework="pt") as stored:
        assert json.loads(stored.metadata()["classes"]) == list(CLASSES)


def test_prompts_are_names_in_the_order_of_the_classes():
    assert sentence(["cel", "pia"]) == "cello, piano"
    assert sentence(["other", "bandoneon"]) == "other instrument, bandoneon"


def test_an_exported_network_brings_its_table(file, tmp_path):
    """The table is in the checkpoint, and its file is not needed any more."""
    options = {"n_classes": len(CLASSES), "dim": DIM}
    net = denoiser(prompts=TextPromptTable(**options, file=file)).eval()
    prompts = {"class_path": "diffusion_pir.prompts.TextPromptTable", "init_args": {**options, "file": None}}
    checkpoint.save(tmp_path / "net.safetensors", net, {**INIT_ARGS, "prompts": prompts})
    again, _ = checkpoint.load(Denoiser, tmp_path / "net.safetensors")
    x, t, labels = torch.randn(3, 16, 16), torch.full((3,), 400), torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    assert again(x, t, again.prompt(labels)).equal(net(x, t, net.prompt(labels)))
    torch.testing.assert_close(net(x, t, net.prompt(labels))[2], net(x[2:], t[2:])[0])  # no prompt: the null prompt


def test_tables_that_do_not_fit(file, tmp_path):
    with pytest.raises(PromptError, match="has 3 classes and 16 dimensions, where the network has 11 and 768"):
        TextPromptTable(11, 768, file)
    with pytest.raises(PromptError, match=r"nowhere.*python -m diffusion_pir prompts"):
        TextPromptTable(3, DIM, str(tmp_path / "nowhere"))
    (tmp_path / "broken").write_bytes(b"nonsense" * 9)
    with pytest.raises(PromptError, match="broken"):
        TextPromptTable(3, DIM, str(tmp_path / "broken"))
    with pytest.raises(PromptError, match="63 classes"):
        build_table("", [str(i) for i in range(63)])


def test_no_t5_there(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["prompts", "--t5", str(tmp_path), "-o", str(tmp_path / "out.safetensors")]) == 2
    assert "no T5 there" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_t5_of_which_weights_are_missing(t5, tmp_path):
    encoder = T5EncoderModel.from_pretrained(t5)
    AutoTokenizer.from_pretrained(t5).save_pretrained(tmp_path)
    state = {name: value for name, value in encoder.state_dict().items() if "block.1" not in name}
    encoder.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(PromptError, match="weights of a T5 encoder are missing"):
        build_table(str(tmp_path), CLASSES, 1)
