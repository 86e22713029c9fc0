"""Where the gap goes with ten times the training images and far longer trainings, on a GPU.

python benchmarks/longer.py OUT [--minutes 8] [--workers 14] [--device cuda]

Draws the test phantoms of mini and 1,600 training phantoms a set (mini: 160, so its tenth), anew and without
the detour over file formats, trains the main arms under every LR condition, and writes a row an
image to OUT/longer.csv as each arm is done; `--tables OUT/longer.csv` prints the tables of
benchmarks/README.md. Arms that the minutes do not reach are left out and named.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from latentsr import degrade, io, phantoms
from latentsr.autoencoders import latents
from latentsr.autoencoders.load import load_autoencoder
from latentsr.companion.pipeline import params
from latentsr.datasets import middle_half_slices, prepare_pixels
from latentsr.experiments import plans, run
from latentsr.experiments.arms import read_prepared
from latentsr.experiments.run import ArmConfig, TrainConfig
from latentsr.metrics import image as metrics
from latentsr.stats.difference import paired_difference
from latentsr.stats.factorial import CROSSED, contrasts

SETS = ("knee", "brain", "chest")
MAIN = ("natural-f8c4", "phantom-f4c3")
SEED, HR_PX, FACTOR, SLICES = 20260414, 128, 4, 5
EXTRA = 1000  # subjects of the further training images start here
IMAGES = 1600
REGIMES = {  # share of the training subjects, factors of steps, batch and width
    "32 times as long, 10 times the images": (1.0, 4, 8, 1),
    "as mini": (0.1, 1, 1, 1),
    "64 times as long, 10 times the images, twice as wide": (1.0, 8, 8, 2),
    "32 times as long": (0.1, 4, 8, 1),
}
VAES = ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3")


def subjects(anatomy, count, first):
    """(subject, view) of so many images, one a subject; of brains every kept slice."""
    if anatomy != "brain":
        return [(first + number, 0) for number in range(count)]
    slices = [int(z) for z in middle_half_slices(155, SLICES)]
    return [(first + number // SLICES, slices[number % SLICES]) for number in range(count)]


def drawn(job):
    anatomy, subject, view = job
    image = phantoms.draw(anatomy, SEED, subject, view).image
    if anatomy == "brain":
        image = image / image.max()
    return prepare_pixels(image.astype(np.float32), "knee", HR_PX)


def write_set(results, anatomy, training, pool):
    """Leave a set as chapter 1 does; the test images and 140 training images are those of mini."""
    first = {"knee": 160, "brain": 32, "chest": 140}[anatomy]  # test subject of mini
    test = subjects(anatomy, 60, first)
    train = subjects(anatomy, min(training, 140), 0)
    train += subjects(anatomy, training - len(train), EXTRA)
    jobs = [(anatomy, *one) for one in train + test]
    hr = np.stack(list(pool.map(drawn, jobs, chunksize=20)))
    arrays = {"hr": hr, "lr": degrade.degrade(hr, HR_PX // FACTOR)}
    arrays["image_id"] = np.array([f"{s:05d}-{v:03d}" for _, s, v in jobs])
    arrays["subject_id"] = np.array([f"{s:05d}" for _, s, _ in jobs])
    arrays["split"] = np.array(["train"] * len(train) + ["test"] * len(test))
    for key, values in arrays.items():
        place = results / "data" / anatomy / f"{key}.npy"
        io.new_array(place, values.shape, values.dtype)[:] = values
    folder = results / "autoencoders" / anatomy
    folder.mkdir(parents=True)
    (folder / "cards.json").write_text("[]")
    np.savez(folder / "reconstructions.npz")  # decoded when asked for


def encode(job):
    """Keep the latents of a set as chapter 2 does."""
    results, anatomy, name, device = job
    torch.set_num_threads(1)
    data = io.read_arrays(Path(results) / "data" / anatomy)
    folder = Path(results) / "autoencoders" / anatomy / "latents" / name
    latents.encode_set(
        load_autoencoder(name, device), np.array(data["hr"]), np.array(data["lr"]), 64, folder
    )


def arms(regime):
    """Return the arms of a regime by name: what is shown, and the target behind the bar."""
    share, steps, batch, width = REGIMES[regime]
    found = {f"lr_pixels|{vae}": ArmConfig(vae) for vae in MAIN}
    found |= {
        f"{condition}|{vae}": config
        for (vae, condition), config in plans.targets_and_conditions(MAIN, 42).items()
    }
    if regime == next(iter(REGIMES)):
        for vae in MAIN:
            found[f"released|{vae}"] = plans.released(vae, 10, 42)
            found[f"2x super-resolution|{vae}"] = ArmConfig(vae, lr_side=2.0)
        found |= {f"lr_pixels|{vae}": ArmConfig(vae) for vae in VAES}
    if regime == list(REGIMES)[-1]:
        found = {name: spec for name, spec in found.items() if "latent of" not in name}
    changed = {"images": share, "steps": steps, "batch": batch, "width": width}
    return {name: replace(spec, **changed) for name, spec in found.items()}


def one_arm(job):
    """Train and score one arm; a process keeps its studies."""
    folder, device, anatomy, regime, name, spec, block = job
    torch.set_num_threads(1)
    study = read_prepared(Path(folder), anatomy, 8, device)
    base = TrainConfig.from_params(block)
    started = time.monotonic()
    trained = run.train_or_load(study, spec, base)
    table, _ = run.score(study, spec, base, trained)
    losses = trained.losses
    tail = [np.median(losses[k : k + 50]) for k in range(0, len(losses), 50)]
    arm, _, role = name.partition("|")
    told = {"set": anatomy, "regime": regime, "shown": arm, "role": role}
    told |= {"seconds": time.monotonic() - started, "loss_over_lowest": tail[-1] / min(tail)}
    told["ceiling_db"] = table["psnr_db"] * 0 + _ceiling(study, spec.vae)
    return table.assign(**told)


def _ceiling(study, vae):
    return metrics.psnr_db(study.reconstruction(vae), study.test["hr"])


def measure(out, minutes, workers, device, regimes, sets, shorter, images):
    ends = time.monotonic() + 60 * minutes
    block = asdict(params.read(Path("profiles/mini.yaml"))["train_arm"])
    block["steps"] = max(2, round(block["steps"] * shorter))
    results, path = out / "images", out / "longer.csv"
    with ProcessPoolExecutor(workers) as pool:
        for anatomy in sets:
            write_set(results, anatomy, images, pool)
    print(f"drawn, {ends - time.monotonic():.0f} s left", flush=True)
    jobs = [
        (str(results), device, anatomy, regime, name, spec, block)
        for regime in regimes
        for anatomy in sets
        for name, spec in arms(regime).items()
    ]
    context = multiprocessing.get_context("spawn")
    done = 0
    with context.Pool(workers) as pool:
        pool.map(encode, [(str(results), a, vae, device) for a in sets for vae in VAES], 1)
        print(f"encoded, {ends - time.monotonic():.0f} s left", flush=True)
        for table in pool.imap_unordered(one_arm, jobs):
            table.to_csv(path, mode="a", header=not path.exists(), index=False)
            done += 1
            row = table.iloc[0]
            print(
                f"{done}/{len(jobs)} {row['regime']}, {row['set']}, {row['shown']}, {row['role']}: "
                f"{table['psnr_db'].mean():.2f} dB in {row['seconds']:.0f} s, "
                f"{ends - time.monotonic():.0f} s left",
                flush=True,
            )
            if time.monotonic() > ends:
                pool.terminate()
                break
    print(f"{len(jobs) - done} arms not reached")


def tables(path):
    """Print gaps with intervals over subjects, and the two parts of the one under LR latents."""
    found = pd.read_csv(path, dtype={"subject_id": str, "image_id": str})
    for (regime, anatomy), rows in found.groupby(["regime", "set"], sort=False):
        print(f"\n{regime}, {anatomy}")
        for shown, part in rows.groupby("shown", sort=False):
            means = part.groupby("role")[["psnr_db", "ceiling_db", "loss_over_lowest"]].mean()
            print(f"  {shown}:")
            print(means.round(2).to_string(header=shown == "lr_pixels"))
            if set(MAIN) <= set(part["role"]) and "latent of" not in shown:
                gap = paired_difference(part, "role", MAIN, seed=0).loc[0]
                print(f"    gap {gap.gap:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]")
        latents = rows[rows["shown"].str.startswith("latent of")]
        if len(latents.groupby(["role", "shown"])) == 4:
            cells = [(target, f"latent of {vae}") for vae in MAIN for target in MAIN]
            split = contrasts(latents, ["role", "shown"], cells, CROSSED, seed=0)
            print(split.round(2).to_string(index=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES), type=str)
    parser.add_argument("--shorter", type=float, default=1.0, help="factor of all steps, for a try")
    parser.add_argument("--images", type=int, default=IMAGES, help="training images a set")
    parser.add_argument("--tables", action="store_true")
    given = parser.parse_args()
    if given.tables:
        tables(given.out)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "settings.json").write_text(json.dumps({"torch": torch.__version__}))
    measure(
        given.out, given.minutes, given.workers, given.device, given.regimes, given.sets,
        given.shorter, given.images,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
