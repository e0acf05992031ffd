from pathlib import Path

import pytest

from common.options import transcription_parser


def test_every_transcribe_command_has_these():
    parser = transcription_parser("band", "small, or a file", "small")
    options = parser.parse_args(["a.wav", "folder", "-o", "out", "--json", "--jobs", "2"])
    assert vars(options) == {
        "audio": [Path("a.wav"), Path("folder")], "out": Path("out"), "model": "small", "device": "cpu", "json": True,
        "csv": False, "plot": False, "sonify": False, "skip_existing": False, "jobs": 2,
    }  # fmt: skip
    assert "python -m band transcribe" in parser.format_usage()


def test_without_audio_there_is_nothing_to_do(capsys):
    with pytest.raises(SystemExit) as stop:
        transcription_parser("band", "small", "small").parse_args([])
    assert stop.value.code == 2
    assert "audio" in capsys.readouterr().err
