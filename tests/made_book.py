"""A small made-up run, and a throw-away copy of the book to build from it."""

import json
import re
import shutil
from math import nan
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import yaml

from latentsr import plots
from latentsr.companion.book import build as book
from latentsr.companion.book import pages
from latentsr.companion.pipeline import notebook, params, stage

REPOSITORY = Path(__file__).parents[1]
BOOK = REPOSITORY / "book"
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
IDS = {"is_phantom": True, "may_be_shown": True, "subject_word": "exam"}
COUNTS = {f"n_{s}_{u}": 7 for s in ("train", "test") for u in ("images", "subjects")}


def headings(stem: str) -> str:
    """The sections of a real chapter: pages of the book link to them."""
    cells = json.loads((REPOSITORY / "notebooks" / f"{stem}.ipynb").read_text())["cells"]
    texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    lines = re.findall(r"^## .+", "\n".join(texts), re.M)
    return "\n\n".join(lines)


def chapter(stem: str, outputs: list) -> str:
    title = f"# {stem.replace('_', ' ')}\n\nSee [the second](02_autoencoders.ipynb)."
    cells = [
        nbformat.v4.new_markdown_cell(f"{title}\n\n{headings(stem)}"),
        nbformat.v4.new_code_cell("1 + 1", execution_count=1, outputs=outputs),
    ]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.writes(stage.byte_stable(made))


def lesson(title: str) -> str:
    links = "[L2](L2_diffusion.ipynb), [chapter 5](../05_wavelets.ipynb), [glossary](../../book/glossary.md)"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {title}\n\n{links}")])
    return nbformat.writes(stage.byte_stable(made))


def fabricate_images(results: Path, sets: list[str]) -> None:
    """Write one test image a set, and what the main arms made of it."""
    grey = np.full((1, 8, 8), 0.5, np.float32)
    score = {"image_id": ["a"], "arm": "released", "method": "bicubic", "psnr_db": 20.0}
    for name in sets:
        (folder := results / "data" / name).mkdir()
        arrays = {"hr": grey, "lr": grey[:, ::4, ::4], "split": ["test"], "image_id": ["a"]}
        for key, values in arrays.items():
            np.save(folder / f"{key}.npy", values)
        for vae in ("natural-f8c4", "phantom-f4c3"):
            (arm := results / "arms" / name / vae).mkdir(parents=True)
            np.savez(arm / "sr.npz", image_id=["a"], released=grey)
            pd.DataFrame(score).to_csv(arm / "scores.csv", index=False)
    baselines = [pd.DataFrame({**score, "dataset": name}) for name in sets]
    pd.concat(baselines).to_csv(results / "data" / "baselines.csv", index=False)


