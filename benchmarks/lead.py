"""Scores of the shipped weights on the lead corpus, beside what simple rules reach.

`python -m benchmarks.lead` writes results/eval-lead.json and .png (with --test-soundfont, which training never heard,
eval-lead-font): whole songs of the test split as `detect` hears them. Training never had their compositions, nor the
instruments of some, nor so many tracks as others have. The options are those of `python -m lead_detection evaluate`,
but without --model it scores all weights that we ship.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from benchmarks.harness import bars, goal, save
from lead_detection.evaluate import FLOORS, build_parser, evaluate
from lead_detection.inference import WEIGHTS

SCORES = ("track_accuracy", "instrument_accuracy", "non_vocal_accuracy", "boundary_f1_0.5", "clip_track_f1")
MODEL = "model"  # the row of a summary that is no floor


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    parser.prog = "python -m benchmarks.lead"
    parser.set_defaults(model=None)
    options = parser.parse_args(argv)
    models = [options.model] if options.model else sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
    try:
        if not models:
            raise ValueError(f"no weights in {WEIGHTS}: make train-lead, and then make export-lead")
        results = {model: evaluate(Namespace(**{**vars(options), "model": model})) for model in models}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    goals = []
    for model, scores in results.items():
        print_table(model, scores["summary"])
        goals += promises(model, scores["summary"])
    kept = {model: {name: scores[name] for name in scores if name != "songs"} for model, scores in results.items()}
    name = "eval-lead-font" if options.test_soundfont else "eval-lead"
    save(name, kept, goals, ["torch", "numpy"])
    bars(name, pictures({model: scores["summary"] for model, scores in results.items()}))
    return 0


def promises(model: str, summary: dict[str, dict]) -> list[dict]:
    """A model is better than every rule beyond doubt, and does not get worse with more tracks or other instruments."""
    ours = summary[MODEL]
    goals = []
    for rule in FLOORS:
        margin = ours["all"]["track_accuracy"][1] - summary[rule]["all"]["track_accuracy"][2]
        goals.append(
            goal(f"{model}: low end of its track accuracy - high end of {rule}'s", round(margin, 4), at_least=0)
        )
    for kind, scores in ours.items():
        if kind != "all":
            loss = ours["all"]["track_accuracy"][0] - scores["track_accuracy"][0]
            goals.append(goal(f"{model}: track accuracy of all songs - {kind}", round(loss, 4), at_most=0.1))
    return goals


def print_table(model: str, summary: dict[str, dict]) -> None:
    """A line for the model and each rule, for each kind of song."""
    for kind, scores in summary[MODEL].items():
        print(f"\n{model}, {kind}: {scores['songs']} songs")
        print(f"{'':10}" + "".join(f"{name:>28}" for name in SCORES))
        for row, kinds in summary.items():
            print(f"{row:10}" + "".join(f"{cell(kinds[kind].get(name)):>28}" for name in SCORES))


def cell(value: Sequence[float] | float | None) -> str:
    """A mean with its interval, or what has none because it is of all frames together."""
    if value is None:
        return "-"
    return "{:.3f} ({:.3f}-{:.3f})".format(*value) if isinstance(value, Sequence) else f"{value:.3f}"


def pictures(summaries: dict[str, dict[str, dict]]) -> dict[str, dict[str, float]]:
    """Track accuracy of the models and the rules for each kind of song."""
    first = next(iter(summaries.values()))
    return {
        f"track accuracy, {kind}": {
            **{model: summary[MODEL][kind]["track_accuracy"][0] for model, summary in summaries.items()},
            **{rule: first[rule][kind]["track_accuracy"][0] for rule in FLOORS},
        }
        for kind in first[MODEL]
    }


if __name__ == "__main__":
    sys.exit(main())
