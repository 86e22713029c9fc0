"""The ledger of claims: complete, and its verdicts by hand-worked cases."""

import json
import shutil
from dataclasses import replace
from math import isnan, log, nan, sqrt
from pathlib import Path

import pandas as pd
import pytest

from latentsr.companion.claims import chapter_figures, reasons
from latentsr.companion.claims import ledger as claims
from latentsr.companion.claims.ledger import Part
from latentsr.companion.cli import main as cli
from latentsr.companion.pipeline import params

RULES = "difference equivalence spread association independence significance text".split()
IDS = "C0 C1 C2 C3 C4 C5 C5b C6 P1 P2 B1 R1 R2 R3 R4 R5 R6 R7 R8".split()
KINDS = ["lr_latent", "lr_pixels"]
DESCRIPTIVE = "inconclusive (descriptive only)"


def part(rule, **more):
    return Part("X", "a claim", "a part", rule, **more)


def found(low, high, value=None, **more):
    middle = (low + high) / 2 if value is None else value
    record = {"value": middle, "low": low, "high": high, "below": low, "above": high}
    return {
        **record,
        **dict.fromkeys(chapter_figures.MORE, nan),
        "n_subjects": 30,
        "margin": 0.15,
        **more,
    }


def test_the_ledger_has_every_row_of_the_paper_once():
    assert list(dict.fromkeys(p.id for p in claims.ledger())) == IDS
    assert len({(p.id, p.part) for p in claims.ledger()}) == len(claims.ledger())


def test_what_the_main_arms_tell_is_told_under_both_protocols():
    both = "05/", "06/h_added", "08/gap/", "08/over_bicubic/"
    figures = {(p.id, p.source, *p.fields) for p in claims.ledger()}
    rows = [p for p in claims.ledger() if "{lr_" in p.source and p.source.startswith(both)]
    lacking = [
        f"{p.id} {p.part}"
        for p in rows
        if (p.id, p.source.replace("{lr_condition}", "released"), *p.fields) not in figures
    ]
    assert len(rows) > 15 and not lacking


@pytest.mark.parametrize("row", claims.ledger(), ids=lambda row: f"{row.id} {row.part}")
def test_a_row_is_tested_or_says_why_not(row):
    assert row.rule in RULES
    assert bool(row.source) != bool(row.why)
    if row.source:
        assert row.rule != "text"
        assert set(row.paper) == {"all"} or set(row.paper) <= set(claims.PAPER_SETS)
        assert ("{dataset}" in row.source) == (set(row.paper) != {"all"})
        assert row.rule in ("equivalence", "spread") or isnan(row.tolerance)
        assert isnan(row.bound) or not any(row.paper.values()), "a bound stands where no figure is"
        if row.rule == "equivalence":  # one place: the ledger, or the record of a chapter's margin
            assert isnan(row.tolerance) == row.source.startswith(("06/", "07/", "08/"))
        assert (row.rule in ("significance", "independence")) == (not isnan(row.threshold))
        assert len(row.fields) == 3 and len(row.sign_by) in (0, 2)


@pytest.mark.parametrize(
    ("figure", "low", "high", "word"),
    [
        (2.9, 0.1, 5.0, "same direction"),
        (2.9, -0.1, 5.0, "inconclusive"),
        (2.9, -5.0, -0.1, "opposite"),
        (-1.5, -5.0, -0.1, "same direction"),
        (-1.5, 0.1, 0.2, "opposite"),
        (2.9, nan, nan, DESCRIPTIVE),
    ],
)
def test_direction_of_a_difference(figure, low, high, word):
    assert claims.direction(part("difference"), figure, found(low, high, 1.0)) == word


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
    assert claims.direction(part("equivalence", tolerance=0.15), 0.0, found(low, high)) == word


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
    measured = found(low, low + 0.5, p, smallest_p=smallest)
    assert claims.direction(part("significance", threshold=1e-20), 1e-20, measured) == word


