"""Does the gap stay when arms are trained in another way, with training seeds as the unit? On a GPU.

python benchmarks/seeds.py OUT [--minutes 8] [--seeds 3] [--workers 14] [--device cuda]

Draws the images of mini as longer.py does, trains every ablation of claim C4 and its reference from
each seed, with both main autoencoders on three sets, and writes a row an image to OUT/seeds.csv as
each training is done. Seeds that the minutes do not reach are left out. `--tables OUT/seeds.csv`
prints the tables of benchmarks/README.md.
"""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch
from longer import MAIN, SETS, encode, write_set
from scipy import stats as distributions

from latentsr import experiment, params, plans, scores, stability
from latentsr.arms import Study

PROFILE = Path(__file__).parents[1] / "profiles" / "mini.yaml"
SEEN, MARGIN_DB = "lr_latent", 0.15
WALKED = (1, 50, 1000)  # network calls of the schedules


def trainings(vae, seed, calls):
    """Return the arms of one autoencoder and seed by what they are trained as."""
    arms = plans.ablations(vae, SEEN, calls, seed)
    walks = plans.walks([vae], SEEN, calls, seed)
    chosen = {name.partition("|")[0]: spec for name, spec in walks.items()}
    for name, spec in chosen.items():
        is_reference = spec == arms["reference"]
        if not is_reference and spec.num_steps in (*WALKED, calls):
            arms[name] = spec
    found = {}
    for name, spec in arms.items():
        found.setdefault(spec.training, {})[name] = spec
    return sorted(found.values(), key=len, reverse=True)  # the longest first


def one_training(job):
    """Train one arm and score it, sampled in every way; a process keeps nothing."""
    folder, device, anatomy, vae, seed, arms, block = job
    torch.set_num_threads(1)
    study = Study(Path(folder), anatomy, 8, device)
    finished = Path(folder) / "finished" / f"{anatomy}-{vae}-{seed}"
    base = replace(experiment.base_of(block, None, finished), save_every_s=1e9)
    started = time.monotonic()
    table = experiment.run(study, {("ablations", name): spec for name, spec in arms.items()}, base)
    kept = ["image_id", "subject_id", "arm", "T", "psnr_db"]
    told = {"set": anatomy, "role": vae, "seed": seed, "seconds": time.monotonic() - started}
    return table[kept].assign(**told)


def measure(out, minutes, seeds, workers, device, sets, shorter):
    ends = time.monotonic() + 60 * minutes
    block = asdict(params.read(PROFILE)["train_arm"])
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
            told = f"{row['set']}, {row['role']}, seed {row['seed']}, {row['arm']}"
            psnr, left = table["psnr_db"].mean(), ends - time.monotonic()
            print(
                f"{done}/{len(jobs)} {told}: {psnr:.2f} dB in {row['seconds']:.0f} s, {left:.0f} s left"
            )
            sys.stdout.flush()
            if left < 0:
                pool.terminate()
                break
    print(f"{len(jobs) - done} trainings not reached")


def gaps(path):
    """Return the gap by (set, arm, seed), of those seeds of a set that have every arm of both."""
    found = pd.read_csv(path, dtype={"subject_id": str, "image_id": str})
    means = scores.subject_mean(found, ["set", "arm", "seed", "role"], ["psnr_db"])["psnr_db"]
    wide = means.unstack("role")
    wide = wide[list(MAIN)].assign(gap=wide[MAIN[1]] - wide[MAIN[0]])
    whole = wide["gap"].unstack("arm").dropna()
    return wide[[(s, k) in whole.index for s, _, k in wide.index]]


def mean_t(values, confidence):
    """Return mean and half-width of the t interval over seeds."""
    n = len(values)
    return values.mean(), distributions.t.ppf(0.5 + confidence / 2, n - 1) * values.std() / n**0.5


def changes(wide):
    """Return gap(arm) - gap(reference) of every arm of every set, paired by seed, over seeds."""
    rows = []
    for name, found in wide.groupby("set", sort=False):
        gap, levels = found["gap"].unstack("arm"), found[list(MAIN)].groupby("arm").mean()
        start = gap["reference"]
        for arm in ["reference", *[arm for arm in found.index.unique("arm") if arm != "reference"]]:
            row = {"set": name, "arm": arm, "seeds": len(gap), "gap": gap[arm].mean()}
            row |= {"gap_sd": gap[arm].std(), **levels.loc[arm].to_dict()}
            if arm != "reference":
                mean, half = mean_t(gap[arm] - start, 0.90)
                _, wider = mean_t(gap[arm] - start, 0.95)
                row |= {"change": mean, "low": mean - half, "high": mean + half}
                verdict = stability.verdict(mean - half, mean + half, MARGIN_DB)
                five = stability.verdict(mean - half, mean + half, 0.05 * abs(start.mean()))
                row |= {"verdict": verdict, "verdict_5_percent": five}
                row |= {"excludes_0": bool(abs(mean) > wider)}
            rows.append(row)
    return pd.DataFrame(rows)


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
        found = changes(gaps(given.out))
        for name, rows in found.groupby("set", sort=False):
            print(f"\n{name}")
            print(rows.drop(columns="set").round(2).to_string(index=False))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    setting = given.workers, given.device, given.sets, given.shorter
    measure(given.out, given.minutes, seeds, *setting)


if __name__ == "__main__":
    sys.exit(main())
