"""Does the gap stay when arms are trained in another way, with training seeds as the unit? On a GPU.

python benchmarks/seeds.py OUT [--minutes 8] [--seeds 3] [--workers 14] [--device cuda]

Draws the images of mini as longer.py does, trains every ablation of claim C4 and its reference from
each seed, with both main autoencoders on three sets, and writes a row an image to OUT/seeds.csv as
each training is done. Seeds that the minutes do not reach are left out. `--tables OUT/seeds.csv`
prints the tables of benchmarks/README.md, and writes them and their figure to book/static/seeds.
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import torch
from longer import MAIN, SETS, encode, write_set

from latentsr import io
from latentsr.companion.pipeline import params
from latentsr.experiments import plans, run
from latentsr.experiments.arms import read_prepared
from latentsr.experiments.run import TrainConfig
from latentsr.plots import forests
from latentsr.plots import style as figures
from latentsr.stats import apart
from latentsr.stats.difference import change_over_seeds

ROOT = Path(__file__).parents[1]
PROFILE, STATIC = ROOT / "profiles" / "mini.yaml", ROOT / "book" / "static" / "seeds"
SEEN, MARGIN_DB = "lr_latent", 0.15
HIDDEN = ["unit", "settling_unit", "n_seeds", "against"]
CAPTION = (
    "Change of the gap by ablation over training seeds of both arms, paired, 90% intervals; the band is "
    "0.15 dB. Not the run that made this book. {download}`SVG <static/seeds/changes.svg>`, "
    "{download}`changes.csv <static/seeds/changes.csv>`; made by `benchmarks/seeds.py`."
)
WALKED = (1, 50, 1000)  # network calls of the schedules


def trainings(vae, seed, calls):
    """Return the arms of one autoencoder and seed by what they are trained as."""
    arms = plans.ablations(vae, SEEN, calls, seed)
    for row in plans.schedules([vae], SEEN, calls, seed):
        is_reference = row.config == arms["reference"]
        if not is_reference and row.config.num_inference_steps in (*WALKED, calls):
            arms[row.arm] = row.config
    found = {}
    for name, spec in arms.items():
        found.setdefault(spec.for_training, {})[name] = spec
    return sorted(found.values(), key=len, reverse=True)  # the longest first


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
    """Return set, arm, seed, first, second and gap, of the seeds that have every arm of both."""
    found = pd.read_csv(path, dtype={"subject_id": str, "image_id": str})
    means = io.subject_mean(found, ["set", "arm", "seed", "role"], ["psnr_db"])["psnr_db"]
    wide = means.unstack("role")[list(MAIN)].set_axis(["first", "second"], axis=1)
    wide["gap"] = wide["second"] - wide["first"]
    whole = wide["gap"].unstack("arm").dropna().index
    return wide[[(name, seed) in whole for name, _, seed in wide.index]].reset_index()


def changes(found):
    """Return `difference.change_over_seeds` of every set, with each gap's SD over seeds."""
    tables = []
    for name, rows in found.groupby("set", sort=False):
        table = change_over_seeds(rows, MARGIN_DB).assign(set=name)
        sd = rows.groupby("arm")["gap"].std()
        tables.append(table.assign(gap_sd=table["arm"].map(sd).fillna(sd["reference"])))
    return pd.concat(tables, ignore_index=True)


def to_1000(found):
    """Return the change of the gap from 50 network calls to 1000, by walk, noise and set."""
    tables = []
    for start, end in (
        ("50 calls", "1000 calls"),
        ("50 calls, half of the noise", "1000 calls, half of the noise"),
        ("first 50 entries, half of the noise", "1000 calls, half of the noise"),  # the paper's
    ):
        pair = found[found["arm"].isin([start, end])].replace({"arm": {start: "reference"}})
        for name, rows in pair.groupby("set", sort=False):
            (row,) = change_over_seeds(rows, MARGIN_DB)[1:].to_dict("records")
            tables.append({"from": start, "to": end, "set": name, **row})
    return pd.DataFrame(tables)[["from", "to", "set", "change", "low", "high", "verdict"]]


def drawn(found, titles):
    """Draw the changes of every set, those of other trainings, samplers and schedules apart."""
    found = found.dropna(subset="change")
    arms = list(dict.fromkeys(found["arm"]))
    ablations = [arm for arm in plans.ablations(MAIN[0], SEEN, 10, 42) if arm in arms]
    trained = [arm for arm in ablations if arm not in apart.SAMPLED_ONLY]
    groups = {
        "Trained anew": trained,
        "Another sampler": [arm for arm in arms if arm in apart.SAMPLED_ONLY],
        "Another schedule": [arm for arm in arms if arm not in ablations],
    }
    return forests.forest(
        found.rename(columns={"set": "dataset"}),
        titles,
        f"change of the gap: {MAIN[1]} - {MAIN[0]}, dB",
        (MARGIN_DB,),
        value="change",
        groups={heading: {arm: arm for arm in names} for heading, names in groups.items()},
        is_from_first=False,
        reach=1.0,
    )


def publish(found, folder):
    """Write the table and the figure for the page "What hours of training say"."""
    folder.mkdir(parents=True, exist_ok=True)
    found.to_csv(folder / "changes.csv", index=False)
    seeds = found.groupby("set", sort=False)["n_seeds"].max()
    titles = {name: f"{name} phantoms\n({n:g} training seeds)" for name, n in seeds.items()}
    rows = found.dropna(subset="change").set_index(["set", "arm"])["change"]
    alt = (
        "Change of the gap in each ablation on three sets of phantoms, paired by training seed, with "
        f"90% intervals over seeds, and the margin as a band; the change is {figures.span(rows, '+.2f')}."
    )
    figures.style()
    with tempfile.TemporaryDirectory() as scratch:
        figures.save(drawn(found, titles), Path(scratch), "07_changes", alt)
        made = Path(scratch) / "figures" / "07" / "07_changes.svg"
        shutil.copy(made, folder / "changes.svg")
        alt = made.with_suffix(".txt").read_text().strip()
    (folder / "figures.txt").write_text(
        f"```{{figure}} static/{folder.name}/changes.svg\n:alt: {alt}\n:width: 100%\n\n{CAPTION}\n```\n"
    )


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
        by_seed = gaps(given.out)
        found = changes(by_seed)
        publish(found, STATIC)
        for name, rows in found.groupby("set", sort=False):
            print(f"\n{name}")
            print(rows.drop(columns=["set", *HIDDEN]).round(2).to_string(index=False))
        print(f"\n{to_1000(by_seed).round(2).to_string(index=False)}")
        return
    given.out.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    setting = given.workers, given.device, given.sets, given.shorter
    measure(given.out, given.minutes, seeds, *setting)


if __name__ == "__main__":
    sys.exit(main())
