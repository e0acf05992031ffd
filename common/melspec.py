"""The log-mel of public 16 kHz vocoders (SoundStream's, of music-spectrogram-diffusion): what it shows can be heard."""

import math

from torch import Tensor

from common.frontends import LogMel

SAMPLE_RATE = 16_000
HOP_LENGTH = 320
N_BINS = 128
FLOOR, CEILING = 1e-5, 1e8  # of a magnitude
SILENCE = math.log(FLOOR)


class VocoderMel(LogMel):
    """Natural logarithm of 128 mel magnitudes, 50 frames a second at 16 kHz.

    Window 640 (periodic Hann) in a transform of 1024, hop 320, HTK triangles from 0 to 8 kHz that are not divided by
    their areas. Nothing is centred: frame i is the window over samples [320 i, 320 i + 640), the signal is extended by
    zeros, and there are ceil(n / 320) frames. Silence is `SILENCE`.
    """

    sample_rate = SAMPLE_RATE
    n_bins = N_BINS
    silence = SILENCE

    def __init__(self):
        super().__init__(SAMPLE_RATE, 1024, HOP_LENGTH, N_BINS, win_length=640, center=False, power=1, floor=FLOOR)

    def forward(self, audio: Tensor) -> Tensor:
        """float32 (batch, bin, frame), low bins first, of audio (batch, time)."""
        return super().forward(audio).clamp(max=math.log(CEILING))
