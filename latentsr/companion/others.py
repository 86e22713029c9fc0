"""Networks of others that the study does without: SR models of ESRGAN's kind, LDM-SR, LPIPS, FID.

Each wants weights in a local place, and most a package that needs torchvision, whose usual build
does not load beside a CPU build of torch. So they are imported where they are used, and what is
missing is said in one line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentsr import io
from latentsr.companion.pipeline import notebook
from latentsr.metrics import image

Images = NDArray[np.float32]
PERCEPTUAL = ("lpips", "fid")
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"  # as torch-fidelity calls it


def _package(name: str) -> Any:
    """Import an optional package, or say how it is had."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # torchvision's operators: RuntimeError
        cause, mend = str(error).split("\n")[0], "`pip install 'latentsr[others]'` adds it"
        raise ValueError(f"{name}: cannot be imported ({cause}); {mend}") from None


def _require(path: Path, what: str) -> None:
    if not path.exists():
        raise ValueError(f"{path}: not there; put {what} there")


def in_color(run: Callable[[Tensor], Tensor], lr: Images, batch: int = 8) -> Images:
    """Run a network of three channels, ``(B, 3, h, w)`` in [0, 1], on grey images ``(N, h, w)``.

    The grey image is given three times; the mean of what comes back is kept, cut to [0, 1].
    """
    images = []
    for start in range(0, len(lr), batch):
        part = torch.from_numpy(np.array(lr[start : start + batch], np.float32))
        with torch.no_grad():
            out = run(part[:, None].expand(-1, 3, -1, -1))  # (B, 3, H, W)
        images.append(out.float().mean(1).clamp(0, 1).cpu().numpy())
    return np.concatenate(images)


def single_file(path: Path, lr: Images, hr_px: int, device: str) -> Images:
    """Super-resolve with a single-file model (ESRGAN, SwinIR and others that spandrel reads)."""
    _require(path, "a checkpoint of ESRGAN, SwinIR or another model that spandrel reads")
    spandrel = _package("spandrel")
    try:
        model = spandrel.ModelLoader(torch.device(device)).load_from_file(path)
    except Exception as error:  # noqa: BLE001 - an architecture it does not know, a broken file
        raise ValueError(f"{path}: spandrel cannot read it ({type(error).__name__})") from None
    factor = hr_px / lr.shape[-1]
    if not isinstance(model, spandrel.ImageModelDescriptor) or model.input_channels not in (1, 3):
        raise ValueError(f"{path}: not a model from one image to another; an SR model is needed")
    if model.scale != factor:
        raise ValueError(f"{path}: enlarges {model.scale} times; {factor:g} times is needed")
    model.eval()

    return in_color(lambda x: model(x[:, : model.input_channels].to(device)), lr)


def ldm(folder: Path, lr: Images, hr_px: int, device: str, *, num_steps: int, seed: int) -> Images:
    """Super-resolve with LDM-SR as diffusers saved it into a folder; it enlarges four times."""
    _require(folder / "model_index.json", "what diffusers saves of CompVis/ldm-super-resolution-4x")
    if hr_px != 4 * lr.shape[-1]:
        raise ValueError(f"{folder}: enlarges 4 times; {hr_px / lr.shape[-1]:g} times is needed")
    from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion_superresolution

    kind: Any = pipeline_latent_diffusion_superresolution.LDMSuperResolutionPipeline
    pipe = kind.from_pretrained(folder, local_files_only=True).to(device)
    pipe.set_progress_bar_config(disable=True)
    drawn = torch.Generator().manual_seed(seed)

    def run(x: Tensor) -> Tensor:  # tensors in [-1, 1] in, in [0, 1] out
        return pipe(2 * x - 1, x.shape[0], num_steps, 1.0, drawn, output_type="pt").images

    return in_color(run, lr, batch=1)


def sr_models(
    results: Path, place: Path, device: str, *, num_steps: int, seed: int
) -> pd.DataFrame:
    """Score one pretrained SR model on the test images of every set of a run.

    ``place`` is a file for `single_file` or a folder for `ldm`. Nothing is trained.
    """
    tables = []
    for folder in sorted(path for path in (results / "data").iterdir() if path.is_dir()):
        test = io.test_images(io.read_arrays(folder))
        model = partial(ldm, num_steps=num_steps, seed=seed) if place.is_dir() else single_file
        sr = model(place, test["lr"], test["hr"].shape[-1], device)
        values = {"psnr_db": image.psnr_db(sr, test["hr"]), "gmsd": image.gmsd(sr, test["hr"])}
        identity = io.identity(folder.name, seed=seed, method=place.stem)
        tables.append(io.table(test, identity, values))
    return pd.concat(tables, ignore_index=True)


def lpips(images: Images, references: Images) -> NDArray[np.float64]:
    """Return LPIPS (AlexNet, Zhang et al. 2018) of grey images in [0, 1], one value an image.

    torchvision takes the weights of AlexNet from ``$TORCH_HOME/hub/checkpoints``.
    """
    _package("torchvision")
    measure = _package("torchmetrics.functional.image").learned_perceptual_image_patch_similarity
    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    _require(weights, "torchvision's weights of AlexNet")
    values = []
    for a, b in zip(images, references, strict=True):
        pair = [torch.from_numpy(x).float().expand(1, 3, *x.shape) for x in (a, b)]
        values.append(float(measure(pair[0], pair[1], net_type="alex", normalize=True)))
    return np.array(values)


def fid(images: Images, references: Images) -> float:
    """Return the Fréchet distance of Inception features (Heusel et al. 2017), one value a set.

    torch-fidelity takes the weights of Inception from ``$TORCH_HOME/hub/checkpoints``. Of a few
    dozen images it is far too large: it has a bias that falls with their number.
    """
    _package("torchvision")
    _package("torch_fidelity")
    weights = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    _require(weights, "the weights of Inception that torch-fidelity names")
    distance = _package("torchmetrics.image.fid").FrechetInceptionDistance(
        normalize=True, feature_extractor_weights_path=str(weights)
    )
    for stack, real in ((references, True), (images, False)):
        for each in stack:
            grey = torch.from_numpy(np.array(each, np.float32))
            distance.update(grey.expand(1, 3, *grey.shape), real=real)
    return float(distance.compute())


def perceptual(results: Path, measure: str) -> pd.DataFrame:
    """Score every arm of a run: dataset, vae, arm and LPIPS (mean over images) or FID."""
    if measure not in PERCEPTUAL:
        raise ValueError(f"{measure!r}; allowed are {', '.join(PERCEPTUAL)}")
    rows = []
    folders = notebook.arm_folders(results)
    for name in sorted(path.name for path in (results / "data").iterdir() if path.is_dir()):
        test = io.test_images(io.read_arrays(results / "data" / name))
        for vae, folder in folders.items():
            stacks = io.read_arrays(results / "arms" / name / folder / "sr.npz")
            for arm in (key for key in stacks if key != "image_id"):
                sr = stacks[arm].astype(np.float32)
                value = lpips(sr, test["hr"]).mean() if measure == "lpips" else fid(sr, test["hr"])
                rows.append({"dataset": name, "vae": vae, "arm": arm, measure: float(value)})
    return pd.DataFrame(rows)
