"""The tables of chapter 8 on made-up scores whose gaps are known."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from latentsr.stats import gaps
from latentsr.stats import paired as paired_tests

HOW = {"margin_db": 0.15, "seed": 0, "confidence": 0.95}
GAPS = {"released": 2.0, "lr_pixels": -1.0}


@pytest.fixture
def scored():
    """Twelve subjects of two images; arms v and u differ by `GAPS`, with a little spread."""
    rng, rows = np.random.default_rng(0), []
    for name in ("knee", "brain"):
        for arm, gap in GAPS.items():
            level = rng.normal(25, 1, 12)
            for vae, more in (("u", 0.0), ("v", gap)):
                for k in range(24):
                    psnr = level[k // 2] + more + 0.1 * rng.normal()
                    rows.append((name, arm, vae, f"i{k:02d}", f"s{k // 2:02d}", psnr, psnr + 1))
    columns = "dataset arm vae image_id subject_id psnr_db psnr_own_decode_db".split()
    return pd.DataFrame(rows, columns=columns)


def test_a_row_a_measure_set_and_arm(scored):
    measures = ("psnr_db", "psnr_own_decode_db")
    table = gaps.by_arm(scored, list(GAPS), ("u", "v"), measures, **HOW)
    assert len(table) == 8 and list(table["arm"][:2]) == list(GAPS)
    for row in table.itertuples():
        assert row.mean_difference == pytest.approx(GAPS[row.arm], abs=0.1)
        assert row.second - row.first == pytest.approx(row.mean_difference)
        assert (row.n_subjects, row.n_images) == (12, 24)
        assert row.d_low < row.d_pooled < row.d_high and row.d_method == "jackknife t"
        assert (row.t_low, row.t_high) == pytest.approx((row.low, row.high))  # t below 20 subjects
        assert row.mixed_high - row.mixed_low < row.t_high - row.t_low  # 1.96 where t asks for 2.20


def test_the_change_between_protocols_is_taken_subject_by_subject(scored):
    table = gaps.of_protocols(scored, ("u", "v"), **HOW)
    assert list(table["dataset"]) == ["knee", "brain"]
    np.testing.assert_allclose(table["mean_difference"], 3.0, atol=0.1)
    one = scored[(scored.dataset == "knee")]
    wide = one.pivot_table(index="subject_id", columns=["arm", "vae"], values="psnr_db")
    d = (
        wide["released", "v"]
        - wide["released", "u"]
        - wide["lr_pixels", "v"]
        + wide["lr_pixels", "u"]
    )
    expected = scipy.stats.ttest_1samp(d, 0).confidence_interval()
    assert tuple(table.loc[0, ["low", "high"]]) == pytest.approx(tuple(expected))
    assert gaps.of_protocols(scored[scored.arm == "released"], ("u", "v"), **HOW).empty


def test_geometry_alone_is_the_natural_pair_under_two_lr_conditions(scored):
    corners = "natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"
    names = {"released": "lr_latent", "u": corners[0], "v": corners[2]}
    cells = scored.replace({"arm": names, "vae": names})
    others = cells.replace({"vae": {corners[0]: corners[1], corners[2]: corners[3]}})
    others["psnr_db"] = 0.0
    table = gaps.of_geometry(pd.concat([cells, others]), corners, **HOW)
    expected = gaps.of_protocols(scored, ("u", "v"), **HOW).assign(arm=gaps.GEOMETRY)
    pd.testing.assert_frame_equal(table, expected)
    assert set(gaps.in_families(table, table.iloc[:0])[0]["family"]) == {"primary"}
    assert gaps.of_geometry(cells, (), **HOW).empty


def test_every_p_of_the_page_lies_in_a_family(scored):
    base = scored.query("vae == 'u' and arm == 'released'").assign(method="bicubic")
    base["psnr_db"] += np.random.default_rng(2).normal(-0.5, 0.1, len(base))
    table = gaps.by_arm(scored, list(GAPS), ("u", "v"), ("psnr_db", "psnr_own_decode_db"), **HOW)
    table = pd.concat([table, gaps.of_protocols(scored, ("u", "v"), **HOW)], ignore_index=True)
    plain = gaps.over_bicubic(scored, base, list(GAPS), ("u", "v"), **HOW)
    found, others = gaps.in_families(table, plain)
    assert set(others["family"]) == {"secondary"} and len(others) == 8
    assert (
        found["family"] == "primary"
    ).sum() == 10  # two sets: two measures, two protocols; the change
    first = found[found.family == "primary"]
    np.testing.assert_allclose(first["holm_p"], paired_tests.holm(first["wilcoxon_p"]))
    second = [found[found.family == "secondary"], others]
    together = paired_tests.holm(np.concatenate([part["wilcoxon_p"] for part in second]))
    np.testing.assert_allclose(np.concatenate([part["holm_p"] for part in second]), together)
    assert (others["holm_p"] >= others["wilcoxon_p"]).all()


def test_short_walks_are_shown_though_they_do_not_count(scored):
    rng = np.random.default_rng(1)
    one = scored.query("dataset == 'knee' and arm == 'released'")
    more = {1: -0.3, 10: 0.05, 50: 0.0}
    steps = pd.concat([
        one.assign(T=t, psnr_db=one.psnr_db + (one.vae == "v") * (add + 0.02 * rng.normal(size=len(one))))
        for t, add in more.items()
    ])  # fmt: skip
    changes = gaps.over_steps(steps, ("u", "v"), 10, 0.15, 0).set_index("T")
    assert changes["verdict"].to_dict() == {1: "beyond", 10: "within"}
    assert changes["counts"].to_dict() == {1: False, 10: True}
    far = gaps.farthest(changes.reset_index(), 0.15)
    assert far["T"] == 1 and far["margin"] == 0.15 and far["mean"] == pytest.approx(-0.3, abs=0.02)
    assert gaps.farthest(changes.iloc[:0].reset_index(), 0.15) is None
