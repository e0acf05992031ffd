"""Files for `embed`: what a backbone hears in recordings, as arrays for whatever is done with them elsewhere."""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np

from common import audio as sound
from common.jobs import Done, Job, attempt, plan_files, run_all, seconds_of
from common.storage import replacing
from diffusion_pir.backbones import Backbone, open_backbone
from diffusion_pir.features import FeatureSpec, hear, wanted_taps
from diffusion_pir.heads import concatenate
from diffusion_pir.inference import blocks_of
from diffusion_pir.streams import Recording, batches

SUFFIX = ".embedding.npz"


def plan(options: Namespace) -> tuple[list[Job], list[sound.AudioError]]:
    """The jobs of a command line and what is wrong with some of its paths; nothing is read yet.

    Raises:
        ValueError: many files into one.
    """
    found, refused = plan_files(options.audio, options.out, SUFFIX, (".npz",))
    return [job for job in found if not (options.skip_existing and job.out.exists())], refused


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of audio; exit code 0, or 2 if any file was refused.

    Raises:
        ValueError: no such model or layer.
    """
    if not jobs:
        return 0
    backbone = open_backbone(options.model, options.device)
    spec = FeatureSpec(options.layers, options.sigmas, options.draws or 1, options.pool)
    wanted_taps(backbone, spec)

    def outcomes(progress: Callable[[float], object]):
        return (attempt(partial(embed_file, job, options.hop, backbone, spec, progress), job.out) for job in jobs)

    return run_all(outcomes, sum(seconds_of(job.audio) for job in jobs))


def embed_file(
    job: Job, hop: float, backbone: Backbone, spec: FeatureSpec, progress: Callable[[float], object] | None = None
) -> Done:
    """Write the features of one recording.

    The file has "features" float32 (window, dim), or (window, dim, column) pooled by "time", layers and noise levels
    side by side in the order of the spec; "times" (window,) seconds at which windows begin; "model" and "spec".

    Raises:
        ValueError: audio that cannot be used.
        OSError: an output that cannot be written.
    """
    recording = Recording(blocks_of(job.audio), hop, progress=progress)
    parts = []
    for batch in batches(recording, backbone):
        heard = hear(backbone, batch.windows, batch.ids, spec)
        parts.append(concatenate([heard[cell] for cell in spec.cells]).cpu().numpy())
    features = np.concatenate(parts)
    with replacing(job.out) as temporary:
        np.savez(
            temporary,
            features=features,
            times=recording.times,
            model=np.array(backbone.name),
            spec=np.array(json.dumps(asdict(spec))),
        )
    return Done(f"{job.out}: {len(features)} windows of {' x '.join(map(str, features.shape[1:]))} features", [])