@pytest.mark.parametrize(
    ("p", "smallest", "word"),
    [(0.083, 0.083, "not attainable"), (0.5, 0.017, "inconclusive"), (0.017, 0.017, "opposite")],
)
def test_independence_is_refuted_or_left_open(p, smallest, word):
    measured = found(nan, nan, 0.9, p=p, smallest_p=smallest)
    assert claims.direction(part("independence", threshold=0.05), 0.0, measured) == word


def test_a_correlation_that_only_harder_sets_make_is_inconclusive():
    row = part("association")
    foretold = {"left_out_rmse": 1.0, "no_difference_rmse": 2.0}
    for low, high, slope, errors, word in (
        (0.1, 0.9, 0.2, foretold, "same direction"),
        (0.1, 0.9, -0.2, foretold, "inconclusive"),
        (0.1, 0.9, 0.2, {"left_out_rmse": 2.0, "no_difference_rmse": 1.0}, "inconclusive"),
        (0.1, 0.9, 0.2, {}, "inconclusive"),
        (0.1, 0.9, nan, foretold, "not attainable"),  # fewer than three autoencoders
        (-0.9, -0.1, -0.2, foretold, "opposite"),
    ):
        ends = {"within_low": slope - 0.1, "within_high": slope + 0.1}
        given = found(low, high, within_slope=slope, n_points=8, **ends, **errors)
        assert claims.direction(row, 0.8, given) == word
        wide = given | {"within_low": slope - 1, "within_high": slope + 1}
        held = {"same direction": "inconclusive"}.get(word, word)
        assert claims.direction(row, 0.8, wide) == held or slope != slope
        few = claims.direction(row, 0.8, given | {"n_points": 7})
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
    assert claims.reproduction(part("difference"), 2.91, found(low, high, 3.0), 0.25) == word


def test_reproduction_of_rows_near_zero_and_of_directions():
    near = part("equivalence", tolerance=0.15)
    for low, high, word in ((0.0, 0.28, "reproduced"), (0.1, 0.4, "inconclusive")):
        assert claims.reproduction(near, 0.14, found(low, high), 0.25) == word
    assert claims.reproduction(near, 0.14, found(0.3, 0.4), 0.25) == "deviates"
    compass = part("difference", exact=False)
    assert claims.reproduction(compass, 1, found(0.1, 0.2), 0.25) == "same direction"
    test = part("significance", threshold=1e-20)
    tiny = found(1.0, 2.0, 1e-22, smallest_p=1e-30)
    assert claims.reproduction(test, 1e-20, tiny, 0.25) == "reproduced"
    assert claims.reproduction(test, 1e-20, {**tiny, "smallest_p": 1e-11}, 0.25) == "not attainable"


def fact(**more):
    return {"split_by": "subject", "is_phantom": True, "n_test_subjects": 30, **more}


def fabricated(sets, main):
    """Metrics in which every source of the ledger holds the same made-up record."""
    metrics = {"sets": sets, "04": {"main_vaes": main, "lr_conditions": KINDS}}
    for row in claims.ledger():
        record = dict.fromkeys([*row.fields, *row.sign_by], 1.0)
        record |= {"p": 0.5, "smallest_p": 1e-30, "within_slope": 1.0, "n_subjects": 30}
        record |= {"margin": 0.15, "n_points": 12, "n_groups": 3, "n_vaes": 5}
        needed = chapter_figures.NEEDED.get(row.rule, ())
        record = (
            dict.fromkeys(needed, 1.0) | record | ({"n_seeds": 3} if "n_seeds" in needed else {})
        )
        for name in sets if row.source else ():
            for kind in KINDS:
                place = {"dataset": name, "lr_condition": kind}
                *keys, last = row.source.format(first=main[0], second=main[1], **place).split("/")
                node = metrics
                for key in keys:
                    node = node.setdefault(key, {})
                node[last] = {**node.get(last, {}), **record}
    return metrics


