"""`python -m lightweight_amt VERB`: the one door of the sub-project."""

import sys

from common.door import Door, Training

USAGE = """usage: python -m lightweight_amt VERB ...

  transcribe   audio files and folders -> MIDI (and JSON, CSV, picture, sound)
  fit          train; validate, test: score a checkpoint (LightningCLI, see configs/)
  fit-timbre   train the timbre branch; validate-timbre, test-timbre: score a checkpoint of it
  export       training checkpoint -> safetensors and ONNX that `transcribe` loads
  calibrate    choose what singing asks of the decoder, which restrikes to believe, how loudness becomes velocity,
               and store them with exported weights
  evaluate     score exported weights on a split of the embedded corpus, or on a public data set (--dataset, --root)

`python -m lightweight_amt VERB --help` tells the options of a verb."""

COMMANDS = {
    "transcribe": "lightweight_amt.commands.transcribe_command",
    "export": "lightweight_amt.export.export_command",
    "calibrate": "lightweight_amt.calibrate.calibrate_command",
    "evaluate": "lightweight_amt.commands.evaluate_command",
}

TRAININGS = {
    "": Training("lightweight_amt.task.AMTTask", "lightweight_amt.data.AMTData"),
    "-timbre": Training(
        "lightweight_amt.timbre_task.TimbreTask", "lightweight_amt.timbre_data.TimbreData", "timbre/base"
    ),
}

main = Door("lightweight_amt", USAGE, COMMANDS, TRAININGS)

if __name__ == "__main__":
    sys.exit(main())
