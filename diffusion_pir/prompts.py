"""Label sets as text tokens: what the denoiser is told is in the clip.

The paper encodes the instruments' names with a frozen T5. Here that is done once for every label set there may be, so
that no text encoder runs beside the training:

    python -m diffusion_pir prompts --t5 google-t5/t5-base -o data/prompts.safetensors

Where its weights are not at hand, each class has tokens of its own, drawn from a seed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from common.instruments import IRMAS, IRMAS_NAMES
from common.storage import replacing

WORDS = IRMAS_NAMES | {"other": "other instrument"}
MOST_CLASSES = 62  # of a set that is one integer
CHUNK = 64  # prompts encoded at a time


class PromptError(ValueError):
    """Prompts that cannot be had."""


class PromptTable(nn.Module):
    """A few orthogonal tokens per class, drawn once; a label set is the tokens of its classes.

    Args:
        n_classes: of the labels.
        dim: of a token: the network's `cross_attention_dim`.
        n_tokens: of a class.
        seed: of the drawing.
    """

    tokens: Tensor

    def __init__(self, n_classes: int, dim: int, n_tokens: int = 2, seed: int = 0):
        super().__init__()
        self.n_classes = n_classes
        self.dim = dim
        self.n_tokens = n_tokens
        self.register_buffer("tokens", torch.from_numpy(orthogonal(n_classes * n_tokens, dim, seed)))

    def known(self, labels: Bool[Tensor, " batch class"]) -> Bool[Tensor, " batch"]:
        """Which label sets have a prompt: all but the empty one."""
        return labels.any(1)

    def forward(
        self, labels: Bool[Tensor, " batch class"]
    ) -> tuple[Float[Tensor, " batch token dim"], Bool[Tensor, " batch token"]]:
        """Tokens of each label set, and which of them count; the number of tokens is the same for all sets."""
        return self.tokens.expand(len(labels), -1, -1), labels.repeat_interleave(self.n_tokens, 1)


def orthogonal(n_rows: int, dim: int, seed: int) -> np.ndarray:
    """float32 rows of length sqrt(dim), as text encoders' are about; `dim` at a time are orthogonal to each other."""
    rng = np.random.default_rng(seed)
    blocks = [np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(-(-n_rows // dim))]
    return (np.concatenate(blocks)[:n_rows] * dim**0.5).astype(np.float32)


class TextPromptTable(nn.Module):
    """What a text encoder made of every label set of a few labels; larger sets have no prompt.

    Args:
        n_classes: of the labels.
        dim: of a token: the network's `cross_attention_dim`, 768 for T5-base.
        file: written by the command `prompts`; None where a checkpoint brings the table.

    Raises:
        PromptError: no such file, or of other classes or another encoder.
    """

    tokens: Tensor  # float16 (set, token, dim)
    mask: Tensor  # bool (set, token)
    codes: Tensor  # int64 (set,), ascending

    def __init__(self, n_classes: int, dim: int, file: str | None = None):
        super().__init__()
        self.n_classes = n_classes
        self.dim = dim
        table = read_table(file, n_classes, dim) if file else empty_table(dim)
        for name, tensor in table.items():
            self.register_buffer(name, tensor)

    def known(self, labels: Bool[Tensor, " batch class"]) -> Bool[Tensor, " batch"]:
        """Which label sets have a prompt."""
        code = encode(labels)
        return self.codes[self._places(code)] == code

    def forward(
        self, labels: Bool[Tensor, " batch class"]
    ) -> tuple[Float[Tensor, " batch token dim"], Bool[Tensor, " batch token"]]:
        """Tokens of each label set, and which of them count; of a set without a prompt those of some other."""
        places = self._places(encode(labels))
        return self.tokens[places].float(), self.mask[places]

    def _places(self, code: Tensor) -> Tensor:
        return torch.searchsorted(self.codes, code).clamp(max=len(self.codes) - 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any):
        for name, buffer in list(self.named_buffers()):  # of the size of the stored table
            if prefix + name in state_dict:
                setattr(self, name, buffer.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def encode(labels: Bool[Tensor, " batch class"]) -> Tensor:
    """A label set as an integer, one bit per class."""
    return (labels.long() << torch.arange(labels.shape[1], device=labels.device)).sum(1)


def empty_table(dim: int) -> dict[str, Tensor]:
    return {
        "tokens": torch.empty(0, 0, dim, dtype=torch.float16),
        "mask": torch.empty(0, 0, dtype=torch.bool),
        "codes": torch.empty(0, dtype=torch.long),
    }


def read_table(file: str | Path, n_classes: int, dim: int) -> dict[str, Tensor]:
    """The tensors of a table, which has to be of so many classes and dimensions.

    Raises:
        PromptError: no such file, or of other classes or another encoder.
    """
    remedy = "write it with `python -m diffusion_pir prompts`"
    try:
        with safe_open(file, framework="pt") as stored:
            table = {name: stored.get_tensor(name) for name in empty_table(dim)}
            classes = json.loads((stored.metadata() or {})["classes"])
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise PromptError(f"{file}: no table of prompts ({error}); {remedy}") from error
    if (len(classes), table["tokens"].shape[2]) != (n_classes, dim):
        raise PromptError(
            f"{file}: has {len(classes)} classes and {table['tokens'].shape[2]} dimensions, where the network has "
            f"{n_classes} and {dim}; {remedy}, or set n_classes, dim and cross_attention_dim"
        )
    return table


def sentence(classes: Sequence[str]) -> str:
    """The prompt of a label set: English names in the order of the classes; a class without one is its own name."""
    return ", ".join(WORDS.get(name, name) for name in classes)


def build_table(path: str, classes: Sequence[str], most: int = 3) -> dict[str, Tensor]:
    """Encode every set of 1 to `most` classes.

    Args:
        path: folder or hub id of a T5.
        classes: their order is that of the labels.
        most: labels of a set.

    Raises:
        PromptError: too many classes, or no complete T5 there.
    """
    if len(classes) > MOST_CLASSES:
        raise PromptError(f"{len(classes)} classes: a table of prompts takes {MOST_CLASSES}, so leave some out")
    tokenizer, encoder = load_t5(path)
    sets = sorted(
        (subset for size in range(1, most + 1) for subset in combinations(range(len(classes)), size)),
        key=lambda subset: sum(1 << index for index in subset),
    )
    words = tokenizer([sentence([classes[i] for i in subset]) for subset in sets], padding=True, return_tensors="pt")
    places, mask = words["input_ids"], words["attention_mask"]
    tokens = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(sets), CHUNK), desc="prompts", unit="chunk"):
            chunk = slice(start, start + CHUNK)
            tokens.append(encoder(input_ids=places[chunk], attention_mask=mask[chunk]).last_hidden_state.half())
    codes = torch.tensor([sum(1 << index for index in subset) for subset in sets])
    return {"tokens": torch.cat(tokens), "mask": mask.bool(), "codes": codes}


def load_t5(path: str) -> tuple[Any, Any]:
    """Tokenizer and encoder.

    Raises:
        PromptError: not there, or weights of the encoder are missing.
    """
    # transformers takes seconds to import: only who builds a table waits.
    from transformers import AutoTokenizer, T5EncoderModel

    encoder_class: Any = T5EncoderModel
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        encoder, found = encoder_class.from_pretrained(path, output_loading_info=True, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise PromptError(
            f"{path}: no T5 there ({reason}); give a folder with its config.json, weights and tokenizer.json, or a "
            "hub id and a connection"
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise PromptError(f"{path}: {len(missing)} weights of a T5 encoder are missing, {missing[0]} the first")
    return tokenizer, encoder.eval()


def write_table(file: Path, table: dict[str, Tensor], classes: Sequence[str], source: str):
    """Write a table for `TextPromptTable`, with what it was made of."""
    with replacing(file) as temporary:
        save_file(table, temporary, {"classes": json.dumps(list(classes)), "source": source})


def prompts_command(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m diffusion_pir prompts",
        description="Encode the names of instruments with T5, once. Train with the table by --model.net.init_args."
        "prompts.class_path=diffusion_pir.prompts.TextPromptTable --model.net.init_args.prompts.init_args.file=FILE",
    )
    parser.add_argument("--t5", required=True, help="folder or hub id, e.g. google-t5/t5-base")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument("--classes", default=",".join(IRMAS), help="names in the order of the labels (default: IRMAS)")
    parser.add_argument("--labels", type=int, default=3, help="most labels of a set (default: %(default)s)")
    options = parser.parse_args(args)
    classes = options.classes.split(",")
    try:
        table = build_table(options.t5, classes, options.labels)
        write_table(options.out, table, classes, options.t5)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    n_sets, n_tokens, dim = table["tokens"].shape
    print(f"{options.out} written: {n_sets} label sets, {n_tokens} tokens of {dim} dimensions")
    return 0
