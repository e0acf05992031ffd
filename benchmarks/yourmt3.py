"""Scores of the shipped multi-instrument weights on pieces that training never had, before and after the second pass.

`python -m benchmarks.yourmt3` writes results/eval-yourmt3.json and .png; on a public data set or another corpus than
"band", eval-yourmt3-NAME. The options are those of `python -m yourmt3plus evaluate`, but without --model it scores all
weights that we ship.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from benchmarks.harness import bars, goal, save
from yourmt3plus.evaluate import SCORES, build_parser, evaluate, plain
from yourmt3plus.inference import WEIGHTS

SHOWN = ("onset_f1", "onset_offset_f1", "frame_f1", "multi_f1_mt3", "drum_f1")


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser("python -m benchmarks.yourmt3")
    parser.set_defaults(model=None)
    options = parser.parse_args(argv)
    models = [options.model] if options.model else sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
    try:
        if not models:
            raise ValueError(f"no weights in {WEIGHTS}: make train-yourmt3, and then export them; or give --model")
        results = {model: evaluate(Namespace(**{**vars(options), "model": model})) for model in models}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    goals = []
    for scores in results.values():
        print_table(scores)
        goals += promises(scores)
    kept = {
        scores["model"]: plain({name: scores[name] for name in scores if name != "pieces"})
        for scores in results.values()
    }
    data = options.dataset or ("" if options.corpus == parser.get_default("corpus") else options.corpus)
    name = "-".join(["eval-yourmt3", *([data] if data else [])])
    save(name, kept, goals, ["torch", "numpy"])
    bars(name, pictures(results))
    return 0


def promises(scores: dict) -> list[dict]:
    """A second pass, if there is one, brings notes back to their instruments and loses none."""
    if "one_pass" not in scores:
        return []
    model, once, twice = scores["model"], scores["one_pass"], scores["summary"]["all"]
    goals = []
    if once["leakage_ratio"]:
        change = once["leakage_ratio"][0] - twice["leakage_ratio"][0]
        goals.append(goal(f"{model}: leakage ratio of one pass - of two", round(change, 4), at_least=0))
    if once["onset_f1"]:
        loss = once["onset_f1"][0] - twice["onset_f1"][0]
        goals.append(goal(f"{model}: onset F of one pass - of two", round(loss, 4), at_most=0.005))
    return goals


def print_table(scores: dict) -> None:
    """Means of all scores for each kind of piece, the main one with its interval, and onset F by class."""
    print(f"\n{scores['model']}")
    for kind, row in scores["summary"].items():
        print(f"{kind}, {row['pieces']} pieces")
        for name in (name for name in SCORES if name in row):
            mean, low, high = row[name]
            print(f"  {name:24}{mean:.3f} ({low:.3f}-{high:.3f})")
    for name, row in scores["classes"].items():
        print(f"{name:24}{row['onset_f1'][0]:.3f} onset F in {row['pieces']} pieces")


def pictures(results: dict[str, dict]) -> dict[str, dict[str, float]]:
    """The main scores, and those of the classes, of each model."""
    panels = {}
    for model, scores in results.items():
        row = scores["summary"]["all"]
        panels[model] = {name: row[name][0] for name in SHOWN if name in row}
        panels[f"{model}, onset F by class"] = {name: one["onset_f1"][0] for name, one in scores["classes"].items()}
    return {title: values for title, values in panels.items() if values}


if __name__ == "__main__":
    sys.exit(main())
