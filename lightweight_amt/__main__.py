"""`python -m lightweight_amt VERB`: the one door of the sub-project."""

import sys

USAGE = """usage: python -m lightweight_amt VERB ...

  transcribe   audio files and folders -> MIDI (and JSON, CSV, picture, sound)
  fit          train; validate, test: score a checkpoint (LightningCLI, see configs/)
  fit-timbre   train the timbre branch; validate-timbre, test-timbre: score a checkpoint of it
  export       training checkpoint -> safetensors and ONNX that `transcribe` loads
  calibrate    choose what singing asks of the decoder, which restrikes to believe, how loudness becomes velocity,
               and store them with exported weights
  evaluate     score exported weights on a split of the embedded corpus, or on a public data set (--dataset, --root)

`python -m lightweight_amt VERB --help` tells the options of a verb."""


def main(args: list[str] | None = None) -> int:
    # Each verb imports what it needs when it is called: who transcribes a file does not wait for a trainer.
    verb, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if verb == "transcribe":
        from lightweight_amt.commands import transcribe_command

        return transcribe_command(rest)
    if verb == "export":
        from lightweight_amt.export import export_command

        return export_command(rest)
    if verb == "calibrate":
        from lightweight_amt.calibrate import calibrate_command

        return calibrate_command(rest)
    if verb == "evaluate":
        from lightweight_amt.evaluate import evaluate_command
        from lightweight_amt.protocol import protocol_command

        on_data_set = any(word.split("=")[0] == "--dataset" for word in rest)
        return (protocol_command if on_data_set else evaluate_command)(rest)
    if verb in ("fit", "validate", "test"):
        from common.cli import run
        from lightweight_amt.data import AMTData
        from lightweight_amt.task import AMTTask

        run(AMTTask, AMTData, "lightweight_amt", [verb, *rest])
        return 0
    if verb in ("fit-timbre", "validate-timbre", "test-timbre"):
        from common.cli import run
        from lightweight_amt.timbre_data import TimbreData
        from lightweight_amt.timbre_task import TimbreTask

        run(TimbreTask, TimbreData, "lightweight_amt", [verb.removesuffix("-timbre"), *rest], base="timbre/base")
        return 0
    print(USAGE, file=sys.stdout if verb in ("-h", "--help") else sys.stderr)
    return 0 if verb in ("-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
