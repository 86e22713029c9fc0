import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from latentsr.companion.cli import main as cli

LATENTSR = str(Path(sys.executable).with_name("latentsr"))


def call(*words, cwd="."):
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        [LATENTSR, *words], capture_output=True, text=True, cwd=cwd, env=environment
    )


def test_help_names_the_commands():
    done = call("--help")
    assert done.returncode == 0
    for word in ("data", "vaes", "repro", "smoke", "claims"):
        assert word in done.stdout


def paths(command, path=()):
    for name, one in getattr(command, "commands", {}).items():
        yield from paths(one, (*path, name))
    if not hasattr(command, "commands"):
        yield path


@pytest.mark.parametrize("command", paths(typer.main.get_command(cli.app)), ids=" ".join)
def test_a_command_tells_how_it_is_called(command):
    done = CliRunner().invoke(cli.app, [*command, "--help"])
    assert done.exit_code == 0 and f"Usage: root {' '.join(command)}" in done.stdout


def test_vaes_list():
    done = call("vaes", "list")
    assert done.returncode == 0
    assert "phantom-f4c3-without-knee" in done.stdout
    assert "medvae-4-3" in done.stdout and "MIT" in done.stdout


def test_vaes_convert_never_overwrites(tmp_path):
    done = call("vaes", "convert", "natural-f4c1", str(tmp_path / "x.safetensors"))
    assert done.returncode == 0 and "f4c1" in done.stdout
    done = call("vaes", "convert", "natural-f4c1", str(tmp_path / "x.safetensors"))
    assert done.returncode == 1 and "is there already" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data", "use", "knee=/nowhere/at/all"],
            "'knee=/nowhere/at/all': /nowhere/at/all is not there",
        ),
        (["data", "use", "knee=~/nowhere"], "/nowhere is not there"),
        (["data", "use", "knee"], "'knee': NAME=DIR is needed, with a NAME of a-z"),
        (["data", "use", "Kn ee=."], "NAME=DIR is needed, with a NAME of a-z"),
        (["repro", "--profile", "huge"], "PROFILE: 'huge'; allowed are"),
        (["vaes", "fetch", "sdvae"], "vaes fetch: 'sdvae'; allowed are sd-vae-ft-ema, "),
        (["denoisers", "fetch", "x"], "denoiser: 'x'; allowed are sdvae_mrnet, "),
        (["denoisers", "load", "sdvae_cxr"], "`latentsr denoisers fetch sdvae_cxr` gets it"),
        (["vaes", "convert", "natural-f8c4", "x.bin"], "a name that ends in .safetensors"),
        (["vaes", "convert", "gone", "x.safetensors"], "vae gone: no such file or folder"),
        (
            ["verify-data", "folder", ".", "--sheet", "gone/x.png"],
            "--sheet: gone/x.png; its folder",
        ),
    ],
)
def test_what_a_user_can_mend_is_told_without_a_traceback(words, message):
    done = call(*words)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout


def test_outside_a_clone(tmp_path):
    done = call("vaes", "list", cwd=tmp_path)
    assert done.returncode == 1
    assert "not inside a clone of latentsr" in done.stderr
