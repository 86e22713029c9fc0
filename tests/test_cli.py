import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import latentsr
from latentsr.companion.cli import main as cli

LATENTSR = [sys.executable, "-c", "from latentsr.companion.cli.main import main; main()"]


def call(*words, cwd="."):
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "100"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    return subprocess.run(
        [*LATENTSR, *words], capture_output=True, text=True, cwd=cwd, env=environment
    )


def paths(command, path=()):
    for name, one in getattr(command, "commands", {}).items():
        yield from paths(one, (*path, name))
    if not hasattr(command, "commands"):
        yield path


@pytest.mark.parametrize("command", paths(typer.main.get_command(cli.app)), ids=" ".join)
def test_a_command_tells_how_it_is_called(command):
    done = CliRunner().invoke(cli.app, [*command, "--help"])
    assert done.exit_code == 0 and f"Usage: root {' '.join(command)}" in done.stdout


def test_what_needs_no_clone_runs_in_any_folder(tmp_path):
    for words, text in (
        (["--help"], "verify-data"),
        (["--version"], f"latentsr {latentsr.__version__}"),
        (["vaes", "list"], "phantom-f4c3-without-knee"),
        (["denoisers", "list"], "sdvae_mrnet"),
    ):
        done = call(*words, cwd=tmp_path)
        assert done.returncode == 0 and text in done.stdout, done.stderr
    (tmp_path / "a").mkdir()
    assert "the same words" in call("compare", "a", "a", cwd=tmp_path).stdout
    for words in (["data", "status"], ["claims"], ["repro"], ["others", "perceptual", "fid"]):
        done = call(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"latentsr: {tmp_path}: not inside a clone of latentsr" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_vaes_convert_never_overwrites(tmp_path):
    done = call("vaes", "convert", "natural-f4c1", "x.safetensors", cwd=tmp_path)
    assert done.returncode == 0 and "f4c1" in done.stdout
    done = call("vaes", "convert", "natural-f4c1", "x.safetensors", cwd=tmp_path)
    assert done.returncode == 1 and "a new name that ends in .safetensors" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data use knee=/nowhere/at/all", "'knee=/nowhere/at/all': /nowhere/at/all is not there"),
        ("data use knee=~/nowhere", "/nowhere is not there"),
        ("data use Knee=.", "NAME=DIR is needed, with a NAME of a-z"),
        ("repro --profile huge", "PROFILE: 'huge'; allowed are"),
        ("vaes fetch sdvae", "vaes fetch: 'sdvae'; allowed are sd-vae-ft-ema, "),
        ("denoisers fetch x", "denoiser: 'x'; allowed are sdvae_mrnet, "),
        ("denoisers load sdvae_cxr", "`latentsr denoisers fetch sdvae_cxr` gets it"),
        ("vaes convert gone x.safetensors", "vae gone: no such file or folder"),
        ("verify-data folder . --sheet gone/x.png", "gone/x.png; a PNG file in a folder that is"),
        ("compare gone gone", "gone is no folder; give the results of a run"),
        ("vaes list --all", "No such option: --all; `latentsr --help` lists what there is"),
        ("nothing", "No such command 'nothing'; `latentsr --help`"),
    ],
)
def test_what_a_user_can_correct_is_one_line(words, message):
    done = call(*words.split())
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout


def test_the_top_and_the_command_line_load_no_torch_and_nothing_of_the_extra_study():
    code = """
import sys, latentsr
assert "numpy" not in sys.modules and callable(latentsr.psnr_db)
import latentsr.companion.cli.main, latentsr.companion.pipeline.notebook
heavy = {"torch", "diffusers", "matplotlib", "dvc", "papermill", "jupyter_book", "nbformat"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_the_top_leads_somewhere():
    assert len(latentsr.__all__) > 30
    for name in latentsr.__all__:
        assert getattr(latentsr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'; see latentsr.__all__"):
        latentsr.nothing  # noqa: B018
