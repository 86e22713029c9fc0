"""Training the small autoencoders that ship with the package (`make pretrain`)."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from muon import Muon
from numpy.typing import NDArray
from torch import Tensor

from latentsr.autoencoders import fetch, latents, registry
from latentsr.autoencoders.layouts import build_small
from latentsr.autoencoders.model import Autoencoder
from latentsr.datasets.pixels import photographs
from latentsr.metrics import image as metrics
from latentsr.phantoms.prepared import IMAGE_PX, prepared_phantom

OUT = Path("pretrained")  # ignored by git, and not removed by make clean
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PHANTOM_SEED = 7001  # the study's phantoms use another one
CEILING_SEED, CEILING_IMAGES = 7002, 24  # phantoms on which a card's ceilings are measured


@dataclass(frozen=True)
class Recipe:
    """The same for all small autoencoders; the loss is L1 + mse * MSE + kl * KL / pixels on [-1, 1].

    KL is summed over a latent. Divided by the pixels its weight means what it means in latent
    diffusion, where errors are summed too (Rombach et al. 2022: 1e-6).
    """

    steps: int = 6000
    batch: int = 8
    crop_px: int = 64
    mse: float = 0.5
    kl: float = 1.0e-6  # of the sum over a latent, per pixel of the crop
    muon_rate: float = 3.0e-2  # peak of the one-cycle schedule, as is the next
    adamw_rate: float = 2.0e-3
    weight_decay: float = 1.0e-2
    gradient_clip: float = 1.0
    logvar_start: float = -3.0  # added to the posterior's log-variance at the start of training


def training_images(sources: list[str]) -> list[NDArray[np.float32]]:
    """Return photographs, or as many pixels of phantoms of the named anatomies."""
    natural = photographs()
    if sources == [registry.NATURAL]:
        return natural
    count = math.ceil(sum(image.size for image in natural) / IMAGE_PX**2)
    places = [(sources[i % len(sources)], i // len(sources)) for i in range(count)]
    return [prepared_phantom(anatomy, number, PHANTOM_SEED)[0] for anatomy, number in places]


def ceilings(vae: Autoencoder) -> dict[str, dict[str, float]]:
    """Measure PSNR in dB of the reconstruction on phantoms of a third seed, for each anatomy.

    ``psnr_db`` is against the noisy image that was encoded, ``noise_free_psnr_db`` against its
    twin without noise.
    """
    psnr = {}
    for anatomy in registry.ANATOMIES:
        pairs = [
            prepared_phantom(anatomy, number, CEILING_SEED) for number in range(CEILING_IMAGES)
        ]
        images, clean = (np.stack(side) for side in zip(*pairs, strict=True))
        decoded = latents.decode_all(vae, latents.encode_all(vae, images, 16), 16)
        psnr[anatomy] = {
            "psnr_db": float(metrics.psnr_db(decoded, images).mean()),
            "noise_free_psnr_db": float(metrics.psnr_db(decoded, clean).mean()),
        }
    return psnr


def crops(images: list[NDArray[np.float32]], recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Draw a batch (B, 1, crop, crop) in [-1, 1]: random place, flip, quarter turn."""
    areas = np.array([image.size for image in images], float)
    batch = []
    for index in rng.choice(len(images), recipe.batch, p=areas / areas.sum()):
        image, side = images[index], recipe.crop_px
        top, left = (rng.integers(0, length - side + 1) for length in image.shape)
        crop = np.rot90(image[top : top + side, left : left + side], int(rng.integers(4)))
        batch.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(batch)[:, None].astype(np.float32) * 2 - 1)


