"""Scores of the shipped weights on the corpus, with fixed, learned and oracle thresholds.

`python -m benchmarks.accuracy` writes results/eval-amt.json, and of another corpus than "small" eval-amt-SIZE.json. It
takes the options of `python -m lightweight_amt evaluate`, but without --model it scores all weights that we ship.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from benchmarks.harness import goal, save
from lightweight_amt.evaluate import build_parser, evaluate
from lightweight_amt.inference import WEIGHTS


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser("python -m benchmarks.accuracy")
    parser.set_defaults(model=None, oracle=True)
    options = parser.parse_args(argv)
    models = [options.model] if options.model else sorted(path.stem for path in WEIGHTS.glob("*.onnx"))
    try:
        results = {model: evaluate(Namespace(**{**vars(options), "model": model})) for model in models}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for model, scores in results.items():
        print_table(model, scores)
    means = {model: scores["oracle"]["note_f1"]["all"] for model, scores in results.items()}
    goals = [
        goal(f"note F with oracle thresholds - with fixed ones, {model}", mean["difference"], at_most=0.02)
        for model, mean in means.items()
    ]
    goals += [
        goal(
            f"note F with the learned threshold - with fixed ones, {model}", mean["learned"] - mean["given"], at_least=0
        )
        for model, mean in means.items()
    ]
    summaries = {
        model: {name: scores[name] for name in scores if name != "pieces"} for model, scores in results.items()
    }
    name = "eval-amt" if options.corpus == "small" else f"eval-amt-{options.corpus}"
    save(name, summaries, goals, ["onnxruntime", "numpy"])
    return 0


def print_table(model: str, scores: dict) -> None:
    """A line for each kind of piece: its scores, and note F of the oracle for all pieces and of that for each."""
    print(f"\n{model:20} note F (95 % interval)   with offsets   frame F   fixed   oracle   for each")
    for kind, row in scores["summary"].items():
        mean, low, high = row["note_f1"]
        other = scores["oracle"]["note_f1"][kind]
        print(
            f"{kind:20} {mean:.3f} ({low:.3f}-{high:.3f})      {row['note_offset_f1'][0]:.3f}          "
            f"{row['frame_f1'][0]:.3f}     {other['given']:.3f}   {other['oracle']:.3f}    {other['per_clip']:.3f}"
        )


if __name__ == "__main__":
    sys.exit(main())
