"""The ledger of claims: complete, and its verdicts by hand-worked cases."""

import json
import shutil
from math import isnan, log, nan, sqrt
from pathlib import Path

import pandas as pd
import pytest

from latentsr.companion.claims import KEYS, NUMBERS, ledger, read_evidence, write_evidence
from latentsr.companion.claims.ledger import Part
from latentsr.companion.cli import main as cli
from latentsr.companion.pipeline import params

IDS = "C0 C1 C2 C3 C4 C5 C5b C6 P1 P2 B1 R1 R2 R3 R4 R5 R6 R7 R8".split()
CONDITIONS = ["lr_latent", "lr_pixels"]
STUDY = {"main_vaes": ["u", "v"], "lr_conditions": CONDITIONS}
PARTS = ledger.ledger()


def part(rule, **more):
    return Part("X", "a claim", "a part", rule, **more)


def measured(low, high, estimate=None, **more):
    """A row of evidence as the verdicts see it."""
    middle = (low + high) / 2 if estimate is None else estimate
    row = dict.fromkeys(KEYS, "") | dict.fromkeys(NUMBERS, nan) | {"reason": ""}
    row |= {"estimate": middle, "low": low, "high": high, "sign_low": low, "sign_high": high}
    return row | {"n_subjects": 30, "margin": 0.15, **more}


def fact(**more):
    return {"split_by": "subject", "is_phantom": True, "n_test_subjects": 30, **more}


SETS = {name: fact() for name in ledger.PAPER_SETS}


def made_up(sets=SETS):
    """Evidence in which every row of the ledger has the same made-up numbers."""
    plan = ledger.planned(list(sets), CONDITIONS)
    plan = plan[plan["quantity"] != ""].drop(columns="row").drop_duplicates()
    ones = "estimate low high within_slope within_low within_high left_out_rmse no_difference_rmse"
    sizes = {"margin": 0.15, "n_seeds": 3, "n_points": 12, "n_groups": 3, "n_vaes": 5}
    numbers = dict.fromkeys(ones.split(), 1.0) | sizes | {"n_subjects": 30, "smallest_p": 1e-30}
    frame = plan.assign(**(dict.fromkeys(NUMBERS, nan) | numbers | {"p": 0.5}), reason="")
    return frame.reset_index(drop=True)


def verdicts(evidence, sets=SETS):
    return pd.DataFrame(ledger.rows(evidence, sets, STUDY, 0.25), columns=ledger.COLUMNS)


def at(evidence, **keys):
    """The one place of some evidence."""
    (row,) = evidence.index[(evidence[list(keys)] == pd.Series(keys)).all(axis=1)]
    return row


def test_evidence_is_read_as_it_was_written(tmp_path):
    row = {"quantity": "psnr_db", "dataset": "NA", "estimate": 0.1 + 0.2, "n_subjects": 8}
    write_evidence([row, {"quantity": "r", "reason": "too few points"}], tmp_path, "08")
    read = read_evidence([tmp_path / "evidence" / "08.csv"])
    assert read.loc[0, ["quantity", "dataset", "arm", "estimate"]].tolist() == [
        *("psnr_db", "NA", ""),
        0.1 + 0.2,
    ]
    assert isnan(read.loc[1, "estimate"]) and read.loc[1, "reason"] == "too few points"
    for rows, problem in (
        ([row | {"gap": 1}], "no column gap; use"),
        ([row, row], "psnr_db, NA is there twice"),
        ([row | {"estimate": nan}], "psnr_db, NA is NaN without a reason"),
    ):
        with pytest.raises(ValueError, match=f"^evidence of chapter 08: {problem}"):
            write_evidence(rows, tmp_path, "08")


def test_the_ledger_has_every_claim_of_the_paper_once():
    assert list(dict.fromkeys(p.id for p in PARTS)) == IDS
    assert len({(p.id, p.part) for p in PARTS}) == len(PARTS)
    bounds = {p.id: p.bound for p in PARTS if not isnan(p.bound)}
    assert bounds == {"C4": 0.15, "C5": 0.02}
    assert ledger.paper_figure("C5", 0.0) == "within ±0.02"
    assert ledger.paper_figure("C1", 2.91) == "2.91" and ledger.paper_figure("C3", nan) == ""


