"""What prepared data may hold: log-mels of the diffusion model, or those of the network it is compared with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from common.frontends import LogMel
from common.melspec import FLOOR, N_BINS, SAMPLE_RATE, VocoderMel


@dataclass(frozen=True)
class FrontEnd:
    """`told` names it and what is done to the audio before; both have the same floor, and so the same silence."""

    told: str
    sample_rate: int
    n_bins: int
    make: Callable[[], LogMel]


FRONT_ENDS = {
    "vocoder": FrontEnd("VocoderMel, peak 1", SAMPLE_RATE, N_BINS, VocoderMel),
    # Han et al. (2017): 128 mel bands, 43 frames to the second, of a file brought to a peak of 1.
    "han": FrontEnd(
        "LogMel 22050/1024/512/128, peak 1",
        22_050,
        128,
        partial(LogMel, 22_050, 1024, 512, 128, scale="slaney", normalise=True, power=1, floor=FLOOR),
    ),
}
