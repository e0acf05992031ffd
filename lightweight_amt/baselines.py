"""The systems that the paper compares itself with, as networks that `AMTTask` trains like `Transcriber`.

Each is built from its publication and from what the paper's authors say of their own re-implementation; the layers and
the numbers of parameters are theirs, the front-ends are ours. All of them answer on our 84 pitches, C1 to B7.
"""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from common.frontends import CQT, HarmonicStack, LogMel
from lightweight_amt.decode import N_PITCHES
from lightweight_amt.levels import unit_range
from lightweight_amt.model import BINS_PER_PITCH, FMIN, OUTPUTS
from lightweight_amt.timbre import OnBranch

# A recurrent layer hears the whole clip. So many frames, 2 s, are left it on either side where a file is cut.
RECURRENT_REACH = 172


class BasicPitch(nn.Module):
    """Basic Pitch (Bittner et al., ICASSP 2022), 16,782 parameters, or its enlarged re-implementation, 56,517.

    The paper's baseline brings a layer of 32 channels to life that Spotify's code overwrites, and in return has no
    contour output, through whose one channel all that the note head knows must pass.

    What differs from Spotify's: constant-Q bins from C1 instead of A0 (252 of them in, 84 pitches out, where there are
    264 and 88; the layers are convolutions and stay what they are), with the pitch in the middle one of its three bins;
    no labels for the contour, which learns from the notes behind it; kernels are not held to unit norm.

    Args:
        enlarged: the re-implementation.
    """

    outputs = OUTPUTS[:2]

    def __init__(self, enlarged: bool = False):
        super().__init__()
        self.cqt = CQT(fmin=FMIN)
        self.grid = self.cqt.grid
        self.norm = nn.BatchNorm2d(1)
        self.stack = HarmonicStack(n_bins=BINS_PER_PITCH * N_PITCHES)
        n_harmonics = len(self.stack.shifts)
        # Frequency x time.
        if enlarged:
            self.contour = nn.Sequential(normed(n_harmonics, 32, (5, 5)), normed(32, 8, (39, 3)))
        else:
            contour = nn.Conv2d(8, 1, 5, padding="same")
            self.contour = nn.Sequential(normed(n_harmonics, 8, (39, 3)), contour, nn.Sigmoid())
        self.note = nn.Sequential(
            nn.Conv2d(8 if enlarged else 1, 32, 7, stride=(BINS_PER_PITCH, 1), padding=(2, 3)),
            nn.ReLU(),
            nn.Conv2d(32, 1, (3, 7), padding="same"),
        )
        self.branch = nn.Sequential(
            nn.Conv2d(n_harmonics, 32, 5, stride=(BINS_PER_PITCH, 1), padding=(1, 2)), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.onset = nn.Conv2d(33, 1, 3, padding="same")
        # The kernels of 5 and 3 or of 3 and 5, 7, 7 and 3 frames, one after the other.
        self.reach = 2 + 1 + 3 + 3 + 1

    @property
    def context(self) -> int:
        """Samples on either side on which a frame depends, but for the range of the whole clip."""
        return self.cqt.context + self.reach * self.grid.hop_length

    def log_energy(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, time) audio in -1..1 -> (batch, bin, frame) log energies in 0..1."""
        return unit_range(self.cqt(audio))

    def transcribe(self, log_energy: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, bin, frame) -> logits by output name, each (batch, pitch, frame)."""
        stacked = self.stack(self.norm(log_energy[:, None])[:, 0])  # (batch, harmonic, bin, frame)
        frame = self.note(self.contour(stacked))  # (batch, 1, pitch, frame)
        onset = self.onset(torch.cat([torch.sigmoid(frame), self.branch(stacked)], dim=1))
        return {"onset": onset[:, 0], "frame": frame[:, 0]}

    def forward(self, audio: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, time) audio in -1..1 -> logits by output name, each (batch, pitch, frame)."""
        return self.transcribe(self.log_energy(audio))


def normed(n_inputs: int, n_outputs: int, kernel: tuple[int, int]) -> nn.Sequential:
    """Convolution, batch norm, ReLU; same size out as in."""
    return nn.Sequential(nn.Conv2d(n_inputs, n_outputs, kernel, padding="same"), nn.BatchNorm2d(n_outputs), nn.ReLU())


class OnsetsAndFrames(nn.Module):
    """Onsets and Frames (Hawthorne et al., ISMIR 2018) as the paper reduces it, 1,714,076 parameters.

    No offset and no velocity head, stacks of 16, 16 and 32 channels with 256 features behind them, recurrent layers of
    128 a direction, 84 pitches, our hop of 256 samples. What differs: the spectrum is taken over the signal extended by
    zeros instead of mirrored.
    """

    outputs = OUTPUTS[:2]

    def __init__(self, n_mels: int = 229, features: int = 256):
        super().__init__()
        self.mel = LogMel(22_050, 2048, 256, n_mels, fmin=30.0, normalise=True, power=1, floor=1e-5)
        self.grid = self.mel.grid
        self.onset = nn.Sequential(
            MelStack(n_mels, features), Recurrent(features, features), nn.Linear(features, N_PITCHES)
        )
        self.activation = nn.Sequential(MelStack(n_mels, features), nn.Linear(features, N_PITCHES))
        self.frame = nn.Sequential(Recurrent(2 * N_PITCHES, features), nn.Linear(features, N_PITCHES))

    @property
    def context(self) -> int:
        """Samples on either side that a frame is given."""
        return sum(self.mel.padding) + RECURRENT_REACH * self.grid.hop_length

    def log_energy(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, time) audio in -1..1 -> (batch, mel, frame) log magnitudes."""
        return self.mel(audio)

    def transcribe(self, log_energy: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, mel, frame) -> logits by output name, each (batch, pitch, frame)."""
        picture = rearrange(log_energy, "batch mel frame -> batch frame mel")
        onset = self.onset(picture)  # (batch, frame, pitch)
        # The frame head reads the onsets but does not train them.
        heard = torch.cat([torch.sigmoid(onset).detach(), torch.sigmoid(self.activation(picture))], dim=2)
        return {"onset": onset.mT, "frame": self.frame(heard).mT}

    def forward(self, audio: torch.Tensor) -> dict[str, torch.Tensor]:
        """(batch, time) audio in -1..1 -> logits by output name, each (batch, pitch, frame)."""
        return self.transcribe(self.log_energy(audio))


class MelStack(nn.Module):
    """Convolutions that halve the mel axis twice, then features of each frame (Kelz et al., ISMIR 2016)."""

    def __init__(self, n_mels: int, features: int):
        super().__init__()
        narrow, wide = features // 16, features // 8
        self.convolutions = nn.Sequential(
            normed(1, narrow, (3, 3)),
            normed(narrow, narrow, (3, 3)),
            nn.MaxPool2d((1, 2)),
            nn.Dropout(0.25),
            normed(narrow, wide, (3, 3)),
            nn.MaxPool2d((1, 2)),
            nn.Dropout(0.25),
        )
        self.features = nn.Sequential(nn.Linear(wide * (n_mels // 4), features), nn.Dropout(0.5))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(batch, frame, mel) -> (batch, frame, feature)."""
        x = self.convolutions(picture[:, None])
        return self.features(rearrange(x, "batch channel frame mel -> batch frame (channel mel)"))


class Recurrent(nn.LSTM):
    """An LSTM in both directions, (batch, frame, feature) -> (batch, frame, feature)."""

    def __init__(self, n_inputs: int, n_outputs: int, num_layers: int = 1):
        super().__init__(n_inputs, n_outputs // 2, num_layers=num_layers, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().forward(x)[0]


class DeepClustering(OnBranch):
    """Embeddings from recurrent layers, 4,897,776 parameters (Tanaka et al., ISMIR 2020, as the paper rebuilds it).

    Each frame's spectrum and pitchgram (the frame activations of the frozen transcription branch) go through three
    recurrent layers of 256 a direction and a linear one to a vector of unit length for every pitch.

    What differs from the paper's: the spectrum is the lowest 257 bins, up to 4.5 kHz, of the log energies that all our
    networks hear, instead of 257 bins of a short Fourier transform, so that `encode` needs nothing but them.

    Args:
        dim: of the embedding.
        transcriber: see `OnBranch`.
        n_bins: of the spectrum.
        hidden: width of the recurrent layers in each direction.
    """

    reach = RECURRENT_REACH

    def __init__(self, dim: int = 12, transcriber: str = "base", n_bins: int = 257, hidden: int = 256):
        super().__init__(transcriber)
        self.n_bins = n_bins
        self.recurrent = Recurrent(N_PITCHES + n_bins, 2 * hidden, num_layers=3)
        self.project = nn.Linear(2 * hidden, dim * N_PITCHES)

    def encode(self, log_energy: torch.Tensor) -> torch.Tensor:
        """(batch, bin, frame) levelled log energies -> (batch, dim, pitch, frame), of unit length over dim."""
        pitchgram = torch.sigmoid(self.transcriber.transcribe(log_energy)["frame"])
        spectrum = log_energy[:, : self.n_bins] * self.transcriber.scale + self.transcriber.shift
        hidden = self.recurrent(torch.cat([pitchgram, spectrum], dim=1).mT)  # (batch, frame, feature)
        vectors = torch.tanh(self.project(hidden))
        vectors = rearrange(vectors, "batch frame (dim pitch) -> batch dim pitch frame", pitch=N_PITCHES)
        return F.normalize(vectors.float(), dim=1)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, time) audio in -1..1 -> (batch, dim, pitch, frame), of unit length over dim."""
        return self.encode(self.transcriber.log_energy(audio))