def test_what_the_main_arms_show_is_tested_under_both_protocols():
    keys = ("id", "quantity", "reference", "factor", "variant")
    tested = {(*(getattr(p, key) for key in keys), p.arm) for p in PARTS}
    of_mains = ("swap", "psnr_difference", "pooled_d", "d_z", "wilcoxon", "finest", "cohens_h")
    rows = [row for row in tested if row[-1] == "conditions" and row[1].startswith(of_mains)]
    assert len(rows) > 15 and not [row for row in rows if (*row[:-1], "released") not in tested]


@pytest.mark.parametrize("row", PARTS, ids=lambda row: f"{row.id} {row.part}")
def test_a_part_is_tested_or_says_why_not(row):
    assert bool(row.quantity) != bool(row.why)
    if row.quantity:
        assert set(row.paper) == {"all"} or set(row.paper) <= set(ledger.PAPER_SETS)
        assert (row.rule == "spread") != isnan(row.tolerance)
        assert isnan(row.bound) or not any(row.paper.values()), "a bound stands where no figure is"
        assert (row.rule in ("significance", "independence")) == (not isnan(row.threshold))
        assert row.behind and row.chapters
        assert (row.interval != "") == (row.id in ("C4", "C5"))


@pytest.mark.parametrize(
    ("figure", "low", "high", "word"),
    [
        (2.9, 0.1, 5.0, "same direction"),
        (2.9, -0.1, 5.0, "inconclusive"),
        (2.9, -5.0, -0.1, "opposite"),
        (-1.5, -5.0, -0.1, "same direction"),
        (-1.5, 0.1, 0.2, "opposite"),
        (2.9, nan, nan, ledger.DESCRIPTIVE),
    ],
)
def test_direction_of_a_difference(figure, low, high, word):
    assert ledger.direction(part("difference"), figure, measured(low, high, 1.0)) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.14, 0.14, "same direction"),
        (0.05, 0.10, "same direction"),  # not zero, and still within the margin
        (-0.20, 0.20, "inconclusive"),  # not significant, and no equivalence
        (0.10, 0.20, "inconclusive"),
        (0.16, 0.20, "opposite"),
        (-0.30, -0.16, "opposite"),
    ],
)
def test_an_equivalence_takes_the_whole_interval(low, high, word):
    assert ledger.direction(part("equivalence"), 0.0, measured(low, high)) == word


@pytest.mark.parametrize(
    ("p", "smallest", "low", "word"),
    [
        (1e-21, 1e-30, 1.0, "same direction"),
        (1e-21, 1e-30, -2.0, "opposite"),
        (1e-19, 1e-30, 1.0, "inconclusive"),
        (1.7e-18, 1.7e-18, 1.0, "not attainable"),  # 60 subjects, all of one sign
        (4.9e-4, 4.9e-4, 1.0, "not attainable"),  # 12 subjects
    ],
)
def test_a_p_value_is_read_beside_the_smallest_attainable(p, smallest, low, word):
    row = measured(low, low + 0.5, p, smallest_p=smallest)
    assert ledger.direction(part("significance", threshold=1e-20), 1e-20, row) == word


@pytest.mark.parametrize(
    ("p", "smallest", "word"),
    [(0.083, 0.083, "not attainable"), (0.5, 0.017, "inconclusive"), (0.017, 0.017, "opposite")],
)
def test_independence_is_refuted_or_left_open(p, smallest, word):
    row = measured(nan, nan, 0.9, p=p, smallest_p=smallest)
    assert ledger.direction(part("independence", threshold=0.05), 0.0, row) == word


