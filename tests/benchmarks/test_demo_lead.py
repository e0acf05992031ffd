import re

import numpy as np

from benchmarks import demo_lead
from common import audio as sound
from lead_detection.inference import Lead


def test_section_says_how_much_was_right(tmp_path, monkeypatch):
    heard = {}

    def nobody(stems, rate, instruments):
        """A detector that never finds a leader: right exactly where the score has none."""
        lead = detect(stems, rate, instruments=instruments)
        heard.update(names=list(stems), lead=lead)
        segments = lead.segments[:1].copy()
        segments["end"], segments["track"] = lead.duration, -1
        return Lead(segments, *(getattr(lead, name) for name in Lead.__dataclass_fields__ if name != "segments"))

    detect = demo_lead.detect_lead
    monkeypatch.setattr(demo_lead, "detect_lead", nobody)
    written = demo_lead.compose(2_000_003, "ensemble", 12.0, demo_lead.TRAIN_PROGRAMS)
    led = np.zeros(1200, bool)
    for start, end, _ in written.lead:
        led[round(100 * start) : round(100 * end)] = True
    section = demo_lead.section(tmp_path, 2_000_003, 12.0)
    (share,) = {int(value) for value in re.findall(r"right in (\d+)%", section.html)}
    assert abs(share - 100 * (1 - led.mean())) < 2
    assert len(heard["names"]) == len(written.parts)
    assert 11.5 < sound.info(tmp_path / "ensemble.mp3").duration < 12.5
