"""What the paper's authors released: their denoisers, latents and sampler, and scores with them.

Nothing of it could be opened while this was written; the layouts are those of the code that reads
them. A file that differs stops with the list of what differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsr import io
from latentsr.autoencoders.layouts import load_strictly
from latentsr.autoencoders.load import load_autoencoder, read_checkpoint
from latentsr.diffusion import process, samplers
from latentsr.metrics import image
from latentsr.metrics.hallucination import lexicographic_misalignment

if TYPE_CHECKING:
    from diffusers import UNet2DModel
    from pandas import DataFrame

STEPS = 1000
VAES = {"sdvae": "sd-vae-ft-ema"} | {  # their word for an autoencoder: ours
    name: name
    for name in ("kl-f4", "medvae-8-1", "medvae-8-4", "medvae-4-1", "medvae-4-3", "medvae-4-4")
}
SETS = {"mrnet": "knee", "brats": "brain", "cxr": "chest"}
NAMES = tuple(f"{vae}_{name}" for vae in VAES for name in SETS)
FETCHED = Path("assets/denoisers")
REPOSITORY = "sebasmos/latent-sr-weights"
SCORES = ["psnr_db", "psnr_own_decode_db"]


def place(name: str) -> Path:
    """Return where a released denoiser lies, or would lie; another name is a ValueError."""
    if name not in NAMES:
        raise ValueError(f"denoiser: {name!r}; allowed are {', '.join(NAMES)}")
    return FETCHED / f"{name}.ckpt"


def dataset(name: str) -> str:
    """Return our name of the set that a released denoiser was trained on.

    >>> dataset("medvae-4-3_mrnet")
    'knee'
    """
    place(name)
    return SETS[name.rsplit("_", 1)[1]]


def authors_alphas() -> Tensor:
    """Return the cumulative signal share of their schedule ``(1000,)``, entry 0 nearly pure noise.

    Entry i belongs to time 999 - i.
    """
    return process.alphas_cumprod("released").flip(0)


class ReleasedDenoiser(nn.Module):
    """A UNet that predicts x0: ``net(z, condition, index)`` with their index, 0 for pure noise."""

    def __init__(self, unet: UNet2DModel, alphas: Tensor):
        super().__init__()
        self.unet = unet
        self.register_buffer("alphas", alphas)

    def forward(self, noisy: Tensor, condition: Tensor, index: Tensor) -> Tensor:
        """Map ``(B, C, h, w)``, the LR latent ``(B, C, h', w')`` and ``(B,)`` to x0."""
        size = noisy.shape[-2:]
        resized = nn.functional.interpolate(condition, size, mode="bilinear", align_corners=False)
        return self.unet(torch.cat([noisy, resized], 1), index).sample


@torch.no_grad()
def sample(
    net: ReleasedDenoiser, noise: Tensor, condition: Tensor, alphas: Tensor, num_steps: int
) -> Tensor:
    """Sample x0 ``(B, C, h, w)`` at the first ``num_steps`` entries of ``alphas`` as they do.

    It starts from half of the N(0, 1) noise ``(B, C, h, w)``; ``condition`` are LR latents
    ``(B, C, h', w')``. With fewer than 1000 network calls it ends where much noise is left.
    """

    def at_time(z: Tensor, condition: Tensor, times: Tensor) -> Tensor:
        return net(z, condition, STEPS - 1 - times)

    times = samplers.timesteps("first", num_steps)
    return samplers.ddim(at_time, 0.5 * noise, condition, times, alphas.flip(0), released=True)


def _unet_state(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the UNet's tensors, those of the moving average where the checkpoint has one.

    A moving average is stored under the same names, under ``module.`` before them, or under the
    names without their dots.
    """
    plain = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    if not plain:
        raise ValueError(f"no tensor under model. among {len(state)}")
    average = {
        k.removeprefix("model_ema.").removeprefix("module."): v
        for k, v in state.items()
        if k.startswith("model_ema.")
    }
    for spelt in (lambda key: key, lambda key: key.replace(".", "")):
        if all(spelt(key) in average for key in plain):
            return {key: average[spelt(key)] for key in plain}
    if average:
        raise ValueError("model_ema holds other names than model; nothing was loaded")
    return plain