def test_every_row_runs_on_fabricated_metrics():
    sets = {name: fact() for name in claims.PAPER_SETS}
    rows = pd.DataFrame(claims.rows(fabricated(sets, ["natural-f8c4", "phantom-f4c3"]), 0.25))
    assert list(rows["claim"].drop_duplicates()) == IDS
    assert not rows["verdict"].str.contains("reproduced|deviates").any()
    for row in claims.ledger():
        own = rows[(rows.claim == row.id) & (rows.part == row.part)]
        assert own["verdict"].str.startswith("not tested").all() == bool(row.why)
        sizes = (len(row.paper) if "{dataset}" in row.source else 1, "{lr_condition}" in row.source)
        assert len(own) == sizes[0] * (len(KINDS) if sizes[1] else 1)
    seen = rows[rows.lr_condition == "lr_pixels"].groupby(["claim", "dataset"])["verdict"]
    assert seen.get_group(("C1", "knee")).tolist() == ["same direction"]
    assert seen.get_group(("R2", "chest")).tolist() == ["same direction", "opposite"]
    gap, p_value, d_z = seen.get_group(("R7", "brain"))
    assert (gap, p_value, d_z) == ("same direction", "inconclusive", "same direction")


def test_what_a_set_is_comes_before_what_was_measured():
    c1 = next(row for row in claims.ledger() if row.id == "C1")
    sets = {"knee": fact(), "mine": fact(), "few": fact(n_test_subjects=5)}
    sets |= {"brain": fact(n_test_subjects=5), "chest": fact(split_by="image")}
    metrics = {"sets": sets, "04": {"main_vaes": ["u", "v"]}}
    words = {name: claims.verdict(c1, found(0.5, 1.5), name, metrics, 0.25) for name in sets}
    assert words["knee"] == "same direction"
    assert words["mine"] == words["few"] == "no counterpart in the paper"
    assert words["brain"] == DESCRIPTIVE
    assert words["chest"] == "not tested (test images share a subject with training images)"
    absent = replace(c1, absent="needs more")
    assert claims.verdict(absent, None, "knee", metrics, 0.25) == "not tested (needs more)"


def test_the_papers_words_are_for_its_data_and_its_autoencoders():
    c1 = next(row for row in claims.ledger() if row.id == "C1")
    for phantom, main, word in (
        (False, claims.PAPER_VAES, "reproduced"),
        (True, claims.PAPER_VAES, "same direction"),
        (False, ["natural-f8c4", "phantom-f4c3"], "same direction"),
    ):
        metrics = {"sets": {"knee": fact(is_phantom=phantom)}, "04": {"main_vaes": main}}
        assert claims.verdict(c1, found(2.5, 3.5), "knee", metrics, 0.25) == word


def test_null_and_absent_records():
    row = part("difference", source="05/gap/{dataset}")
    null = {"05": {"gap": {"knee": {"mean": None}}}, "sets": {"knee": fact(n_test_subjects=5)}}
    assert (
        chapter_figures.measured(row, chapter_figures.recorded(row, null, dataset="knee")) is None
    )
    null["sets"] = {"knee": fact()}
    with pytest.raises(ValueError, match="its mean is null"):
        chapter_figures.recorded(row, null, dataset="knee")
    rho = replace(row, rule="independence")  # rates that do not differ have no rank
    assert chapter_figures.recorded(rho, null, dataset="knee") is None
    for metrics in ({}, {"05": None}, {"05": {"gap": {}}}):
        assert chapter_figures.recorded(replace(row, absent="why"), metrics, dataset="knee") is None
        with pytest.raises(ValueError, match="not in the chapter's file"):
            chapter_figures.recorded(row, metrics, dataset="knee")
    seen = chapter_figures.measured(row, {"mean": 1, "low": None, "high": None})
    assert seen["value"] == 1 and isnan(seen["low"]) and isnan(seen["above"])


@pytest.mark.parametrize("rule", ["association", "independence", "difference", "significance"])
def test_a_record_that_lost_what_decides_is_an_error_and_not_another_verdict(rule):
    row = part(rule, source="09/fits/{dataset}")
    needed = [*row.fields, *chapter_figures.NEEDED.get(rule, ())]
    whole = dict.fromkeys(needed, None) | {row.fields[0]: 1.0}
    assert chapter_figures.measured(row, whole)["value"] == 1.0
    for key in needed[1:]:
        less = {name: value for name, value in whole.items() if name != key}
        with pytest.raises(ValueError, match=f"^no {key}$"):
            chapter_figures.measured(row, less)


