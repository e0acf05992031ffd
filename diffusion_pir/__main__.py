"""`python -m diffusion_pir VERB`: the one door of the sub-project."""

import sys

from common.door import Door, Training

USAGE = """usage: python -m diffusion_pir VERB ...

  recognise    audio files or folders -> the instruments heard above all, window by window (CSV, JSON, picture)
  train-head   a head for your own classes, from a folder `<label>/*.wav` or a CSV `path,labels`
  generate     instruments' names -> audio and a picture
  embed        audio files -> features, for use elsewhere
  fit          train the diffusion model; validate, test: score a checkpoint (LightningCLI, see configs/)
  fit-han      the convolutional network that the paper compares with; validate-han, test-han: score a checkpoint of it
  prompts      names of instruments -> a table of T5 embeddings, for training
  prepare      data sets as they were downloaded, or the embedded corpus -> the log-mels that training reads
  extract      features of a data set, in shards -> the cache that `sweep` reads
  sweep        noise levels, layers, heads and seeds on kept features -> one CSV
  report       this CSV -> figures
  evaluate     score exported weights on excerpts
  export       training checkpoint -> safetensors that the other verbs load

`python -m diffusion_pir VERB --help` tells the options of a verb."""

COMMANDS = {
    "recognise": "diffusion_pir.commands.recognise_command",
    "train-head": "diffusion_pir.commands.train_head_command",
    "generate": "diffusion_pir.commands.generate_command",
    "embed": "diffusion_pir.commands.embed_command",
    "evaluate": "diffusion_pir.commands.evaluate_command",
    "prompts": "diffusion_pir.prompts.prompts_command",
    "prepare": "diffusion_pir.prepare.prepare_command",
    "extract": "diffusion_pir.sweep.extract_command",
    "sweep": "diffusion_pir.sweep.sweep_command",
    "report": "diffusion_pir.report.report_command",
    "export": "diffusion_pir.export.export_command",
}

TRAININGS = {
    "": Training("diffusion_pir.task.DiffusionTask", "diffusion_pir.data.PIRData"),
    "-han": Training("diffusion_pir.han_task.HanTask", "diffusion_pir.data.PIRData", "han/base"),
}

main = Door("diffusion_pir", USAGE, COMMANDS, TRAININGS)

if __name__ == "__main__":
    sys.exit(main())