@pytest.mark.parametrize(
    ("low", "high", "slope", "left_out", "word"),
    [
        (0.1, 0.9, 0.2, 1.0, "same direction"),
        (0.1, 0.9, -0.2, 1.0, "inconclusive"),
        (0.1, 0.9, 0.2, 3.0, "inconclusive"),
        (0.1, 0.9, 0.2, nan, "inconclusive"),
        (0.1, 0.9, nan, 1.0, "not attainable"),  # fewer than three autoencoders
        (-0.9, -0.1, -0.2, 1.0, "opposite"),
    ],
)
def test_a_correlation_that_only_harder_sets_make_is_inconclusive(low, high, slope, left_out, word):
    errors = {"left_out_rmse": left_out, "no_difference_rmse": 2.0}
    row = measured(low, high, n_points=8, **errors)
    ends = {"within_low": slope - 0.1, "within_high": slope + 0.1}
    assert ledger.direction(part("association"), 0.8, row | ends) == word
    wide = {"within_low": slope - 1, "within_high": slope + 1}
    held = {"same direction": "inconclusive"}.get(word, word)
    assert ledger.direction(part("association"), 0.8, row | wide) == held
    few = ledger.direction(part("association"), 0.8, row | ends | {"n_points": 7})
    assert few == ("opposite" if word == "opposite" else "not attainable"), "seven confirm none"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (2.5, 3.5, "reproduced"),  # half-width 0.5 of 2.91 is 17%
        (2.0, 3.6, "inconclusive"),  # half-width 0.8 is 27%
        (0.5, 2.5, "deviates"),
        (nan, nan, "inconclusive (no interval)"),
    ],
)
def test_reproduction_needs_the_figure_in_a_narrow_interval(low, high, word):
    assert ledger.reproduction(part("difference"), 2.91, measured(low, high, 3.0), 0.25) == word


def test_reproduction_of_rows_near_zero_and_of_directions():
    near = part("equivalence")
    for low, high, word in (
        (0.0, 0.28, "reproduced"),
        (0.1, 0.4, "inconclusive"),
        (0.3, 0.4, "deviates"),
    ):
        assert ledger.reproduction(near, 0.14, measured(low, high), 0.25) == word
    compass = part("difference", exact=False)
    assert ledger.reproduction(compass, 1, measured(0.1, 0.2), 0.25) == "same direction"
    test = part("significance", threshold=1e-20)
    tiny = measured(1.0, 2.0, 1e-22, smallest_p=1e-30)
    assert ledger.reproduction(test, 1e-20, tiny, 0.25) == "reproduced"
    tiny["smallest_p"] = 1e-11
    assert ledger.reproduction(test, 1e-20, tiny, 0.25) == "not attainable"


def test_what_a_set_is_comes_before_what_was_measured():
    c1 = next(row for row in PARTS if row.id == "C1")
    sets = {"knee": fact(), "mine": fact(), "few": fact(n_test_subjects=5)}
    sets |= {"brain": fact(n_test_subjects=5), "chest": fact(split_by="image")}
    words = {
        name: ledger.verdict(
            c1, measured(0.5, 1.5, dataset=name), {name: sets[name]}, ["u", "v"], 1
        )
        for name in sets
    }
    assert words["knee"] == "same direction"
    assert words["mine"] == words["few"] == "no counterpart in the paper"
    assert words["brain"] == ledger.DESCRIPTIVE
    assert words["chest"] == "not tested (test images share a subject with training images)"
    bare = measured(nan, nan, nan, dataset="knee", reason="too few")
    assert ledger.verdict(c1, bare, SETS, ["u", "v"], 1) == "not tested (too few)"


@pytest.mark.parametrize(
    ("phantom", "mains", "word"),
    [
        (False, ledger.PAPER_VAES, "reproduced"),
        (True, ledger.PAPER_VAES, "same direction"),
        (False, ["natural-f8c4", "phantom-f4c3"], "same direction"),
    ],
)
def test_the_papers_words_are_for_its_data_and_its_autoencoders(phantom, mains, word):
    c1, sets = PARTS[2], {"knee": fact(is_phantom=phantom)}
    row = measured(2.5, 3.5, dataset="knee")
    assert ledger.verdict(c1, row, sets, mains, 0.25) == word


