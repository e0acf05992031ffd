import os
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common import jobs
from common.jobs import Done, Job, Meter


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def planned(paths, out=None) -> set[str]:
    found, refused = jobs.plan_files(paths, out, ".notes.csv", (".csv",))
    assert not refused
    return {str(job.out) for job in found}


def test_outputs_stand_beside_the_audio_or_keep_the_shape_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("in/a/op. 1.wav"), Path("in/b.flac"))
    assert planned([Path("in")]) == {"in/a/op. 1.notes.csv", "in/b.notes.csv"}
    assert planned([Path("in")], Path("out")) == {"out/a/op. 1.notes.csv", "out/b.notes.csv"}
    assert planned([Path("in/a/op. 1.wav")], Path("out")) == {"out/op. 1.notes.csv"}
    assert planned([Path("in/b.flac")], Path("named.CSV")) == {"named.CSV"}


def test_recordings_of_one_name_keep_their_suffixes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("in/a.wav"), Path("in/a.flac"), Path("in/b.wav"))
    assert planned([Path("in")], Path("out")) == {"out/a.wav.notes.csv", "out/a.flac.notes.csv", "out/b.notes.csv"}


def test_recordings_of_one_name_from_several_folders_keep_these(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("one/a.wav"), Path("two/a.wav"), Path("two/b.wav"))
    expected = {"out/one-a.wav.notes.csv", "out/two-a.wav.notes.csv", "out/b.notes.csv"}
    assert planned([Path("one"), Path("two")], Path("out")) == expected
    assert planned([Path("one/a.wav"), Path("two/a.wav"), Path("two/b.wav")], Path("out")) == expected


def test_a_recording_that_is_named_twice_is_done_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("in/a.wav"))
    assert planned([Path("in"), Path("in/a.wav"), Path("in")], Path("out")) == {"out/a.notes.csv"}


def test_what_would_be_written_over_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("one/in/a.wav"), Path("two/in/a.wav"))
    with pytest.raises(ValueError, match=r"one/in/a.wav and two/in/a.wav; do one at a time"):
        jobs.plan_files([Path("one/in"), Path("two/in")], Path("out"), ".csv", (".csv",))


def test_many_recordings_do_not_go_into_one_file(tmp_path):
    touch(tmp_path / "a.wav", tmp_path / "b.wav")
    with pytest.raises(ValueError, match=r"one.csv: 2 recordings cannot go into one .csv file; give -o a folder"):
        jobs.plan_files([tmp_path], tmp_path / "one.csv", ".csv", (".csv",))


def test_what_is_no_path_is_told_and_the_others_are_planned(tmp_path):
    touch(tmp_path / "in" / "a.wav")
    (tmp_path / "empty").mkdir()
    found, (error,) = jobs.plan_files([tmp_path / "empty", tmp_path / "in"], None, ".csv", (".csv",))
    assert [job.audio.name for job in found] == ["a.wav"]
    assert "no audio file in this folder" in str(error)


def outcomes(*works):
    def each(progress):
        for work in works:
            yield jobs.attempt(work, Path("out.csv"))
            progress(1.0)

    return each


def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    done = []

    def work() -> Done:
        done.append("worked")
        return Done("done", [])

    error = jobs.attempt(work, tmp_path / "file" / "song.mid")
    assert "song.mid: cannot be written (Not a directory); choose another place with -o" in str(error)
    assert not done


def test_each_job_is_told_in_a_line_and_a_bad_one_does_not_stop_the_others(capfd):
    def doubtful() -> Done:
        warnings.warn("ends early", stacklevel=1)
        return Done("b: done", ["very quiet"])

    def unwritable() -> Done:
        raise PermissionError(13, "Permission denied")

    def bad() -> Done:
        raise ValueError("c: not audio")

    assert jobs.run_all(outcomes(lambda: Done("a: done", []), bad, doubtful, unwritable), 4.0) == 2
    captured = capfd.readouterr()
    assert captured.out.splitlines() == ["a: done", "b: done"]
    told = [line.strip() for line in captured.err.replace("\r", "\n").splitlines() if "|" not in line and line.strip()]
    assert told == [
        "c: not audio",
        "warning: ends early",
        "warning: very quiet",
        "out.csv: cannot be written (Permission denied); choose another place with -o",
    ]
    assert jobs.run_all(outcomes(lambda: Done("a: done", [])), 1.0) == 0


