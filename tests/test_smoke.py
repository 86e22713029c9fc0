"""The whole pipeline with the smoke profile, in a throw-away copy of the repository."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import svg_text
import yaml

from latentsr.autoencoders import registry
from latentsr.companion.pipeline import notebook, repro, scratch
from latentsr.metrics import image as metrics

pytestmark = pytest.mark.slow  # one run for all: a file stays on one process


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    os.chdir(Path(__file__).parents[1])
    made = repro.smoke(tmp_path_factory.mktemp("smoke"))
    kept = Path(".scratch/smoke-book")  # for `make test-browser` where there are no results
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(made / "book", kept)
    return made


def test_every_out_is_there(results):
    lock = yaml.safe_load((results.parents[1] / "dvc.lock").read_text())
    stages = yaml.safe_load((results.parents[1] / "dvc.yaml").read_text())["stages"]
    assert {name.split("@")[0] for name in lock["stages"]} == set(stages)
    for stage in lock["stages"].values():
        for out in stage["outs"]:
            assert (results.parents[1] / out["path"]).exists()


def test_scores_are_measured_once_an_image_and_arm(results):
    scored = pd.read_csv(results / "tables" / "04_scores.csv", dtype={"image_id": str})
    assert set(scored["dataset"]) == {"knee", "brain", "chest"}
    assert set(scored["vae"]) == {"natural-f8c4", "phantom-f4c3"} <= set(registry.SHIPPED)
    counts = scored.groupby(["dataset", "vae", "lr_condition"])["image_id"].agg(["size", "nunique"])
    assert (counts == 8).all(axis=None)
    assert scored["psnr_db"].between(5, 60).all()


def test_main_arms_are_scored_by_every_measure_and_beside_both_interpolations(results):
    quality = pd.read_csv(results / "tables" / "04_quality.csv")
    assert len(quality) == 3 * 2 * 4  # sets, main arms, LR conditions and released
    assert quality[list(metrics.QUALITY)].notna().all(axis=None)
    headline = pd.read_csv(results / "tables" / "04_headline.csv")
    baselines = pd.read_csv(results / "tables" / "04_baselines.csv", dtype={"image_id": str})
    for method in ("bicubic", "lanczos"):
        rows = baselines[baselines["method"] == method]
        by_subject = rows.groupby(["dataset", "subject_id"])["psnr_db"].mean()
        expected = headline["dataset"].map(by_subject.groupby("dataset").mean())
        np.testing.assert_allclose(headline[method], expected)


def test_nothing_changed_runs_no_stage(results):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dvc")), "repro"],
        cwd=results.parents[1],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout + done.stderr
    assert "Importing" not in done.stdout + done.stderr


def test_outputs_hold_no_date_and_no_folder_of_this_machine(results):
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    told = (str(results.parents[1]), f"{Path.home()}/", today)
    for path in results.rglob("*"):
        if path.suffix in {".json", ".csv", ".ipynb", ".html", ".svg", ".txt"}:
            text = path.read_text()
            assert not [word for word in told if word in text], path


def test_every_figure_can_be_read_at_the_width_of_a_page(results):
    drawn = [path for path in results.rglob("*.svg") if "figures" in path.parts]
    assert len(drawn) > 50
    small = {path.name: least for path in drawn if (least := svg_text.smallest_px(path))[0] < 9}
    hidden = {path.name: told for path in drawn if (told := svg_text.faults(path))}
    assert (small, hidden) == ({}, {})


def test_alternative_texts_name_the_phantoms_and_what_was_found(results):
    texts = {
        p.stem: p.read_text() for p in results.rglob("*.txt") if p.parent.parent.name == "figures"
    }
    assert all(
        "phantoms" in text.lower()
        for name, text in texts.items()
        if name[0] in "01"
        and "four corners" not in text
        and name != "07_signal"  # of the schedule: no image is behind it
    )
    assert all(
        re.search(r"[-+]?\d.* to [-+]?\d", texts[name])
        for name in ("04_arms", "04_protocols", "06_rates", "09_patch_pca", "11_transfer")
    )


def test_pages_name_arms_and_references_in_words(results):
    """Chapter 3 has the keys too, beside what they mean; files keep them everywhere."""
    shown = {p: p.read_text() for p in results.rglob("*.txt") if p.parent.parent.name == "figures"}
    for stem in notebook.STEMS[3:]:
        cells = json.loads((results / "notebooks" / f"{stem}.ipynb").read_text())["cells"]
        shown[stem] = json.dumps([cell.get("outputs", []) for cell in cells])
    keys = re.compile(
        r"lr_latent|upsampled_latent|lr_pixels|psnr_own_decode_db|(second|third)_seed"
    )
    assert {name: found[0] for name, text in shown.items() if (found := keys.search(text))} == {}


def test_metrics_are_numbers(results):
    for path in (results / "metrics").glob("*.json"):
        text = path.read_text()
        assert "NaN" not in text and "Infinity" not in text, path
        assert json.loads(text)


def test_claims_of_smoke_say_what_two_autoencoders_can_say(results):
    table = pd.read_csv(results / "tables" / "10_claims.csv")
    assert {"C0", "C1", "C3", "C5", "C6", "B1", "R2"} <= set(table["claim"])
    assert not table["verdict"].isin(["reproduced", "deviates"]).any()


def test_the_book_has_a_page_a_chapter(results):
    pages = {path.name for path in (results / "book" / "notebooks").glob("*.html")}
    assert {"01_data.html", "03_train_arm.html", "04_vae_swap.html", "10_claims.html"} <= pages
    exercises = (results / "book" / "notebooks" / "exercises").glob("*.html")
    assert sorted(path.stem for path in exercises) == notebook.EXERCISES


def graded(text):
    return [line for line in text.splitlines() if line[:3] in ("1: ", "2: ", "3: ", "4: ")]


@pytest.mark.parametrize("stem", notebook.EXERCISES)
def test_exercises_grade_themselves(results, stem, monkeypatch, capsys):
    monkeypatch.chdir(results.parents[1])
    for part, word in (("", "not answered yet"), ("solutions/", "right")):
        scratch.run_cells(f"exercises/{part}{stem}", {"inputs": "results/smoke"})
        said = graded(capsys.readouterr().out)
        assert len(said) >= 3
        assert all(line.startswith(f"{k}: {word}") for k, line in enumerate(said, 1)), said
        assert part == "" or said == [f"{k}: right" for k in range(1, len(said) + 1)]


def wrong(answer):
    """Another answer of the same kind."""
    if callable(answer):
        return lambda *given: wrong(answer(*given))
    if isinstance(answer, bool):
        return not answer
    if isinstance(answer, str):
        return f"not {answer}"
    if isinstance(answer, list) and (not answer or isinstance(answer[0], str)):
        return [*answer, "another"]
    return np.asarray(answer) + 1


@pytest.mark.parametrize("stem", notebook.EXERCISES)
def test_a_wrong_answer_gets_a_hint(results, stem, monkeypatch, capsys):
    monkeypatch.chdir(results.parents[1])
    namespace = {"inputs": "results/smoke"}
    for cell in json.loads(Path(f"notebooks/exercises/solutions/{stem}.ipynb").read_text())[
        "cells"
    ]:
        code, tags = "".join(cell["source"]), cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and "parameters" not in tags:
            kept = dict(namespace)
            exec(code, namespace)
            if "answer" in tags:
                asked = [n for n in namespace if n.startswith("answer_") and n not in kept]
                asked = asked or [n.name for n in ast.parse(code).body if hasattr(n, "name")]
                right = {name: namespace[name] for name in asked}
                namespace |= {name: wrong(value) for name, value in right.items()}
            elif "check" in tags:
                namespace |= right
    said = graded(capsys.readouterr().out)
    assert len(said) >= 3 and all(": not yet: " in line for line in said), said
