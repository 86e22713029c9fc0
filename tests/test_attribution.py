import numpy as np
import pandas as pd
import pytest

from latentsr.experiments import plans
from latentsr.stats import attribution, stability

MAIN = ("natural-f8c4", "phantom-f4c3")
CORNERS = ["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]


def rows(vae, condition_vae, kind, level, grid="common", subjects=8, seed=0):
    """Two images a subject; the subjects differ, the arms by ``level`` alone."""
    base = np.random.default_rng(seed).normal(25, 2, subjects).repeat(2)
    return pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(2 * subjects)],
            "subject_id": [f"s{i // 2}" for i in range(2 * subjects)],
            "vae": vae,
            "condition_vae": condition_vae,
            "lr_condition": kind,
            "grid": grid,
            "psnr_db": base + level,
        }
    )


def crossed(table):
    """A row an arm: (target, condition autoencoder) -> level."""
    return pd.concat([rows(*pair, "lr_latent", level) for pair, level in table.items()])


def test_target_and_condition_by_hand():
    f8, f4 = MAIN
    table = {(f8, f8): 0.0, (f4, f8): -0.5, (f8, f4): 3.0, (f4, f4): 2.9}
    seen = attribution.seen(crossed(table), MAIN)
    found = attribution.target_and_condition(seen, MAIN, 0).set_index("effect")["estimate"]
    assert found["target"] == pytest.approx((-0.5 - 0.1) / 2)
    assert found["condition"] == pytest.approx((3.0 + 3.4) / 2)
    assert found["interaction"] == pytest.approx(0.4)
    assert found["gap"] == pytest.approx(2.9) == found["target"] + found["condition"]


def test_seen_names_what_a_denoiser_sees():
    f8, f4 = MAIN
    table = pd.concat(
        [
            rows(f8, f4, "lr_latent", 1.0),
            rows(f8, f8, "upsampled_latent", 1.0),
            rows(f8, f8, "lr_latent", 1.0, grid="own"),
            rows("natural-f4c3", "natural-f4c3", "lr_latent", 1.0),
        ]
    )
    seen = attribution.seen(table, MAIN)
    assert set(seen["seen"]) == {"latent of phantom-f4c3", "upsampled_latent"}
    assert len(seen) == 32


def test_levels_are_subject_means_in_the_order_asked_for():
    rows = [  # two images of one subject count once
        ("knee", "a", "x", "s1", 20.0, 21.0),
        ("knee", "a", "x", "s1", 22.0, 23.0),
        ("knee", "a", "x", "s2", 25.0, 26.0),
        ("knee", "a", "released", "s1", 10.0, 11.0),
        ("knee", "b", "x", "s1", 1.0, 1.0),
        ("knee", "a", "y", "s1", 2.0, 2.0),
        ("real", "a", "x", "s3", 30.0, np.nan),
    ]
    scored = pd.DataFrame(rows, columns="dataset vae arm subject_id psnr_db twin".split())
    found = attribution.levels(scored, ["a"], ["released", "x", "z"], ["psnr_db", "twin"])
    assert list(found.index) == [("knee", "a", "released"), ("knee", "a", "x"), ("real", "a", "x")]
    assert found["psnr_db"].tolist() == [10, 23, 30] and found["twin"].tolist()[:2] == [11, 24]
    assert np.isnan(found["twin"].iloc[2])
    scored.loc[0, "twin"] = np.nan  # of some images only: no mean
    with pytest.raises(ValueError, match="twin: 1 of 4 values are NaN"):
        attribution.levels(scored, ["a"], ["released", "x"], ["twin"])


def test_an_arm_that_is_missing_is_told():
    f8, f4 = MAIN
    seen = attribution.seen(crossed({(f8, f8): 0.0, (f4, f4): 1.0}), MAIN)
    with pytest.raises(ValueError, match="an arm has 0 rows"):
        attribution.target_and_condition(seen, MAIN, 0)


def pixels(levels):
    return pd.concat([rows(vae, vae, "lr_pixels", level) for vae, level in levels.items()])


def test_both_paths_of_the_budget_add_up_to_the_gap():
    levels = dict(zip(CORNERS, (0.0, 1.0, 2.0, 4.0), strict=True))
    levels |= {"natural-f4c1": 0.3, "phantom-f4c1": 1.6}
    found = attribution.budget_paths(pixels(levels), list(levels), 0)
    table = found.pivot(index="part", columns="path", values="estimate")
    assert table["domain first"].to_dict() == pytest.approx(
        {"domain": 1.0, "resolution": 0.6, "budget": 2.4}
    )
    assert table["geometry first"].to_dict() == pytest.approx(
        {"domain": 2.0, "resolution": 0.3, "budget": 1.7}
    )
    assert table[["domain first", "geometry first", "mean"]].sum().tolist() == pytest.approx(
        [4] * 3
    )
    assert table["interaction"].sum() == pytest.approx(0)


def test_the_paper_has_one_path_of_the_budget():
    names = ["sd-vae-ft-ema", "medvae-8-4", "kl-f4", "medvae-4-3", "medvae-4-1"]
    found = attribution.budget_paths(pixels(dict.fromkeys(names, 1.0)), names, 0)
    assert set(found[found.part == "resolution"]["path"]) == {"domain first"}
    assert "mean" in set(found[found.part == "domain"]["path"])
    assert attribution.budget_paths(pixels({"kl-f4": 1.0}), ["kl-f4"], 0).empty


