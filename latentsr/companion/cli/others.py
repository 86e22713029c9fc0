"""``latentsr others``: pretrained SR models, LPIPS and FID, where they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentsr.companion.cli.started import here, results

if TYPE_CHECKING:
    from pandas import DataFrame

app = typer.Typer(no_args_is_help=True, help="Pretrained SR models, LPIPS, FID: optional.")


@app.command()
def sr(
    path: Annotated[Path, typer.Argument(help="a checkpoint, or a folder that diffusers saved")],
    steps: Annotated[int, typer.Option(help="network calls of LDM-SR")] = 100,
    seed: Annotated[int, typer.Option(help="of its noise")] = 42,
) -> None:
    """Score a pretrained SR model (ESRGAN, SwinIR, LDM-SR) on the test images of this profile."""
    from latentsr import io as scores
    from latentsr.companion import others
    from latentsr.diffusion import device

    folder, place = results(), here(path)
    table = others.sr_models(folder, place, device.default(), num_steps=steps, seed=seed)
    mean = scores.subject_mean(table, ["dataset"], ["psnr_db", "gmsd"])
    print(f"{mean.round(3).to_string()}\n{_kept(table, folder, place.stem)}")


@app.command()
def perceptual(
    measure: Annotated[str, typer.Argument(help="lpips or fid")],
) -> None:
    """Score every arm of this profile by LPIPS or FID; their weights must be here."""
    from latentsr.companion import others

    folder = results()
    table = others.perceptual(folder, measure)
    print(f"{table.round(4).to_string(index=False)}\n{_kept(table, folder, measure)}")


def _kept(table: DataFrame, folder: Path, name: str) -> Path:
    path = folder / "others" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path
