"""Contrasts of designs whose cells are known."""

import numpy as np
import pandas as pd
import pytest

from latentsr.stats import factorial
from latentsr.stats.intervals import mean_interval

CORNERS = ["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]
ONE_CHANNEL = ["natural-f4c1", "phantom-f4c1"]


def scores(levels, noise=0.0):
    """Two images of each of eight subjects; the subjects differ, the cells by their levels."""
    rng = np.random.default_rng(0)
    ids = {"image_id": range(16), "subject_id": np.repeat(range(8), 2)}
    base = pd.DataFrame({**ids, "psnr_db": rng.normal(25, 2, 8).repeat(2)})
    return pd.concat(
        base.assign(cell=cell, psnr_db=base["psnr_db"] + level + noise * rng.normal(size=16))
        for cell, level in levels.items()
    )


def split(levels, weights=factorial.CONTRASTS, noise=0.0):
    rows = scores(levels, noise)
    return factorial.contrasts(rows, "cell", list(levels), weights, seed=5).set_index("effect")


def test_effects_by_hand():
    effects = split(dict(zip(CORNERS, (0.0, 0.5, 2.0, 1.7), strict=True)))["estimate"]
    by_hand = {"domain": 0.1, "geometry": 1.6, "interaction": -0.8, "gap": 1.7}
    by_hand |= {"domain_at_f8": 0.5, "domain_at_f4": -0.3}
    by_hand |= {"geometry_at_natural": 2.0, "geometry_at_phantom": 1.2}
    assert effects.to_dict() == pytest.approx(by_hand)


def test_target_and_condition_by_hand():
    """Cells: first target and second target under the first's latent, then under the second's."""
    cells = dict(zip("abcd", (0.0, -0.5, 3.0, 2.9), strict=True))
    effects = split(cells, factorial.CROSSED)["estimate"]
    assert effects["target"] == pytest.approx((-0.5 - 0.1) / 2)
    assert effects["condition"] == pytest.approx((3.0 + 3.4) / 2)
    assert effects["interaction"] == pytest.approx(0.4)
    assert effects["gap"] == pytest.approx(2.9) == effects["target"] + effects["condition"]


def test_intervals_are_those_of_the_contrast_over_subjects():
    levels = dict(zip(CORNERS, (0.0, 0.5, 2.0, 2.5), strict=True))
    row = split(levels, noise=0.1).loc["gap"]
    means = factorial.cell_means(scores(levels, 0.1), "cell", CORNERS)
    ends = mean_interval(means["phantom-f4c3"] - means["natural-f8c4"], seed=5)
    assert tuple(row[["low", "high", "interval_method"]]) == (
        *map(pytest.approx, ends[:2]),
        ends[2],
    )
    assert row["n_subjects"] == 8


def test_a_split_for_every_set_and_missing_cells_named():
    rows = scores(dict.fromkeys("uv", 1.0))
    both = pd.concat([rows.assign(dataset="knee"), rows.assign(dataset="brain")])
    weights = {"gap": (-1, 1)}
    table = factorial.contrasts(both, "cell", ["u", "v"], weights, by=["dataset"], seed=0)
    assert table["dataset"].tolist() == ["knee", "brain"] and (table["estimate"] == 0).all()
    with pytest.raises(ValueError, match="no rows of w; the cells of the design"):
        factorial.cell_means(rows, "cell", ["u", "w"])
    with pytest.raises(ValueError, match="were scored on different images"):
        factorial.cell_means(rows.iloc[1:], "cell", ["u", "v"])


def test_both_paths_of_the_latent_size_add_up_to_the_gap():
    levels = dict(zip(CORNERS, (0.0, 1.0, 2.0, 4.0), strict=True))
    levels |= dict(zip(ONE_CHANNEL, (0.3, 1.6), strict=True))
    cells = factorial.cell_means(scores(levels), "cell", list(levels))
    table = factorial.budget_paths(cells, CORNERS, ONE_CHANNEL, seed=0)
    wide = table.pivot(index="part", columns="path", values="estimate")
    domain_first = {"domain": 1.0, "resolution": 0.6, "budget": 2.4}
    assert wide["domain first"].to_dict() == pytest.approx(domain_first)
    geometry_first = {"domain": 2.0, "resolution": 0.3, "budget": 1.7}
    assert wide["geometry first"].to_dict() == pytest.approx(geometry_first)
    assert wide["mean"].sum() == pytest.approx(4) and wide["interaction"].sum() == pytest.approx(0)
    one = factorial.budget_paths(cells.drop(columns="natural-f4c1"), CORNERS, ONE_CHANNEL, seed=0)
    assert set(one[one.part == "resolution"]["path"]) == {"domain first"}
    assert "mean" in set(one[one.part == "domain"]["path"])
