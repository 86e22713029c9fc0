"""Which width, batch and rate a denoiser learns most with in the same time: LR pixels, 30 images.

python benchmarks/denoiser_training.py   (after `make repro`; about 20 minutes on one core)
"""

import time
from dataclasses import asdict
from pathlib import Path

import torch

from latentsr.companion.pipeline import params
from latentsr.experiments import run
from latentsr.experiments.arms import read_prepared
from latentsr.experiments.run import ArmConfig, TrainConfig
from latentsr.metrics import image as metrics

VAES = ("natural-f8c4", "phantom-f4c3")
TRIED = [  # widths, batch, steps, peak rate
    ((24, 48, 48), 16, 240, 1.5e-3),
    ((24, 48, 48), 8, 480, 1.5e-3),
    ((24, 48, 48), 8, 480, 3e-3),
    ((24, 48, 48), 4, 960, 1.5e-3),
    ((32, 64, 64), 8, 400, 1.5e-3),
    ((48, 48), 16, 240, 1.5e-3),
    ((48, 48), 8, 400, 3e-3),
    ((48, 48), 8, 400, 6e-3),
    ((48, 48), 4, 700, 3e-3),
    ((48, 48), 4, 700, 6e-3),
    ((64,), 8, 280, 3e-3),
    ((40, 40), 4, 800, 6e-3),
    ((40, 40), 4, 800, 1e-2),
    ((32, 32), 4, 900, 6e-3),
    ((32, 32), 4, 700, 1e-2),
    ((32, 32), 2, 1000, 6e-3),
    ((24, 24), 4, 900, 1e-2),
    ((32, 32, 32), 4, 700, 6e-3),
    ((32, 32, 32), 4, 700, 3e-3),
]


def main() -> None:
    torch.set_num_threads(1)
    block = params.read(Path("profiles/mini.yaml"))["train_arm"]
    studies = {name: read_prepared(Path("results/mini"), name, 8) for name in ("knee", "chest")}
    heads = [f"{name} {vae}" for name in studies for vae in VAES]
    print("| widths | batch | steps | peak rate | seconds | " + " | ".join(heads) + " |")
    print("| :-- |" + " --: |" * (4 + len(heads)))
    for widths, batch, steps, rate in TRIED:
        changed = {"unet_channels": widths, "batch": batch, "steps": steps}
        changed["max_learning_rate"] = rate
        base = TrainConfig.from_params(asdict(block) | changed)
        cells, seconds = [], 0.0
        for study in studies.values():
            for vae in VAES:
                started = time.monotonic()
                done = run.train_or_load(study, ArmConfig(vae), base)
                seconds += (time.monotonic() - started) / len(heads)
                made = done.arm.sample(done.net, base.sampler_of(ArmConfig(vae)), 42, 30)
                cells.append(f"{metrics.psnr_db(made, done.arm.test['hr'][:30]).mean():.2f}")
        row = [", ".join(map(str, widths)), batch, steps, rate, f"{seconds:.0f}", *cells]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
