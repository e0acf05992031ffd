"""What the verbs of use take on the command line; what costs time to import waits until --help is answered."""

import argparse
from pathlib import Path


def hop(text: str) -> float:
    seconds = float(text)
    if not 0.02 <= seconds <= 60.0:
        raise argparse.ArgumentTypeError(f"0.02 to 60 seconds, not {text}")
    return seconds


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {text}")
    return number


def verb(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"python -m diffusion_pir {name}", description=description)


def add_audio(parser: argparse.ArgumentParser, suffix: str) -> None:
    """What `recognise` and `embed` have in common."""
    parser.add_argument("audio", nargs="+", type=Path, help="audio files, or folders to search for them")
    parser.add_argument(
        "-o", "--out", type=Path, help=f"folder, or for one file a {suffix}; beside the audio if not given"
    )
    parser.add_argument("--hop", type=hop, default=0.25, help="seconds between windows of 2 s (default: %(default)s)")
    parser.add_argument("--draws", type=count, help="of noise to average over, instead of as many as in training")
    parser.add_argument(
        "--skip-existing", action="store_true", help="leave files alone whose outputs are there already"
    )


def add_head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--head", default="plus", help="plus, or a file that train-head wrote (default: plus)")
    parser.add_argument("--model", help="the backbone: small, or an exported file; if not given, as the head calls it")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")


def recognise_command(args: list[str]) -> int:
    """Exit code 0 if every file was done, 2 if any was refused; the others are done all the same."""
    parser = verb("recognise", "Tell which instruments are heard above all others in audio files, and when.")
    add_audio(parser, ".csv")
    parser.add_argument("--csv", action="store_true", help="write a CSV (which is what is written if nothing is asked)")
    parser.add_argument("--json", action="store_true", help="write the decision and all windows as JSON")
    parser.add_argument("--plot", action="store_true", help="write a picture: instruments over time under the spectrum")
    add_head(parser)
    options = parser.parse_args(args)
    from common.jobs import carry_out
    from diffusion_pir import files

    return carry_out(lambda: files.plan(options), lambda jobs: files.run(jobs, options))


def embed_command(args: list[str]) -> int:
    """Exit codes as `recognise_command`."""
    parser = verb("embed", "Write what the layers of the diffusion model hear in audio files, for use elsewhere.")
    add_audio(parser, ".npz")
    parser.add_argument("--layers", nargs="+", default=["bottleneck_2"], help="(default: bottleneck_2)")
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1], help="noise levels, 0 to 1 (default: 0.1)")
    parser.add_argument("--pool", default="mean", choices=("mean", "mean_std", "time", "time_std", "bands"))
    parser.add_argument("--model", default="small", help="small, or an exported file (default: small)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    options = parser.parse_args(args)
    from common.jobs import carry_out
    from diffusion_pir import embed

    return carry_out(lambda: embed.plan(options), lambda jobs: embed.run(jobs, options))


def generate_command(args: list[str]) -> int:
    """Exit code 0, or 2 with one line if the command cannot be followed."""
    parser = verb("generate", "Make sounds of instruments: wav files, and a picture of them.")
    parser.add_argument("prompt", help='instruments with commas between them, such as "saxophone, piano"')
    parser.add_argument("-n", type=count, default=8, metavar="N", help="sounds (default: 8)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each sound (default: 2)")
    parser.add_argument("--steps", type=count, default=50, help="of the sampler, at most 1000 (default: 50)")
    parser.add_argument("--guidance", type=float, default=3.0, help="how closely the prompt is followed (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="other numbers make other sounds (default: 0)")
    parser.add_argument("-o", "--out", type=Path, default=Path("generated"), help="folder (default: generated)")
    parser.add_argument("--model", default="small", help="small, or an exported file (default: small)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument(
        "--vocoder",
        default="griffin-lim",
        help="griffin-lim, an .onnx file that takes (batch, frame, 128) log-mels, or package.module:function that "
        "makes one (default: griffin-lim)",
    )
    options = parser.parse_args(args)
    from common.jobs import guarded
    from diffusion_pir import generate

    return guarded(lambda: generate.run(options))


def train_head_command(args: list[str]) -> int:
    """Exit code 0, or 2 with one line if the data cannot be used."""
    parser = verb(
        "train-head", "Train a head for your own classes on a frozen diffusion model; `recognise --head FILE` takes it."
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with <label>/*.wav, or CSV path,labels (a label; or two)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="the head, .safetensors")
    parser.add_argument("--name", help="of the head, for outputs (default: that of the file)")
    parser.add_argument("--kind", default="plus", choices=("mlp", "crnn", "plus"), help="of head (default: plus)")
    parser.add_argument("--layers", nargs="+", help="of the backbone (default: bottleneck_2 up_1)")
    parser.add_argument("--sigmas", nargs="+", type=float, default=[0.1, 0.3], help="(default: 0.1 0.3)")
    parser.add_argument(
        "--draws", type=count, default=1, help="of noise, over which features are averaged (default: 1)"
    )
    parser.add_argument("--folds", type=count, default=5, help="of the cross-validation (default: 5)")
    parser.add_argument("--epochs", type=count, default=50, help="at most (default: 50)")
    parser.add_argument(
        "--rule", default="S2", choices=("S1", "S2"), help="windows to clips: S1 mean, S2 sum over the greatest"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder for log-mels and features (default: $TUTTI_DATA, or data)")
    parser.add_argument("--half", action="store_true", help="keep the weights in 16 bits")
    parser.add_argument("--model", default="small", help="the backbone: small, or an exported file (default: small)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    options = parser.parse_args(args)
    from common.jobs import guarded
    from diffusion_pir import train_head

    return guarded(lambda: train_head.run(options))


def evaluate_command(args: list[str]) -> int:
    """Exit code 0, or 2 with one line if there is nothing to score."""
    parser = verb("evaluate", "Score a head on excerpts whose labels are known; thresholds come from validation alone.")
    parser.add_argument(
        "--data",
        default="predominance",
        help="a folder <label>/*.wav, a CSV path,labels, prepared data, or a size of the embedded set (default: "
        "predominance)",
    )
    parser.add_argument(
        "--split", choices=("train", "validation", "test"), help="(default: test, or all if there is none)"
    )
    parser.add_argument("--csv", type=Path, help="also write the scores as CSV, a row for each decision")
    parser.add_argument("--json", type=Path, help="also write them as JSON, with what was said of each clip")
    parser.add_argument(
        "--cache", type=Path, help="folder for log-mels of a folder or CSV (default: below $TUTTI_DATA)"
    )
    add_head(parser)
    options = parser.parse_args(args)
    from common.jobs import guarded
    from diffusion_pir import evaluate

    return guarded(lambda: evaluate.run(options))
