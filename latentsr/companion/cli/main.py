"""The command line: ``latentsr ...``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from latentsr.companion.cli import data, denoisers, others, vaes

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
    from latentsr.companion.pipeline import repro as study

    study.run(profile or None)


@app.command()
def smoke() -> None:
    """Run the whole pipeline with the smoke profile in a throw-away copy."""
    from latentsr.companion.pipeline import repro as study

    print(f"smoke results: {study.smoke()}")


@app.command()
def publish() -> None:
    """Put the built book of the current profile at book/_build/html, with its run record."""
    from latentsr.companion.book import build as book
    from latentsr.companion.pipeline import params

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

    from latentsr.companion.book import pages
    from latentsr.companion.claims import ledger
    from latentsr.companion.pipeline import params

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


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="the results of a run, for instance results/mini")],
    run_b: Annotated[Path, typer.Argument(help="the results of another")],
    rename: Annotated[
        Path | None, typer.Option(help="YAML: words of RUN_A: those of RUN_B")
    ] = None,
    relative: Annotated[float, typer.Option(help="relative tolerance of numbers")] = 1e-9,
) -> None:
    """Say where two runs differ: files, words, and numbers beyond a relative tolerance.

    Exit status 1 where they do. Pages are not compared: what they show stands in the files.
    """
    import yaml

    from latentsr.companion import compare as runs

    names = yaml.safe_load(rename.read_text()) if rename else {}
    lines = list(runs.differences(run_a, run_b, names, relative))
    for line in lines:
        print(line)
    if lines:
        sys.exit(1)
    print(f"{len(runs.files(run_b))} files: the same words, numbers equal to {relative:g}")


def main() -> None:
    """Run the command line from the repository's folder; what a user can mend is one line."""
    from latentsr.companion.pipeline import notebook

    try:
        os.chdir(notebook.repository())
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"latentsr: {error}")