def test_a_verdict_that_turns_with_the_wavelet_says_so():
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    leaf = metrics["05"]["finest_minus_rest_db"]["chest"]["lr_pixels"]
    leaf |= {"mean": 0.2, "low": 0.1, "high": 0.3}
    same, other = {"mean": 0.4, "low": 0.3, "high": 0.5}, {"mean": -0.2, "low": -0.3, "high": -0.1}
    leaf["by_wavelet"] = {"db4": same, "bior4.4": other}
    rows = pd.DataFrame(claims.rows(metrics, 0.25))
    (row,) = rows[(rows.claim == "C3") & rows.because.str.contains("makes it")].itertuples()
    assert (row.dataset, row.lr_condition, row.verdict) == ("chest", "lr_pixels", "same direction")
    assert row.because == (
        "+0.2 [+0.1, +0.3] over 30 subjects; but bior4.4 makes it opposite, -0.2 [-0.3, -0.1]"
    )
    line = next(line for line in claims.told(rows) if "bior4.4" in line)
    assert "same direction, because chest, LR pixels: +0.2" in line


def test_a_table_of_a_run_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"04\.json: not there; run `make repro PROFILE="):
        claims.table(tmp_path, 0.25)


def write_run(results):
    metrics = fabricated({name: fact() for name in claims.PAPER_SETS}, ["u", "v"])
    for folder in ("metrics", "data"):
        (results / folder).mkdir(parents=True)
    (results / "data" / "sets.json").write_text(json.dumps(metrics.pop("sets")))
    for chapter in claims.CHAPTERS:
        (results / "metrics" / f"{chapter}.json").write_text(json.dumps(metrics[chapter]))


def test_a_table_is_read_from_the_files_of_a_run(tmp_path):
    write_run(tmp_path)
    table = claims.table(tmp_path, 0.25)
    assert list(table.columns) == claims.COLUMNS
    assert set(table["claim"]) == set(IDS)
    (tmp_path / "metrics" / "06.json").write_text('{"h_added": ')
    with pytest.raises(
        ValueError, match=r"metrics/06\.json: not JSON .*; run `make repro"
    ) as caught:
        claims.table(tmp_path, 0.25)
    assert "\n" not in str(caught.value)


def test_the_command_line_says_once_what_the_images_are(tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path)
    write_run(Path("results") / params.read(Path("params.yaml"))["profile"])
    cli.claims(as_json=True)
    out, error = capsys.readouterr()
    assert len(json.loads(out)) > 100 and error.count("phantoms") == 1
    cli.claims()
    out, error = capsys.readouterr()
    assert (
        out.splitlines()[0]
        == "All test images are phantoms: drawn by a computer, no patient is in them."
    )
    assert out.count("phantoms") == 1 and not error
    path = next(Path("results").glob("*/metrics/05.json"))
    record = json.loads(path.read_text())
    del record["finest_db"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="claim C3, gap in level-1 bands"):
        cli.claims(check=True)


def test_a_record_that_is_broken_names_its_row():
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    metrics["05"]["finest_minus_rest_db"]["knee"]["lr_pixels"]["mean"] = "much"
    with pytest.raises(ValueError, match=r"claim C3, that gap minus .*, knee, lr_pixels: 05/"):
        list(claims.rows(metrics, 0.25))


def test_a_record_that_was_lost_names_its_row():
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    del metrics["05"]["finest_db"]
    with pytest.raises(
        ValueError, match=r"claim C3, gap in level-1 bands, dB, knee, lr_latent: 05"
    ):
        list(claims.rows(metrics, 0.25))


