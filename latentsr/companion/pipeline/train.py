"""The stage that trains: the denoisers of one set and one target autoencoder, and their losses."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from latentsr.companion.pipeline import notebook, params, stage


def train(results: Path, dataset: str, vae: str, threads: int) -> Path:
    """Train every arm of a set and target autoencoder with the parameters of params.yaml.

    What was trained before is read from ``.scratch/trained``. Returns the folder of weights,
    ``denoiser_ARM.safetensors``, with the loss of every step in ``curve.csv``.
    """
    import pandas as pd
    import torch
    from tqdm import tqdm

    from latentsr.autoencoders import registry
    from latentsr.experiments import plans, run
    from latentsr.experiments.arms import read_prepared
    from latentsr.experiments.run import TrainConfig

    torch.set_num_threads(threads)
    study = notebook.study(results)
    if not study["main_arms"]:
        study["main_vaes"] = []
    base = TrainConfig.from_params(study, notebook.SCRATCH)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepared = read_prepared(results, dataset, study["grid_factor"], device)
    folder, losses = results / "weights" / dataset / registry.arm_dir(vae), {}
    for arm, config in plans.study_arms(vae, study).items():
        with tqdm(total=base.settings_of(config).steps, desc=arm) as bar:
            trained = run.train_or_load(prepared, config, base, bar.update)
        trained.save(folder / f"denoiser_{arm}.safetensors")
        losses[arm] = pd.Series(trained.losses)
    pd.DataFrame(losses).rename_axis("step").to_csv(folder / "curve.csv")
    return folder


def main() -> None:
    """Run ``python -m latentsr.companion.pipeline.train --dataset SET --vae VAE``."""
    parser = argparse.ArgumentParser(description="Train the denoisers of one target autoencoder.")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--vae", required=True)
    given = vars(parser.parse_args())
    started = time.monotonic()
    try:
        stage.check_point("03_train_arm", given)
        profile = params.read(Path("params.yaml"))
        results = Path("results") / profile["profile"]
        print(train(results, given["dataset"], given["vae"], profile["threads"]))
        stage.note_run(profile["profile"], notebook.label("train", given), started)
    except (ValueError, OSError) as error:
        stage.stop(error)


if __name__ == "__main__":
    main()
