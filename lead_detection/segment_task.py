"""Training of the network of the paper's Table V: does the guitar lead in a clip?"""

from typing import Any

import numpy as np
import torch

from lead_detection.data import Batch
from lead_detection.loss import cross_entropy
from lead_detection.segments import GUITARS, leads_in, score
from lead_detection.task import LeadTask
from lead_detection.taxonomy import VOCABULARY
from lead_detection.validation import Window


class SegmentTask(LeadTask):
    """Trains a `LeadDetector` with a `SegmentHead` on clips of any length; the paper's have 5 s.

    Args:
        *args: see `LeadTask`.
        lead: classes of instruments; a clip is positive if one of them leads for more than half of it.
        monitor: the score that chooses the checkpoint.
        **kwargs: see `LeadTask`.
    """

    def __init__(self, *args, lead: tuple[str, ...] = GUITARS, monitor: str = "val/lead_f1", **kwargs):
        super().__init__(*args, monitor=monitor, **kwargs)
        self.wanted = [VOCABULARY.id(name) for name in lead]

    def loss(self, logits: torch.Tensor, batch: Batch, stage: str) -> torch.Tensor:
        """Mean over clips; logs it."""
        n_tracks = torch.bincount(batch["clip"], minlength=len(logits)).tolist()
        rows = zip(batch["lead"].cpu(), batch["instrument"].cpu().split(n_tracks), strict=True)
        target = [[leads_in(lead.numpy(), instrument.numpy(), self.wanted)] for lead, instrument in rows]
        loss = cross_entropy(logits, torch.tensor(target, device=logits.device), self.smoothing)
        self.log(f"{stage}/loss", loss, prog_bar=True, batch_size=len(logits), on_epoch=True, on_step=stage == "train")
        return loss

    def on_validation_epoch_end(self) -> None:
        trainer: Any = self.trainer
        scores = self.log_scores(self.collect(trainer.val_dataloaders), "val")
        if self.plateau and not trainer.sanity_checking:
            self.plateau.step(scores[self.monitor.removeprefix("val/")])

    def log_scores(self, windows: list[Window], stage: str) -> dict[str, float]:
        truth = np.array([leads_in(window.lead, window.instrument, self.wanted) for window in windows])
        estimate = np.array([window.logits[0].argmax() for window in windows])
        songs = np.array([window.song.id for window in windows])
        scores = score(truth, estimate)
        by_song = {song: score(truth[songs == song], estimate[songs == song]) for song in np.unique(songs).tolist()}
        self.song_scores = {name: {song: by_song[song][name] for song in by_song} for name in scores}
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})
        return scores