def test_every_row_joins_its_evidence():
    rows = verdicts(made_up())
    assert list(rows["claim"].drop_duplicates()) == IDS
    assert not rows["verdict"].str.contains("reproduced|deviates").any()
    for row in PARTS:
        own = rows[(rows.claim == row.id) & (rows.part == row.part)]
        assert own["verdict"].str.startswith("not tested").all() == bool(row.why)
        places = 1 if row.why or "all" in row.paper else len(row.paper)
        assert len(own) == places * (len(CONDITIONS) if row.arm == "conditions" else 1)
    words = rows[rows.lr_condition == "lr_pixels"].groupby(["claim", "dataset"])["verdict"]
    assert words.get_group(("C1", "knee")).tolist() == ["same direction"]
    assert words.get_group(("R2", "chest")).tolist() == ["same direction", "opposite"]
    gap, p_value, d_z = words.get_group(("R7", "brain"))
    assert (gap, p_value, d_z) == ("same direction", "inconclusive", "same direction")
    assert set(rows.loc[rows.claim == "R4", "lr_condition"]) == {"lr_pixels", "released"}
    assert set(rows.loc[rows.lr_condition == "all", "claim"]) == {"P1", "P2", "R3"}
    bare = rows["verdict"].isin(ledger.NO_SUPPORT)
    assert bare.any() and (rows.loc[bare, "because"] != "").all()


@pytest.mark.parametrize(
    ("place", "column", "problem"),
    [
        (
            {"quantity": "finest_bands_difference_db"},
            None,
            "C3, gap in level-1 .*: not measured, though .*",
        ),
        ({"quantity": "cohens_h_added", "factor": "fixed"}, "margin", "C5, .*: without margin"),
        ({"quantity": "wilcoxon_p"}, "smallest_p", "C2, .*: without smallest_p"),
        ({"quantity": "r_reconstruction_sr"}, "n_points", "C6, .*: without n_points"),
        ({"quantity": "sd_over_seeds_db"}, "n_seeds", "R5, .*: without n_seeds"),
        ({"quantity": "rho_reconstruction_added"}, "smallest_p", "C5b, .*: without smallest_p"),
    ],
)
def test_evidence_that_was_lost_names_its_row(place, column, problem):
    evidence = made_up()
    lost = (evidence[list(place)] == pd.Series(place)).all(axis=1)
    if column:
        evidence.loc[lost, column] = nan
    else:
        evidence = evidence[~lost]
    with pytest.raises(ValueError, match=rf"^claim {problem}; run the chapter again$"):
        verdicts(evidence)


def test_an_arm_that_was_run_has_its_evidence():
    evidence = made_up()
    lost = dict(quantity="psnr_difference_db", reference="hr", dataset="knee", arm="released")
    evidence = evidence.drop(index=at(evidence, **lost))
    rows = verdicts(evidence)
    part = (rows.claim == "R1") & (rows.dataset == "knee") & (rows.lr_condition == "released")
    assert "not tested (the released protocol was not run)" in set(rows.loc[part, "verdict"])
    level = {"quantity": "psnr_db", "arm": "released", "wavelet": "", "estimate": 30.0}
    of_chapter_4 = pd.DataFrame([level | {"dataset": "knee"}])
    with pytest.raises(ValueError, match=r"^claim R1, the same under the released .*, knee, rel"):
        verdicts(pd.concat([evidence, of_chapter_4]))
    assert len(verdicts(pd.concat([evidence, of_chapter_4.assign(dataset="brain")]))) == len(rows)
    fit = at(evidence, quantity="r_reconstruction_sr", factor="main", arm="released")
    evidence.loc[fit, ["estimate", "reason"]] = nan, "needs at least three points"
    words = verdicts(pd.concat([evidence, of_chapter_4.assign(dataset="brain")]))["verdict"]
    assert words.str.contains("gave too few points").sum() == 1


