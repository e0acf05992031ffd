import sys
from importlib import import_module
from subprocess import run

import pytest

from diffusion_pir import __main__ as door


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h"], 0), ([], 0), (["transcribe"], 2)])
def test_usage(words, code, capsys):
    assert door.main(words) == code
    out, err = capsys.readouterr()
    assert door.USAGE in (err if code else out)


def test_every_verb_is_in_the_usage():
    told = [line.split()[0] for line in door.USAGE.splitlines() if line.startswith("  ")]
    assert set(told) == {*door.COMMANDS, "fit", "fit-han"}


@pytest.mark.parametrize("verb", door.COMMANDS)
def test_every_verb_has_its_command(verb, capsys):
    module, _, name = door.COMMANDS[verb].rpartition(".")
    assert callable(getattr(import_module(module), name))
    with pytest.raises(SystemExit) as stop:
        door.main([verb, "--help"])
    assert stop.value.code == 0
    assert f"python -m diffusion_pir {verb}" in capsys.readouterr().out


def test_who_recognises_does_not_wait_for_a_trainer():
    code = (
        "import sys; import diffusion_pir; from diffusion_pir.__main__ import main\n"
        "assert 'torch' not in sys.modules\n"
        "try: main(['recognise', '--help'])\n"
        "except SystemExit: sys.exit(' '.join({'lightning', 'wandb', 'diffusers'} & set(sys.modules)) or 0)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
