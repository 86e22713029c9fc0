import numpy as np
import pandas as pd
import pytest
import torch

from latentsr.autoencoders import latents
from latentsr.autoencoders.load import load_autoencoder
from latentsr.degrade import degrade, upsample
from latentsr.experiments import condition_audit
from latentsr.metrics import image as metrics

MAIN = ["natural-f8c4", "phantom-f4c3"]


def files(folder, kinds):
    """What chapter 3 leaves of two arms and two sets."""
    for number, name in enumerate(("knee", "brain")):
        for place, vae in enumerate(MAIN):
            path = folder / name / vae / "costs.csv"
            path.parent.mkdir(parents=True)
            rows = {"arm": [*kinds, "released"], "numbers_seen": 64, "parameters": 1}
            levels = [10 * (k + 1) + number + 100 * place for k in range(len(kinds) + 1)]
            pd.DataFrame(rows | {"lr_recovered_db": levels}).to_csv(path, index=False)
    return condition_audit.costs(folder, ["knee", "brain"], {vae: vae for vae in MAIN})


def ceilings():
    """Two images of subject a, one of b: means over subjects are 2 and more, by hand."""
    rows = [
        {"dataset": name, "vae": vae, "subject_id": subject, "lr_copy_db": level + 10 * place,
         "upsampled_copy_db": level + 20, "round_trip_db": level + 30}
        for name in ("knee", "brain")
        for place, vae in enumerate(MAIN)
        for subject, level in (("a", 0.0), ("a", 2.0), ("b", 3.0))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_every_condition_has_its_ways_back(tmp_path):
    costs = files(tmp_path, ["lr_latent", "upsampled_latent", "lr_pixels"])
    found = condition_audit.table(costs, ceilings(), MAIN)
    assert found.columns.tolist() == condition_audit.COLUMNS and len(found) == 2 * 5
    knee = found[found["dataset"] == "knee"].drop(columns=["dataset", "numbers_seen"])
    nan = float("nan")
    by_hand = [
        ["lr_latent", MAIN[0], 10, 2, 32],
        ["lr_latent", MAIN[1], 110, 12, 32],
        ["upsampled_latent", MAIN[0], 20, 22, nan],
        ["upsampled_latent", MAIN[1], 120, 22, nan],
        ["lr_pixels", "", 30, nan, nan],
    ]
    expected = pd.DataFrame(by_hand, columns=knee.columns)
    pd.testing.assert_frame_equal(knee.reset_index(drop=True), expected, check_dtype=False)


def test_conditions_that_were_not_run_have_no_row(tmp_path):
    found = condition_audit.table(files(tmp_path, ["lr_pixels"]), ceilings(), MAIN)
    assert found["condition"].tolist() == ["lr_pixels", "lr_pixels"]


@pytest.mark.parametrize("operator", ["bicubic", "lanczos"])
def test_the_way_back_through_the_enlarged_image(operator):
    """Step by step, with diffusers' own model, one image at a time."""
    vae = load_autoencoder("phantom-f4c3")
    lr = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    lr = degrade(upsample(lr, 64), 16)  # smooth
    found = latents.reconstruct_upsampled(vae, lr, 64, 2, operator)
    for image, theirs in zip(lr, found, strict=True):
        large = torch.from_numpy(upsample(image[None], 64))[:, None]
        copy = vae.decode(vae.encode(large))[:, 0].numpy()
        np.testing.assert_allclose(degrade(copy, 16, operator)[0], theirs, atol=1e-5)
    assert metrics.psnr_db(found, lr).min() > 15