def test_a_verdict_that_turns_with_the_wavelet_says_so():
    evidence = made_up()
    place = dict(quantity="finest_minus_other_bands_db", dataset="chest", arm="lr_pixels")
    row = at(evidence, **place)
    evidence.loc[row, ["estimate", "low", "high", "n_seeds"]] = 0.2, 0.1, 0.3, nan
    same, other = evidence.loc[row].copy(), evidence.loc[row].copy()
    same["wavelet"] = "db4"
    for column, value in {
        "wavelet": "bior4.4",
        "estimate": -0.2,
        "low": -0.3,
        "high": -0.1,
    }.items():
        other[column] = value
    rows = verdicts(pd.concat([evidence, pd.DataFrame([same, other])]))
    (turned,) = rows[rows.because.fillna("").str.contains("makes it")].itertuples()
    assert (turned.claim, turned.dataset, turned.verdict) == ("C3", "chest", "same direction")
    assert turned.because == (
        "+0.2 [+0.1, +0.3] over 30 subjects; but bior4.4 makes it opposite, -0.2 [-0.3, -0.1]"
    )


def test_a_few_seeds_tell_a_small_spread_from_nothing():
    """Chi-square of two degrees of freedom: its quantile at q is -2 log(1 - q)."""
    (row,) = (p for p in PARTS if p.rule == "spread" and p.quantity)
    ends = [0.1 * sqrt(2 / (-2 * log(1 - q))) for q in (0.975, 0.025)]
    assert ledger.sd_interval(0.1, 3) == pytest.approx(ends)
    assert ledger.sd_interval(0.1, 5)[1] == pytest.approx(0.1 * sqrt(4 / 0.4844), rel=1e-3)
    words = {"same direction": (0.001, 0.023), "inconclusive": (0.025, 0.28), "opposite": (0.3, 2)}
    for word, spreads in words.items():
        for sd in spreads:
            given = measured(nan, nan, sd, n_seeds=3, n_subjects=nan)
            full = ledger.completed(row, given, has_released=False)
            assert full["margin"] == 0.15 and ledger.direction(row, 0.18, full) == word
    assert ledger.because(row, "opposite", full).endswith(
        "its lower end is 6.9 times the bound of 0.15"
    )


def test_a_d_whose_interval_holds_0_says_what_decides():
    given = {**measured(-1.8, -1.4, -2.6), "low": -4.6, "high": 0.2}
    d = part("difference")
    assert ledger.interval_words(d, given).endswith("that of the mean difference [-1.8, -1.4]")
    for paper, word in ((1.4, "opposite"), (-1.4, "same direction")):
        assert ledger.direction(d, paper, given) == word
        text = ledger.because(d, word, given)
        assert text.startswith(
            "-2.6 with a mean difference in [-1.8, -1.4] over 30 subjects; its own"
        )
        assert "[-4.6, +0.2] holds 0" in text
    clear = given | {"high": -0.2}
    assert ledger.interval_words(d, clear) == ledger.because(d, "same direction", clear) == ""


