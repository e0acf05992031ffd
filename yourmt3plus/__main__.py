"""`python -m yourmt3plus VERB`: the one door of the sub-project."""

import sys

USAGE = """usage: python -m yourmt3plus VERB ...

  transcribe   audio files and folders -> MIDI with a track for each instrument (and JSON, CSV, picture, sound)
  fit          train; validate, test: score a checkpoint (LightningCLI, see configs/)
  export       training checkpoint -> safetensors that `transcribe` loads
  import       the same of a checkpoint that the paper's authors released
  evaluate     score exported weights on a split of the embedded corpus, or on a public data set (--dataset, --root)

`python -m yourmt3plus VERB --help` tells the options of a verb."""


def main(args: list[str] | None = None) -> int:
    # Each verb imports what it needs when it is called: who transcribes a file does not wait for a trainer.
    verb, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if verb == "transcribe":
        from yourmt3plus.commands import transcribe_command

        return transcribe_command(rest)
    if verb == "export":
        from yourmt3plus.export import export_command

        return export_command(rest)
    if verb == "import":
        from yourmt3plus.importer import import_command

        return import_command(rest)
    if verb == "evaluate":
        from yourmt3plus.evaluate import evaluate_command

        return evaluate_command(rest)
    if verb in ("fit", "validate", "test"):
        from common.cli import run
        from yourmt3plus.data import YourMT3Data
        from yourmt3plus.task import YourMT3Task

        run(YourMT3Task, YourMT3Data, "yourmt3plus", [verb, *rest])
        return 0
    print(USAGE, file=sys.stdout if verb in ("-h", "--help") else sys.stderr)
    return 0 if verb in ("-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
