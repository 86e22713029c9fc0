"""Does the gap stay when arms are trained in another way, with training seeds as the unit? On a GPU.

python benchmarks/seeds.py OUT [--minutes 8] [--seeds 3] [--workers 14] [--device cuda]

Draws the images of mini as longer.py does, trains every ablation of claim C4 and its reference from
each seed, with both main autoencoders on three sets, and writes a row an image to OUT/seeds.csv as
each training is done. Seeds that the minutes do not reach are left out. `--tables OUT/seeds.csv`
writes seeds.csv and seeds_to_1000_calls.csv in benchmarks/measured.
"""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from longer import MAIN, SETS, encode, write_set

from latentsr import io
from latentsr.companion.pipeline import params
from latentsr.experiments import plans, run
from latentsr.experiments.arms import read_prepared
from latentsr.experiments.run import TrainConfig
from latentsr.stats.difference import change_over_seeds

ROOT = Path(__file__).parents[1]
PROFILE, MEASURED = ROOT / "profiles" / "mini.yaml", ROOT / "benchmarks" / "measured"
SEEN, MARGIN_DB = "lr_latent", 0.15
WALKED = (1, 50, 1000)  # network calls of the schedules


def trainings(vae, seed, calls):
    """Return the arms of one autoencoder and seed by what they are trained as."""
    arms = plans.ablations(vae, SEEN, calls, seed)
    for row in plans.schedules([vae], SEEN, calls, seed):
        is_reference = row.config == arms["reference"]
        if not is_reference and row.config.num_inference_steps in (*WALKED, calls):
            arms[row.arm] = row.config
    by_training = {}
    for name, spec in arms.items():
        by_training.setdefault(spec.for_training, {})[name] = spec
    return sorted(by_training.values(), key=len, reverse=True)  # the longest first


def one_training(job):
    """Train one arm and score it, sampled in every way; a process keeps nothing."""
    folder, device, anatomy, vae, seed, arms, block = job
    torch.set_num_threads(1)
    study = read_prepared(Path(folder), anatomy, 8, device)
    finished = Path(folder) / "finished" / f"{anatomy}-{vae}-{seed}"
    base = replace(TrainConfig.from_params(block), cache_dir=finished)
    started = time.monotonic()
    rows = [plans.PlanRow("ablations", name, config) for name, config in arms.items()]
    table = run.run(study, rows, base)
    kept = ["image_id", "subject_id", "arm", "T", "psnr_db"]
    columns = {"set": anatomy, "role": vae, "seed": seed, "seconds": time.monotonic() - started}
    return table[kept].assign(**columns)


def measure(out, minutes, seeds, workers, device, sets, shorter):
    ends = time.monotonic() + 60 * minutes
    block = dict(vars(params.read(PROFILE)["train_arm"]))
    block["steps"] = max(2, round(block["steps"] * shorter))
    results, path = out / "images", out / "seeds.csv"
    with ProcessPoolExecutor(workers) as pool:
        for anatomy in sets:
            write_set(results, anatomy, 160, pool)
    print(f"drawn, {ends - time.monotonic():.0f} s left", flush=True)
    jobs = [
        (str(results), device, anatomy, vae, seed, arms, block)
        for seed in seeds
        for anatomy in sets
        for vae in MAIN
        for arms in trainings(vae, seed, block["sampling_steps"])
    ]
    done = 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(encode, [(str(results), a, vae, device) for a in sets for vae in MAIN], 1)
        print(f"encoded, {ends - time.monotonic():.0f} s left", flush=True)
        for table in pool.imap_unordered(one_training, jobs):
            table.to_csv(path, mode="a", header=not path.exists(), index=False)
            done, row = done + 1, table.iloc[0]
            name = f"{row['set']}, {row['role']}, seed {row['seed']}, {row['arm']}"
            psnr, left = table["psnr_db"].mean(), ends - time.monotonic()
            print(
                f"{done}/{len(jobs)} {name}: {psnr:.2f} dB in {row['seconds']:.0f} s, {left:.0f} s left"
            )
            sys.stdout.flush()
            if left < 0:
                pool.terminate()
                break
    print(f"{len(jobs) - done} trainings not reached")


def gaps(path):
    """Return set, arm, seed, first, second and gap, of the seeds that have every arm of both."""
    differences = pd.read_csv(path, dtype={"subject_id": str, "image_id": str})
    means = io.subject_mean(differences, ["set", "arm", "seed", "role"], ["psnr_db"])["psnr_db"]
    wide = means.unstack("role")[list(MAIN)].set_axis(["first", "second"], axis=1)
    wide["gap"] = wide["second"] - wide["first"]
    whole = wide["gap"].unstack("arm").dropna().index
    return wide[[(name, seed) in whole for name, _, seed in wide.index]].reset_index()


def changes(differences):
    """Return `difference.change_over_seeds` of every set, with each gap's SD over seeds."""
    tables = []
    for name, rows in differences.groupby("set", sort=False):
        table = change_over_seeds(rows, MARGIN_DB).assign(set=name)
        sd = rows.groupby("arm")["gap"].std()
        tables.append(table.assign(gap_sd=table["arm"].map(sd).fillna(sd["reference"])))
    return pd.concat(tables, ignore_index=True)


def to_1000(differences):
    """Return the change of the gap from 50 network calls to 1000, by walk, noise and set."""
    tables = []
    for start, end in (
        ("50 calls", "1000 calls"),
        ("50 calls, half of the noise", "1000 calls, half of the noise"),
        ("first 50 entries, half of the noise", "1000 calls, half of the noise"),  # the paper's
    ):
        pair = differences[differences["arm"].isin([start, end])].replace(
            {"arm": {start: "reference"}}
        )
        for name, rows in pair.groupby("set", sort=False):
            (row,) = change_over_seeds(rows, MARGIN_DB)[1:].to_dict("records")
            tables.append({"from": start, "to": end, "set": name, **row})
    return pd.DataFrame(tables)[["from", "to", "set", "change", "low", "high", "verdict"]]


def publish(by_seed, folder):
    """Write the tables of the page "Beyond the default run"."""
    changes(by_seed).to_csv(folder / "seeds.csv", index=False)
    to_1000(by_seed).to_csv(folder / "seeds_to_1000_calls.csv", index=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=42)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--shorter", type=float, default=1.0, help="factor of all steps, for a try")
    parser.add_argument("--tables", action="store_true")
    given = parser.parse_args()
    if given.tables:
        publish(gaps(given.out), MEASURED)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    setting = given.workers, given.device, given.sets, given.shorter
    measure(given.out, given.minutes, seeds, *setting)


if __name__ == "__main__":
    sys.exit(main())
