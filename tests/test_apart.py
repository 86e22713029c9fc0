import numpy as np
import pandas as pd
import pytest

from latentsr import apart, attribution, figures, plans, stability

MAIN = ["natural-f8c4", "phantom-f4c3"]
FACT = {"is_phantom": True, "n_test_subjects": 8, "subject_word": "patient", "split_by": "subject"}


def synthetic(moves):
    """Scores of every arm of `plans.whole`: 20 dB, more by what ``moves`` says of an arm.

    Against the own decode 30 dB, more by twice as much. The walks have five images only.
    """
    plan = plans.whole(MAIN, MAIN, "knee", "lr_latent", 10, 10, 42)
    rng, tables = np.random.default_rng(0), []
    subjects = [f"s{k}" for k in range(8)]
    difficulty = rng.normal(0, 2, 8)
    for (analysis, name), spec in plan.items():
        arm, _, role = name.partition("|")
        moved, noise = moves(analysis, arm, role, spec), rng.normal(0, 0.01, 8)
        table = pd.DataFrame({"image_id": subjects, "subject_id": subjects})
        table["psnr_db"] = 20 + difficulty + moved + noise
        table["psnr_own_decode_db"] = 30 + difficulty + 2 * moved + noise
        table = table[:5] if analysis == "walks" else table
        named = {"analysis": analysis, "arm": arm, "role": role, "vae": spec.vae, "gmsd": 0.1}
        named |= {"condition_vae": spec.condition_vae or spec.vae, "steps": spec.steps}
        named |= {"T": spec.num_steps, **spec.switches.columns()}
        tables.append(table.assign(**named))
    return pd.concat(tables, ignore_index=True)


def moves(analysis, arm, role, spec):
    second = "phantom" in (role or spec.vae)
    if analysis == "convergence":  # what is seen matters, and less as training goes on
        return 2.0 / spec.steps * ("phantom" in (spec.condition_vae or spec.vae))
    if analysis == "ablations" and arm == "target v":
        return -3.0
    if analysis.startswith("levers"):
        return {"autoencoder: phantom-f4c3": 1.0, "calls: 1": -3.0}.get(arm, 0.0)
    return 1.0 * second


@pytest.fixture(scope="module")
def scored():
    return synthetic(moves).assign(train_tflop=1.0, image_gflop=1.0)


@pytest.fixture(scope="module")
def parts(scored):
    return apart.taken_apart(scored, MAIN, 0.15, 0)


def test_taken_apart_gives_every_analysis_its_table(scored, parts):
    assert set(parts) == set(apart.ANALYSES)
    assert np.allclose(parts["sensitivity"].gap, 1, atol=0.05)
    split = parts["convergence"].set_index(["steps", "effect"]).estimate
    for steps in (1, 4, 16):
        assert split[steps, "condition"] == pytest.approx(2 / steps, abs=0.05)
        assert split[steps, "target"] == pytest.approx(0, abs=0.05)
        assert split[steps, "gap, lr_pixels"] == pytest.approx(2 / steps, abs=0.05)
    spread = stability.over_seeds(parts["seeds"])
    assert spread.loc["lr_pixels", ("gap", "count")] == 3
    largest = attribution.dominance(scored[scored.analysis == "levers, controlled"], 0)
    assert largest["largest_other"] == "calls: 1" and largest["n_subjects"] == 8
    assert largest["high"] < 0 and largest["mean"] == pytest.approx(-2, abs=0.05)


def test_every_rung_is_scored_against_the_own_decode_too(parts):
    table, plan = parts["switches"], plans.switches(MAIN[0], 42, 10)
    for measure, level, gap in (("psnr_db", 20, 1), ("psnr_own_decode_db", 30, 2)):
        rows = table[table.measure == measure]
        assert rows["arm"].tolist() == list(plan)
        assert np.allclose(rows["gap"], gap, atol=0.05)
        assert (rows["low"] <= rows["gap"]).all() and (rows["gap"] <= rows["high"]).all()
        assert np.allclose(rows["second"] - rows["first"], rows["gap"])
        assert (rows["first"] - level).abs().max() < 2
    wide = apart.side_by_side(table)
    assert wide.index.tolist() == list(plan)
    assert np.allclose(wide["against the own decode", "gap"], 2, atol=0.05)


def test_ablations_have_levels_beside_their_change(parts):
    table = parts["ablations"].set_index("arm")
    assert table.index.tolist() == list(plans.ablations(MAIN[0], "lr_latent", 10, 42))
    level = table.loc["reference", "first"]
    assert (level, *table.loc["target v", ["first", "second"]]) == pytest.approx(
        (level, level - 3, level - 3), abs=0.05
    )
    assert table.loc["reference", ["change", "verdict"]].isna().all()
    assert table.loc["target v", "gap"] == pytest.approx(0, abs=0.05)
    assert table.loc["target v", "change"] == pytest.approx(-1, abs=0.05)
    assert np.allclose(table["change"].dropna(), (table["gap"] - table["gap"].iloc[0]).iloc[1:])
    assert table.loc["target v", ["verdict", "excludes_0"]].tolist() == ["beyond the margin", True]
    assert table.loc["transformer", "verdict"] == "equivalent"
    assert table.loc["transformer", "unit"] == "one of 3 training seeds"
    assert set(table.loc[[*stability.SAMPLED_ONLY], "unit"]) == {"subjects"}
    assert table[["n_subjects", "n_images"]].eq(8).all(axis=None)


def test_walks_count_the_images_that_were_used(parts):
    walks = parts["walks"]
    assert len(walks) == 76 and walks[["n_subjects", "n_images"]].eq(5).all(axis=None)
    assert set(walks["walk"]) == {"spaced", "first"} and set(walks["noise"]) == {
        "noise 1",
        "noise 0.5",
    }


def test_every_table_is_drawn(parts):
    found = {name: (figure, alt) for name, figure, alt in drawn(parts)}
    assert set(found) == set(apart.ANALYSES)
    titles = {
        name: [axis.get_title(loc="left") for axis in figure.axes]
        for name, (figure, _) in found.items()
    }
    assert titles["walks"][0] == "chest phantoms (5 patients)" and "5 images" in found["walks"][1]
    assert titles["seeds"] == ["chest phantoms (8 patients)"]
    assert titles["switches"] == [
        f"chest phantoms (8 patients),\nagainst the {what}"
        for what in ("true HR image", "own decode")
    ]
    legend = [text.get_text() for text in found["walks"][0].legends[0].get_texts()]
    assert {"from full noise", "from half the noise"} < set(legend)
    (axis,) = found["ablations"][0].axes
    assert [text.get_text() for text in axis.get_yticklabels()] == list(parts["ablations"].arm[1:])


def test_no_title_leaves_its_figure(parts):
    for name, figure, _ in drawn(parts):
        figure.canvas.draw()
        ends = [axis.title.get_window_extent().x1 for axis in figure.axes]
        ends += [axis._left_title.get_window_extent().x1 for axis in figure.axes]
        assert max(ends) <= figure.bbox.x1, name


def drawn(parts):
    import matplotlib

    with matplotlib.rc_context():
        figures.style()
        yield from apart.drawn(parts, MAIN, 0.15, "chest", FACT)


def test_errors_of_the_one_step_arms(scored):
    found = apart.one_step_errors(scored, MAIN)
    rows = scored[(scored.analysis == "ablations") & (scored.arm == "one step")]
    for vae in MAIN:
        psnr = rows.loc[rows["role"] == vae, "psnr_db"]
        assert len(found[vae]) == 8 and np.allclose(-10 * np.log10(found[vae]), psnr)
