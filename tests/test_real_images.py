"""Real images, never part of the project: set LATENTSR_REAL_IMAGES to a folder that holds them.

It has the folders knee, brain and cxr of grey PNG files, each with a manifest.csv (file, subject).
"""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.companion.pipeline import data, notebook, params, scratch
from latentsr.datasets import Preparation, SetEntry, folder, list_images, load_set

ROOT = os.environ.get("LATENTSR_REAL_IMAGES", "")
pytestmark = pytest.mark.skipif(not ROOT, reason="LATENTSR_REAL_IMAGES is not set")
HOW = Preparation(128, 32, train_images=20, test_images=10)


@pytest.mark.parametrize("name", ["knee", "brain", "cxr"])
def test_each_set_is_read(name):
    entry = SetEntry("folder", name, "folder", "image")
    arrays = load_set(name, entry, Path(ROOT), HOW)
    assert arrays["hr"].shape[1:] == (128, 128) and arrays["lr"].shape[1:] == (32, 32)
    assert Counter(arrays["split"].tolist()).keys() == {"train", "test"}
    assert 0 <= arrays["hr"].min() and arrays["hr"].max() <= 1
    assert (arrays["hr"].std(axis=(1, 2)) > 0.02).all()  # an image in each


def test_chest_patients_stay_on_one_side():
    records = folder.records(Path(ROOT) / "cxr", split_by="subject", test_fraction=0.27, seed=42)
    sides: dict[str, set[str]] = {}
    for record in records:
        sides.setdefault(record.subject_id, set()).add(record.split)
    assert all(len(split) == 1 for split in sides.values())
    assert len(records) > len(sides)  # some patients have two films
    share = np.mean([split == {"test"} for split in sides.values()])
    assert share == pytest.approx(0.27, abs=0.01)


def test_a_set_of_one_subject_asks_for_a_split_by_image():
    entry = SetEntry("folder", "knee", "folder")
    with pytest.raises(ValueError, match="--split-by-image knee"):
        list_images("knee", entry, Path(ROOT) / "knee", HOW)


@pytest.mark.slow
def test_the_study_runs_on_real_chest_images(smoke_study):
    """One set, from `data use` to the scores of both main autoencoders, with the smoke profile."""
    data.use([f"chest={ROOT}/cxr"], [])
    Path("data").symlink_to("assets/own")  # what `dvc repro` would import
    settings = params.read(Path("params.yaml"))
    for stem in notebook.STEMS[:4]:
        for run in notebook.grid(stem, settings, ["chest"]):
            places = {"inputs": "results/smoke", "outputs": "results/smoke"}
            places["inputs"] = "data" if stem == "01_data" else places["inputs"]
            given = notebook.arguments_of(stem, Path("params.yaml"), {**places, **run})
            scratch.run_cells(stem, given)
    facts = json.loads(Path("results/smoke/data/sets.json").read_text())["chest"]
    assert not facts["is_phantom"] and not facts["may_be_shown"]
    scored = pd.read_csv("results/smoke/tables/04_scores.csv")
    assert scored.groupby(["vae", "lr_condition"]).size().eq(8).all()
    assert scored["psnr_db"].between(5, 60).all()
