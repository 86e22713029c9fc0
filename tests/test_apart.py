import json
import re
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.experiments import plans
from latentsr.plots import apart_shown, forests
from latentsr.plots import style as figures
from latentsr.stats import apart

REPOSITORY = Path(__file__).parents[1]
MAIN = ["natural-f8c4", "phantom-f4c3"]
CORNERS = ["natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3"]
FOREST = [
    "Trained anew",
    "Another sampler, given the weights",
    "Another schedule, given the weights",
]
FACT = {"is_phantom": True, "n_test_subjects": 8, "subject_word": "patient", "split_by": "subject"}


def synthetic(moves):
    """Scores of every arm of `plans.full_plan`: 20 dB, more by what ``moves`` says of an arm.

    Against the own decode 30 dB, more by twice as much.
    """
    plan = plans.full_plan(MAIN, CORNERS, "knee", "lr_latent", 10, 10, 42)
    rng, tables = np.random.default_rng(0), []
    subjects = [f"s{k}" for k in range(8)]
    difficulty = rng.normal(0, 2, 8)
    for row in plan:
        analysis, arm, role, spec = row.analysis, row.arm, row.role, row.config
        moved, noise = moves(analysis, arm, role, spec), rng.normal(0, 0.01, 8)
        table = pd.DataFrame({"image_id": subjects, "subject_id": subjects})
        table["psnr_db"] = 20 + difficulty + moved + noise
        table["psnr_own_decode_db"] = 30 + difficulty + 2 * moved + noise
        named = {**row.columns(), "vae": spec.vae, "gmsd": 0.1, "seed": spec.seed}
        named |= {"condition_vae": spec.condition_vae or spec.vae, "steps": spec.steps}
        named |= {"T": spec.num_inference_steps, **spec.protocol.columns()}
        tables.append(table.assign(**named))
    return pd.concat(tables, ignore_index=True)


def moves(analysis, arm, role, spec):
    second = "phantom" in (role or spec.vae)
    if analysis == "convergence":  # what is seen matters, and less as training goes on
        return 2.0 / spec.steps * ("phantom" in (spec.condition_vae or spec.vae))
    if analysis == "retrained" and arm.startswith("target v"):
        return -3.0
    if analysis == "walks" and spec.protocol.timestep_spacing == "first":
        return (1.0 - 0.01 * spec.num_inference_steps) * second
    if analysis.startswith("levers"):
        return {"autoencoder: phantom-f4c3": 1.0, "calls: 1": -3.0}.get(arm, 0.0)
    if analysis == "corners":  # domain 1 at f8 and 4 at f4, geometry 2 for natural ones
        return {"phantom-f8c4": 1.0, "natural-f4c3": 2.0, "phantom-f4c3": 6.0}.get(role, 0.0)
    if analysis in ("seeds", "retrained"):  # the domain is worth 1, 2 and 3 over the seeds
        return (spec.seed - 41.0) * second
    return 1.0 * second


@pytest.fixture(scope="module")
def scored():
    return synthetic(moves).assign(train_tflop=1.0, image_gflop=1.0)


@pytest.fixture(scope="module")
def parts(scored):
    return apart.taken_apart(scored, MAIN, CORNERS, 0.15, 0)


def test_taken_apart_gives_every_analysis_its_table(scored, parts):
    assert set(parts) == set(apart.TABLES)
    assert np.allclose(parts["sensitivity"].gap, 1, atol=0.05)
    split = parts["convergence"].set_index(["steps", "effect"]).estimate
    for steps in (1, 4, 16):
        assert split[steps, "condition"] == pytest.approx(2 / steps, abs=0.05)
        assert split[steps, "target"] == pytest.approx(0, abs=0.05)
        assert split[steps, "gap, lr_pixels"] == pytest.approx(2 / steps, abs=0.05)
    spread = apart.over_seeds(parts["seeds"])
    assert spread.loc["lr_pixels", ("gap", "count")] == 3
    largest = apart.dominance(
        scored[(scored.analysis == "levers") & (scored.start == "controlled")], 0
    )
    assert largest["largest_other"] == "calls: 1" and largest["n_subjects"] == 8
    assert largest["high"] < 0 and largest["mean"] == pytest.approx(-2, abs=0.05)


