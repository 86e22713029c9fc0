"""What the paper's authors released: their denoisers, their latents and their sampler.

Nothing of it could be opened while this was written; the layouts are those of the code that reads
them. A file that differs stops with the list of what differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsr.autoencoders.load import read_checkpoint
from latentsr.diffusion import process, samplers

if TYPE_CHECKING:
    from diffusers import UNet2DModel

STEPS = 1000
VAES = {  # their word for an autoencoder: ours
    "sdvae": "sd-vae-ft-ema",
    "kl-f4": "kl-f4",
    "medvae-8-1": "medvae-8-1",
    "medvae-8-4": "medvae-8-4",
    "medvae-4-1": "medvae-4-1",
    "medvae-4-3": "medvae-4-3",
    "medvae-4-4": "medvae-4-4",
}
SETS = {"mrnet": "knee", "brats": "brain", "cxr": "chest"}
NAMES = tuple(f"{vae}_{name}" for vae in VAES for name in SETS)
FETCHED = Path("assets/denoisers")
REPOSITORY = "sebasmos/latent-sr-weights"


def place(name: str) -> Path:
    """Return where a released denoiser lies, or would lie.

    Raises
    ------
    ValueError
        For a name that is none of theirs.
    """
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
        shown = nn.functional.interpolate(condition, size, mode="bilinear", align_corners=False)
        return self.unet(torch.cat([noisy, shown], 1), index).sample


@torch.no_grad()
def sample(
    net: ReleasedDenoiser, noise: Tensor, condition: Tensor, alphas: Tensor, num_steps: int
) -> Tensor:
    """Walk the first ``num_steps`` entries of ``alphas`` as the released sampler does.

    Parameters
    ----------
    net : ReleasedDenoiser
        Predicts x0.
    noise : Tensor
        N(0, 1) ``(B, C, h, w)``; the walk starts from half of it.
    condition : Tensor
        LR latents ``(B, C, h', w')``.
    alphas : Tensor
        Their signal shares, see `authors_alphas`.
    num_steps : int
        Network calls. With fewer than 1000 the walk ends where much noise is left.

    Returns
    -------
    Tensor
        The last prediction ``(B, C, h, w)``.
    """
    last = STEPS - 1

    def at_time(z: Tensor, seen: Tensor, times: Tensor) -> Tensor:
        return net(z, seen, last - times)

    times = samplers.timesteps("first", num_steps)
    return samplers.ddim(at_time, 0.5 * noise, condition, times, alphas.flip(0), released=True)


def _unet_state(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the UNet's tensors, those of the moving average where the checkpoint has one.

    A moving average is stored under the same names, under ``module.`` before them, or under the
    names without their dots.
    """
    plain = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
    if not plain:
        raise ValueError(f"{path}: no tensor under model. among {len(state)}")
    average = {
        k.removeprefix("model_ema."): v for k, v in state.items() if k.startswith("model_ema.")
    }
    average = {k.removeprefix("module."): v for k, v in average.items()}
    for spelt in (lambda key: key, lambda key: key.replace(".", "")):
        if all(spelt(key) in average for key in plain):
            return {key: average[spelt(key)] for key in plain}
    if average:
        raise ValueError(f"{path}: model_ema holds other names than model; nothing was loaded")
    return plain


def _config(state: Mapping[str, Tensor], told: Mapping[str, Any]) -> dict[str, Any]:
    """Infer the UNet from its tensors; ``told`` are the checkpoint's hyper-parameters."""
    levels = len({m[1] for key in state if (m := re.match(r"down_blocks\.(\d+)\.", key))})
    attends = [f"down_blocks.{i}.attentions.0.to_q.weight" in state for i in range(levels)]
    widths = [state[f"down_blocks.{i}.resnets.0.conv2.weight"].shape[0] for i in range(levels)]
    layers = len({m[1] for key in state if (m := re.match(r"down_blocks\.0\.resnets\.(\d+)", key))})
    multiples = told.get("channel_mult")
    if "base_channels" in told and isinstance(multiples, (list, tuple)):
        wanted = [told["base_channels"] * multiple for multiple in multiples]
        if wanted != widths:
            raise ValueError(f"its widths are {widths}, its hyper_parameters say {wanted}")
    return {
        "in_channels": state["conv_in.weight"].shape[1],
        "out_channels": state["conv_out.weight"].shape[0],
        "block_out_channels": tuple(widths),
        "layers_per_block": layers,
        "down_block_types": tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        "up_block_types": tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in attends[::-1]),
    }


def load(path: Path, device: str = "cpu") -> ReleasedDenoiser:
    """Read one of their checkpoints; attention levels come from the tensors, not from the settings.

    Raises
    ------
    ValueError
        One line naming what is missing or does not fit.
    """
    from diffusers import UNet2DModel

    from latentsr.autoencoders.layouts import load_strictly

    found = read_checkpoint(path)
    if not isinstance(found, Mapping) or not isinstance(found.get("state_dict"), Mapping):
        raise ValueError(f"{path}: no state_dict in it; a Lightning checkpoint is needed")
    state, told = found["state_dict"], found.get("hyper_parameters") or {}
    if odd := [key for key, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{path}: {odd[0]} in its state_dict is no tensor")
    known = ("model.", "model_ema.", "alphas")
    if left := [key for key in state if not key.startswith(known)]:
        raise ValueError(f"{path}: {len(left)} keys that are not known ({', '.join(left[:5])})")
    unet_state = _unet_state(state, path)
    try:
        model = UNet2DModel(**_config(unet_state, told))
        load_strictly(model, unet_state)
    except Exception as error:  # noqa: BLE001 - diffusers raises many kinds
        said = str(error).split("\n")[0]
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        if isinstance(error, KeyError):
            said = f"{said} is not among its {len(unet_state)} tensors, so its shape is not known"
        raise ValueError(f"{path}: {kind}{said}") from None
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
    """Read ``<split>_latent/hr_<i>.npy``, ``lr_<i>.npy`` and ``filenames.txt``.

    Line i of the list names image i. With ``by_position`` names are given as the released reader
    gives them: line k to the k-th file of the alphabetical listing
    (`hallucination.lexicographic_misalignment`).

    Raises
    ------
    ValueError
        Where files and lines do not match one to one.
    """
    from latentsr.metrics.hallucination import lexicographic_misalignment

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
