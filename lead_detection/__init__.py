"""Lead instrument detection: stems in, the timeline of who leads out (arXiv 2503.03232).

    from lead_detection import detect_lead
    lead = detect_lead("stems_of_a_song")

Importing this package imports neither torch nor Lightning.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lead_detection.inference import detect_lead, load

__all__ = ["detect_lead", "load"]


def __getattr__(name: str):
    if name in __all__:
        from lead_detection import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
