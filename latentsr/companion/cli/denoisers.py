"""``latentsr denoisers``: what the authors released."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentsr.companion.cli.started import here, progress

app = typer.Typer(no_args_is_help=True, help="The denoisers that the authors released.")


@app.command("list")
def listed() -> None:
    """List the released denoisers, and whether they are here."""
    from latentsr.companion import authors as released

    for name in released.NAMES:
        path = released.place(name)
        print(f"{name:20} {path if path.exists() else 'not here'}")


@app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="released denoisers, see `denoisers list`")],
) -> None:
    """Download released denoisers; their repository asks for a form and a token in HF_TOKEN."""
    from latentsr.autoencoders import fetch as fetching
    from latentsr.companion import authors as released

    places = {name: released.place(name) for name in names}
    for name, path in places.items():
        with progress(name) as seen:
            url = released.URL.format(name=name)
            said = fetching.fetch(name, url, path, progress=seen, looks_right=released.load)
        print(said)


@app.command()
def load(
    source: Annotated[str, typer.Argument(help="a name, or the path of a checkpoint")],
) -> None:
    """Load a released denoiser and say what it is."""
    from latentsr.companion import authors as released

    given = here(source)
    path = given if given.exists() else released.place(source)
    if not path.exists():
        raise ValueError(f"{path}: not there; `latentsr denoisers fetch {source}` gets it")
    net = released.load(path)
    config, million = net.unet.config, sum(p.numel() for p in net.parameters()) / 1e6
    print(
        f"{path}: {million:.1f} million parameters, {config['in_channels']} channels in, "
        f"{config['out_channels']} out, levels {', '.join(config['down_block_types'])}"
    )


@app.command()
def score(
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
    from latentsr.companion import authors as released
    from latentsr.companion import released_scores
    from latentsr.companion.pipeline import params
    from latentsr.diffusion import device

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
            cached = released.read_latents(here(latents), split, by_position=by_position)
        kind = "-latents" * (latents is not None) + "-by-position" * by_position
        path = results / "released" / f"{name}{kind}.csv"
        for line in released_scores.write(
            results, name, steps, seed, path, cached, device.default()
        ):
            print(line)
