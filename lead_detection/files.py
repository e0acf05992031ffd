"""Files for `detect`: which folder of stems becomes which timeline, each output whole or not at all."""

import csv
import json
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from common.jobs import Done, attempt, run_all, seconds_of
from common.storage import replacing
from lead_detection.commands import SETTINGS
from lead_detection.decode import NOBODY
from lead_detection.folders import StemFolder, StemsError, find_stems, instrument_ids, read_sidecar, track_names
from lead_detection.inference import Lead, Model, detect, load
from lead_detection.streams import Source, Stems

COLUMNS = ("start", "end", "track", "instrument", "confidence")
NONE = "none"  # the track that leads where nobody does
DIGITS = 6  # of seconds


@dataclass(frozen=True)
class Job:
    """One song, and where its timeline goes: `out` with the suffix of each output."""

    folder: Path
    stems: StemFolder
    instruments: Mapping[str, int]  # by track, where it is known
    out: Path

    @property
    def names(self) -> list[str]:
        return track_names(self.stems.tracks)


def plan(options: Namespace) -> tuple[list[Job], list[ValueError]]:
    """The jobs of a command line, and what is wrong with some of its folders; no audio is read yet.

    Raises:
        ValueError: the command makes no sense as a whole: a setting out of range, one mixture or one file for many
            songs, a table of instruments that cannot be read or names a file that there is not.
    """
    for name in ("mix", "out"):
        path = getattr(options, name)
        if path is not None and len(options.stems) > 1 and (name == "mix" or named_output(path)):
            raise StemsError.about(path, f"one --{name} cannot be that of {len(options.stems)} songs; do one at a time")
    sidecar = read_sidecar(options.instruments) if options.instruments else {}
    jobs, refused = [], []
    for folder in dict.fromkeys(options.stems):
        try:
            stems = find_stems(folder, options.mix)
        except StemsError as error:
            refused.append(error)
            continue
        jobs.append(Job(folder, stems, of_sidecar(stems, sidecar), target(folder, options.out)))
    check_sidecar(options.instruments, sidecar, jobs)
    uses = Counter(job.out for job in jobs)
    # a/stems and b/stems keep the names of the folders that they are in.
    return [
        replace(job, out=job.out.with_name(f"{job.folder.resolve().parent.name}-{job.out.name}"))
        if uses[job.out] > 1
        else job
        for job in jobs
    ], refused


def target(folder: Path, out: Path | None) -> Path:
    """Where the outputs of a folder go, without their suffixes, which are put after it."""
    if out is None:
        return folder / "lead"
    if named_output(out):
        return out.with_suffix("")
    return out / folder.resolve().name


def named_output(out: Path) -> str | None:
    """The output whose file this is, where it is no folder."""
    return next((option for option, (suffix, _) in OUTPUTS.items() if suffix == out.suffix.lower()), None)


def of_sidecar(stems: StemFolder, sidecar: Mapping[str, int]) -> dict[str, int]:
    """Track -> instrument of those that the table has by the name of their file, with or without suffix."""
    found = {}
    for name, path in zip(track_names(stems.tracks), stems.tracks, strict=True):
        if (key := next((key for key in (path.name, path.stem) if key in sidecar), None)) is not None:
            found[name] = sidecar[key]
    return found


def check_sidecar(path: Path | None, sidecar: Mapping[str, int], jobs: list[Job]) -> None:
    """Refuses a table with a name that no file has: it is misspelt, and the instrument would be lost."""
    files = {name for job in jobs for track in job.stems.tracks for name in (track.name, track.stem)}
    strange = [name for name in sidecar if name not in files]
    if strange and jobs and path:
        raise StemsError.about(path, f"no track is called {strange[0]!r}; write the names as the files have them")


def run(jobs: list[Job], options: Namespace) -> int:
    """Do the jobs under a progress bar in seconds of song; exit code 0, or 2 if any song was refused."""
    if not jobs:
        return 0
    model = load(options.model, options.device)
    settings = {name: value for name in SETTINGS if (value := getattr(options, name)) is not None}
    model.settings = replace(model.settings, **settings)
    return run_all(
        lambda progress: (attempt(partial(detect_folder, job, options, model, progress), job.out) for job in jobs),
        sum(max(map(seconds_of, job.stems.tracks)) for job in jobs),
        "song",
    )


