import json
import subprocess
import time
from pathlib import Path

import pytest

from latentsr.companion.book import provenance
from latentsr.companion.pipeline import repro
from latentsr.companion.pipeline.stage import note_run


def test_every_output_of_the_pipeline_has_one_stage():
    listed = provenance.stages("mini")
    for path, name in {
        "results/mini/figures/04/04_arms.svg": "vae_swap",
        "results/mini/tables/05_bands.csv": "wavelets",
        "results/mini/autoencoders/knee/figures/02/02_cards_knee.svg": "autoencoders",
        "results/mini/arms/chest/phantom-f4c3/figures/03/03_curve.svg": "score",
        "results/mini/metrics/10.json": "claims",
        "results/mini/figures/L5/L5_power.svg": "background",
    }.items():
        assert provenance.made_by(path, listed).name == name


def test_a_file_that_no_stage_makes_is_named():
    with pytest.raises(ValueError, match="tables/99_x.csv: no stage of dvc.yaml makes it"):
        provenance.made_by("results/mini/tables/99_x.csv", provenance.stages("mini"))


def test_the_page_lists_every_file_with_its_command():
    files = ["results/mini/tables/05_bands.csv", "results/mini/figures/09/09_ceiling_vs_sr.svg"]
    text = provenance.page(files, provenance.stages("mini"), {"05_bands.csv"})
    assert "{download}`results/mini/tables/05_bands.csv <05_bands.csv>`" in text
    assert f"- `{files[1]}`" in text
    assert "(stage-wavelets)=" in text and "`dvc repro wavelets`" in text
    assert "`python -m latentsr.companion.pipeline.stage 09_screening`" in text
    assert "${" not in text and "02_autoencoders --dataset <set>`" in text


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
