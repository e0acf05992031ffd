"""What a folder of stems holds: which of its files are tracks, which is the mixture, and what the tracks play."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.audio import FORMATS
from lead_detection.taxonomy import MIX, NO_STEM, VOCABULARY, guess

WHOLE = {"full", "song", "track", "mix", "band"}  # "full" alone is a mixture, "full kit" is none
SEPARATE = "separate it first, for example with Demucs (demucs -n htdemucs_6s FILE), and name the folder that it makes"


class StemsError(ValueError):
    """Stems that cannot be used. The text is one line: which file or folder, what is wrong, and the remedy."""

    @classmethod
    def about(cls, name: str | Path, text: str) -> "StemsError":
        return cls(" ".join(f"{name}: {text}".splitlines()))


@dataclass(frozen=True)
class StemFolder:
    """The files of a song."""

    tracks: tuple[Path, ...]
    mixture: Path | None


def find_stems(folder: str | Path, mixture: str | Path | None = None) -> StemFolder:
    """The tracks of a folder in order of their names, without what lies in folders inside it.

    Args:
        folder: with one audio file for each track.
        mixture: the mixture, if it is known; else a file of the folder whose name says so is taken for it.

    Raises:
        StemsError: there is no such folder, it holds fewer than two tracks, or several files may be the mixture.
    """
    folder = Path(folder)
    if mixture is not None and not Path(mixture).is_file():
        raise StemsError.about(mixture, "there is no such mixture; check the name, or do without")
    if folder.is_file():
        raise StemsError.about(folder, f"a single recording does not tell who leads; {SEPARATE}")
    if not folder.is_dir():
        raise StemsError.about(folder, "there is no such folder; check the name")
    # Names with a leading dot are what macOS leaves in archives.
    files = sorted(f for f in folder.glob("[!.]*") if f.suffix.lower() in FORMATS and f.is_file())
    if mixture is None:
        candidates = mixtures(files)
        if len(candidates) > 1:
            names = ", ".join(path.name for path in candidates)
            raise StemsError.about(folder, f"each of {names} may be the mixture; name it with --mix, move others away")
        mixture = candidates[0] if candidates else None
    tracks = tuple(f for f in files if mixture is None or not f.samefile(mixture))
    check_count(folder, len(tracks))
    return StemFolder(tracks, None if mixture is None else Path(mixture))


def check_count(name: str | Path, n_tracks: int) -> None:
    """Refuses what leaves nothing to choose from."""
    if not n_tracks:
        text = (
            f"no stems here; one audio file for each track ({' '.join(FORMATS)}) is looked for, not in folders inside"
        )
        raise StemsError.about(name, text)
    if n_tracks == 1:
        raise StemsError.about(name, f"one stem alone does not tell who leads; if it is the mixture, {SEPARATE}")


def mixtures(files: Sequence[Path]) -> list[Path]:
    """Those files that are mixtures by what is their own in their names: "Band_Song_MIX.wav", "full.flac"."""
    words = [_words(path.stem) for path in files]
    shared = set.intersection(*map(set, words)) if len(files) > 1 else set()
    own = [[word for word in each if word not in shared] for each in words]
    return [
        path
        for path, each in zip(files, own, strict=True)
        if guess(" ".join(each)) == MIX or ("full" in each and set(each) <= WHOLE)
    ]


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)]


def track_names(files: Sequence[Path]) -> list[str]:
    """File names without their suffixes, which stay where two would otherwise be called the same."""
    uses = Counter(path.stem for path in files)
    return [path.name if uses[path.stem] > 1 else path.stem for path in files]


def instrument_id(instrument: str | int) -> int:
    """Id of an instrument that a user names: a class of the taxonomy, an instrument in it, or nothing for unknown.

    Raises:
        StemsError: there is no such instrument.
    """
    if isinstance(instrument, str):
        text = instrument.strip()
        known = VOCABULARY.id(re.sub(r"\W+", "_", text.lower())) or guess(text)
        if (known and known not in NO_STEM) or text.lower() in ("", "unknown"):
            return known
    elif 0 <= instrument < len(VOCABULARY) and instrument not in NO_STEM:
        return int(instrument)
    names = ", ".join(name for name in VOCABULARY.names if VOCABULARY.id(name) not in NO_STEM)
    raise StemsError.about(repr(instrument), f"no such instrument; leave it empty, or say {names}")


def instrument_ids(names: Sequence[str], given: Mapping[str, str | int] | Sequence[str | int] | None) -> list[int]:
    """Ids of the instruments of tracks.

    Args:
        names: of the tracks.
        given: what they play: one for each track, or by name, or None. What is not given is guessed from the names.

    Raises:
        StemsError: no such track or instrument, or not one for each track.
    """
    guessed = [0 if (kind := guess(name)) == MIX else kind for name in names]
    if given is None:
        return guessed
    if not isinstance(given, Mapping):
        if len(given) != len(names):
            raise StemsError.about("instruments", f"{len(given)} are given for {len(names)} tracks; give one for each")
        return [instrument_id(instrument) for instrument in given]
    if strange := set(given) - set(names):
        raise StemsError.about(min(strange), f"no such track; there are {', '.join(names)}")
    by_name = {name: instrument_id(instrument) for name, instrument in given.items()}
    return [by_name.get(name, kind) for name, kind in zip(names, guessed, strict=True)]


def read_sidecar(path: str | Path) -> dict[str, int]:
    """File name, or name without suffix -> id of the instrument, of a CSV with the columns file and instrument.

    Raises:
        StemsError: it cannot be read, lacks a column, or names an instrument that there is not.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StemsError.about(
            path, f"cannot be read ({error}); give a CSV with the columns file,instrument"
        ) from error
    if not {"file", "instrument"} <= set(columns):
        raise StemsError.about(path, "its first line must name the columns file,instrument")
    table: dict[str, int] = {}
    for line, row in enumerate(rows, 2):
        try:
            table[(row["file"] or "").strip()] = instrument_id(row["instrument"] or "")
        except StemsError as error:
            raise StemsError.about(path, f"line {line}: {error}") from error
    return table