def fabricate(results: Path, settings: dict, sets: list[str]) -> None:
    """Write what a run leaves: executed notebooks, a figure, tables and metrics."""
    for folder in ("data", "notebooks", "tables", "metrics"):
        (results / folder).mkdir(parents=True)
    facts = {name: {**IDS, **COUNTS} for name in sets}
    (results / "data" / "sets.json").write_text(json.dumps(facts))
    fabricate_images(results, sets)
    data = {"text/plain": "<made up>", "text/html": "<table><tr><td>$x_0$</td></tr></table>"}
    shown = [nbformat.v4.new_output("display_data", data=data)]
    for stem in notebook.STEMS:
        for run in notebook.grid(stem, settings, sets):
            path = results / "notebooks" / f"{notebook.label(stem, run)}.ipynb"
            path.write_text(chapter(stem, shown))
    (results / "notebooks" / "background").mkdir()
    for stem in notebook.LESSONS:
        (results / "notebooks" / f"{stem}.ipynb").write_text(lesson(stem))
    plots.set_style()
    behind = pd.DataFrame({"dataset": sets, "n_subjects": 7, "n_images": 9})
    for name in ("04_arms", "L4_bands", *pages.FRONT_FIGURES):
        plots.save(plots.words(plots.NOT_SHOWN), results, name, "Every arm.", behind)
    folder = results / "arms" / sets[0] / "natural-f8c4"
    plots.save(plots.words(plots.NOT_SHOWN), folder, "03_curve", "A loss.", behind)
    conditions = settings["train_arm"].lr_conditions
    gaps = [
        {"dataset": name, "lr_condition": kind, "measure": "psnr_db", "mean_difference": 1.25}
        for name in sets
        for kind in conditions
    ]
    gaps = pd.DataFrame(gaps).assign(low=-0.5, high=3.0)
    gaps.loc[0, ["low", "high"]] = float("nan")
    gaps.to_csv(results / "tables" / "04_gaps.csv", index=False)
    whole = pd.DataFrame({"dataset": sets, "arm": "released", "measure": "psnr_db", "gap": 2.0})
    whole = whole.assign(kind="released", low=1.5, high=2.5)
    controlled = whole.assign(arm="controlled", kind="lr_pixels", gap=-0.25, low=nan, high=nan)
    longer = controlled.assign(arm="trained x4", kind="longer", gap=0.375)
    pd.concat([whole, controlled, longer]).to_csv(
        results / "tables" / "04_protocols.csv", index=False
    )
    parts = [
        (name, effect, worth)
        for name, worth in zip(sets, (0.5, 0.75), strict=True)
        for effect, worth in (("target", -worth), ("condition", 2 * worth))
    ]
    parts = pd.DataFrame(parts, columns=["dataset", "effect", "estimate"])
    parts.to_csv(results / "tables" / "04_target_condition.csv", index=False)
    scores = pd.DataFrame({"image_id": ["a|b_*"], "subject_id": ["s"], "psnr_db": [23.456]})
    scores.to_csv(results / "tables" / "04_scores.csv", index=False)
    ledger = pd.DataFrame(
        [("C1", "gap, dB", "knee", kind, 2.91, 1.0, 0.5, "same direction") for kind in conditions]
        + [("C0", "dominance", "all", "all", nan, nan, nan, "not tested (why)")],
        columns=["claim", "part", "dataset", "lr_condition", "paper", "measured", "low", "verdict"],
    ).assign(high=1.5, interval="", n_subjects=7, margin=nan, because="")
    ledger.to_csv(results / "tables" / "10_claims.csv", index=False)
    arms = pd.DataFrame({"dataset": sets, "vae": "natural-f8c4"})
    arms = arms.assign(**dict.fromkeys(conditions, 20.0), ceiling=21.0, bicubic=22.0)
    arms.to_csv(results / "tables" / "04_headline.csv", index=False)
    levels = arms[["dataset", "vae", "bicubic"]].assign(arm="lr_pixels", psnr_db=20.0)
    levels.to_csv(results / "tables" / "04_every_arm.csv", index=False)
    costs = arms[["dataset", "vae"]].assign(arm="lr_pixels", loss_over_lowest=1.0)
    costs.loc[0, "loss_over_lowest"] = 1.4
    costs.to_csv(results / "tables" / "04_costs.csv", index=False)
    ablation = {
        "dataset": "knee",
        "lr_condition": "lr_latent",
        "gap_by_steps": {"spaced": {"1": {"mean": 1.5}, "10": {"mean": 0.5}}},
        "retrained": {"steps": 80, "gap_db": 0.75},
    }
    (results / "metrics" / "07.json").write_text(json.dumps(ablation))
    found = {"main_vaes": ["natural-f8c4", "phantom-f4c3"], "psnr_db": {"knee": 21.987, "x": None}}
    found["ceiling_psnr_db"] = {name: {"natural-f8c4": 21.0} for name in sets}
    (results / "metrics" / "04.json").write_text(json.dumps(found))


def workspace(tmp_path, monkeypatch):
    """Change into a throw-away copy of the book, API aside, with a made-up smoke run."""
    ignore = shutil.ignore_patterns("_build", "notebooks", "generated")
    shutil.copytree(BOOK, tmp_path / "book", ignore=ignore)
    shutil.copytree(REPOSITORY / book.EXERCISES, tmp_path / book.EXERCISES)
    for name in ("README.md", "dvc.yaml", "benchmarks/README.md", "tests/test_adding.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "benchmarks" / "measured", tmp_path / "benchmarks" / "measured")
    shutil.copy(REPOSITORY / "profiles" / "smoke.yaml", tmp_path / "params.yaml")
    settings = params.read(tmp_path / "params.yaml")
    fabricate(tmp_path / "results" / "smoke", settings, ["knee", "brain"])
    monkeypatch.chdir(tmp_path)
    return settings
