"""The command line: ``latentsr ...``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

STARTED_IN = Path.cwd()
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The companion's commands; run them inside a clone.",
)
data_app = typer.Typer(no_args_is_help=True, help="Which images the study uses.")
vaes_app = typer.Typer(no_args_is_help=True, help="The autoencoders.")
app.add_typer(data_app, name="data")
app.add_typer(vaes_app, name="vaes")


@data_app.command("use")
def data_use(
    pairs: Annotated[list[str], typer.Argument(help="NAME=DIR ...", metavar="NAME=DIR...")],
    split_by_image: Annotated[
        list[str], typer.Option(help="name of a set whose images, not subjects, are split")
    ] = [],  # noqa: B006
) -> None:
    """Use your own images: every set named here, and only those."""
    from latentsr import datastore

    def seen_from_here(pair: str) -> str:  # the command itself runs in the repository's folder
        name, sign, place = pair.partition("=")
        return f"{name}{sign}{STARTED_IN / Path(place).expanduser() if place else ''}"

    for line in datastore.use([seen_from_here(pair) for pair in pairs], split_by_image):
        print(line)


@data_app.command("reset")
def data_reset() -> None:
    """Go back to the embedded phantoms."""
    from latentsr import datastore

    for line in datastore.reset():
        print(line)


@data_app.command("rescue")
def data_rescue() -> None:
    """Move files that somebody put into data/ by hand to data-rescued/."""
    from latentsr import datastore

    for line in datastore.rescue_strangers():
        print(line)


@data_app.command("status")
def data_status() -> None:
    """Say which images the study uses."""
    from latentsr import datastore

    for line in datastore.status():
        print(line)


@vaes_app.command("list")
def vaes_list() -> None:
    """List the autoencoders, their geometry and what they were trained on."""
    from rich.console import Console
    from rich.table import Table

    from latentsr import registry, vaes

    table = Table("name", "geometry", "trained on", "seed", "here")
    table.columns[0].no_wrap = True
    here = vaes.shipped()
    for name, spec in registry.SPECS.items():
        where = "yes" if name in here else "no; `make pretrain`"
        table.add_row(name, spec.geometry, ", ".join(spec.trained_on), str(spec.seed), where)
    Console().print(table)


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
) -> None:
    """Print the paper's claims beside what this run measured."""
    from rich.console import Console
    from rich.table import Table

    from latentsr import claims as ledger
    from latentsr import params

    settings = params.read(Path("params.yaml"))
    results = Path("results") / settings["profile"]
    found = ledger.table(results, settings["claims"].reproduced_half_width)
    if as_json:
        print(found.to_json(orient="records", indent=2))
        return
    table = Table(*map(str, found.columns))
    for row in found.itertuples(index=False):
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    Console().print(table)


def main() -> None:
    """Run the command line from the repository's folder; what a user can mend is one line."""
    from latentsr import notebook

    try:
        os.chdir(notebook.repository())
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"latentsr: {error}")
