"""The table of paired differences on made-up scores whose differences are known."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from latentsr.stats import difference

GAPS = {"released": 2.0, "lr_pixels": -1.0}


@pytest.fixture
def scored():
    """Twelve subjects of two images; arms v and u differ by `GAPS`, with a little spread."""
    rng, tables = np.random.default_rng(0), []
    ids = {"image_id": [f"i{k:02d}" for k in range(24)], "subject_id": np.repeat(range(12), 2)}
    for name in ("knee", "brain"):
        for arm, gap in GAPS.items():
            level = rng.normal(25, 1, 12).repeat(2)
            for vae, more in (("u", 0.0), ("v", gap)):
                rows = pd.DataFrame({**ids, "psnr_db": level + more + 0.1 * rng.normal(size=24)})
                tables.append(rows.assign(dataset=name, arm=arm, vae=vae))
    return pd.concat(tables, ignore_index=True)


def test_a_row_a_set_and_arm(scored):
    shuffled = scored.sample(frac=1, random_state=1)  # pairing is by id, not by row
    by = ["dataset", "arm"]
    table = difference.paired_difference(shuffled, "vae", ("u", "v"), by=by, seed=0, margin=0.15)
    assert len(table) == 4
    for row in table.itertuples():
        cell = scored[(scored.dataset == row.dataset) & (scored.arm == row.arm)]
        means = cell.groupby(["vae", "subject_id"])["psnr_db"].mean().unstack("vae")
        d = means["v"] - means["u"]
        assert (row.first, row.second, row.gap) == pytest.approx((*means.mean(), d.mean()))
        expected = scipy.stats.ttest_1samp(d, 0).confidence_interval()
        assert (row.low, row.high) == pytest.approx(tuple(expected))
        assert (row.n_subjects, row.n_images) == (12, 24)
    whole = difference.paired_difference(scored.query("arm == 'released' and dataset == 'knee'"),
                                         "vae", ("u", "v"), seed=0)  # fmt: skip
    assert whole["gap"].item() == pytest.approx(GAPS["released"], abs=0.1)


def test_the_change_of_a_difference_is_taken_image_by_image(scored):
    gap = difference.paired_images(scored, "vae", ("u", "v"), by=["dataset", "arm"])
    pair = "lr_pixels", "released"
    table = difference.paired_difference(gap, "arm", pair, "gap", ["dataset"], seed=0)
    assert list(table["dataset"]) == ["knee", "brain"]
    np.testing.assert_allclose(table["gap"], 3.0, atol=0.1)
    knee = scored[scored.dataset == "knee"]
    wide = knee.pivot_table(index="subject_id", columns=["arm", "vae"], values="psnr_db")
    under = {arm: wide[arm, "v"] - wide[arm, "u"] for arm in pair}
    expected = scipy.stats.ttest_1samp(under["released"] - under["lr_pixels"], 0)
    ends = tuple(expected.confidence_interval())
    assert tuple(table.loc[0, ["low", "high"]]) == pytest.approx(ends)


def test_pairing_refuses_other_images_and_doubles():
    u = pd.DataFrame({"image_id": list("abc"), "subject_id": list("ppq"), "psnr_db": 1, "vae": "u"})
    v = u.assign(vae="v")
    faults = {
        "u and v were scored on different images": [u, v.assign(image_id=list("abx"))],
        "u and v give an image two subjects": [u, v.assign(subject_id=list("pqq"))],
        "vae v: 6 rows, but one an image": [u, v, v],
        "vae v: 0 rows": [u],
    }
    for message, tables in faults.items():
        with pytest.raises(ValueError, match=message):
            difference.paired_images(pd.concat(tables), "vae", ("u", "v"))


@pytest.mark.parametrize(
    ("shift", "noise", "subjects", "verdict"),
    [
        (0.02, 0.01, 8, "equivalent"),
        (0.60, 0.01, 8, "beyond the margin"),
        (0.10, 0.40, 8, "inconclusive"),
        (0.02, 0.01, 4, "descriptive only"),
    ],
)
def test_whether_an_ablation_changes_the_difference(shift, noise, subjects, verdict):
    d = shift + np.random.default_rng(1).normal(0, noise, subjects)
    gaps = pd.DataFrame({"reference": 2.0, "flow": 2.0 + d})
    (row,) = difference.change_verdicts(gaps, "reference", 0.15, seed=0).to_dict("records")
    assert row["change"] == pytest.approx(d.mean())
    assert (row["verdict"], row["unit"]) == (verdict, "subjects")
    if verdict == "inconclusive":  # what settles it: the half-width at that n is the room left
        half = (row["high"] - row["low"]) / 2 * np.sqrt(subjects / row["settling_n"])
        assert half <= abs(0.15 - abs(row["high"] + row["low"]) / 2)
    else:
        assert np.isnan(row["settling_n"])


def test_what_was_retrained_has_intervals_over_seeds():
    """By hand: changes 0, 1, 2 over seeds have mean 1 and SD 1; t(0.95, 2 df) = 2.920 (any t table).

    So 1 +- 2.920 / root(3) = 1 +- 1.686, and at 95%, with 4.303, +- 2.484.
    """
    arms = {"reference": [1.0, 2.0, 4.0], "target v": [1.0, 3.0, 6.0], "flow": [1.01, 2.0, 3.99]}
    gaps = pd.DataFrame(
        [(arm, k, 20.0, 20 + gap, gap) for arm, by in arms.items() for k, gap in enumerate(by)],
        columns=["arm", "seed", "first", "second", "gap"],
    )
    table = difference.change_over_seeds(gaps, 0.15).set_index("arm")
    mean = "reference, mean of 3 seeds"
    assert table.index.tolist() == [mean, "target v", "flow"]
    assert table.loc[mean, ["first", "second", "gap"]].tolist() == pytest.approx(
        [20, 67 / 3, 7 / 3]
    )
    assert table.loc[mean, ["change", "verdict", "against"]].isna().all()
    row = table.loc["target v"]
    half = 2.919986 / 3**0.5
    assert row[["change", "low", "high"]].tolist() == pytest.approx([1, 1 - half, 1 + half])
    assert row[["first", "gap", "against"]].tolist() == [20, pytest.approx(10 / 3), mean]
    assert row["verdict"] == "inconclusive" and not row["excludes_0"]
    assert row[["unit", "n_seeds", "settling_n"]].tolist() == ["3 training seeds", 3, 6]
    assert table.loc["flow", ["verdict", "verdict_5_percent"]].tolist() == ["equivalent"] * 2


def test_seeds_that_would_settle_a_change():
    """From any t table: 2.920 (2 df) / root(3) = 1.686; 6.314 (1 df) / root(2) = 4.465."""
    need = difference.required_seeds
    assert need("inconclusive", 0.0, 1.0, 1.69) == 3 and need("inconclusive", 0.0, 1.0, 1.68) == 4
    assert need("inconclusive", -4.6, 1.0, 0.1) == 2
    assert need("inconclusive", 0.1, 1.0, 0.1) == np.inf
    assert np.isnan(need("equivalent", 0.0, 0.01, 0.15))


@pytest.mark.parametrize(
    ("shift", "spread", "n", "word"),
    [
        (0.0, 0.001, 30, "equivalent"),
        (-0.1, 0.001, 12, "beyond"),
        (0.0, 0.1, 12, "inconclusive"),
        (0.0, 0.001, 5, "descriptive only"),
    ],
)
def test_rates_are_alike_by_their_interval_alone(rng, shift, spread, n, word):
    a = 0.3 + 0.05 * rng.random(n)
    result = difference.compare_rates(a, a + shift + spread * rng.normal(size=n), 0.02, 0)
    assert result["alike"] == word and result["n_subjects"] == n
    if n >= 6:
        assert result["low"] < result["mean"] < result["high"]


def test_the_margin_as_a_share_of_pixels():
    result = difference.compare_rates([0.5] * 6, [0.5] * 6, 0.02, 0)
    assert result["margin_share"] == pytest.approx(0.01, rel=1e-3)  # steepest at one half
    assert result["interval_method"] == "no spread" and result["alike"] == "equivalent"
