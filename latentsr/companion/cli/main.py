"""The command line: ``latentsr ...``. What needs no clone of the repository runs in any folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pandas import DataFrame

STARTED_IN = Path.cwd()  # commands run in the repository's folder where they are inside a clone


def here(path: str | Path) -> Path:
    """Return a path as it was meant where the command was started."""
    return STARTED_IN / Path(path).expanduser()


GROUP: dict[str, Any] = {"no_args_is_help": True}
PATH: dict[str, Any] = {"parser": here, "metavar": "PATH"}
app = typer.Typer(**GROUP, add_completion=False, help="The companion's commands.")
data_app = typer.Typer(**GROUP, help="Which images the study uses (in a clone).")
vaes_app = typer.Typer(**GROUP, help="The autoencoders.")
denoisers_app = typer.Typer(**GROUP, help="The denoisers that the authors released.")
others_app = typer.Typer(**GROUP, help="Pretrained SR models, LPIPS, FID (in a clone): optional.")
app.add_typer(data_app, name="data")
app.add_typer(vaes_app, name="vaes")
app.add_typer(denoisers_app, name="denoisers")
app.add_typer(others_app, name="others")


def in_clone() -> dict[str, Any]:
    """Return the parameters of the clone that the command was started in, or refuse to go on."""
    from latentsr.companion.pipeline import notebook, params

    os.chdir(notebook.repository())
    return params.read(Path("params.yaml"))


def results() -> Path:
    """Return the folder of the current profile's results; without a run in it, refuse to go on."""
    folder = Path("results") / in_clone()["profile"]
    if not (folder / "data").is_dir():
        raise ValueError(f"{folder}: no run there; `make repro PROFILE={folder.name}` makes it")
    return folder


