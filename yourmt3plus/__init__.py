"""Any recording in, multi-instrument notes out: YourMT3+ (arXiv 2407.04822).

    from yourmt3plus import transcribe
    notes = transcribe("song.wav")

Importing this package imports no torch, and nothing of it but training imports Lightning.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yourmt3plus.inference import load, transcribe

__all__ = ["load", "transcribe"]


def __getattr__(name: str):
    if name in __all__:
        from yourmt3plus import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
