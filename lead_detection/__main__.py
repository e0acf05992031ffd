"""`python -m lead_detection VERB`: the one door of the sub-project."""

import sys
from importlib import import_module

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

# Each verb imports what it needs when it is called: who detects a lead does not wait for a trainer.
COMMANDS = {
    "detect": "lead_detection.commands.detect_command",
    "export": "lead_detection.export.export_command",
    "evaluate": "lead_detection.evaluate.evaluate_command",
    "baseline": "lead_detection.floors.baseline_command",
    "prepare": "lead_detection.prepare.prepare_command",
    "import": "lead_detection.importer.import_command",
    "segments": "lead_detection.segments.segments_command",
}


def main(args: list[str] | None = None) -> int:
    verb, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if verb in COMMANDS:
        module, _, name = COMMANDS[verb].rpartition(".")
        return getattr(import_module(module), name)(rest)
    if verb in ("fit", "validate", "test"):
        from common.cli import run
        from lead_detection.data import LeadData
        from lead_detection.task import LeadTask

        run(LeadTask, LeadData, "lead_detection", [verb, *rest])
        return 0
    if verb in ("fit-segments", "validate-segments", "test-segments"):
        from common.cli import run
        from lead_detection.data import LeadData
        from lead_detection.segment_task import SegmentTask

        verb = verb.removesuffix("-segments")
        run(SegmentTask, LeadData, "lead_detection", [verb, *rest], base="segment/base")
        return 0
    print(USAGE, file=sys.stdout if verb in ("-h", "--help") else sys.stderr)
    return 0 if verb in ("-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
