import warnings
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