def test_every_rung_is_scored_against_the_own_decode_too(parts):
    table = parts["switches"]
    plan = [row.arm for row in plans.switches(MAIN[0], 42, 10)]
    for measure, level, gap in (("psnr_db", 20, 1), ("psnr_own_decode_db", 30, 2)):
        rows = table[table.measure == measure]
        assert rows["arm"].tolist() == list(plan)
        assert np.allclose(rows["gap"], gap, atol=0.05)
        assert (rows["low"] <= rows["gap"]).all() and (rows["gap"] <= rows["high"]).all()
        assert np.allclose(rows["second"] - rows["first"], rows["gap"])
        assert (rows["first"] - level).abs().max() < 2
    wide = apart_shown.side_by_side(table)
    assert wide.index.tolist() == [forests.named(arm) for arm in plan]
    assert np.allclose(wide["against the own decode", "gap"], 2, atol=0.05)


def test_ablations_have_levels_beside_their_change(parts):
    """The gap is 1 dB everywhere; over the seeds it is 1, 2 and 3, but of target v 0."""
    table = parts["ablations"].set_index("arm")
    mean, names = (
        "reference, mean of 3 seeds",
        list(plans.ablations(MAIN[0], "lr_latent", 10, 42)),
    )
    assert table.index.tolist() == [names[0], mean, *names[1:]]
    level = table.loc["reference", "first"]
    levels = table.loc["target v", ["first", "second"]].tolist()
    assert [level - one for one in levels] == pytest.approx([3, 3], abs=0.05)
    assert table.loc[mean, "gap"] == pytest.approx(2, abs=0.05)
    assert table.loc[mean, "second"] - table.loc[mean, "first"] == pytest.approx(2, abs=0.05)
    assert table.loc[["reference", mean], ["change", "verdict", "against"]].isna().all(axis=None)
    changed = table[2:]
    from_ = table.loc[changed["against"], "gap"].to_numpy()
    assert np.allclose(changed["change"], changed["gap"] - from_)
    assert set(changed.drop(list(apart.SAMPLED_ONLY))["against"]) == {mean}
    half = 2.919986 / 3**0.5  # t(0.95, 2 df), from any t table; the changes are -1, -2 and -3
    assert table.loc["target v", "change"] == pytest.approx(-2, abs=0.05)
    assert table.loc["target v", "high"] == pytest.approx(half - 2, abs=0.1)
    words = ["verdict", "unit"]
    assert table.loc["target v", words].tolist() == ["beyond the margin", "3 training seeds"]
    assert table.loc["transformer", words].tolist() == ["equivalent", "3 training seeds"]
    sampled = table.loc[[*apart.SAMPLED_ONLY]]
    assert set(sampled["unit"]) == {"subjects"} and set(sampled["against"]) == {"reference"}
    assert set(sampled["verdict"]) == {"equivalent"}
    assert table[["n_subjects", "n_images"]].eq(8).all(axis=None)


def test_tables_are_shown_each_after_its_heading(parts):
    told = dict(apart_shown.shown(parts, MAIN))
    assert [heading.split(":")[0] for heading in told] == (
        ["`seeds`"] * 2 + ["`corners`", "`switches`", "`ablations`", "`schedules`"]
    )
    assert all("first" not in table.columns.get_level_values(-1) for table in told.values())
    assert set(MAIN) <= set(told["`ablations`: the gap, both levels and the change"].columns)
    (corners,) = [table for heading, table in told.items() if heading.startswith("`corners`")]
    levels = parts["corners"].set_index("effect")["estimate"].round(2)
    assert corners.loc["as released", "estimate"].to_dict() == levels.to_dict()
    few = dict(
        apart_shown.shown({**parts, "corners": apart.EMPTY, "seed_effects": apart.EMPTY}, MAIN)
    )
    assert len(few) == 4


def test_domain_and_geometry_of_four_corners(parts):
    split = parts["corners"].set_index(["arm", "effect"])["estimate"]["released"]
    by_hand = {"domain": 2.5, "geometry": 3.5, "interaction": 3.0, "gap": 6.0}
    by_hand |= {"geometry_at_natural": 2.0, "domain_at_f4": 4.0}
    assert split[list(by_hand)].to_dict() == pytest.approx(by_hand, abs=0.05)
    assert parts["corner_scores"].groupby("role").size().to_dict() == dict.fromkeys(CORNERS, 8)
    over = parts["seed_effects"].set_index(["lr_condition", "effect"])
    assert len(over) == 2 * len(apart.EFFECTS)
    for kind in ("lr_latent", "lr_pixels"):
        seeds = over.loc[(kind, "domain"), ["seed 42", "seed 43", "seed 44", "mean", "sd"]]
        assert seeds.tolist() == pytest.approx([1, 2, 3, 2, 1], abs=0.05)
        assert over.loc[(kind, "geometry"), "sd"] == pytest.approx(0, abs=0.05)