@pytest.mark.parametrize(
    ("rule", "word", "given", "text"),
    [
        ("difference", "opposite", {"first": 30.8, "second": 22.2},
         "22.2 against 30.8, -8.6 [-8.8, -8.4] over 30 subjects"),
        ("difference", "inconclusive", {"detectable_db": 0.2},
         "-8.6 [-8.8, -8.4] over 30 subjects, who would show a difference of 0.2 dB in 80% of cases"),
        ("equivalence", "opposite", {"num_inference_steps": 5},
         "-8.6 [-8.8, -8.4] over 30 subjects at T = 5, at least 56 times the margin of ±0.15"),
        ("equivalence", "inconclusive", {"n_seeds": 3, "n_subjects": nan},
         "-8.6 [-8.8, -8.4] over 3 training seeds, its far end 59 times the margin of ±0.15"),
        ("spread", "inconclusive", {"n_seeds": 3},
         "-8.6 [-8.8, -8.4] over 3 training seeds, which leave 2 degrees of freedom; "
         "its upper end is 59 times the bound of 0.15"),
        ("significance", "not attainable", {"smallest_p": 2.0**-29},
         "30 subjects give p = 1.9e-09 at best, all of one sign; it takes 68"),
        ("independence", "not attainable", {"n_vaes": 4, "p": 0.33, "smallest_p": 0.083},
         "rho = -8.6 [-8.8, -8.4] over 4 autoencoders, p = 0.33, 0.083 at best; it takes 5 autoencoders"),
        ("association", "not attainable",
         {"n_points": 6, "n_groups": 3, "n_vaes": 2, "within_slope": 0.4, "left_out_rmse": 1.0,
          "no_difference_rmse": 2.0},
         "r = -8.6 [-8.8, -8.4] over 6 points in 3 sets, which are no independent draws; fewer than 8 "
         "points confirm nothing; within sets +0.4 dB a dB over the 2 autoencoders that every set has, "
         "too few for an interval; a set left out is predicted to 1 dB, by no difference to 2 dB"),
        ("difference", "same direction", {}, ""),
    ],
)  # fmt: skip
def test_the_grounds_of_a_verdict_are_figures_of_the_run(rule, word, given, text):
    row = part(rule, threshold={"significance": 1e-20, "independence": 0.05}.get(rule, nan))
    assert ledger.because(row, word, measured(-8.8, -8.4, **given)) == text


def write_run(results):
    for folder in ("metrics", "data", "evidence"):
        (results / folder).mkdir(parents=True)
    (results / "data" / "sets.json").write_text(json.dumps(SETS))
    (results / "metrics" / "04.json").write_text(json.dumps(STUDY))
    evidence = made_up()
    for k, chapter in enumerate(ledger.CHAPTERS):
        write_evidence(evidence[k :: len(ledger.CHAPTERS)], results, chapter)


def test_a_table_is_read_from_the_files_of_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read .*sets.json.*; run `make repro PROFILE="):
        ledger.table(tmp_path, 0.25)
    write_run(tmp_path)
    assert ledger.table(tmp_path, 0.25).equals(verdicts(made_up()))
    (tmp_path / "evidence" / "06.csv").write_text('"quantity')
    with pytest.raises(ValueError, match=r"cannot be read .*; run `make repro") as caught:
        ledger.table(tmp_path, 0.25)
    assert "\n" not in str(caught.value)


def test_the_command_line_says_once_what_the_images_are(tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    results = Path("results") / params.read(Path("params.yaml"))["profile"]
    write_run(results)
    cli.claims(as_json=True)
    out, error = capsys.readouterr()
    assert len(json.loads(out)) > 100 and error.count("phantoms") == 1
    cli.claims()
    out, error = capsys.readouterr()
    assert out.startswith("All test images are phantoms: drawn by a computer") and not error
    assert out.count("phantoms") == 1
    assert " of two one-sided tests: " in out and "paper within ±0.15, here 1 [1, 1] (90%)" in out
    write_evidence([], results, "05")
    with pytest.raises(ValueError, match="^claim "):
        cli.claims(check=True)


def test_what_was_not_measured_for_one_reason_takes_one_line():
    row = {"claim": "C4", "part": "a change", "dataset": "knee", "paper": 0.0, "interval": ""}
    row |= {"measured": nan, "low": nan, "high": nan, "verdict": "not tested (hours)"}
    silent = [row | {"lr_condition": kind} for kind in CONDITIONS]
    assert list(ledger.lines(pd.DataFrame(silent))) == [
        "C4: a change",
        "  everywhere: not tested (hours)",
    ]
    one = row | {"measured": 0.5, "verdict": "opposite", "lr_condition": "released"}
    assert list(ledger.lines(pd.DataFrame([*silent, one]))) == [
        "C4: a change",
        "  knee, released: paper within ±0.15, here 0.5: opposite",
        "  elsewhere: not tested (hours)",
    ]
