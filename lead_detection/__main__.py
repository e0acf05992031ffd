"""`python -m lead_detection VERB`: the one door of the sub-project."""

import sys

from common.door import Door, Training

USAGE = """usage: python -m lead_detection VERB ...

  detect       a folder of stems -> who leads when (CSV, JSON, Audacity labels, picture)
  fit          train; validate, test: score a checkpoint (LightningCLI, see configs/)
  fit-segments the network of the paper's Table V; validate-segments, test-segments: score a checkpoint of it
  segments     the support vector machine of the same table: does the guitar lead in a clip?
  export       training checkpoint -> safetensors that `detect` loads
  evaluate     score exported weights on whole songs of the embedded corpus or of a prepared data set
  baseline     what rules reach on MedleyDB's annotations, with no audio
  prepare      MedleyDB or MJN as it was downloaded -> the cache that training reads
  import       a checkpoint that the paper's authors released -> safetensors

`python -m lead_detection VERB --help` tells the options of a verb."""

COMMANDS = {
    "detect": "lead_detection.commands.detect_command",
    "export": "lead_detection.export.export_command",
    "evaluate": "lead_detection.evaluate.evaluate_command",
    "baseline": "lead_detection.floors.baseline_command",
    "prepare": "lead_detection.prepare.prepare_command",
    "import": "lead_detection.importer.import_command",
    "segments": "lead_detection.segments.segments_command",
}

TRAININGS = {
    "": Training("lead_detection.task.LeadTask", "lead_detection.data.LeadData"),
    "-segments": Training("lead_detection.segment_task.SegmentTask", "lead_detection.data.LeadData", "segment/base"),
}

main = Door("lead_detection", USAGE, COMMANDS, TRAININGS)

if __name__ == "__main__":
    sys.exit(main())