def default_device() -> str:
    """Return "cuda" where PyTorch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def progress(name: str, **options: Any) -> Iterator[Callable[[int, int], None]]:
    """Show a bar, of bytes unless ``options`` say otherwise; give what takes done and total."""
    from tqdm import tqdm

    with tqdm(desc=name, delay=1, **{"unit": "B", "unit_scale": True, **options}) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance


def print_lines(lines: Iterator[str] | list[str]) -> None:
    """Print a line each."""
    for line in lines:
        print(line)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    """Print the version where it is asked for."""
    if show:
        from latentsr import __version__

        print(f"latentsr {__version__}")
        raise typer.Exit


@app.command()
def repro(
    profile: Annotated[str, typer.Option(help="smoke, mini or paper; default: as it is")] = "",
) -> None:
    """Regenerate every figure, table and the book (in a clone)."""
    from latentsr.companion.book import build as book
    from latentsr.companion.pipeline import repro as study

    in_clone()
    name, minutes = study.run(profile or None)
    print(f"The book is at {(book.publish(name, minutes) / 'index.html').resolve()}")


@app.command()
def smoke() -> None:
    """Run the whole pipeline with the smoke profile in a throw-away copy (of a clone)."""
    from latentsr.companion.pipeline import repro as study

    in_clone()
    print(f"smoke results: {study.smoke()}")


@app.command()
def publish() -> None:
    """Put the built book of the current profile at book/_build/html, with its run record."""
    from latentsr.companion.book import build as book

    print(book.publish(str(in_clone()["profile"])))


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="JSON to standard output")] = False,
    check: Annotated[bool, typer.Option(help="only see that every row can be computed")] = False,
) -> None:
    """Print the paper's claims beside what this run measured (in a clone).

    A figure that deviates from the paper's is a result: exit status 1 is for rows that fail.
    """
    import json

    from latentsr.companion.book import pages
    from latentsr.companion.claims import ledger

    settings = in_clone()
    folder = Path("results") / settings["profile"]
    table = ledger.table(folder, settings["claims"].reproduced_half_width)
    if check:
        print(f"{len(table)} rows computed from {folder}")
        return
    sets = json.loads((folder / "data" / "sets.json").read_text())
    print(pages.images_line(sets), file=sys.stderr if as_json else sys.stdout)
    print_lines([table.to_json(orient="records", indent=2)] if as_json else ledger.lines(table))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="the results of a run: results/mini", **PATH)],
    run_b: Annotated[Path, typer.Argument(help="the results of another", **PATH)],
    rename: Annotated[
        Path | None, typer.Option(help="YAML: words of RUN_A: those of RUN_B", **PATH)
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
    print_lines(lines)
    if lines:
        raise typer.Exit(1)
    print(f"{len(runs.files(run_b))} files: the same words, numbers equal to {relative:g}")


@app.command("verify-data")
def verify_data(
    name: Annotated[str, typer.Argument(help="the layout: mrnet, brats, mimic_cxr or folder")],
    path: Annotated[Path, typer.Argument(help="the folder of the download", **PATH)],
    full: Annotated[bool, typer.Option(help="open every file, not a sample")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="a PNG file to write: images as the study sees them", **PATH)
    ] = None,
) -> None:
    """Compare a download with what its data set should hold; exit status 1 where it differs."""
    from rich.console import Console
    from rich.table import Table

    from latentsr.datasets import ADAPTERS, verify

    hr_px, brain_slices = 128, 5  # outside a clone
    with suppress(ValueError):
        study = in_clone()["data"]
        hr_px, brain_slices = study.hr_px, study.brain_slices
    if sheet and (sheet.is_dir() or not sheet.parent.is_dir()):
        raise ValueError(f"--sheet: {sheet}; a PNG file in a folder that is there is needed")
    with progress(name, unit=" images", unit_scale=False, leave=False) as bar:
        rows, report = verify.verify(name, path, full=full, hr_px=hr_px, progress=bar)
    table = Table("", "found", "expected", "")
    for row in rows:
        table.add_row(row.what, row.value, row.expected, row.note or "" if row.good else "differs")
    Console().print(table)
    print_lines(report.problems[:20])
    if sheet and not report.stopped:
        from PIL import Image

        slices = brain_slices if "brain_slices" in ADAPTERS[name].options else 5
        Image.fromarray(verify.contact_sheet(name, path, slices=slices)).save(sheet, "PNG")
        print(f"contact sheet: {sheet} (it shows images of this set: mind its terms)")
    if len(report.problems) > 20:
        print(f"and {len(report.problems) - 20} more problems")
    if report.stopped:
        raise typer.Exit(130)
    if report.problems or not all(row.good for row in rows):
        raise typer.Exit(1)


@data_app.command()
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
    from latentsr.companion.pipeline import data

    in_clone()
    parts = [pair.partition("=") for pair in pairs]
    folders = [f"{name}{sign}{here(place) if place else ''}" for name, sign, place in parts]
    print_lines(data.use(folders, split_by_image, settings=settings))


def _add_data_command(name: str, text: str) -> None:
    @data_app.command(name, help=text)
    def command() -> None:
        from latentsr.companion.pipeline import data

        in_clone()
        print_lines(getattr(data, name)())


_add_data_command("reset", "Go back to the embedded phantoms.")
_add_data_command("rescue", "Move files that were put into data/ by hand to data-rescued/.")
_add_data_command("status", "Say which images the study uses.")


@vaes_app.command("list")
def list_vaes() -> None:
    """List the autoencoders: geometry, what they were trained on, and whether they are here."""
    from rich.console import Console
    from rich.table import Table

    from latentsr.autoencoders import fetch, registry

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("name", "latent", "trained on", "licence", "MB", "here"):
        table.add_column(head, no_wrap=head in ("name", "licence"))
    table.columns[2].min_width = 12
    for name in registry.NAMES:
        row, path = registry.spec(name), fetch.weights_path(name)
        there, size = path.exists(), str(row.megabytes or "?")
        if name in registry.SHIPPED:
            size = f"{path.stat().st_size / 1e6:.1f}" if there else ""
        where, trained = "yes" if there else "no", registry.trained_on(name)
        table.add_row(name, row.geometry, trained, row.licence, size, where)
    for path in sorted(fetch.fetched_dir().glob("hf--*")):
        if (path / "config.json").is_file() and path.suffix != ".fetched":
            table.add_row(path.name.replace("--", "/"), "", "not known", "see the hub", "", "yes")
    Console().print(table)
    print(f"-s1: trained with seed 1; published ones lie in {fetch.fetched_dir()}/")
    print("what is not here: `latentsr vaes fetch NAME`, for the small ones `make pretrain`")


@vaes_app.command("fetch")
def fetch_vaes(
    names: Annotated[
        list[str], typer.Argument(help="names of `vaes list`, or hf/OWNER/NAME/REVISION\\[/FOLDER]")
    ],
) -> None:
    """Download published autoencoders and check them against vaes.lock."""
    from latentsr.autoencoders import fetch
    from latentsr.autoencoders.load import read_model
    from latentsr.autoencoders.registry import HUB, PUBLISHED

    # one that cannot be fetched says so before anything is
    for name in sorted(names, key=lambda n: n in PUBLISHED or bool(HUB.fullmatch(n))):
        print(fetch.fetch(name, read_model))


@vaes_app.command()
def convert(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint or folder")],
    target: Annotated[Path, typer.Argument(help="a .safetensors file", **PATH)],
) -> None:
    """Write any readable autoencoder as one safetensors file in diffusers' layout."""
    from latentsr.autoencoders.load import load_autoencoder, save_autoencoder

    if target.suffix != ".safetensors" or target.exists() or not target.parent.is_dir():
        needed = "a new name that ends in .safetensors, in a folder that is there, is needed"
        raise ValueError(f"vaes convert: {target}; {needed}")
    vae = load_autoencoder(str(here(source)) if here(source).exists() else source)
    save_autoencoder(vae, target)
    print(f"{target}: {vae.geometry}")