@pytest.mark.parametrize("lost", ["dropped", "null"])
def test_a_figure_that_was_lost_names_its_row(lost):
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    leaf = metrics["06"]["h_added"]["fixed"]["knee"]["lr_pixels"]
    leaf["mean"] = None
    if lost == "dropped":
        del leaf["mean"]
    place = r"claim C5, .* a fixed floor, knee, lr_pixels: 06/.*its mean is (missing|null)"
    with pytest.raises(ValueError, match=place):
        list(claims.rows(metrics, 0.25))
    sets["knee"] = fact(n_test_subjects=5)
    if lost == "null":
        rows = pd.DataFrame(claims.rows(metrics, 0.25))
        assert rows["verdict"].str.startswith("not tested").any()


def test_a_released_arm_that_was_run_has_its_records():
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    del metrics["08"]["gap"]["psnr_db"]["knee"]["released"]
    rows = pd.DataFrame(claims.rows(metrics, 0.25))
    part = (rows.claim == "R1") & (rows.dataset == "knee") & (rows.lr_condition == "released")
    assert set(rows.loc[part, "verdict"]) == {"not tested (the released protocol was not run)"}
    metrics["04"]["protocols"] = {"knee": {"released": {}, "controlled": {}}}
    with pytest.raises(ValueError, match=r"claim R1, the same under the released .*, knee, rel"):
        list(claims.rows(metrics, 0.25))
    metrics["04"]["protocols"] = {"knee": {"controlled": {}}, "brain": {"released": {}}}
    assert len(list(claims.rows(metrics, 0.25))) == len(rows)
    fit = metrics["09"]["fits"]["psnr_db"]["main"]
    fit["released"] = None  # too few points
    words = [row["verdict"] for row in claims.rows(metrics, 0.25) if row["claim"] == "C6"]
    assert any("gave too few points" in word for word in words)
    del fit["released"]
    with pytest.raises(ValueError, match=r"claim C6, .*chapter 4 has the released arm"):
        list(claims.rows(metrics, 0.25))


def test_a_few_seeds_tell_a_small_spread_from_nothing():
    """Chi-square of two degrees of freedom: its quantile at q is -2 log(1 - q)."""
    (row,) = (part for part in claims.ledger() if part.rule == "spread" and part.source)
    ends = [0.1 * sqrt(2 / (-2 * log(1 - q))) for q in (0.975, 0.025)]
    seen = chapter_figures.measured(row, {"mean": 0.1, "n_seeds": 3})
    assert (seen["low"], seen["high"]) == pytest.approx(ends)
    assert (seen["below"], seen["above"], seen["margin"]) == (seen["low"], seen["high"], 0.15)
    words = {"same direction": (0.001, 0.023), "inconclusive": (0.025, 0.28), "opposite": (0.3, 2)}
    for word, spreads in words.items():
        for sd in spreads:
            found = chapter_figures.measured(row, {"mean": sd, "n_seeds": 3})
            assert claims.direction(row, 0.18, found) == word
    told = reasons.because(row, "inconclusive", seen)
    assert told.startswith("0.1 [0.052, 0.63] over 3 training seeds, which leave 2 degrees")
    assert told.endswith("its upper end is 4.2 times the bound of 0.15")
    told = reasons.because(
        row, "opposite", chapter_figures.measured(row, {"mean": 0.6, "n_seeds": 3})
    )
    assert told.endswith("its lower end is 2.1 times the bound of 0.15")
    assert chapter_figures.measured(row, {"mean": 0.1, "n_seeds": 5})["high"] == pytest.approx(
        0.1 * sqrt(4 / 0.4844), rel=1e-3
    )  # the table of chi-square, four degrees of freedom
    with pytest.raises(ValueError, match="no n_seeds"):
        chapter_figures.measured(row, {"mean": 0.1})


def test_the_papers_bounds_stand_where_it_has_no_figure():
    assert claims.paper_figure("C5", 0.0) == "within ±0.02"
    assert claims.paper_figure("C1", 2.91) == "2.91" and claims.paper_figure("C3", nan) == ""
    bounds = {row.id: row.bound for row in claims.ledger() if not isnan(row.bound)}
    assert bounds == {"C4": 0.15, "C5": 0.02}


