"""What a frozen encoder hears, kept on disk, so that every epoch but the first costs next to nothing."""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.storage import replacing


def fingerprint(network: nn.Module, settings: Any) -> str:
    """Hash of what a network makes of its input: weights, and plain types. It takes half a second for 95 M weights."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=12)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


class FeatureStore:
    """Features of clips as files in half precision, found again by the clip's samples.

    Args:
        folder: for the files; several encoders may share it.
        network: that makes the features, whose weights are not to change.
        settings: all else that they depend on; plain types.
    """

    def __init__(self, folder: str | Path, network: nn.Module, settings: Any):
        self.folder = Path(folder)
        self.network = network
        self.settings = settings

    @cached_property
    def place(self) -> Path:
        """Where they are: told by settings and weights, not by a name."""
        return self.folder / fingerprint(self.network, self.settings)

    def path(self, samples: np.ndarray) -> Path:
        """File of a clip (time,)."""
        name = hashlib.blake2b(samples.tobytes(), digest_size=16).hexdigest()
        return self.place / name[:2] / f"{name}.npy"

    def __call__(self, audio: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """Features (clip, ...) of audio (clip, time), of which `encode` makes only those of clips that are new."""
        paths = [self.path(row) for row in audio.float().cpu().numpy()]
        missing = {path: row for row, path in enumerate(paths) if not path.exists()}
        if missing:
            features = encode(audio[list(missing.values())]).half().cpu().numpy()
            for path, kept in zip(missing, features, strict=True):
                with replacing(path) as temporary:
                    np.save(temporary, kept)
        found = torch.from_numpy(np.stack([np.load(path) for path in paths]))
        return found.to(audio.device, torch.float32)
