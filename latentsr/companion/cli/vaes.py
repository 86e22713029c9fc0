"""``latentsr vaes``: the autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentsr.companion.cli.started import here, progress

app = typer.Typer(no_args_is_help=True, help="The autoencoders.")


@app.command("list")
def listed() -> None:
    """List the autoencoders: geometry, what they were trained on, and whether they are here."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from latentsr.autoencoders import load as vaes
    from latentsr.autoencoders import registry

    heads = ("name", "geometry", "trained on", "licence", "MB", "here")
    table = Table(*heads, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.columns[2].min_width = 12
    for column in table.columns[:4:3]:
        column.no_wrap = True
    for name, small in registry.SPECS.items():
        path = vaes.place(name)
        size = f"{path.stat().st_size / 1e6:.1f}" if path.exists() else ""
        where = "package" if path.exists() else "no"
        trained = ", ".join(small.trained_on) + (f" (seed {small.seed})" if small.seed else "")
        table.add_row(name, small.geometry, trained, "Apache-2.0", size, where)
    for name, entry in registry.PUBLISHED.items():
        path = vaes.place(name)
        size = "?" if entry.megabytes is None else str(entry.megabytes)
        where = "yes" if path.exists() else "no"
        table.add_row(name, entry.geometry, entry.trained_on, entry.licence, size, where)
    for path in sorted(vaes.FETCHED.glob("hf--*")):
        if (path / "config.json").is_file() and path.suffix not in (".fetched", ".mismatch"):
            table.add_row(path.name.replace("--", "/"), "", "not known", "see the hub", "", "yes")
    Console().print(table)
    print(f"published ones lie in {vaes.FETCHED}/")
    print("what is not here: `latentsr vaes fetch NAME`, for the small ones `make pretrain`")


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help="names of `vaes list`, or hf/OWNER/NAME/REVISION\\[/FOLDER]")
    ],
) -> None:
    """Download published autoencoders and check them against vaes.lock."""
    from latentsr.autoencoders import registry, vae_fetching

    if strange := [n for n in names if n not in registry.PUBLISHED and not registry.hub_files(n)]:
        vae_fetching.fetch(strange[0])  # says which are allowed, before anything is fetched
    for name in names:
        with progress(name) as seen:
            said = vae_fetching.fetch(name, seen)
        print(said)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint or folder")],
    target: Annotated[Path, typer.Argument(help="a .safetensors file")],
) -> None:
    """Write any readable autoencoder as one safetensors file in diffusers' layout."""
    from latentsr.autoencoders import load as vaes

    if target.suffix != ".safetensors":
        raise ValueError(f"vaes convert: {target}; a name that ends in .safetensors is needed")
    file, place = here(target), here(source)
    if file.exists():
        raise ValueError(f"vaes convert: {file} is there already; give another name or remove it")
    if not file.parent.is_dir():
        raise ValueError(f"vaes convert: {file.parent} is not a folder")
    vae = vaes.load(str(place) if place.exists() else source)
    vaes.save(vae, file)
    print(f"{file}: f{vae.factor}c{vae.latent_channels}")