def test_a_part_of_one_arm_says_which():
    sets = {name: fact() for name in claims.PAPER_SETS}
    rows = pd.DataFrame(claims.rows(fabricated(sets, ["natural-f8c4", "phantom-f4c3"]), 0.25))
    for word, arm in (("released", "released"), ("for longer", "longer")):
        said = rows["part"].str.contains(word) & ~rows["part"].str.contains("position rule")
        assert said.any() and (rows.loc[said, "lr_condition"] == arm).all()
    assert set(rows.loc[rows.claim == "R4", "lr_condition"]) == {"lr_pixels", "released"}
    assert set(rows.loc[rows.lr_condition == "all", "claim"]) == {"P1", "P2", "R3"}


def test_the_corners_under_released_are_read_where_they_were_run():
    """R2 under the released protocol: one set, of all those of the paper."""
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    geometry = {"mean": 1.2, "low": 0.9, "high": 1.5, "n_subjects": 30}
    domain = {"mean": 0.05, "low": -0.02, "high": 0.12, "n_subjects": 30}
    corners = {"geometry_at_natural": geometry, "domain_at_f4": domain}
    for one in corners.values():
        one["margin"] = 0.15
    for made, words in (
        ({"knee": {"released": corners}}, ["same direction", "same direction"]),
        (
            {"knee": {"released": corners | {"domain_at_f4": geometry}}},
            ["same direction", "opposite"],
        ),
        ({}, ["not tested", "not tested"]),
    ):
        metrics["07"]["corners"] = made
        rows = pd.DataFrame(claims.rows(metrics, 0.25))
        rows = rows[(rows.claim == "R2") & (rows.lr_condition == "released")]
        word = rows["verdict"].str.partition(" (")[0]
        assert word[rows.dataset == "knee"].tolist() == words
        other = rows.loc[rows.dataset != "knee", "verdict"]
        assert other.str.contains("not run; set ablations.run to all").all() and len(other) == 4
    del metrics["07"]["corners"]
    rows = pd.DataFrame(claims.rows(metrics, 0.25))
    assert (rows.claim == "R2").sum() == 2 * 3 * (len(KINDS) + 1)


def test_a_d_whose_interval_holds_0_says_what_decides():
    row = part("difference", sign_by=["low", "high"])
    given = {**found(-1.8, -1.4, -2.6), "low": -4.6, "high": 0.2}
    assert reasons.which_interval(row, given).endswith("that of the mean difference [-1.8, -1.4]")
    for paper, word in ((1.4, "opposite"), (-1.4, "same direction")):
        assert claims.direction(row, paper, given) == word
        text = reasons.because(row, word, given)
        assert text.startswith(
            "-2.6 with a mean difference in [-1.8, -1.4] over 30 subjects; its own"
        )
        assert "[-4.6, +0.2] holds 0" in text
    clear = given | {"high": -0.2}
    assert reasons.which_interval(row, clear) == reasons.because(row, "same direction", clear) == ""


def test_an_equivalence_shows_the_interval_that_decides():
    for row in claims.ledger():
        if row.rule == "equivalence":
            assert not row.sign_by or list(row.sign_by) == list(row.fields[1:])
        assert (row.interval != "") == (row.id in ("C4", "C5"))
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    leaf = metrics["06"]["h_added"]["fixed"]["knee"]["lr_pixels"]
    leaf |= {"mean": 0.1, "low": -0.2, "high": 0.4, "tost_low": 0.01, "tost_high": 0.14}
    rows = pd.DataFrame(claims.rows(metrics, 0.25), columns=claims.COLUMNS)
    place = (rows.part.str.contains("a fixed floor")) & (rows.dataset == "knee")
    (row,) = rows[place & (rows.claim == "C5") & (rows.lr_condition == "lr_pixels")].itertuples()
    assert (row.low, row.high, row.verdict) == (0.01, 0.14, "same direction")
    assert any("[0.01, 0.14] of two one-sided tests" in line for line in claims.lines(rows))