def detect_folder(job: Job, options: Namespace, model: Model, progress=None) -> Done:
    """Write the outputs of one song.

    Raises:
        ValueError: audio that cannot be used.
        OSError: an output that cannot be written.
    """
    ids = instrument_ids(job.names, job.instruments)
    mixture = job.stems.mixture and Source(job.stems.mixture.name, job.stems.mixture)
    stems = Stems.open([Source(*track) for track in zip(job.names, job.stems.tracks, strict=True)], mixture)
    lead = detect(model, stems, ids, progress=progress)
    written = []
    for suffix, write in outputs(options):
        path = job.out.with_name(job.out.name + suffix)  # not with_suffix: a folder may be called "op. 1"
        with replacing(path) as temporary:
            write(temporary, lead, job, model.name)
        written.append(str(path))
    return Done(f"{', '.join(written)}: {summary(lead, job)}", [f"{job.folder}: {doubt}" for doubt in stems.doubts()])


def summary(lead: Lead, job: Job) -> str:
    leaders = np.unique(lead.segments["track"][lead.segments["track"] != NOBODY])
    mixture = f"mixture {job.stems.mixture.name}" if job.stems.mixture else "no mixture, so the sum of the tracks"
    found = f"{len(lead.segments)} segments, {len(leaders)} of {len(lead.names)} tracks lead"
    return f"{found} ({lead.duration:.1f} s, {mixture})"


def table(lead: Lead) -> list[tuple]:
    """The columns of COLUMNS as plain Python rows; segments of nobody are called NONE and have no instrument."""
    names, instruments = (*lead.names, NONE), (*lead.instruments, "")  # NOBODY is the last of them
    return [
        (round(start, DIGITS), round(end, DIGITS), names[track], instruments[track], round(confidence, 3))
        for start, end, track, confidence in lead.segments.tolist()
    ]


def write_csv(path: Path, lead: Lead, job: Job, model: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *table(lead)])


def write_json(path: Path, lead: Lead, job: Job, model: str) -> None:
    """Everything but the probabilities of the frames; in a segment `index` is that of its track, null for nobody."""
    files = [track.name for track in job.stems.tracks]
    tracks = zip(lead.names, lead.instruments, files, strict=True)
    indices = [None if track == NOBODY else track for track in lead.segments["track"].tolist()]
    document = {
        "version": 1,
        "model": model,
        "duration": round(lead.duration, DIGITS),
        "frame_rate": float(lead.grid.rate),
        "mixture": job.stems.mixture and job.stems.mixture.name,
        "tracks": [
            {"index": i, "name": name, "instrument": instrument, "file": file}
            for i, (name, instrument, file) in enumerate(tracks)
        ],
        "segments": [
            dict(zip(COLUMNS, row, strict=True)) | {"index": index}
            for row, index in zip(table(lead), indices, strict=True)
        ],
    }
    path.write_text(json.dumps(document) + "\n", encoding="utf-8")


def write_labels(path: Path, lead: Lead, job: Job, model: str) -> None:
    """Audacity's label track: start, end and label with tabs between them."""
    rows = (f"{start:.6f}\t{end:.6f}\t{' '.join(track.split())}\n" for start, end, track, *_ in table(lead))
    path.write_text("".join(rows), encoding="utf-8")


def write_plot(path: Path, lead: Lead, job: Job, model: str) -> None:
    from common import plots  # matplotlib, only for those who want a picture

    segments = lead.segments
    edges = np.append(0.0, segments["end"])
    envelopes = 10.0 ** (lead.levels.T / 20.0)
    title = job.folder.resolve().name
    plots.timeline(envelopes, lead.names, edges, segments["track"], segments["confidence"], title=title).savefig(path)


def write_frames(path: Path, lead: Lead, job: Job, model: str) -> None:
    """(frame, 1 + track) probabilities, nobody first; frames as the JSON says."""
    np.save(path, lead.probabilities)


def outputs(options: Namespace) -> list[tuple[str, Callable]]:
    """Those that are asked for, and the one whose file the command names; the CSV if there is none."""
    named = options.out and named_output(options.out)
    chosen = [output for option, output in OUTPUTS.items() if getattr(options, option) or option == named]
    return chosen or [OUTPUTS["csv"]]


# Option -> what is put after the name of a song, and what writes that file.
OUTPUTS = {
    "csv": (".csv", write_csv),
    "json": (".json", write_json),
    "labels": (".txt", write_labels),
    "plot": (".png", write_plot),
    "frames": (".npy", write_frames),
}
