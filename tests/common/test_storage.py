import errno
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common import storage
from common.storage import replacing, sweep

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from common.storage import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
WRITER = """
import sys
from pathlib import Path
from common.storage import replacing
for i in range(300):
    with replacing(Path(sys.argv[1], f"{i}.txt")) as temporary:
        temporary.write_text(str(i))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(path: Path):
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")


def test_a_file_is_whole_or_what_it_was(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
        assert not path.exists()
    with pytest.raises(OSError, match="full"):
        fail_half_way(path)
    assert path.read_text() == "whole"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("name", ["a.txt", "a.notes.npy", "bare"])
def test_what_a_killed_process_left_is_swept(tmp_path, name):
    command = [sys.executable, "-c", KILLED, str(tmp_path / name)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    for other in ("index.json", ".hidden", ".git"):
        (tmp_path / other).touch()
    sweep(tmp_path)
    assert names(tmp_path) == [".git", ".hidden", "index.json"]


def test_what_is_being_written_stays(tmp_path):
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("slow")
        sweep(tmp_path)
        command = [sys.executable, "-c", "import sys, common.storage as s; s.sweep(sys.argv[1])", str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True)
    assert (tmp_path / "a.txt").read_text() == "slow"


def test_a_writer_loses_nothing_to_sweeps_at_any_time(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT)
    while writer.poll() is None:
        sweep(tmp_path)
    assert writer.returncode == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"{i}.txt": str(i) for i in range(300)}


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def lock_too_late(file, operation):
        if not swept:
            swept.append(file.name)
            Path(file.name).unlink()
        lock(file, operation)

    monkeypatch.setattr(storage.fcntl, "flock", lock_too_late)
    with replacing(tmp_path / "a.txt") as temporary:
        assert swept == [str(temporary)]
        temporary.write_text("whole")
        sweep(tmp_path)
    assert names(tmp_path) == ["a.txt"]


def test_without_locks_files_are_written_and_nothing_is_swept(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "no locks available")

    with replacing(tmp_path / "a.txt") as temporary, monkeypatch.context() as patch:
        patch.setattr(storage.fcntl, "flock", refuse)
        with replacing(tmp_path / "b.txt") as other:
            sweep(tmp_path)
            patch.setattr(storage, "fcntl", None)  # as on Windows
            with replacing(tmp_path / "c.txt") as third:
                third.touch()
                sweep(tmp_path)
                assert names(tmp_path) == sorted([temporary.name, other.name, third.name])
    assert names(tmp_path) == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize("place", ["file/song.mid", "broken/a.mid"])
def test_where_nothing_can_be_written_is_known_beforehand(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere" / "at all")
    with pytest.raises(OSError, match=place.split("/")[0]):
        storage.check_writable(tmp_path / place)
    with pytest.raises(OSError, match=place.split("/")[0]), replacing(tmp_path / place) as temporary:
        temporary.touch()


def test_looking_whether_a_file_can_be_written_leaves_nothing_behind(tmp_path):
    for place in ("song.mid", "a/new/one/song.mid"):
        storage.check_writable(tmp_path / place)
    assert not list(tmp_path.iterdir())