def test_gaps_of_several_arms():
    f8, f4 = MAIN
    arm = pd.concat([rows(f8, f8, "lr_pixels", 1.0), rows(f4, f4, "lr_pixels", 1.5)])
    found = attribution.gaps({"controlled": arm, "again": arm}, MAIN, 0)
    assert found["arm"].tolist() == ["controlled", "again"]
    assert found["gap"].tolist() == pytest.approx([0.5, 0.5])
    assert (found["second"] - found["first"]).tolist() == pytest.approx([0.5, 0.5])
    assert (found["n_subjects"] == 8).all() and (found["n_images"] == 16).all()


def test_levers_against_their_base():
    f8 = MAIN[0]
    table = pd.concat(
        [
            rows(f8, f8, "lr_pixels", level).assign(
                arm=name, train_tflop=work, image_gflop=2 * work
            )
            for name, level, work in (
                ("base", 1.0, 3.0),
                ("width: x2", 1.4, 12.0),
                ("width: x0.5", 0.2, 0.75),
            )
        ]
    )
    found = attribution.against_base(table, 0).set_index("arm")
    assert found["gap"].to_dict() == pytest.approx({"width: x2": 0.4, "width: x0.5": -0.8})
    assert set(found["lever"]) == {"width"}
    assert found["train_times"].to_dict() == {"width: x2": 4.0, "width: x0.5": 0.25}
    assert found["image_times"].equals(found["train_times"].rename("image_times"))


@pytest.mark.parametrize(
    ("shift", "noise", "subjects", "verdict"),
    [
        (0.02, 0.01, 8, "equivalent"),
        (0.60, 0.01, 8, "beyond the margin"),
        (0.10, 0.40, 8, "inconclusive"),
        (0.02, 0.01, 4, "descriptive only"),
    ],
)
def test_whether_an_ablation_moves_the_gap(shift, noise, subjects, verdict):
    f8, f4 = MAIN
    jitter = np.random.default_rng(1).normal(0, noise, subjects).repeat(2)

    def arm(level, extra):
        first = rows(f8, f8, "lr_latent", 0.0, subjects=subjects)
        second = rows(f4, f4, "lr_latent", level, subjects=subjects)
        return pd.concat([first, second.assign(psnr_db=second["psnr_db"] + extra)])

    arms = {"reference": arm(2.0, 0), "flow": arm(2.0 + shift, jitter)}
    (found,) = stability.change_of_gap(arms, MAIN, "reference", 0.15, 0).to_dict("records")
    assert found["gap"] == pytest.approx(shift + jitter.mean())
    assert found["verdict"] == verdict


def test_what_was_retrained_has_intervals_over_seeds():
    """By hand: changes 0, 1, 2 over seeds have mean 1 and SD 1; t(0.95, 2 df) = 2.920 (any t table).

    So 1 +- 2.920 / root(3) = 1 +- 1.686, and at 95%, with 4.303, +- 2.484.
    """
    arms = {"reference": [1.0, 2.0, 4.0], "target v": [1.0, 3.0, 6.0], "flow": [1.01, 2.0, 3.99]}
    gaps = pd.DataFrame(
        [(arm, k, 20.0, 20 + gap, gap) for arm, by in arms.items() for k, gap in enumerate(by)],
        columns=["arm", "seed", "first", "second", "gap"],
    )
    found = stability.change_over_seeds(gaps, 0.15).set_index("arm")
    mean = "reference, mean of 3 seeds"
    assert found.index.tolist() == [mean, "target v", "flow"]
    assert found.loc[mean, ["first", "second", "gap"]].tolist() == pytest.approx(
        [20, 67 / 3, 7 / 3]
    )
    assert found.loc[mean, ["change", "verdict", "against"]].isna().all()
    row = found.loc["target v"]
    half = 2.919986 / 3**0.5
    assert row[["change", "low", "high"]].tolist() == pytest.approx([1, 1 - half, 1 + half])
    assert row[["first", "gap", "against"]].tolist() == [20, pytest.approx(10 / 3), mean]
    assert row["verdict"] == "inconclusive" and not row["excludes_0"]
    assert row[["settling_unit", "n_seeds"]].tolist() == ["seeds of both", 3]
    assert row["settling_n"] == stability.settling_seeds("inconclusive", 1.0, 1.0, 0.15) == 6
    assert found.loc["flow", ["verdict", "verdict_5_percent"]].tolist() == ["equivalent"] * 2
    (lone,) = stability.change_over_seeds(gaps[gaps.seed == 0], 0.15)[1:2].to_dict("records")
    assert lone["verdict"] == "inconclusive" and np.isnan(lone["low"])


def test_seeds_that_would_settle_a_change():
    """From any t table: 2.920 (2 df) / root(3) = 1.686; 6.314 (1 df) / root(2) = 4.465."""
    need = stability.settling_seeds
    assert need("inconclusive", 0.0, 1.0, 1.69) == 3 and need("inconclusive", 0.0, 1.0, 1.68) == 4
    assert need("inconclusive", -4.6, 1.0, 0.1) == 2
    assert need("inconclusive", 0.1, 1.0, 0.1) == np.inf
    assert np.isnan(need("equivalent", 0.0, 0.01, 0.15))


def test_ablations_that_only_sample_are_known_by_name():
    plan = plans.ablations("natural-f8c4", "lr_latent", 10, 42)
    same = [
        n
        for n, s in plan.items()
        if n != "reference" and s.for_training == plan["reference"].for_training
    ]
    assert tuple(same) == stability.SAMPLED_ONLY
