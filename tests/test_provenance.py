import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from latentsr.companion.book import provenance
from latentsr.companion.pipeline import notebook, params, repro
from latentsr.companion.pipeline.stage import note_run


def test_every_output_of_the_pipeline_has_one_stage():
    listed = provenance.stages("mini")
    for path, name in {
        "results/mini/figures/04/04_arms.svg": "vae_swap",
        "results/mini/tables/05_bands.csv": "wavelets",
        "results/mini/autoencoders/knee/figures/02/02_cards_knee.svg": "autoencoders",
        "results/mini/arms/chest/phantom-f4c3/figures/03/03_curve.svg": "train_arm",
        "results/mini/metrics/10.json": "claims",
        "results/mini/figures/L5/L5_power.svg": "background",
    }.items():
        assert provenance.made_by(path, listed).name == name


def test_a_file_that_no_stage_makes_is_named():
    with pytest.raises(ValueError, match="tables/99_x.csv: no stage of dvc.yaml makes it"):
        provenance.made_by("results/mini/tables/99_x.csv", provenance.stages("mini"))


def test_the_page_lists_every_file_with_its_command():
    files = ["results/mini/tables/05_bands.csv", "results/mini/figures/09/09_ceiling_vs_sr.svg"]
    listed = provenance.stages("mini")
    settings = params.read(Path("profiles/mini.yaml"))
    text = provenance.page(files, listed, settings, ["knee"], {"05_bands.csv"})
    assert "{download}`results/mini/tables/05_bands.csv <05_bands.csv>`" in text
    assert f"- `{files[1]}`" in text
    assert "(stage-wavelets)=" in text and "`dvc repro wavelets`" in text
    assert "`python -m latentsr.companion.pipeline.stage 09_screening`" in text
    for stage in listed:
        runs = provenance.labels(stage, settings, ["knee"])
        assert repro.slot("minutes", runs) in text


def test_the_page_fills_in_what_dvc_does():
    """Names and commands are those of the lock, which DVC wrote."""
    settings = params.read(Path("profiles/mini.yaml"))
    lock = yaml.safe_load(Path("dvc.lock").read_text())["stages"]
    found = {}
    for stage in provenance.stages("mini"):
        for name, run in provenance.points(stage, settings, ["knee", "brain", "chest"]).items():
            (found[name],) = provenance.expanded([stage.command], {name: run})
    locked = {name: lock[name]["cmd"] for name in found if name in lock}
    assert len(locked) > 20 and locked == {name: found[name] for name in locked}
    text = provenance.page([], provenance.stages("mini"), settings, ["knee", "brain", "chest"])
    assert "${" not in text and "`dvc repro train_arm@chest-natural-f8c4`" in text


def test_the_runs_of_a_stage_are_its_grid():
    settings = params.read(Path("profiles/mini.yaml"))
    listed = {stage.name: stage for stage in provenance.stages("mini")}
    arms = provenance.labels(listed["train_arm"], settings, ["knee", "brain"])
    assert len(arms) == 2 * len(settings["autoencoders"].arms)
    assert arms[0] == "03_train_arm_knee_natural-f8c4"
    assert provenance.labels(listed["book"], settings, ["knee"]) == ["book"]


def test_what_was_measured_is_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook.note("mini/a", {"minutes": 1.5, "peak_memory_mb": 2100})
    notebook.note("mini/b_c", {"minutes": 2.25, "peak_memory_mb": 900})
    notebook.note("mini/phantoms", {"minutes": 0.5})
    for what, labels, told in (
        ("minutes", ["a", "b/c"], "3.8"),
        ("memory", ["a", "b/c"], "2.1"),
        ("minutes", ["a", "d"], "1.5 (1 of 2 runs)"),
        ("minutes", ["d"], "–"),
        ("memory", ["phantoms"], "–"),
    ):
        page = f"<td>{repro.slot(what, labels)}</td>"
        assert repro.filled(page, "mini") == f"<td>{told}</td>"


def test_a_run_notes_its_minutes_and_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note_run("mini", "03_a/b", time.monotonic() - 90)
    took = json.loads(Path(".scratch/run_record/mini/03_a_b.json").read_text())
    assert 1.5 <= took["minutes"] < 1.6 and took["peak_memory_mb"] > 20


def test_a_lock_that_a_run_wrote_leaves_the_commit_clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert repro.commit() == ""
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for name in ("dvc.lock", "code.py"):
        Path(name).write_text("1\n")
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "One"]):
        subprocess.run(["git", *command], check=True)
    clean = repro.commit()
    assert len(clean) >= 7 and "dirty" not in clean
    Path("dvc.lock").write_text("2\n")
    Path("new.txt").write_text("2\n")
    assert repro.commit() == clean
    Path("code.py").write_text("2\n")
    assert repro.commit() == f"{clean}-dirty"
