from pathlib import Path

import pytest

from latentsr import provenance


def test_every_output_of_the_pipeline_has_one_stage():
    listed = provenance.stages("mini")
    for path, name in {
        "results/mini/figures/04/04_arms.svg": "vae_swap",
        "results/mini/tables/05_bands.csv": "wavelets",
        "results/mini/autoencoders/knee/figures/02/02_cards_knee.svg": "autoencoders",
        "results/mini/arms/chest/phantom-f4c3/figures/03/03_curve.svg": "train_arm",
        "results/mini/metrics/10.json": "claims",
        "results/mini/figures/L5/L5_power.svg": "background",
    }.items():
        assert provenance.made_by(path, listed).name == name


def test_a_file_that_no_stage_makes_is_named():
    with pytest.raises(ValueError, match="tables/99_x.csv: no stage of dvc.yaml makes it"):
        provenance.made_by("results/mini/tables/99_x.csv", provenance.stages("mini"))


def test_the_page_lists_every_file_with_its_command():
    files = ["results/mini/tables/05_bands.csv", "results/mini/figures/09/09_ceiling_vs_sr.svg"]
    text = provenance.page(files, "mini", Path("dvc.yaml"))
    assert all(f"`{file}`" in text for file in files)
    assert "(stage-wavelets)=" in text and "`dvc repro wavelets`" in text
    assert "`python -m latentsr.notebook 09_screening`" in text and "vae_swap" not in text.split(
        "#"
    )