def test_without_four_corners_their_tables_stay_empty(scored):
    rows = scored[(scored.analysis != "corners") & ~scored["role"].isin(CORNERS[1:3])]
    parts = apart.taken_apart(rows, MAIN, (), 0.15, 0)
    for name in ("corners", "corner_scores", "seed_effects"):
        assert parts[name].empty
    assert len(parts["seeds"]) == 6


def test_walks_and_what_they_make_of_the_gap(parts):
    """The gap is 1 dB; of first entries 0.01 dB less an entry, so 0.1 dB at 10, 0.5 dB at 50."""
    walks, table = parts["walks"], parts["schedules"].set_index("arm")
    assert len(walks) == 72 and set(walks["walk"]) == {"spaced", "first"}
    assert set(walks["initial_noise_sd"]) == {1.0, 0.5}
    assert len(table) == 36 and table[["n_subjects", "n_images"]].eq(8).all(axis=None)
    assert table.index[table["change"].isna()].tolist() == ["10 calls"]
    rows = table.loc[["first 10 entries", "first 50 entries", "1000 calls, half of the noise"]]
    assert rows["change"].tolist() == pytest.approx([-0.1, -0.5, 0], abs=0.02)
    assert rows["verdict"].tolist() == ["equivalent", "beyond the margin", "equivalent"]
    assert rows["T"].tolist() == [10, 50, 1000] and set(rows["unit"]) == {"subjects"}
    assert np.allclose(rows["change"], rows["gap"] - table.loc["10 calls", "gap"])


def test_every_table_is_drawn(parts):
    found = {name: (figure, alt) for name, figure, alt in drawn(parts)}
    assert set(found) == {*apart.ANALYSES, "schedules"}
    titles = {
        name: [axis.get_title(loc="left") for axis in figure.axes]
        for name, (figure, _) in found.items()
    }
    assert titles["walks"][0] == "chest phantoms (8 patients)"
    assert titles["seeds"] == ["chest phantoms (8 patients)"]
    assert titles["switches"] == [
        f"chest phantoms (8 patients),\nagainst the {what}"
        for what in ("true HR image", "own decode")
    ]
    legend = [text.get_text() for text in found["walks"][0].legends[0].get_texts()]
    assert {"from full noise", "from half the noise"} < set(legend)
    (axis,) = found["ablations"][0].axes
    labels = [text.get_text() for text in axis.get_yticklabels()]
    trained, sampler, schedule = (labels.index(heading) for heading in FOREST)
    arms = list(parts["ablations"].arm[2:])
    assert labels[sampler + 1 : schedule] == list(apart.SAMPLED_ONLY)
    assert labels[trained + 1 : sampler] == [a for a in arms if a not in apart.SAMPLED_ONLY]
    assert {"1 call", "first 50 entries", "1000 calls, half of the noise"} < set(labels[schedule:])
    assert "10 calls" not in labels and not [line for line in axis.lines if line.get_ls() == ":"]
    assert [text.get_text()[:5] for text in axis.texts] in (["◂ -2."], ["◂ -1."])  # target v
    lone = pd.DataFrame({"arm": ["far", "near", "bare"], "gap": [2.0, 0.5, -3.0], "dataset": "s"})
    lone = lone.assign(low=[1.5, 0.4, np.nan], high=[2.5, 0.6, np.nan])
    (axis,) = forests.forest(lone, {"s": ""}, "", reach=1.0).axes
    assert [text.get_text() for text in axis.texts] == ["+2.00 [+1.50, +2.50] ▸", "◂ -3.00"]
    assert axis.get_xlim() == (-1.05, 1.05)
    first, *_ = found["schedules"][0].axes
    assert [len(bars.lines[0].get_xdata()) for bars in first.containers] == [9, 10]
    assert "from -5.0" in found["schedules"][1]


def test_no_title_leaves_its_figure(parts):
    for name, figure, _ in drawn(parts):
        figure.canvas.draw()
        ends = [axis.title.get_window_extent().x1 for axis in figure.axes]
        ends += [axis._left_title.get_window_extent().x1 for axis in figure.axes]
        assert max(ends) <= figure.bbox.x1, name


