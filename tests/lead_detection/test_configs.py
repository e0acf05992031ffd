import re
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lead_detection
from common.encoders import SSLEncoder
from lead_detection.__main__ import main
from lead_detection.heads import PointerHead
from lead_detection.model import LeadDetector
from lead_detection.optimizer import parameter_groups

FOLDER = Path(lead_detection.__file__).parent / "configs"
PAPER, SMALL = FOLDER / "paper.yaml", FOLDER / "small" / "paper.yaml"
WHOLE = [FOLDER / "base.yaml", FOLDER / "tiny.yaml", PAPER]
SEGMENTS = [FOLDER / "segment" / "base.yaml", FOLDER / "segment" / "paper.yaml"]
DELTAS = sorted(path for path in FOLDER.rglob("*.yaml") if path not in WHOLE + SEGMENTS)
ABLATIONS = sorted(FOLDER.glob("ablation/*.yaml"))
PARSED: dict[tuple[Path, ...], dict[str, Any]] = {}
HEAD = "model.net.init_args.head"
# In the place of MERT, which is not here: its shape, small.
TINY_MERT = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def verb(path: Path) -> str:
    """Of the command line that takes a file."""
    return "fit-segments" if path in SEGMENTS else "fit"


def under(path: Path) -> list[Path]:
    """The files that a file is given after, and itself."""
    if path in WHOLE + SEGMENTS:
        return [path]
    return [PAPER, SMALL, path] if path.parent == SMALL.parent and path != SMALL else [PAPER, path]


def resolved(capsys, *paths: Path) -> dict[str, Any]:
    """What the command line makes of these files; parsed once for all tests."""
    if paths not in PARSED:
        PARSED[paths] = parse(capsys, *paths)
    return deepcopy(PARSED[paths])


def parse(capsys, *paths: Path) -> dict[str, Any]:
    with pytest.raises(SystemExit) as stop:
        main([verb(paths[0]), *(f"--config={path}" for path in paths), "--print_config"])
    assert stop.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def build(net: dict[str, Any]) -> LeadDetector:
    encoder, head = net["init_args"]["encoder"], net["init_args"]["head"]
    module, name = encoder["class_path"].rsplit(".", 1)
    arguments = dict(encoder["init_args"])
    if name == SSLEncoder.__name__:
        arguments |= {"path": None, "config": TINY_MERT}
    return LeadDetector(getattr(import_module(module), name)(**arguments), head)


@pytest.mark.filterwarnings("ignore:model.groups")
@pytest.mark.parametrize("path", WHOLE + DELTAS + SEGMENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_builds_and_says_how_it_is_used(path, capsys):
    model = resolved(capsys, *under(path))["model"]
    net = build(model["net"])
    groups = parameter_groups(net, model["groups"], model["decay_all"])
    in_groups = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = [id(parameter) for parameter in net.parameters() if parameter.requires_grad]
    assert sorted(in_groups) == sorted(trainable)
    for name in model["freeze"] or ():
        net.get_submodule(name)
    kind = model["monitor"].split("/")[1].removeprefix("clip_").split("_")[0]
    assert kind == ("lead" if path in SEGMENTS else net.classifies)
    text = path.read_text()
    words = " ".join(f"--config {other.relative_to(FOLDER.parents[1])}" for other in under(path))
    command = f"python -m lead_detection {verb(path)}" if path in SEGMENTS else "make train-lead"
    assert text.startswith("# ")
    assert f"#   {command}" in text
    assert words in text or path.stem == "base"


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_changes_what_it_names_and_nothing_else(path, capsys):
    """Check 24."""
    before, after = resolved(capsys, PAPER), resolved(capsys, PAPER, path)
    changed = differing(before, after)
    named = {key for key, _ in leaves(yaml.safe_load(path.read_text()))}
    if f"{HEAD}.class_path" in named:  # another head has other arguments
        changed, named = ({key for key in keys if not key.startswith(HEAD)} for keys in (changed, named))
    assert changed == named


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    if not isinstance(tree, dict) or not tree:
        return [(path, tree)]
    return [leaf for key, value in tree.items() for leaf in leaves(value, f"{path}.{key}".lstrip("."))]


def differing(before: dict, after: dict) -> set[str]:
    """Dotted names whose values differ."""
    first, second = dict(leaves(before)), dict(leaves(after))
    missing = object()
    return {key for key in {**first, **second} if first.get(key, missing) != second.get(key, missing)}


@pytest.mark.parametrize("below", [[PAPER], [PAPER, SMALL]], ids=["paper", "small"])
def test_base_is_itself_on_top_of_any_other(below, capsys):
    """So that it can be a row beside the others."""
    alone, on_top = resolved(capsys, FOLDER / "base.yaml"), resolved(capsys, *below, FOLDER / "base.yaml")
    assert not differing(on_top, alone)


def test_base_is_what_the_code_has_by_default(capsys):
    net = resolved(capsys, FOLDER / "base.yaml")["model"]["net"]
    assert str(build(net).head) == str(PointerHead(128))
    assert sum(parameter.numel() for parameter in build(net).parameters()) < 1_000_000


def test_the_papers_row_is_what_the_study_says(capsys):
    """Section G.2: 12 heads, dropout 0.8, the norm that is not trained, learning rates, batches of 4 times 4."""
    config = resolved(capsys, PAPER)
    net = build(config["model"]["net"])
    head: Any = net.head
    assert head.attention.num_heads == 12
    assert head.dropout.p == 0.8
    assert not head.norm.weight.requires_grad
    assert head.classifier.out_features == 16
    rates = {
        name: group["lr"]
        for group in parameter_groups(net, config["model"]["groups"], config["model"]["decay_all"])
        for name, parameter in net.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    for name, rate in rates.items():
        slow = name.startswith(("encoder.", "head.attention."))
        assert rate == (1e-5 if slow else 1e-3), name
    assert config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"] == 16
    assert config["data"]["norm"] == "stem_peak"


def test_a_misspelt_key_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--model.net.init_args.head.init_args.hiden=8"])
    assert stop.value.code == 2
    assert "hiden" in re.sub(r"\s", "", capsys.readouterr().err)


def test_tiny_mert_hears_at_its_rate():
    """The stand-in has the clock of the network that it stands for."""
    encoder = SSLEncoder(config=TINY_MERT)
    assert encoder.grid.rate == 75
    assert encoder(torch.zeros(1, encoder.n_samples(4))).shape == (1, 4, 24)
