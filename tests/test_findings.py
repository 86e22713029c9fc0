"""What chapters say at their end: each sentence follows its table, whichever way that points."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from latentsr.companion import findings
from latentsr.companion.claims import ledger as claims
from latentsr.companion.pipeline.params import FURTHER_SEEDS
from latentsr.plots import labels as sentences
from latentsr.stats import gaps as chapter_8

SETS = ["knee", "brain"]
MAINS = ["first", "second"]


def gaps(value, low, high, **columns):
    return pd.DataFrame({"dataset": SETS, **columns}).assign(gap=value, low=low, high=high)


def test_a_sentence_turns_with_the_sign_and_knows_a_missing_interval():
    for shift, words in ((2, "above zero on"), (-2, "below zero on"), (0, "not told from zero on")):
        rows = gaps(float(shift), shift - 1.0, shift + 1.0)
        assert sentences.by_sets(rows, "gap").startswith(f"{words} knee and brain")
    bare = gaps(1.0, np.nan, np.nan)
    assert sentences.by_sets(bare, "gap") == "without an interval on knee and brain (+1.00 dB)"


def test_sentences_are_shown_as_a_list():
    assert sentences.told(["One.", "Two."]).data == "- One.\n- Two."


@pytest.mark.parametrize("seen", [1.5, -1.5])
def test_the_swap_says_whether_its_halves_pull_apart(seen):
    protocols = gaps(1.0, 0.5, 1.5, arm="released", measure="psnr_db", kind="released")
    parts = pd.DataFrame({"effect": "condition", "dataset": SETS, "estimate": seen})
    others = [
        parts.assign(effect=e, estimate=v) for e, v in (("target", -0.5), ("interaction", 0.3))
    ]
    parts = pd.concat([parts, *others])
    level = pd.DataFrame({"psnr_db": [20.0, 22.0, 24.0], "bicubic": 23.0})
    costs = pd.DataFrame({"dataset": SETS, "vae": "first", "arm": "a", "loss_over_lowest": [1, 9]})
    first, halves, below, caution = findings.swap(protocols, parts, level, costs, 2.0)
    assert first.startswith("Released, the PSNR gap is above zero on knee and brain (+1.00 dB).")
    assert f"worth {seen:+.2f} dB" in halves
    assert f"against each other on {2 if seen > 0 else 0} of 2 sets" in halves
    assert below.startswith("2 of 3 arms stay below")
    assert caution.endswith("in the training of brain, first, a.")
    calm = costs.assign(loss_over_lowest=1.0)
    assert len(findings.swap(protocols, parts.iloc[:0], level, calm, 2.0)) == 2
    seeds = [
        gaps(gap, 0.5, 1.5, arm=kind, measure="psnr_db", kind=kind)
        for gap, kind in zip((1.0, 1.2, 1.4), ("lr_pixels", *FURTHER_SEEDS), strict=True)
    ]
    *_, spread, _ = findings.swap(pd.concat(seeds), parts.iloc[:0], level, calm, 2.0)
    assert spread == "Over 3 training seeds the controlled gap has an SD of 0.20 dB."


def test_the_bands_count_where_both_halves_of_the_claim_hold():
    def table(edge, extra):
        rows = [("LL3", 2.0, 1.0, 3.0), ("HH1", 1.0, 0.5, 1.5)]
        rows += [("finest", edge, edge - 0.5, edge + 0.5)]
        rows += [("finest - rest", extra, extra - 0.5, extra + 0.5)]
        parts = [gaps(*row[1:], arm="released", band=row[0]) for row in rows]
        return pd.concat(parts).rename(columns={"gap": "gap_db"})

    both = findings.wavelets(table(1.0, 1.0))
    assert len(both) == 2 and "As released, the gap in the finest bands is above zero" in both[0]
    assert "hold in 2 of 2 pairs" in both[1] and "in 2 the largest gap is" in both[1]
    assert "hold in 0 of 2 pairs" in findings.wavelets(table(1.0, -1.0))[1]
    assert "hold in 0 of 2 pairs" in findings.wavelets(table(-1.0, 1.0))[1]


def test_rates_are_alike_by_their_whole_interval_alone():
    h = gaps(0.01, 0.005, 0.015, arm="released", floor_of="first", pairing="id", margin=0.02)
    h = h.assign(tost_low=[0.005, -0.03], tost_high=0.015).rename(columns={"gap": "difference"})
    position = h.assign(pairing="position", difference=[0.002, 0.5])
    own = [h.assign(floor_of="own"), position.assign(floor_of="own", difference=-0.5)]
    audit = pd.concat([h, position, *own])
    ranks = pd.DataFrame({"p": [0.01, 0.5, np.nan], "n_vaes": [4, 6, 6]})
    alike, released, moved, ranked = findings.hallucination(audit, ranks, "first")
    assert "in 1 of 2 pairs of set and arm" in alike
    assert released == "As released, h is above zero on knee and brain (+0.01)."
    shared = (
        "in 1 of 2 pairs (as released 1 of 2; median 0.251 against 0.010) with the floor of `first`"
    )
    assert f"|h| is smaller {shared}, in 0 of 2 pairs (as released 0 of 2; median 0.500 " in moved
    assert "in 1 of 2 rank correlations, each over 4 to 6 autoencoders" in ranked
    assert "Too few autoencoders" in findings.hallucination(audit, ranks.iloc[:0], "first")[-1]


def test_walks_and_longer_training():
    index = pd.MultiIndex.from_product([["spaced"], [1, 10], MAINS], names=["walk", "T", "vae"])
    means = pd.Series([24.0, 26.0, 22.0, 24.0], index)
    [said] = findings.ablations({"spaced": {1: {"mean": 0.5}, 10: {"mean": 2.0}}}, means)
    assert "at T = 1, 2.00 dB above that at T = 10" in said
    assert "the gap is +0.50 to +2.00 dB, a change of 1.50 dB" in said
    rising = findings.ablations(
        {"first": {1: {"mean": 0.5}, 10: {"mean": 2.0}}}, -means.rename({"spaced": "first"})
    )
    assert rising[0].startswith(
        "`first` walks reach their best mean PSNR at their longest, T = 10; "
    )
    gap = SimpleNamespace(mean_difference=1.0, low=0.5, high=1.5)
    moved = {"gap": -0.1, "low": -0.2, "high": 0.01, "verdict": "inconclusive"}
    assert findings.retrained(gap, moved, 2, 0.15) == (
        "Trained 2 times as long the gap is +1.00 dB [+0.50, +1.50], -0.10 dB [-0.20, +0.01] from "
        "that of the same walk before (90%, over subjects, given the weights): inconclusive at the "
        "±0.15 dB that the paper calls stable. Over trainings, one seed of each is inconclusive."
    )
    bare = SimpleNamespace(mean_difference=1.0, low=np.nan, high=np.nan)
    moved |= {"low": np.nan, "high": np.nan, "verdict": "descriptive only"}
    said = findings.retrained(bare, moved, 1, 0.15)
    assert "Trained anew, no longer, the gap is +1.00 dB, -0.10 dB from" in said
    assert "before: descriptive only at" in said


def test_tests_and_equivalence_are_counted_apart():
    rows = gaps(1.0, 0.5, 1.5, arm="released", measure="psnr_db", holm_p=[0.01, np.nan])
    rows = rows.rename(columns={"gap": "mean_difference"}).assign(
        equivalence_p=[0.9, 0.01], smallest_p=[1e-3, 1e-30], d_z=[2.0, -1.0], d_pooled=[1.0, -2.0]
    )
    released, tested, least = findings.statistics(rows, 0.5)
    assert released == "As released, the gap is above zero on knee and brain (+1.00 dB)."
    assert tested.startswith("Of 1 tests of PSNR 1 have") and "1 of 2 gaps are equiv" in tested
    assert "the paper's 1e-20: brain (the smallest possible: 1e-30 to 0.001)" in least
    assert "`d_z` exceeds pooled d in 1 of 2 rows" in least
    more = [rows, rows.assign(arm=chapter_8.GEOMETRY, low=-1.0)]
    assert list(findings.CHANGES) == [chapter_8.CHANGE, chapter_8.GEOMETRY]
    said = findings.statistics(pd.concat(more, ignore_index=True), 0.5)[1]
    assert said.startswith("Geometry alone gains, under the LR latent minus under LR pixels, not")


def test_the_papers_p_is_that_of_the_ledger():
    found = {p.threshold for p in claims.ledger() if p.id == "C2" and p.rule == "significance"}
    assert found == {findings.PAPER_P}


def test_a_ceiling_that_foretells_nothing_is_said_to():
    fits = pd.DataFrame({"lr_condition": ["lr_latent", "lr_pixels"], "pearson_r": [0.5, -0.5]})
    fits = fits.assign(r_low=[0.1, -0.9], within_slope=[1.0, -1.0])
    fits = fits.assign(within_low=[-0.5, -2.0], within_high=[2.5, -0.1])
    fits = fits.assign(left_out_rmse=[1.0, 1.0], no_difference_rmse=[0.5, 2.0])
    together, within, left_out = findings.screening(fits)
    assert "in 1 of 2 LR conditions (LR latent); r is -0.50 to +0.50" in together
    assert "*worse* SR in 1 of 2 LR conditions (LR pixels)" in within
    assert "leaves zero out in 1 of 2 LR conditions (LR pixels)." in within
    assert "in 1 of 2 LR conditions (LR pixels)" in left_out
    assert findings.screening(fits[["lr_condition"]]) == ["Too few points for a regression."]


def test_verdicts_are_counted_by_protocol():
    words = ["same direction", "opposite", "inconclusive", "not tested", "same direction"]
    kinds = ["released", "released", "released", "released", "lr_pixels"]
    said = findings.verdicts(pd.DataFrame({"word": words, "lr_condition": kinds}), 3, 7)
    assert said[0].startswith("Of the 3 rows tested as released, 1 point the paper's way and 1 ")
    assert "(1 inconclusive)" in said[0] and "Of the 1 rows tested with LR pixels" in said[1]
    assert said[2].startswith("3 of 7 rows") and said[3].startswith("1 of 5 rows were not tested")


def test_lesions_are_held_against_bicubic_and_chance():
    kept = [("released", "first", 0.2), ("released", "second", 0.8), ("", "bicubic", 0.5)]
    transfer = [
        {"arm": arm, "vae": vae, "dataset": name, "sd_px": size, "transfer": share * size / 2}
        for arm, vae, share in kept
        for name in SETS
        for size in (1.0, 2.0)
    ]
    marked = pd.DataFrame({"arm": ["released", "released", "reference"], "vae": [*MAINS, "HR"]})
    marked = marked.assign(false=[9.0, 12.0, 0.05], found=[0.5, 0.9, 1.0], found_without=0.5)
    marked = marked.assign(sd_px=2.0, detectability=4.0)
    small = marked.assign(sd_px=1.0, false=[90.0, 70.0, 0.05], found=0.5)  # chance, both arms
    faint = marked.assign(detectability=1.0, found=1.0)  # more than chance, both
    marked = pd.concat([marked, small, faint])
    kept_said, false, chance = findings.lesions(pd.DataFrame(transfer), marked, MAINS)
    assert "at an SD of 1 px 10% with `first` and 40% with `second` (25%);" in kept_said
    assert "at an SD of 2 px 20% with `first` and 80% with `second` (50%)." in kept_said
    assert "more than the arm in 4 of 8 cases" in kept_said
    assert "leaves 0.05 false marks" in false
    assert (
        "arms get on an image 70.00 to 90.00 in a search for an SD of 1 px; 9.00 to 12.00" in false
    )
    assert "(SD 2 px, d' = 4)" in chance and "in 1 of 2 cases" in chance
    assert "(as released 1 of 2); at the other sizes and levels in 0 to 2." in chance
