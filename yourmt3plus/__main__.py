"""`python -m yourmt3plus VERB`: the one door of the sub-project."""

import sys

from common.door import Door, Training

USAGE = """usage: python -m yourmt3plus VERB ...

  transcribe   audio files and folders -> MIDI with a track for each instrument (and JSON, CSV, picture, sound)
  fit          train; validate, test: score a checkpoint (LightningCLI, see configs/)
  export       training checkpoint -> safetensors that `transcribe` loads
  import       the same of a checkpoint that the paper's authors released
  evaluate     score exported weights on a split of the embedded corpus, or on a public data set (--dataset, --root)

`python -m yourmt3plus VERB --help` tells the options of a verb."""

COMMANDS = {
    "transcribe": "yourmt3plus.commands.transcribe_command",
    "export": "yourmt3plus.export.export_command",
    "import": "yourmt3plus.importer.import_command",
    "evaluate": "yourmt3plus.evaluate.evaluate_command",
}

TRAININGS = {
    "": Training("yourmt3plus.task.YourMT3Task", "yourmt3plus.data.YourMT3Data"),
}

main = Door("yourmt3plus", USAGE, COMMANDS, TRAININGS)

if __name__ == "__main__":
    sys.exit(main())
