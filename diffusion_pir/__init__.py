"""Predominant instrument recognition by probing a diffusion model: audio in, who is heard above all out (DiffPIR).

    from diffusion_pir import recognise
    recognition = recognise("song.wav")

Importing this package imports neither torch nor Lightning.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion_pir.inference import recognise

__all__ = ["recognise"]


def __getattr__(name: str):
    if name in __all__:
        from diffusion_pir import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
