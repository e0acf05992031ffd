import re
from pathlib import Path

import pytest
import yaml

from benchmarks.grid import Grid
from lightweight_amt.baselines import BasicPitch, DeepClustering, OnsetsAndFrames
from lightweight_amt.model import PAPER as PAPER_NET
from lightweight_amt.model import Transcriber
from lightweight_amt.protocol import PAPER
from lightweight_amt.timbre import PaperTimbreEncoder

PAPERS = yaml.safe_load(Path("benchmarks/paper.yaml").read_text())
DATA, LEAD, MULTI = PAPERS["lightweight_amt"], PAPERS["lead_detection"], PAPERS["yourmt3plus"]
CONFIGS = Path("lightweight_amt/configs")
SHEETS = [sheet for part in ("transcription", "separation") for sheet in DATA[part].values()]


def test_every_number_is_a_pair_of_percentages_with_a_source():
    for sheet in SHEETS:
        assert sheet["source"]
        for row in sheet["rows"].values():
            assert row["name"]
            pairs = [pair for key, pair in row.items() if key != "name"]
            assert pairs
            assert all(len(pair) == 2 and all(1 < value < 100 for value in pair) for pair in pairs)


def test_rows_are_named_as_configs():
    rows = Grid.read(Path("benchmarks/sweeps/ablate-amt.yaml")).configs
    for sheet in DATA["transcription"].values():
        assert sheet["rows"].keys() <= rows.keys()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_config_quotes_is_what_stands_here(path):
    rows = {name: row for sheet in reversed(DATA["transcription"].values()) for name, row in sheet["rows"].items()}
    quoted = re.findall(r"(BACH10 tutti|URMP tutti) (\d+\.\d)(?: frame F)? / (\d+\.\d)", path.read_text())
    assert bool(quoted) == (path.stem in rows and path.parent.name != "timbre")
    for data_set, frame, note in quoted:
        assert rows[path.stem][data_set] == [float(frame), float(note)]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("timbre/**/*.yaml")), ids=lambda path: path.stem)
def test_what_a_config_of_the_timbre_branch_quotes_is_what_stands_here(path):
    sheets = DATA["separation"].values()
    row = next((sheet["rows"][path.stem] for sheet in sheets if path.stem in sheet["rows"]), {})
    quoted = re.findall(r"(BACH10 2/3/4-mix|URMP 2/3-mix) (\d+\.\d(?: / \d+\.\d)+)", path.read_text())
    assert bool(quoted) == bool(row)
    for data_set, numbers in quoted:
        name, *sizes = re.findall(r"\w+", data_set.removesuffix("-mix"))
        assert [row[f"{name} {size}-mix"][0] for size in sizes] == [float(number) for number in numbers.split(" / ")]


def test_the_protocol_quotes_the_same_numbers():
    ours = DATA["transcription"]["MusicNet-EM"]["rows"]["paper"] | DATA["separation"]["MusicNet-EM"]["rows"]["paper"]
    names = {"bach10": "BACH10", "phenicx": "PHENICX", "urmp": "URMP"}
    for data_set, kinds in PAPER.items():
        for kind, scores in kinds.items():
            pair = ours[names[data_set] if data_set == "phenicx" else f"{names[data_set]} {kind}"]
            expected = {"track_f1": pair[0]} if kind.endswith("mix") else {"frame_f1": pair[0], "note_f1": pair[1]}
            assert scores == {name: pytest.approx(value / 100) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("row", "net"),
    [
        ("paper", lambda: Transcriber(**PAPER_NET)),
        ("basic_pitch", lambda: BasicPitch(enlarged=False)),
        ("basic_pitch_56k", lambda: BasicPitch(enlarged=True)),
        ("onsets_frames", OnsetsAndFrames),
        ("timbre/paper", lambda: PaperTimbreEncoder(dim=12)),
        ("timbre/deep_clustering", lambda: DeepClustering(dim=12)),
    ],
)
def test_our_networks_have_the_papers_size(row, net):
    size = sum(parameter.numel() for parameter in net().parameters() if parameter.requires_grad)
    assert size == DATA["facts"]["parameters"][row]["value"]


LEAD_CONFIGS = Path("lead_detection/configs")
LEAD_ROWS = {
    (name, row): scores
    for part in ("classification", "segments")
    for name, sheet in LEAD[part].items()
    for row, scores in sheet["rows"].items()
}


def test_every_number_on_leads_is_a_percentage_with_a_name():
    for scores in LEAD_ROWS.values():
        assert scores["name"]
        triples = [values for name, values in scores.items() if name != "name"]
        assert triples
        assert all(len(values) == 3 for values in triples)
        assert all(value is None or 1 < value < 100 for values in triples for value in values)


def test_every_row_on_leads_has_a_config():
    configs = {path.stem for path in LEAD_CONFIGS.rglob("*.yaml")} | {
        path.parent.name for path in LEAD_CONFIGS.glob("*/*")
    }
    assert {row for _, row in LEAD_ROWS} - configs == {"svm"}  # which is a command


@pytest.mark.parametrize(
    "path", sorted(LEAD_CONFIGS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_what_a_config_on_leads_quotes_is_what_stands_here(path):
    """Every number with two decimals in the first comment is one of the row's, in the paper's order."""
    comment = path.read_text().split("\nmodel:")[0].split("\nseed_everything:")[0]
    quoted = [float(number) for number in re.findall(r"\b\d\d\.\d\d\b", comment)]
    row = "segment" if path.parent.name == "segment" else path.stem
    sheets = [scores for (_, name), scores in LEAD_ROWS.items() if name == row]
    known = [value for scores in sheets for key, values in scores.items() if key.endswith("test") for value in values]
    assert quoted == ([value for value in known if value is not None] if quoted else [])
    assert quoted or not sheets or path.stem == "base"


MULTI_SHEETS = MULTI["multi-instrument transcription"]
MULTI_CONFIGS = Path("yourmt3plus/configs")
AS_ABLATED = {
    "ymt3": "t5_single",
    "yptf_moe_multi": "moe",
}  # config of the whole network: row of the same system in small


def test_every_number_on_all_instruments_is_a_percentage_of_a_row_of_the_grid():
    rows = Grid.read(Path("benchmarks/sweeps/ablate-yourmt3.yaml")).configs
    for sheet in MULTI_SHEETS.values():
        assert sheet["source"]
        assert sheet["rows"].keys() <= rows.keys()
        for row in sheet["rows"].values():
            triples = [values for name, values in row.items() if name != "name"]
            assert row["name"]
            assert all(len(values) == 3 for values in triples)
            assert all(value is None or 1 < value < 100 for values in triples for value in values)


@pytest.mark.parametrize(
    "path", sorted(MULTI_CONFIGS.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_what_a_config_on_all_instruments_quotes_is_what_stands_here(path):
    row = AS_ABLATED.get(path.stem, path.stem)
    known = {value for sheet in MULTI_SHEETS.values() for value in sheet["rows"].get(row, {}).get("Slakh2100", ())}
    known.add(MULTI["facts"]["drum_f1"].get(path.stem, {}).get("value"))
    comment = path.read_text().split("\nmodel:")[0].split("\ndata:")[0]
    quoted = {float(number) for number in re.findall(r"\b\d\d\.\d\d\b", comment)}
    assert quoted <= known
    assert quoted or row not in {name for sheet in MULTI_SHEETS.values() for name in sheet["rows"]}