def test_what_was_not_measured_for_one_reason_takes_one_line():
    keys = {"claim": "C4", "part": "a change", "paper": 0.0, "measured": nan, "low": nan}
    row = keys | {
        "high": nan,
        "interval": "",
        "verdict": "not tested (hours)",
        "dataset": "knee",
    }
    silent = [row | {"lr_condition": kind} for kind in KINDS]
    assert list(claims.lines(pd.DataFrame(silent))) == [
        "C4: a change",
        "  everywhere: not tested (hours)",
    ]
    one = row | {"measured": 0.5, "verdict": "opposite", "lr_condition": "released"}
    assert list(claims.lines(pd.DataFrame([*silent, one]))) == [
        "C4: a change",
        "  knee, released: paper within ±0.15, here 0.5: opposite",
        "  elsewhere: not tested (hours)",
    ]


def test_an_equivalence_without_a_margin_is_no_verdict():
    sets = {name: fact() for name in claims.PAPER_SETS}
    metrics = fabricated(sets, ["natural-f8c4", "phantom-f4c3"])
    del metrics["06"]["h_added"]["fixed"]["knee"]["lr_pixels"]["margin"]
    with pytest.raises(ValueError, match=r"claim C5, .* a fixed floor, knee, lr_pixels: 06/"):
        list(claims.rows(metrics, 0.25))


def test_every_verdict_that_is_no_support_has_its_reason():
    rows = pd.DataFrame(
        claims.rows(fabricated({n: fact() for n in claims.PAPER_SETS}, ["u", "v"]), 1)
    )
    bare = rows["verdict"].isin(["opposite", "inconclusive", "not attainable"])
    assert bare.any() and (rows.loc[bare, "because"] != "").all()
    assert all(row.behind for row in claims.ledger() if row.source)
    told = "\n".join(claims.told(rows))
    assert {line.split(":")[0] for line in told.splitlines() if line[0] != " "} <= set(IDS)
    assert told.count("because") == len(rows[rows["because"].fillna("") != ""].groupby(
        ["claim", "part", "verdict"]
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "word", "given", "text"),
    [
        ("difference", "opposite", {"first": 30.8, "second": 22.2},
         "22.2 against 30.8, -8.6 [-8.8, -8.4] over 30 subjects"),
        ("difference", "inconclusive", {"detectable_db": 0.2},
         "-8.6 [-8.8, -8.4] over 30 subjects, who would show a difference of 0.2 dB in 80% of cases"),
        ("equivalence", "opposite", {},
         "-8.6 [-8.8, -8.4] over 30 subjects, at least 56 times the margin of ±0.15"),
        ("equivalence", "inconclusive", {"n_seeds": 3, "n_subjects": nan},
         "-8.6 [-8.8, -8.4] over 3 training seeds, its far end 59 times the margin of ±0.15"),
        ("significance", "not attainable", {"smallest_p": 2.0**-29},
         "30 subjects give p = 1.9e-09 at best, all of one sign; it takes 68"),
        ("independence", "not attainable", {"n_vaes": 4, "p": 0.33, "smallest_p": 0.083},
         "rho = -8.6 [-8.8, -8.4] over 4 autoencoders, p = 0.33, 0.083 at best; it takes 5 autoencoders"),
        ("difference", "same direction", {}, ""),
    ],
)  # fmt: skip
def test_reasons_are_figures_of_the_run(rule, word, given, text):
    threshold = {"significance": 1e-20, "independence": 0.05}.get(rule, nan)
    row = part(rule, threshold=threshold)
    assert reasons.because(row, word, found(-8.8, -8.4, **given)) == text


def test_an_association_says_what_it_rests_on():
    given = found(0.2, 0.99, 0.88, n_points=6, n_groups=3, n_vaes=2)
    given |= {"within_slope": 0.4, "within_low": nan, "within_high": nan}
    text = reasons.because(part("association"), "not attainable", given)
    assert (
        "within sets +0.4 dB a dB over the 2 autoencoders that every set has, too few for an interval; a set"
        in text
    )
    given |= {"n_vaes": 3, "within_low": -0.2, "within_high": 1.0}
    text = reasons.because(part("association"), "same direction", given)
    assert (
        "within sets +0.4 [-0.2, +1] dB a dB over the 3 autoencoders that every set has; a set"
        in text
    )
    assert "6 points in 3 sets" in text and "fewer than 8 points confirm nothing" in text
