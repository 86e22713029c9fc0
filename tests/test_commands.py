"""Every command of ``latentsr`` tells how it is called."""

import pytest
import typer
from typer.testing import CliRunner

from latentsr import cli


def paths(command, path=()):
    if below := getattr(command, "commands", None):
        for name, one in below.items():
            yield from paths(one, (*path, name))
    else:
        yield path


COMMANDS = sorted(paths(typer.main.get_command(cli.app)))


def test_the_commands_are_those_of_every_family():
    assert len(COMMANDS) >= 18 and {"data", "vaes", "denoisers", "others"} < {
        c[0] for c in COMMANDS
    }


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_tells_how_it_is_called(command):
    done = CliRunner().invoke(cli.app, [*command, "--help"])
    assert done.exit_code == 0 and f"Usage: root {' '.join(command)}" in done.stdout
