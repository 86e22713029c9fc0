"""One test image on its way from noise: what the denoiser is given and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from latentsr.autoencoders import registry
from latentsr.companion.pipeline import notebook
from latentsr.diffusion import networks
from latentsr.diffusion.samplers import SamplerConfig
from latentsr.experiments.arms import Arm, read_prepared
from latentsr.experiments.protocol import Protocol
from latentsr.metrics import image as metrics
from latentsr.plots import style as figures
from latentsr.plots.labels import in_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 4  # steps that are shown: the first, the last, and some between
Frame = tuple[int, Tensor, Tensor]
Rows = dict[str, dict[str, NDArray[np.float32]]]


def frames(arm: Arm, net: nn.Module, sampler: SamplerConfig, seed: int) -> list[Frame]:
    """Walk with the first test image of an arm whose denoiser predicts the clean latent.

    Returns
    -------
    list of (int, Tensor, Tensor)
        Of each network call the time t, the noisy latent z_t and the predicted x0, both scaled,
        ``(1, C', grid, grid)``, on the CPU.
    """
    seen: list[Frame] = []

    def watched(noisy: Tensor, condition: Tensor, times: Tensor) -> Tensor:
        clean: Tensor = net(noisy, condition, times)
        seen.append((int(times[0]), noisy.cpu(), clean.cpu()))
        return clean

    arm.sample_latents(watched, sampler, seed, images=1)
    return seen


def _rows(arm: Arm, seen: list[Frame], label: str) -> tuple[Rows, list[float]]:
    """Decode the frames of an arm to two rows of images; PSNR in dB of each prediction too."""
    hr = arm.test["hr"][:1]
    noisy, clean, psnr_db = {}, {}, []
    for t, z, x0 in seen:
        image = arm.decode(x0)  # (1, H, W)
        psnr_db.append(float(metrics.psnr_db(image, hr)[0]))
        noisy[f"t = {t}"] = arm.decode(z)[0]
        clean[f"t = {t}, {psnr_db[-1]:.1f} dB"] = image[0]
    noisy["LR: what it sees"], clean["HR"] = arm.test["lr"][0], hr[0]
    return {f"{label}\ngiven": noisy, f"{label}\npredicted": clean}, psnr_db


def of_run(inputs: Path, facts: Mapping[str, Mapping[str, Any]]) -> tuple[str, Figure, str]:
    """Draw the walks of the two main autoencoders of a run, on its first set that may be shown.

    Under the last LR condition, with which both see the same. Returns the set, the figure, and
    what is drawn in words.
    """
    study = notebook.study(inputs)
    name = next((name for name, fact in facts.items() if fact["may_be_shown"]), None)
    if name is None:
        return next(iter(facts)), figures.words(figures.NOT_SHOWN), figures.NOT_SHOWN
    kind, seed = study["lr_conditions"][-1], study["seed"]
    source = read_prepared(inputs, name, study["grid_factor"])
    rows: Rows = {}
    told = []
    for vae in study["main_vaes"]:
        label = registry.display_name(vae)
        arm = source.arm(vae, Protocol(kind), seed=seed)
        file = inputs / "weights" / name / registry.arm_dir(vae) / f"denoiser_{kind}.safetensors"
        net = networks.load(file, source.device)
        seen = frames(arm, net, SamplerConfig(study["sampling_steps"]), seed)
        shown = np.unique(np.linspace(0, len(seen) - 1, FRAMES).round().astype(int))
        two, psnr_db = _rows(arm, [seen[k] for k in shown], label)
        rows |= two
        told.append(f"{label} from {psnr_db[0]:.1f} to {psnr_db[-1]:.1f} dB")
    what = figures.kind(name, facts[name])
    figure = figures.image_grid(rows)
    under = in_words(kind)
    figure.suptitle(f"{what}: the first test image, from noise, under {under}", fontsize=9)
    alt = (
        f"The first test image of the {what} on its way from noise under {under}, decoded: what each "
        f"denoiser is given and what it predicts. The prediction's PSNR goes with {', '.join(told)}."
    )
    return name, figure, alt
