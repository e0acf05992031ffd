"""The tables of the READMEs, written from results/*.json: `python -m benchmarks.tables`.

A README says where with two comments, <!-- NAME:begin --> and <!-- NAME:end -->; what stands between them is replaced.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import harness
from common.storage import replacing

ROOT = Path(__file__).parents[1]
SCORES = {
    "frame_f1": "frame F",
    "note_f1": "note F",
    "note_offset_f1": "with offsets",
    "purity": "purity",
    "frame_purity": "purity by frames",
    "track_f1": "track F",
    "frame_track_f1": "track F by frames",
}
LEAD_SCORES = {
    "track_accuracy": "track accuracy",
    "instrument_accuracy": "instrument accuracy",
    "clip_track_f1": "track F1 per clip",
    "clip_instrument_f1": "instrument F1 per clip",
}
MULTI_SCORES = {
    "onset_f1": "onset F",
    "onset_offset_f1": "with offsets",
    "multi_f1_ymt3": "multi-F (YourMT3+)",
    "multi_f1_mt3": "multi-F (MT3)",
    "drum_f1": "drum F",
}
PAPER_SETS = ("BACH10 tutti", "URMP tutti", "BACH10 2-mix", "BACH10 3-mix")  # of all that paper.yaml has
LEAD_SETS = ("MJN test", "MedleyDB test")
MULTI_SETS = ("Slakh2100",)


@dataclass(frozen=True)
class Table:
    """Which part of which README shows which result.

    Args:
        name: in the two comments.
        readme: its path in the repository.
        result: results/NAME.json.
        text: the record as Markdown.
        command: what makes the result.
    """

    name: str
    readme: str
    result: str
    text: Callable[[dict], str]
    command: str

    def current(self) -> str:
        """What the README should say."""
        path = harness.RESULTS / f"{self.result}.json"
        return self.text(json.loads(path.read_text())) if path.exists() else f"Not measured yet: `{self.command}`."


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ablation(record: dict) -> str:
    """Rows of a grid with what each changes, percent and deviation over seeds, and the paper's numbers."""
    settings = record["results"]["settings"]
    text = (
        f"Percent on the test split of the embedded corpus `{settings['data.corpus']}`, mean ± standard deviation over "
        f"seeds, after {settings['trainer.max_steps']} steps of {settings['data.batch_size']} crops of "
        f"{settings['data.crop_frames']} frames; the best checkpoint and its thresholds are those of validation. The "
        "paper's numbers (frame F / note F; for mixes note F clustered by notes / by frames) are of other recordings "
        "and far longer training: compare the differences between rows, not the numbers. "
        f"{where_and_when(record)}."
    )
    return f"{text}\n\n{rows_of_grid(record, SCORES, PAPER_SETS)}"


def lead_ablation(record: dict) -> str:
    """The same for the lead: per-song scores have an interval over songs."""
    settings = record["results"]["settings"]
    text = (
        f"Percent on the test split of the embedded corpus `{settings['data.corpus']}`, mean ± standard deviation over "
        f"seeds (95 % bootstrap interval over songs), after {settings['trainer.max_steps']} steps of at most "
        f"{settings['data.budget']} tracks. Accuracies are of whole songs, F1 is the paper's, a mean over clips. "
        "All rows have the small encoder, trained from nothing, where the paper has MERT. The paper's numbers (track "
        "F1 / instrument F1 / instrument accuracy per clip) are of other recordings: compare the differences between "
        f"rows, not the numbers. {where_and_when(record)}."
    )
    return f"{text}\n\n{rows_of_grid(record, LEAD_SCORES, LEAD_SETS)}"


