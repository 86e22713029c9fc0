"""``latentsr data`` and ``latentsr verify-data``: the images of the study, and downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentsr.companion.cli.started import here, progress

app = typer.Typer(no_args_is_help=True, help="Which images the study uses.")


@app.command()
def use(
    pairs: Annotated[list[str], typer.Argument(help="NAME=DIR ...", metavar="NAME=DIR...")],
    split_by_image: Annotated[
        list[str], typer.Option(help="name of a set whose images, not subjects, are split")
    ] = [],  # noqa: B006
    settings: Annotated[
        list[str],
        typer.Option("--set", help="a key of sets.yaml, as brain.axis=0", metavar="NAME.KEY=VALUE"),
    ] = [],  # noqa: B006
) -> None:
    """Use your own images: every set named here, and only those."""
    from latentsr.companion.pipeline import datastore

    parts = [pair.partition("=") for pair in pairs]
    folders = [f"{name}{sign}{here(place) if place else ''}" for name, sign, place in parts]
    for line in datastore.use(folders, split_by_image, settings=settings):
        print(line)


@app.command()
def reset() -> None:
    """Go back to the embedded phantoms."""
    from latentsr.companion.pipeline import datastore

    for line in datastore.reset():
        print(line)


@app.command()
def rescue() -> None:
    """Move files that somebody put into data/ by hand to data-rescued/."""
    from latentsr.companion.pipeline import strangers

    for line in strangers.rescue():
        print(line)


@app.command()
def status() -> None:
    """Say which images the study uses."""
    from latentsr.companion.pipeline import datastore

    for line in datastore.status():
        print(line)


def verify_data(
    name: Annotated[
        str, typer.Argument(help="the layout, such as mrnet, brats, mimic_cxr or folder")
    ],
    path: Annotated[Path, typer.Argument(help="the folder of the download")],
    full: Annotated[bool, typer.Option(help="open every file, not a sample")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="a PNG file to write: images as the study sees them")
    ] = None,
) -> None:
    """Compare a download with what its data set should hold; exit status 1 where it differs."""
    from rich.console import Console
    from rich.table import Table

    from latentsr.companion.pipeline import params
    from latentsr.datasets import ADAPTERS, verify

    study = params.read(Path("params.yaml"))["data"]
    if sheet and here(sheet).is_dir():
        raise ValueError(f"--sheet: {sheet} is a folder; the name of a PNG file is needed")
    if sheet and not here(sheet).parent.is_dir():
        raise ValueError(f"--sheet: {sheet}; its folder is not there: make it first")
    place = here(path)
    with progress(name, unit=" images", unit_scale=False, leave=False) as shown:
        rows, report = verify.verify(name, place, full=full, hr_px=study.hr_px, progress=shown)
    table = Table("", "found", "expected", "")
    for row in rows:
        table.add_row(row.what, row.value, row.expected, row.note or "" if row.good else "differs")
    Console().print(table)
    for line in report.problems[:20]:
        print(line)
    if sheet and not report.stopped:
        from PIL import Image

        out = here(sheet)
        slices = study.brain_slices if "brain_slices" in ADAPTERS[name].options else 5
        Image.fromarray(verify.contact_sheet(name, place, slices=slices)).save(out, "PNG")
        print(f"contact sheet: {out} (it shows images of this set: mind its terms)")
    if len(report.problems) > 20:
        print(f"and {len(report.problems) - 20} more problems")
    if report.stopped:
        raise typer.Exit(130)
    if report.problems or not all(row.good for row in rows):
        raise typer.Exit(1)