def test_more_seconds_than_were_announced_are_no_trouble(capfd):
    def outcomes(progress):
        for _ in range(20):
            progress(1.0)
            time.sleep(0.01)  # so that the bar is drawn
        yield Done("a: done", [])

    assert jobs.run_all(outcomes, 3.3) == 0
    assert "Warning" not in capfd.readouterr().err


def nap_and_write(path: Path) -> int:
    time.sleep(0.5)
    path.touch()
    return os.getpid()


def test_works_are_done_in_processes(tmp_path):
    paths = [tmp_path / name for name in "abc"]
    results = dict(jobs.in_processes([partial(nap_and_write, path) for path in paths], 2))
    assert sorted(results) == [0, 1, 2]
    assert os.getpid() not in results.values()
    assert all(path.exists() for path in paths)


def test_ctrl_c_ends_all_processes_at_once_in_a_line(tmp_path):
    """What waits is not done, and no process says where it was."""
    program = f"""
import sys
from functools import partial
from pathlib import Path
from common.jobs import guarded, in_processes
from tests.common.test_jobs import nap_and_write
if __name__ == "__main__":
    works = [partial(nap_and_write, Path({str(tmp_path)!r}) / str(i)) for i in range(40)]
    sys.exit(guarded(lambda: len([print(place, flush=True) for place, _ in in_processes(works, 2)])))
"""
    (tmp_path / "program.py").write_text(program)
    root = Path(__file__).parents[2]
    running = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever was started in the background of a shell is deaf to Ctrl-C, and so would be what it starts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout
    assert running.stdout.readline()
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, error = running.communicate(timeout=60)
    assert running.returncode == jobs.STOPPED
    assert error == "stopped; what is written is whole\n"
    assert len(list(tmp_path.glob("[0-9]*"))) < 10


def test_a_process_that_is_killed_is_told():
    with pytest.raises(jobs.KilledError, match="fewer --jobs"):
        list(jobs.in_processes([os.getpid, partial(os._exit, 9)], 1))


@pytest.mark.parametrize(
    ("refused", "error", "code"),
    [([], None, 0), ([ValueError("no")], None, 2), ([], ValueError("no"), 2), ([], KeyboardInterrupt(), 130)],
)
def test_exit_codes(refused, error, code, capsys):
    done = []

    def run(todo: list) -> int:
        if error:
            raise error
        done.extend(todo)
        return 0

    assert jobs.carry_out(lambda: ([Job(Path("a"), Path("b"))], refused), run) == code
    assert len(done) == (0 if error else 1)
    assert len(capsys.readouterr().err.splitlines()) == (0 if code == 0 else 1)


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (np.zeros(1000), "digital silence"),
        (np.full(1000, 1e-3), "very quiet (peak -60 dBFS)"),
        (np.r_[np.ones(10), np.zeros(990)], "clipped (1.00 % of the samples)"),
    ],
)
def test_a_meter_hears_what_is_doubtful_and_changes_nothing(audio, text):
    meter, seconds = Meter(), []
    blocks = np.array_split(audio.astype(np.float32), 3)
    passed = list(meter.watch(iter(blocks), seconds.append, 500))
    np.testing.assert_array_equal(np.concatenate(passed), audio.astype(np.float32))
    assert sum(seconds) == pytest.approx(2.0)
    (doubt,) = meter.doubts()
    assert text in doubt


def test_sound_that_is_neither_quiet_nor_clipped_is_not_doubted():
    meter = Meter()
    list(meter.watch([np.full(100, 0.5, np.float32)], None, 100))
    assert not list(meter.doubts())


def test_length_is_that_of_the_header_and_none_where_there_is_no_audio(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF no audio")
    assert jobs.seconds_of(tmp_path / "bad.wav") == 0.0
