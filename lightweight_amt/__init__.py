"""Lightweight multi-instrument transcription: audio in, notes out (arXiv 2509.12712).

    from lightweight_amt import transcribe
    notes = transcribe("song.wav")

Importing this package, and transcribing on a CPU, imports neither torch nor Lightning.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightweight_amt.inference import load, transcribe

__all__ = ["load", "transcribe"]


def __getattr__(name: str):
    if name in __all__:
        from lightweight_amt import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