def _config(state: Mapping[str, Tensor], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Infer the UNet from its tensors, and hold it against the checkpoint's hyper-parameters."""
    levels = len({m[1] for key in state if (m := re.match(r"down_blocks\.(\d+)\.", key))})
    attends = [f"down_blocks.{i}.attentions.0.to_q.weight" in state for i in range(levels)]
    widths = [state[f"down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in range(levels)]
    layers = len({m[1] for key in state if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)", key))})
    multiples = hyper_parameters.get("channel_mult")
    if "base_channels" in hyper_parameters and isinstance(multiples, (list, tuple)):
        expected = [hyper_parameters["base_channels"] * multiple for multiple in multiples]
        if expected != widths:
            raise ValueError(f"its widths are {widths}, its hyper_parameters say {expected}")
    return {
        "in_channels": state["conv_in.weight"].shape[1],
        "out_channels": state["conv_out.weight"].shape[0],
        "block_out_channels": tuple(widths),
        "layers_per_block": layers,
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
    }


def load(path: Path, device: str = "cpu") -> ReleasedDenoiser:
    """Read one of their checkpoints, or raise with one line that names what does not fit.

    Attention levels come from the tensors, not from the settings.
    """
    from diffusers import UNet2DModel

    content = read_checkpoint(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise ValueError(f"{path}: no state_dict in it; a Lightning checkpoint is needed")
    state = content["state_dict"]
    if odd := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{path}: {odd[0]} in its state_dict is no tensor")
    known = ("model.", "model_ema.", "alphas")
    if left := [key for key in state if not key.startswith(known)]:
        raise ValueError(f"{path}: {len(left)} keys that are not known ({', '.join(left[:5])})")
    try:
        unet_state = _unet_state(state)
        model = UNet2DModel(**_config(unet_state, content.get("hyper_parameters") or {}))
        load_strictly(model, unet_state)
    except KeyError as error:
        raise ValueError(f"{path}: {error} is not there, so its shape is not known") from None
    except Exception as error:  # noqa: BLE001 - diffusers raises many kinds
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        reason = str(error).split("\n")[0]
        raise ValueError(f"{path}: {kind}{reason}") from None
    alphas = state.get("alphas", authors_alphas())
    rising = alphas.shape == (STEPS,) and bool((alphas.diff() >= 0).all())
    if not rising or alphas[0] == alphas[-1] or alphas[0] < 0 or alphas[-1] > 1:
        needed = "1000 that rise between 0 and 1 are needed"
        raise ValueError(f"{path}: alphas of shape {tuple(alphas.shape)}; {needed}")
    return ReleasedDenoiser(model, alphas.float()).eval().requires_grad_(False).to(device)


@dataclass(frozen=True)
class Latents:
    """One split of their cached latents, a row an image."""

    hr: NDArray[np.float32]  # (N, C, h, w)
    lr: NDArray[np.float32]  # (N, C, h', w')
    names: Sequence[str]


def read_latents(root: Path, split: str, *, by_position: bool = False) -> Latents:
    """Read ``<split>_latent/hr_<i>.npy``, ``lr_<i>.npy`` and ``filenames.txt``, one to one.

    Line i of the list names image i. With ``by_position`` names are given as the released reader
    gives them: line k to the k-th file of the alphabetical listing
    (`hallucination.lexicographic_misalignment`).
    """
    folder = root / f"{split}_latent"
    listing = folder / "filenames.txt"
    if not listing.is_file():
        raise ValueError(f"{listing}: not there; it names the images of this split")
    names = [line.strip() for line in listing.read_text().splitlines() if line.strip()]
    stacks = {}
    for side in ("hr", "lr"):
        paths = [folder / f"{side}_{i}.npy" for i in range(len(names))]
        count = len(list(folder.glob(f"{side}_*.npy")))
        if absent := [path for path in paths if not path.is_file()]:
            raise ValueError(f"{absent[0]}: not there, but {listing} has {len(names)} lines")
        if count != len(names):
            raise ValueError(f"{folder}: {count} files {side}_*.npy, but {len(names)} lines in it")
        arrays = [np.load(path, allow_pickle=False) for path in paths]
        shapes = {array.shape for array in arrays}
        if len(shapes) != 1 or len(shapes.pop()) != 3:
            raise ValueError(f"{folder}: {side} latents must all be (C, h, w) of one size")
        stacks[side] = np.stack(arrays).astype(np.float32)
        if odd := [p for p, a in zip(paths, stacks[side], strict=True) if not np.isfinite(a).all()]:
            raise ValueError(f"{odd[0]}: a number is not finite; every latent needs all of its own")
    given = lexicographic_misalignment(names)[0] if by_position else names
    return Latents(stacks["hr"], stacks["lr"], given)


def score(
    results: Path, name: str, num_steps: int, seed: int, device: str = "cpu", batch: int = 8
) -> DataFrame:
    """Super-resolve the test images of a run with a released denoiser; a row of scores an image.

    All six switches are at their released value: the LR latent of the same autoencoder (drawn
    from the posterior for Stable Diffusion's, the mean for others), its own grid, raw latents,
    half the noise, the first ``num_steps`` of 1000 timesteps. Noise is drawn per image id, which
    their code does not do. ``results/<profile>`` needs what chapters 1 and 2 wrote.
    """
    path, vae_name, set_name = place(name), VAES[name.rsplit("_", 1)[0]], dataset(name)
    copies = results / "autoencoders" / set_name / "reconstructions.npz"
    for needed, mend in (
        (path, f"`latentsr denoisers fetch {name}` gets it"),
        (results / "data" / set_name, "run chapter 1 on this set: `dvc repro data`"),
        (copies, "run chapter 2 on this set: `dvc repro autoencoders`"),
    ):
        if not needed.exists():
            raise ValueError(f"{needed}: not there; {mend}")
    reconstructions = io.read_arrays(copies)
    if vae_name not in reconstructions:
        raise ValueError(f"{copies}: no {vae_name} in it; add it to autoencoders.arms")
    test = io.test_images(io.read_arrays(results / "data" / set_name))
    net, vae = load(path, device), load_autoencoder(vae_name, device)
    generator = torch.Generator().manual_seed(seed) if vae_name.startswith("sd-vae") else None
    side = test["hr"].shape[-1] // vae.factor
    shape = (vae.latent_channels, side, side)
    noise = samplers.initial_noise(list(test["image_id"]), shape, seed)

    def decoded(z: Tensor, lr: Tensor, _: slice) -> Tensor:
        condition = vae.encode(lr, generator)
        return vae.decode(sample(net, z, condition, net.alphas, num_steps))[:, 0]

    lr = torch.from_numpy(test["lr"])[:, None]  # (N, 1, h, w)
    sr = samplers.in_batches(decoded, noise, lr, batch=batch, device=device).numpy()
    measures = {
        "psnr_db": image.psnr_db(sr, test["hr"]),
        "psnr_own_decode_db": image.psnr_db(sr, reconstructions[vae_name]),
        "ms_ssim": image.ms_ssim(sr, test["hr"]),
    }
    identity = io.identity(set_name, vae_name, vae_name, "lr_latent", "released", seed)
    return io.table(test, {**identity, "T": num_steps}, measures)


def score_latents(
    latents: Latents,
    name: str,
    num_steps: int,
    seed: int,
    images: Mapping[str, NDArray[np.float32]],
    device: str = "cpu",
    batch: int = 8,
) -> DataFrame:
    """Score a released denoiser on cached latents, with no need of the images behind them.

    The reference of ``psnr_own_decode_db`` is the decoded HR latent. ``psnr_db`` compares with
    the image among ``images`` (by name, ``(H, W)``) that has the name given to the latent, which
    under the position rule is most often another one; NaN where there is none of that size.
    """
    import pandas as pd

    net, vae = load(place(name), device), load_autoencoder(VAES[name.rsplit("_", 1)[0]], device)
    shape = latents.hr.shape[1:]
    if shape[0] != vae.latent_channels or latents.lr.shape[1] != vae.latent_channels:
        needed = f"{vae.latent_channels} are needed for {name}"
        raise ValueError(f"latents: {shape[0]} and {latents.lr.shape[1]} channels; {needed}")
    least = 2 ** (len(net.unet.config["block_out_channels"]) - 1)
    if shape[1] % least or shape[2] % least:
        needed = f"multiples of {least} a side are needed for {name}"
        raise ValueError(f"latents: {shape[1]} x {shape[2]} places; {needed}")
    noise = samplers.initial_noise([f"line {i}" for i in range(len(latents.hr))], shape, seed)
    hr = torch.from_numpy(latents.hr)

    def decoded(z: Tensor, condition: Tensor, rows: slice) -> Tensor:
        sr = vae.decode(sample(net, z, condition, net.alphas, num_steps))
        return torch.cat([sr, vae.decode(hr[rows])], 1)  # (B, 2, H, W)

    lr = torch.from_numpy(latents.lr)
    pairs = samplers.in_batches(decoded, noise, lr, batch=batch, device=device).numpy()
    to_hr = np.full(len(pairs), np.nan)
    for row, given in enumerate(latents.names):
        reference = images.get(Path(given).stem)
        if reference is not None and reference.shape == pairs.shape[2:]:
            to_hr[row] = image.psnr_db(pairs[row, :1], reference[None])[0]
    own = image.psnr_db(pairs[:, 0], pairs[:, 1])
    columns = {"name": latents.names, "psnr_db": to_hr, "psnr_own_decode_db": own}
    return pd.DataFrame(columns).assign(denoiser=name, T=num_steps, seed=seed)


def write_scores(
    results: Path,
    name: str,
    num_steps: int,
    seed: int,
    path: Path,
    cached: Latents | None = None,
    device: str = "cpu",
) -> Iterator[str]:
    """Score a released denoiser on a run's test images, or on ``cached`` latents, into a CSV file.

    Yields lines to print: of cached latents how many have the name of a test image; mean scores.
    """
    if cached is None:
        table = score(results, name, num_steps, seed, device)
        mean = io.subject_mean(table, ["dataset", "vae", "T"], SCORES).iloc[0]
    else:
        images, data = {}, results / "data" / dataset(name)
        if data.exists():
            test = io.test_images(io.read_arrays(data))
            images = dict(zip(test["image_id"], test["hr"], strict=True))
        table = score_latents(cached, name, num_steps, seed, images, device)
        mean = table[SCORES].mean()
        yield f"{table.psnr_db.notna().sum()} of {len(table)} names are test images of {data}"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    to_hr = "" if np.isnan(mean.psnr_db) else f"{mean.psnr_db:.2f} dB to HR, "
    yield f"{name}: {to_hr}{mean.psnr_own_decode_db:.2f} dB to the own decode, {path}"
