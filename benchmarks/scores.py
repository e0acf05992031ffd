"""The scores of a test in a file: `--trainer.callbacks+=benchmarks.scores.WriteScores --trainer.callbacks.path=X`."""

import json

import lightning as L
import torch

from common.storage import replacing


class WriteScores(L.Callback):
    """Writes {"scores": by name, without the losses, "device": what computed them}.

    Where the task has `song_scores`, score -> song -> value, they are added as "songs".

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: str):
        self.path = path

    def on_test_end(self, trainer, pl_module):
        scores = {
            name.removeprefix("test/"): round(float(value), 5)
            for name, value in trainer.callback_metrics.items()
            if not name.endswith("loss")
        }
        device = pl_module.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        record = {"scores": scores, "device": name}
        if songs := getattr(pl_module, "song_scores", None):
            record["songs"] = {
                score: {song: round(float(value), 5) for song, value in values.items()}
                for score, values in songs.items()
            }
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(record))
