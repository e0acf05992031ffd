"""MIR-ST500 (Wang and Jang 2021): 500 Mandarin pop songs with the notes of the sung melody; the audio is to be fetched.

Layout (york135/singing_transcription_ICASSP2021): `MIR-ST500_20210206/MIR-ST500_corrected.json` in that repository has
the notes; its `get_youtube.py` fetches the songs into `train/<song>/` and `test/<song>/`, its `do_spleeter.py` puts
the vocals beside them. Names that are read are Mixture and Vocal as well as YourMT3's converted_Mixture and vocals.

Songs 1 to 400 are the training split, 401 to 500 the test. Not all can be fetched any more: YourMT3's authors still had
346 and 94. Backing voices are heard in the separated vocals but not annotated. All notes have the program of a sung
melody, 100; velocities are not known.
"""

from pathlib import Path

from common.datasets import files, songs
from common.datasets.files import DatasetError
from common.datasets.recording import Recording

ANNOTATIONS = "MIR-ST500_corrected.json"
SONGS = {"train": range(1, 401), "test": range(401, 501)}
REMEDY = f"give the folder that has MIR-ST500_20210206/{ANNOTATIONS} and the songs in train/ and test/"


def recordings(root: str | Path, audio: str = "vocals") -> list[Recording]:
    """The songs that are there, by number.

    Args:
        root: the folder.
        audio: "vocals" or "mixture", see `common.datasets.songs.recordings`.

    Raises:
        DatasetError: there is no such data set, it is damaged, or a song is in the folder of the other split.
    """
    root = files.folder(root, REMEDY)
    path = files.first_of(root / "MIR-ST500_20210206" / ANNOTATIONS, root / ANNOTATIONS, remedy=REMEDY)
    table = songs.annotations(path)
    found = [
        song
        for split in SONGS
        if (root / split).is_dir()
        for song in songs.recordings(root / split, table, path, split, audio)
    ]
    for song in found:
        if int(song.id) not in SONGS[str(song.split)]:
            raise DatasetError.about(root / str(song.split) / song.id, "a song of the other split; move it there")
    return files.not_empty(found, root, REMEDY)