@denoisers_app.command("list")
def list_denoisers() -> None:
    """List the released denoisers, and whether they are here."""
    from latentsr.companion import authors

    for name in authors.NAMES:
        path = authors.place(name)
        print(f"{name:20} {path if path.exists() else 'not here'}")


@denoisers_app.command("fetch")
def fetch_denoisers(
    names: Annotated[list[str], typer.Argument(help="released denoisers, see `denoisers list`")],
) -> None:
    """Download released denoisers; their repository asks for a form and a token in HF_TOKEN."""
    from functools import partial

    from latentsr.autoencoders import fetch
    from latentsr.companion import authors

    for name, path in {name: authors.place(name) for name in names}.items():
        download = partial(fetch.from_hub, authors.REPOSITORY, f"{name}.ckpt", "main")
        print(fetch.obtain(name, path, download, lambda _, path: authors.load(path)))


@denoisers_app.command("load")
def load_denoiser(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint")],
) -> None:
    """Load a released denoiser and say what it is."""
    from latentsr.companion import authors

    path = here(source) if here(source).exists() else authors.place(source)
    if not path.exists():
        raise ValueError(f"{path}: not there; `latentsr denoisers fetch {source}` gets it")
    net = authors.load(path)
    config, million = net.unet.config, sum(p.numel() for p in net.parameters()) / 1e6
    print(
        f"{path}: {million:.1f} million parameters, {config['in_channels']} channels in, "
        f"{config['out_channels']} out, levels {', '.join(config['down_block_types'])}"
    )


@denoisers_app.command()
def score(
    names: Annotated[list[str], typer.Argument(help="released denoisers that are here")],
    steps: Annotated[int, typer.Option(help="network calls, 1 to 1000")] = 1000,
    seed: Annotated[int, typer.Option(help="of the noise")] = 42,
    latents: Annotated[
        Path | None, typer.Option(help="a folder of the authors' cached latents, to score", **PATH)
    ] = None,
    split: Annotated[str, typer.Option(help="of the cached latents")] = "test",
    by_position: Annotated[
        bool, typer.Option(help="give cached latents the names of the released reader")
    ] = False,
) -> None:
    """Score released denoisers on the test images of the current profile (in a clone)."""
    from latentsr.companion import authors

    if not 1 <= steps <= authors.STEPS:
        raise ValueError(f"--steps: {steps}; 1 to {authors.STEPS} are allowed")
    if by_position and latents is None:
        raise ValueError("--by-position: it is a way to read cached latents; give --latents DIR")
    for name in names:
        authors.place(name)  # an unknown name is refused before anything is read
    folder = Path("results") / in_clone()["profile"]
    kind = "-latents" * (latents is not None) + "-by-position" * by_position
    for name in names:
        cached = None
        if latents is not None:
            cached = authors.read_latents(latents, split, by_position=by_position)
        path, device = folder / "released" / f"{name}{kind}.csv", default_device()
        print_lines(authors.write_scores(folder, name, steps, seed, path, cached, device))


@others_app.command()
def sr(
    path: Annotated[Path, typer.Argument(help="a checkpoint, or diffusers' folder", **PATH)],
    steps: Annotated[int, typer.Option(help="network calls of LDM-SR")] = 100,
    seed: Annotated[int, typer.Option(help="of its noise")] = 42,
) -> None:
    """Score a pretrained SR model (ESRGAN, SwinIR, LDM-SR) on the test images of this profile."""
    from latentsr import io
    from latentsr.companion import others

    folder = results()
    table = others.sr_models(folder, path, default_device(), num_steps=steps, seed=seed)
    mean = io.subject_mean(table, ["dataset"], ["psnr_db", "gmsd"])
    print(f"{mean.round(3).to_string()}\n{_write(table, folder, path.stem)}")


@others_app.command()
def perceptual(
    measure: Annotated[str, typer.Argument(help="lpips or fid")],
) -> None:
    """Score every arm of this profile by LPIPS or FID; their weights must be here."""
    from latentsr.companion import others

    folder = results()
    table = others.perceptual(folder, measure)
    print(f"{table.round(4).to_string(index=False)}\n{_write(table, folder, measure)}")


def _write(table: DataFrame, folder: Path, name: str) -> Path:
    path = folder / "others" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def main() -> None:
    """Run the command line, from the repository's folder if in a clone; faults are one line."""
    from latentsr.companion.pipeline import notebook

    with suppress(ValueError):  # not in a clone: commands that need one say so
        os.chdir(notebook.repository())
    try:
        sys.exit(app(standalone_mode=False))
    except (ValueError, OSError) as error:
        sys.exit(f"latentsr: {error}")
    except typer.Abort:
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message().rstrip(".")  # empty where help was printed instead
        sys.exit(f"latentsr: {message}; `latentsr --help` lists what there is" if message else 1)