def multi_ablation(record: dict) -> str:
    """The same for transcription of all instruments, on several corpora at once."""
    settings = record["results"]["settings"]
    corpora = ", ".join(f"`{name}` {weight:g}" for name, weight in settings["data.corpora"].items())
    text = (
        f"Percent on test excerpts of {settings['data.test_seconds']:g} s, mean ± standard deviation over seeds, after "
        f"{settings['trainer.max_steps']} steps of {settings['data.batch_size']} segments of 2 s of the corpora "
        f"{corpora}; the best checkpoint is that of validation. All rows have the small network. The paper's "
        "numbers (onset F / with offsets / multi-F) are of Slakh2100 and of networks of 46 and 47 million "
        "parameters that heard 25 million segments: compare the differences between rows, not the numbers. "
        f"{where_and_when(record)}."
    )
    return f"{text}\n\n{rows_of_grid(record, MULTI_SCORES, MULTI_SETS)}"


def where_and_when(record: dict) -> str:
    """Devices and days of the runs behind a grid's table."""
    runs = record["results"]["runs"]
    devices = sorted({run["processor"] if run["device"] == "cpu" else run["device"] for run in runs})
    dates = sorted(run["date"][:10] for run in runs)
    until = "" if dates[0] == dates[-1] else f" to {dates[-1]}"
    return f"{', '.join(devices)}; {dates[0]}{until}"


def rows_of_grid(record: dict, scores: dict[str, str], paper_sets: Sequence[str]) -> str:
    """A line for each row of a grid.

    Args:
        record: of `benchmarks.ablate`.
        scores: column by score; those that no row has are left out.
        paper_sets: data sets of paper.yaml to quote; likewise.
    """
    rows = record["results"]["table"]
    shown = [name for name in scores if any(name in row["scores"] for row in rows.values())]
    sets = [name for name in paper_sets if any(name in row["paper"].get("scores", ()) for row in rows.values())]
    header = ["row", "what it is", *(scores[name] for name in shown), "seeds", *(f"paper: {name}" for name in sets)]
    cells = [
        [
            f"`{name}`",
            row["what"],
            *(percent(row["scores"].get(score)) for score in shown),
            str(len(row["seeds"])),
            *(quoted(row["paper"], data_set) for data_set in sets),
        ]
        for name, row in rows.items()
    ]
    return markdown(header, cells)


def percent(score: dict | None) -> str:
    if score is None:
        return ""
    spread = "" if score["deviation"] is None else f" ± {100 * score['deviation']:.1f}"
    interval = "" if "interval" not in score else " ({:.0f}-{:.0f})".format(*(100 * end for end in score["interval"]))
    return f"{100 * score['mean']:.1f}{spread}{interval}"


def quoted(paper: dict, data_set: str) -> str:
    """The paper's scores of a data set; where they are not of its main sheet, synthetic clips, that is said."""
    values = paper.get("scores", {}).get(data_set)
    if values is None:
        return ""
    training = "" if paper["training"] == "synthetic" else f" ({paper['training']})"
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values) + training


TABLES = [
    Table("ablation", "lightweight_amt/README.md", "ablate-amt", ablation, "make ablate-amt"),
    Table("timbre-ablation", "lightweight_amt/README.md", "ablate-timbre", ablation, "make ablate-timbre"),
    Table("lead-ablation", "lead_detection/README.md", "ablate-lead", lead_ablation, "make ablate-lead"),
    Table("yourmt3-ablation", "yourmt3plus/README.md", "ablate-yourmt3", multi_ablation, "make ablate-yourmt3"),
]


def of_result(name: str) -> Table:
    """The table that shows results/NAME.json."""
    return next(table for table in TABLES if table.result == name)


def insert(text: str, name: str, table: str) -> str:
    """The text of a README with the table in its place.

    Raises:
        ValueError: the comments that say where are not there, or more than once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", text)
    if parts[1::2] != [begin, end]:
        raise ValueError(f"the README needs the line {begin} and after it {end}, each once")
    return f"{parts[0]}{begin}\n{table}\n{end}{parts[4]}"


def write_all() -> None:
    """Bring the tables of all READMEs up to date."""
    for table in TABLES:
        path = ROOT / table.readme
        before = path.read_text(encoding="utf-8")
        after = insert(before, table.name, table.current())
        if after != before:
            with replacing(path) as temporary:
                temporary.write_text(after, encoding="utf-8")
            print(f"{table.readme}: table {table.name} written")


if __name__ == "__main__":
    write_all()
