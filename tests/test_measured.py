"""Tables of what takes hours are made from scores, and as they are committed."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MAIN = ["natural-f8c4", "phantom-f4c3"]


def test_changes_over_training_seeds_are_made_from_scores(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = runpy.run_path(str(BENCHMARKS / "seeds.py"))
    arms = [arm for job in script["trainings"](MAIN[0], 42, 10) for arm in job]
    assert len(arms) == len(set(arms)) == 20 and arms.count("reference") == 1
    rows = [
        {"set": "knee", "arm": arm, "seed": seed, "role": vae, "subject_id": "s", "image_id": "i"}
        | {"psnr_db": 20 + seed + (1 + (arm == "one step")) * (vae == MAIN[1])}
        for arm in arms
        for seed in (42, 43, 44)
        if (arm, seed) != ("reference", 44)  # so seed 44 is left out
        for vae in MAIN
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "scores.csv", index=False)
    script["publish"](script["gaps"](tmp_path / "scores.csv"), tmp_path)
    table = pd.read_csv(tmp_path / "seeds.csv").set_index("arm")
    changed = table["change"].dropna()
    assert changed["one step"] == 1 and set(changed.drop("one step")) == {0.0}
    assert set(table["n_seeds"].dropna()) == {2} and len(changed) == 19
    assert {"arm", *table} == set(pd.read_csv(BENCHMARKS / "measured" / "seeds.csv"))
    assert len(pd.read_csv(tmp_path / "seeds_to_1000_calls.csv")) == 3


def test_a_run_without_long_ablations_is_not_kept(tmp_path):
    script = runpy.run_path(str(BENCHMARKS / "keep.py"))
    (tmp_path / "tables").mkdir()
    names = "levers switches ablations schedules seed_effects corners sensitivity convergence"
    for name in names.split():
        (tmp_path / "tables" / f"07_{name}.csv").write_text("arm,effect,T,dataset\n")
    with pytest.raises(ValueError, match="07_levers.csv is empty"):
        script["kept"](tmp_path)


def test_every_committed_table_has_its_run():
    runs = pd.read_csv(BENCHMARKS / "measured" / "runs.csv")
    named = {name for names in runs["tables"] for name in names.split(", ")}
    assert named == {path.stem for path in (BENCHMARKS / "measured").glob("*.csv")} - {"runs"}