def train(
    name: str, recipe: Recipe, folder: Path, *, save_every: int = 250, device: str = "cpu"
) -> Path:
    """Train one autoencoder, going on from the state in ``folder`` when there is one.

    Returns the path of the finished float16 safetensors file, which is not made again while its
    card stands beside it and names the same recipe.
    """
    from safetensors.torch import save_file
    from tqdm import tqdm

    if name not in registry.SHIPPED:
        raise ValueError(f"vae {name}: not shipped; allowed are {', '.join(registry.SHIPPED)}")
    entry = registry.SHIPPED[name]
    folder.mkdir(parents=True, exist_ok=True)
    state_path, out = folder / f"{name}.pt", folder / f"{name}.safetensors"
    if (made := out.with_suffix(".json")).exists() and out.exists():
        card = json.loads(made.read_text())
        wanted = asdict(recipe), entry.seed, entry.trained_on
        if (card["recipe"], card["seed"], card["trained_on"]) == wanted:
            return out
    torch.manual_seed(entry.seed)  # diffusers initialises from the global generator
    model = build_small(entry.factor, entry.latent_channels).to(device)
    with torch.no_grad():
        model.quant_conv.bias[entry.latent_channels :] += recipe.logvar_start
    optimiser = Muon(model, recipe.muon_rate, recipe.adamw_rate, recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, optimiser.rates, total_steps=recipe.steps, pct_start=0.1
    )
    noise = torch.Generator().manual_seed(1000 + entry.seed)
    rng = np.random.default_rng([2000, entry.seed])
    first, losses = 0, []
    if state_path.exists():
        state = torch.load(state_path, weights_only=True, map_location="cpu")
        if state["recipe"] != asdict(recipe):
            raise ValueError(f"{state_path}: made with {state['recipe']}; remove it to start anew")
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        noise.set_state(state["noise"])
        rng.bit_generator.state = json.loads(state["rng"])
        first, losses = state["step"], state["losses"]
    images = training_images(entry.trained_on)
    bar = tqdm(range(first, recipe.steps), name, initial=first, total=recipe.steps, mininterval=30)
    for step in bar:
        batch = crops(images, recipe, rng).to(device)
        posterior = model.encode(batch).latent_dist
        mean, std, logvar = posterior.mean, posterior.std, posterior.logvar
        latents = mean + std * torch.randn(mean.shape, generator=noise).to(device)
        error = model.decode(latents).sample - batch
        kl = 0.5 * (mean**2 + std**2 - 1 - logvar).sum((1, 2, 3)).mean()
        kl = recipe.kl * kl / recipe.crop_px**2
        loss = error.abs().mean() + recipe.mse * (error**2).mean() + kl
        if not torch.isfinite(loss):
            raise ValueError(f"vae {name}: loss {loss.item()} at step {step}; nothing was written")
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % save_every == 0 or step + 1 == recipe.steps:
            state = {
                "recipe": asdict(recipe),
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "noise": noise.get_state(),
                "rng": json.dumps(rng.bit_generator.state),
                "step": step + 1,
                "losses": losses,
            }
            torch.save(state, temporary := state_path.with_suffix(".tmp"))
            os.replace(temporary, state_path)
    weights = {key: value.half().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, out)
    out.chmod(0o644)
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    shipped = Autoencoder(name, model)
    card = {
        "name": name,
        "geometry": entry.geometry,
        "factor": entry.factor,
        "latent_channels": entry.latent_channels,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_on": entry.trained_on,
        "training_pixels": int(sum(image.size for image in images)),
        "recipe": asdict(recipe),
        "seed": entry.seed,
        "final_loss": float(np.mean(losses[-100:])),
        "sha256": sha256(out.read_bytes()).hexdigest(),
        "ceilings": ceilings(shipped),
    }
    out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return out


def main() -> None:
    """Run `python scripts/pretrain.py NAME ... --out DIR [--steps N]` (all names by default)."""
    import argparse

    parser = argparse.ArgumentParser(description="Train the small autoencoders again.")
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, default=OUT, help=f"default: {OUT}")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--device", default=DEVICE, help="default: %(default)s")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1 if DEVICE == "cuda" else os.cpu_count() or 1,
        help="trainings side by side, one thread each; default: %(default)s",
    )
    given = parser.parse_args()
    one = partial(train, recipe=Recipe(steps=given.steps), folder=given.out, device=given.device)
    names = given.names or list(registry.SHIPPED)
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(given.jobs, spawn, torch.set_num_threads, (1,)) as pool:
            for path in pool.map(one, names):
                print(path)
    except ValueError as error:
        sys.exit(str(error))
    print(f"to ship them: cp {given.out}/*.safetensors {given.out}/*.json {fetch.WEIGHTS}")


if __name__ == "__main__":
    main()
