"""The command line: ``latentsr ...``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from latentsr.commands import data, denoisers, others, vaes

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The companion's commands; run them inside a clone.",
)
app.add_typer(data.app, name="data")
app.add_typer(vaes.app, name="vaes")
app.add_typer(denoisers.app, name="denoisers")
app.add_typer(others.app, name="others")
app.command("verify-data")(data.verify_data)


@app.command()
def repro(
    profile: Annotated[str, typer.Option(help="smoke, mini or paper; default: as it is")] = "",
) -> None:
    """Regenerate every figure, table and the book."""
    from latentsr import repro as study

    study.run(profile or None)


@app.command()
def smoke() -> None:
    """Run the whole pipeline with the smoke profile in a throw-away copy."""
    from latentsr import repro as study

    print(f"smoke results: {study.smoke()}")


@app.command()
def publish() -> None:
    """Put the built book of the current profile at book/_build/html, with its run record."""
    from latentsr import book, params

    print(book.publish(str(params.read(Path("params.yaml"))["profile"])))


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="JSON to standard output")] = False,
    check: Annotated[bool, typer.Option(help="only see that every row can be computed")] = False,
) -> None:
    """Print the paper's claims beside what this run measured.

    A figure that deviates from the paper's is a result: exit status 1 is for rows that fail.
    """
    import json

    from latentsr import claims as ledger
    from latentsr import pages, params

    settings = params.read(Path("params.yaml"))
    results = Path("results") / settings["profile"]
    found = ledger.table(results, settings["claims"].reproduced_half_width)
    if check:
        print(f"{len(found)} rows computed from {results}")
        return
    sets = json.loads((results / "data" / "sets.json").read_text())
    print(pages.images_line(sets), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(found.to_json(orient="records", indent=2))
        return
    for line in ledger.lines(found):
        print(line)


def main() -> None:
    """Run the command line from the repository's folder; what a user can mend is one line."""
    from latentsr import notebook

    try:
        os.chdir(notebook.repository())
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"latentsr: {error}")
