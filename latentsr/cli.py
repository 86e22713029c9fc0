"""The command line: ``latentsr ...``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pandas import DataFrame

STARTED_IN = Path.cwd()
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The companion's commands; run them inside a clone.",
)
data_app = typer.Typer(no_args_is_help=True, help="Which images the study uses.")
vaes_app = typer.Typer(no_args_is_help=True, help="The autoencoders.")
denoisers_app = typer.Typer(no_args_is_help=True, help="The denoisers that the authors released.")
others_app = typer.Typer(no_args_is_help=True, help="Pretrained SR models, LPIPS, FID: optional.")
app.add_typer(data_app, name="data")
app.add_typer(vaes_app, name="vaes")
app.add_typer(denoisers_app, name="denoisers")
app.add_typer(others_app, name="others")


@data_app.command("use")
def data_use(
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
    from latentsr import datastore

    def seen_from_here(pair: str) -> str:  # the command itself runs in the repository's folder
        name, sign, place = pair.partition("=")
        return f"{name}{sign}{STARTED_IN / Path(place).expanduser() if place else ''}"

    folders = [seen_from_here(pair) for pair in pairs]
    for line in datastore.use(folders, split_by_image, settings=settings):
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


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar while something is fetched; gives what to call with bytes there and in all."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="B", unit_scale=True, delay=1) as bar:

        def seen(there: int, total: int) -> None:
            bar.total = total
            bar.update(there - bar.n)

        yield seen


@vaes_app.command("list")
def vaes_list() -> None:
    """List the autoencoders: geometry, what they were trained on, and whether they are here."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from latentsr import registry, vaes

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


@vaes_app.command("fetch")
def vaes_fetch(
    names: Annotated[
        list[str], typer.Argument(help="names of `vaes list`, or hf/OWNER/NAME/REVISION[/FOLDER]")
    ],
) -> None:
    """Download published autoencoders and check them against vaes.lock."""
    from latentsr import registry, vae_fetching

    if strange := [n for n in names if n not in registry.PUBLISHED and not registry.hub_files(n)]:
        vae_fetching.fetch(strange[0])  # says which are allowed, before anything is fetched
    for name in names:
        with _progress(name) as seen:
            said = vae_fetching.fetch(name, seen)
        print(said)


@vaes_app.command("convert")
def vaes_convert(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint or folder")],
    target: Annotated[Path, typer.Argument(help="a .safetensors file")],
) -> None:
    """Write any readable autoencoder as one safetensors file in diffusers' layout."""
    from latentsr import vaes

    if target.suffix != ".safetensors":
        raise ValueError(f"vaes convert: {target}; a name that ends in .safetensors is needed")
    here = STARTED_IN / target.expanduser()
    if here.exists():
        raise ValueError(f"vaes convert: {here} is there already; give another name or remove it")
    if not here.parent.is_dir():
        raise ValueError(f"vaes convert: {here.parent} is not a folder")
    place = STARTED_IN / Path(source).expanduser()
    vae = vaes.load(str(place) if place.exists() else source)
    vaes.save(vae, here)
    print(f"{here}: f{vae.factor}c{vae.latent_channels}")


@denoisers_app.command("list")
def denoisers_list() -> None:
    """List the released denoisers, and whether they are here."""
    from latentsr import released

    for name in released.NAMES:
        path = released.place(name)
        print(f"{name:20} {path if path.exists() else 'not here'}")


@denoisers_app.command("fetch")
def denoisers_fetch(
    names: Annotated[list[str], typer.Argument(help="released denoisers, see `denoisers list`")],
) -> None:
    """Download released denoisers; their repository asks for a form and a token in HF_TOKEN."""
    from latentsr import fetching, released

    places = {name: released.place(name) for name in names}
    for name, path in places.items():
        with _progress(name) as seen:
            url = released.URL.format(name=name)
            said = fetching.fetch(name, url, path, progress=seen, looks_right=released.load)
        print(said)


@denoisers_app.command("load")
def denoisers_load(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint")],
) -> None:
    """Load a released denoiser and say what it is."""
    from latentsr import released

    given = STARTED_IN / source
    path = given if given.exists() else released.place(source)
    if not path.exists():
        raise ValueError(f"{path}: not there; `latentsr denoisers fetch {source}` gets it")
    net = released.load(path)
    config, million = net.unet.config, sum(p.numel() for p in net.parameters()) / 1e6
    print(
        f"{path}: {million:.1f} million parameters, {config['in_channels']} channels in, "
        f"{config['out_channels']} out, levels {', '.join(config['down_block_types'])}"
    )