def test_no_figure_speaks_in_keys(parts):
    from matplotlib.text import Text

    for name, figure, _ in drawn(parts):
        words = {text.get_text() for text in figure.findobj(Text)}
        assert not [text for text in words if "_" in text or "ddpm" in text], name
    assert "LR condition" not in set(parts["switches"]["arm"])  # tables keep the keys
    assert "released, but LR condition" in apart_shown.side_by_side(parts["switches"]).index


def drawn(parts):
    import matplotlib.pyplot

    with matplotlib.rc_context():
        figures.style()
        for one in apart_shown.drawn(parts, MAIN, 0.15, "chest", FACT):
            yield one
            matplotlib.pyplot.close("all")


def test_errors_of_the_one_step_arms(scored):
    found = apart.one_step_errors(scored, MAIN)
    rows = scored[(scored.analysis == "ablations") & (scored.arm == "one step")]
    for vae in MAIN:
        psnr = rows.loc[rows["role"] == vae, "psnr_db"]
        assert len(found[vae]) == 8 and np.allclose(-10 * np.log10(found[vae]), psnr)


def test_the_published_figures_are_drawn_from_a_run(parts, tmp_path):
    import matplotlib

    script = runpy.run_path(str(REPOSITORY / "benchmarks" / "apart_figures.py"))
    for name, found in (
        ("metrics/04", {"main_vaes": MAIN}),
        ("metrics/07", {"dataset": "chest", "margin_db": 0.15}),
        ("data/sets", {"chest": FACT}),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    (tmp_path / "tables").mkdir()
    for name, table in parts.items():
        table.to_csv(tmp_path / "tables" / f"07_{name}.csv", index=False)
    drawn_now, published = tmp_path / "apart", REPOSITORY / "book" / "static" / "apart"
    with matplotlib.rc_context():
        script["main"](tmp_path, drawn_now)
    for folder, said in ((drawn_now, "chest phantoms ("), (published, "phantoms (")):
        text = (folder / "figures.txt").read_text()
        shown = re.findall(r"{figure} static/apart/(\w+)\.svg\n:alt: \S.+\n", text)
        assert shown == list(script["SHOWN"]) and text.count(said) == len(shown)
        assert {path.stem for path in folder.glob("*.svg")} == set(shown)
    told = (drawn_now / "figures.txt").read_text()
    assert told.count("(8 patients)") == len(script["SHOWN"])
    assert "{download}`switches.csv <static/apart/switches.csv>`" in told
    rungs = pd.read_csv(drawn_now / "switches.csv")
    assert len(rungs) == len(parts["switches"]) and not rungs.isna().any().any()
    assert rungs[f"{MAIN[1]}, PSNR in dB"].tolist() == list(parts["switches"]["second"].round(2))
    held = pd.read_csv(published / "switches.csv")
    assert list(held["arm"]) == list(rungs["arm"]) and "+ grid" not in set(held["arm"])
    difference = held.iloc[:, 3] - held.iloc[:, 2]
    assert np.allclose(difference, held["gap, dB"], atol=0.011)


def test_the_published_changes_over_seeds_are_made_from_scores(tmp_path, monkeypatch):
    import matplotlib

    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    script = runpy.run_path(str(REPOSITORY / "benchmarks" / "seeds.py"))
    arms = [arm for job in script["trainings"](MAIN[0], 42, 10) for arm in job]
    assert len(arms) == len(set(arms)) == 20 and arms.count("reference") == 1
    gaps = [("knee", arm, seed, arm == "one step") for arm in arms for seed in (42, 43, 44)]
    lost = ("knee", "reference", 44, False)  # so seed 44 is left out
    rows = [
        {"set": name, "arm": arm, "seed": seed, "role": vae, "subject_id": "s", "image_id": "i"}
        | {"psnr_db": 20 + seed + (1 + more) * (vae == MAIN[1])}
        for name, arm, seed, more in gaps
        if (name, arm, seed, more) != lost
        for vae in MAIN
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "seeds.csv", index=False)
    found = script["changes"](script["gaps"](tmp_path / "seeds.csv"))
    changed = found.set_index("arm")["change"].dropna()
    assert changed["one step"] == 1 and set(changed.drop("one step")) == {0.0}
    assert set(found["n_seeds"].dropna()) == {2} and len(changed) == 19
    with matplotlib.rc_context():
        script["publish"](found, tmp_path / "seeds")
    assert (tmp_path / "seeds" / "changes.svg").exists()
