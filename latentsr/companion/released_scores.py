"""Scores of the denoisers that the paper's authors released; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from latentsr import io
from latentsr.autoencoders.load import load_autoencoder
from latentsr.companion import authors as released
from latentsr.companion.authors import VAES, Latents, load, place, sample
from latentsr.diffusion.samplers import initial_noise
from latentsr.metrics import image as metrics


def score(
    results: Path, name: str, num_steps: int, seed: int, device: str = "cpu", batch: int = 8
) -> pd.DataFrame:
    """Super-resolve the test images of a run with a released denoiser; a row of scores an image.

    All six switches are at their released value: the LR latent of the same autoencoder (drawn
    from the posterior for Stable Diffusion's, the mean for others), its own grid, raw latents,
    half the noise, the first ``num_steps`` entries of the 1000-step walk. Noise is drawn per
    image id, which their code does not do.

    Parameters
    ----------
    results : Path
        ``results/<profile>`` with what chapters 1 and 2 wrote.
    name : str
        One of `NAMES`.

    Raises
    ------
    ValueError
        When the run lacks the set or the autoencoder, or the denoiser is not here.
    """
    path, vae_name, dataset = place(name), VAES[name.rsplit("_", 1)[0]], released.dataset(name)
    copies = results / "autoencoders" / dataset / "reconstructions.npz"
    for there, mend in (
        (path, f"`latentsr denoisers fetch {name}` gets it"),
        (results / "data" / dataset, "run chapter 1 on this set: `dvc repro data`"),
        (copies, "run chapter 2 on this set: `dvc repro autoencoders`"),
    ):
        if not there.exists():
            raise ValueError(f"{there}: not there; {mend}")
    own = io.read_arrays(copies)
    if vae_name not in own:
        raise ValueError(f"{copies}: no {vae_name} in it; add it to autoencoders.arms")
    test = io.test_images(io.read_arrays(results / "data" / dataset))
    net, vae = load(path, device), load_autoencoder(vae_name, device)
    drawn = torch.Generator().manual_seed(seed) if vae_name.startswith("sd-vae") else None
    side = test["hr"].shape[-1] // vae.factor
    noise = initial_noise(list(test["image_id"]), (vae.latent_channels, side, side), seed)
    images = []
    for start in range(0, len(noise), batch):
        part = slice(start, start + batch)
        seen = vae.encode(torch.from_numpy(test["lr"][part])[:, None], drawn)
        found = sample(net, noise[part].to(device), seen, net.alphas, num_steps)
        images.append(vae.decode(found)[:, 0].cpu().numpy())
    sr = np.concatenate(images)
    identity = io.identity(dataset, vae_name, vae_name, "lr_latent", "released", seed)
    measures = {
        "psnr_db": metrics.psnr_db(sr, test["hr"]),
        "psnr_own_decode_db": metrics.psnr_db(sr, own[vae_name]),
        "ms_ssim": metrics.ms_ssim(sr, test["hr"]),
    }
    return io.table(test, {**identity, "T": num_steps}, measures)


def score_latents(
    latents: Latents,
    name: str,
    num_steps: int,
    seed: int,
    images: Mapping[str, NDArray[np.float32]],
    device: str = "cpu",
    batch: int = 8,
) -> pd.DataFrame:
    """Score a released denoiser on cached latents, with no need of the images behind them.

    The reference of ``psnr_own_decode_db`` is the decoded HR latent. ``psnr_db`` compares with
    the image among ``images`` (by name, ``(H, W)``) that has the name given to the latent, which
    under the position rule is most often another one; NaN where there is none of that size.

    Raises
    ------
    ValueError
        When the denoiser or its autoencoder is not here, or has latents of another shape.
    """
    net, vae = load(place(name), device), load_autoencoder(VAES[name.rsplit("_", 1)[0]], device)
    shape = latents.hr.shape[1:]
    if shape[0] != vae.latent_channels or latents.lr.shape[1] != vae.latent_channels:
        told = f"{vae.latent_channels} are needed for {name}"
        raise ValueError(f"latents: {shape[0]} and {latents.lr.shape[1]} channels; {told}")
    least = 2 ** (len(net.unet.config["block_out_channels"]) - 1)
    if shape[1] % least or shape[2] % least:
        needed = f"multiples of {least} a side are needed for {name}"
        raise ValueError(f"latents: {shape[1]} x {shape[2]} places; {needed}")
    noise = initial_noise([f"line {i}" for i in range(len(latents.hr))], shape, seed)
    rows = []
    for start in range(0, len(noise), batch):
        part = slice(start, start + batch)
        seen = torch.from_numpy(latents.lr[part]).to(device)
        found = vae.decode(sample(net, noise[part].to(device), seen, net.alphas, num_steps))
        copies = vae.decode(torch.from_numpy(latents.hr[part]))
        own = metrics.psnr_db(found[:, 0].cpu().numpy(), copies[:, 0].cpu().numpy())
        for given, sr, decibel in zip(latents.names[part], found[:, 0].cpu(), own, strict=True):
            true = images.get(Path(given).stem)
            to_hr = np.nan
            if true is not None and true.shape == tuple(sr.shape):
                to_hr = float(metrics.psnr_db(sr[None].numpy(), true[None])[0])
            rows.append({"name": given, "psnr_db": to_hr, "psnr_own_decode_db": decibel})
    return pd.DataFrame(rows).assign(denoiser=name, T=num_steps, seed=seed)


def write(
    results: Path,
    name: str,
    num_steps: int,
    seed: int,
    path: Path,
    cached: Latents | None = None,
    device: str = "cpu",
) -> Iterator[str]:
    """Score a released denoiser on a run's test images, or on ``cached`` latents, into a CSV file.

    Yields
    ------
    str
        Lines to print: of cached latents how many have the name of a test image; mean scores.
    """
    columns = ["psnr_db", "psnr_own_decode_db"]
    if cached is None:
        table = score(results, name, num_steps, seed, device)
        mean = io.subject_mean(table, ["dataset", "vae", "T"], columns).iloc[0]
    else:
        images, data = {}, results / "data" / released.dataset(name)
        if data.exists():
            test = io.test_images(io.read_arrays(data))
            images = dict(zip(test["image_id"], test["hr"], strict=True))
        table = score_latents(cached, name, num_steps, seed, images, device)
        mean = table[columns].mean()
        yield f"{table.psnr_db.notna().sum()} of {len(table)} names are test images of {data}"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    to_hr = "" if mean.psnr_db != mean.psnr_db else f"{mean.psnr_db:.2f} dB to HR, "
    yield f"{name}: {to_hr}{mean.psnr_own_decode_db:.2f} dB to the own decode, {path}"