@denoisers_app.command("score")
def denoisers_score(
    names: Annotated[list[str], typer.Argument(help="released denoisers that are here")],
    steps: Annotated[int, typer.Option(help="network calls, 1 to 1000")] = 1000,
    seed: Annotated[int, typer.Option(help="of the noise")] = 42,
    latents: Annotated[
        Path | None, typer.Option(help="a folder of the authors' cached latents, to score on them")
    ] = None,
    split: Annotated[str, typer.Option(help="of the cached latents")] = "test",
    by_position: Annotated[
        bool, typer.Option(help="give cached latents the names of the released reader")
    ] = False,
) -> None:
    """Score released denoisers on the test images of the current profile; nothing is trained."""
    from latentsr import device, params, released, released_scores

    if not 1 <= steps <= released.STEPS:
        raise ValueError(f"--steps: {steps}; 1 to {released.STEPS} are allowed")
    if by_position and latents is None:
        raise ValueError("--by-position: it is a way to read cached latents; give --latents DIR")
    results = Path("results") / params.read(Path("params.yaml"))["profile"]
    for name in names:
        released.place(name)  # an unknown name is told before anything is read
    for name in names:
        cached = None
        if latents is not None:
            root = STARTED_IN / latents.expanduser()
            cached = released.read_latents(root, split, by_position=by_position)
        kind = "-latents" * (latents is not None) + "-by-position" * by_position
        path = results / "released" / f"{name}{kind}.csv"
        for line in released_scores.write(
            results, name, steps, seed, path, cached, device.default()
        ):
            print(line)


@others_app.command("sr")
def others_sr(
    path: Annotated[Path, typer.Argument(help="a checkpoint, or a folder that diffusers saved")],
    steps: Annotated[int, typer.Option(help="network calls of LDM-SR")] = 100,
    seed: Annotated[int, typer.Option(help="of its noise")] = 42,
) -> None:
    """Score a pretrained SR model (ESRGAN, SwinIR, LDM-SR) on the test images of this profile."""
    from latentsr import device, others, scores

    results, place = _results(), STARTED_IN / path.expanduser()
    table = others.sr_models(results, place, device.default(), num_steps=steps, seed=seed)
    mean = scores.subject_mean(table, ["dataset"], ["psnr_db", "gmsd"])
    print(f"{mean.round(3).to_string()}\n{_kept(table, results, place.stem)}")


@others_app.command("perceptual")
def others_perceptual(
    measure: Annotated[str, typer.Argument(help="lpips or fid")],
) -> None:
    """Score every arm of this profile by LPIPS or FID; their weights must be here."""
    from latentsr import others

    results = _results()
    table = others.perceptual(results, measure)
    print(f"{table.round(4).to_string(index=False)}\n{_kept(table, results, measure)}")


def _results() -> Path:
    from latentsr import params

    results = Path("results") / params.read(Path("params.yaml"))["profile"]
    if not (results / "data").is_dir():
        raise ValueError(f"{results}: no run there; `make repro PROFILE={results.name}` makes it")
    return results


def _kept(table: DataFrame, results: Path, name: str) -> Path:
    path = results / "others" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


@app.command("verify-data")
def verify_data(
    name: Annotated[str, typer.Argument(help="mrnet, brats, mimic_cxr or folder")],
    path: Annotated[Path, typer.Argument(help="the folder of the download")],
    full: Annotated[bool, typer.Option(help="open every file, not a sample")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="a PNG file to write: images as the study sees them")
    ] = None,
) -> None:
    """Compare a download with what its data set should hold; exit status 1 where it differs."""
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm

    from latentsr import params
    from latentsr.datasets import verify

    study = params.read(Path("params.yaml"))["data"]
    if sheet and (STARTED_IN / sheet.expanduser()).is_dir():
        raise ValueError(f"--sheet: {sheet} is a folder; the name of a PNG file is needed")
    if sheet and not (STARTED_IN / sheet.expanduser()).parent.is_dir():
        raise ValueError(f"--sheet: {sheet}; its folder is not there: make it first")
    place = STARTED_IN / path.expanduser()
    try:
        with tqdm(desc=name, unit=" images", delay=1, leave=False) as bar:

            def seen(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            findings, problems = verify.verify(
                name, place, full=full, hr_px=study.hr_px, progress=seen
            )
    except KeyboardInterrupt as stopped:
        print(f"latentsr: {stopped or 'stopped before any file was opened'}", file=sys.stderr)
        raise typer.Exit(130) from None
    table = Table("", "found", "expected", "")
    for row in findings:
        table.add_row(row.what, row.found, row.expected, row.note or "" if row.good else "differs")
    Console().print(table)
    for line in problems[:20]:
        print(line)
    if sheet:
        from PIL import Image

        out = STARTED_IN / sheet.expanduser()
        slices = study.brain_slices if name == "brats" else 5
        Image.fromarray(verify.contact_sheet(name, place, slices=slices)).save(out, "PNG")
        print(f"contact sheet: {out} (it shows images of this set: mind its terms)")
    if len(problems) > 20:
        print(f"and {len(problems) - 20} more problems")
    if problems or not all(row.good for row in findings):
        raise typer.Exit(1)


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
