"""The book: its configuration, its pages, and a build from a small made-up run."""

import ast
import json
import re
import shutil
from hashlib import sha256
from math import nan
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

from latentsr import (
    book,
    claims,
    claims_page,
    counts,
    figures,
    front,
    notebook,
    pages,
    params,
    provenance,
    run_record,
    stage,
)

REPOSITORY = Path(__file__).parents[1]
BOOK = REPOSITORY / "book"
CONFIG = yaml.safe_load((BOOK / "_config.yml").read_text())
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
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
    figures.style()
    image = figures.words(figures.NOT_SHOWN)
    for name in ("04_arms", "L4_bands", *pages.FRONT_FIGURES):
        figures.save(image, results, name, "Every arm.")
    figures.save(image, results / "arms" / sets[0] / "natural-f8c4", "03_curve", "A loss.")
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


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Change into a throw-away copy of the book, API aside, with a made-up smoke run."""
    ignore = shutil.ignore_patterns("_build", "notebooks", "generated", "api")
    shutil.copytree(BOOK, tmp_path / "book", ignore=ignore)
    shutil.copytree(REPOSITORY / book.EXERCISES, tmp_path / book.EXERCISES)
    short = {**TOC, "parts": [part for part in TOC["parts"] if part["caption"] != "API"]}
    (tmp_path / "book" / "_toc.yml").write_text(yaml.safe_dump(short))
    for name in ("README.md", "dvc.yaml", "benchmarks/README.md", "tests/test_adding.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "profiles" / "smoke.yaml", tmp_path / "params.yaml")
    settings = params.read(tmp_path / "params.yaml")
    fabricate(tmp_path / "results" / "smoke", settings, ["knee", "brain"])
    monkeypatch.chdir(tmp_path)
    return settings


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_configuration_executes_nothing_and_asks_no_network():
    assert CONFIG["execute"]["execute_notebooks"] == "off"
    sphinx = CONFIG["sphinx"]["config"]
    assert CONFIG["sphinx"]["recursive_update"] is True
    assert "sphinx_thebe" not in sphinx["extensions"]
    assert sphinx["nb_ipywidgets_js"] == {}
    assert sphinx["html_theme_options"]["navbar_persistent"] == []
    assert sphinx["html_static_path"] == ["static"]
    assert (BOOK / "static" / sphinx["mathjax_path"]).is_file()
    assert (BOOK / "static" / "mathjax" / "LICENSE").is_file()


def test_every_page_of_the_contents_exists_or_is_made():
    smoke = params.read(REPOSITORY / "profiles" / "smoke.yaml")
    made = {f"notebooks/{name}" for _, name, _ in book.chapters(smoke, ["knee", "brain"])}
    made |= {"generated/results", "generated/provenance"}
    made |= {f"notebooks/exercises/{stem}" for stem in notebook.STEMS}
    written = {str(p.relative_to(BOOK).with_suffix("")) for p in BOOK.glob("**/*.md")}
    written -= {name for name in written if name.startswith(("generated/", "_build/", ".ipynb_"))}
    files = {entry["file"] for entry in CHAPTERS if "file" in entry} | {TOC["root"]}
    assert files - made == written
    assert {entry["glob"] for entry in CHAPTERS if "glob" in entry} == {"notebooks/02_*"}
    assert made - files == {"notebooks/02_autoencoders", "notebooks/02_autoencoders_brain"}


@pytest.mark.parametrize("page", ["intro.md", "claims.md"])
def test_pages_of_results_hold_no_number_typed_by_hand(page):
    assert re.findall(r"\d+\.\d+", (BOOK / page).read_text()) == []


def test_every_citation_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), re.M))
    cited = set()
    for page in BOOK.glob("*.md"):  # not those of the API
        for group in re.findall(r"\{cite\}`([^`]+)`", page.read_text()):
            cited |= set(group.split(","))
    assert cited and cited <= keys


def test_every_year_in_a_docstring_is_of_a_work_in_the_bibliography():
    """`Holm 1979`, or author, title and year, with the first author's name on the lines before."""
    works = re.findall(
        r"^  author += \{+([^,}]+).*?^  year +=\s*\{(\d{4})\}",
        (BOOK / "references.bib").read_text(),
        re.M | re.S,
    )
    assert ("Holm", "1979") in works and ("Student", "1908") in works
    cited = 0
    for path in sorted((REPOSITORY / "latentsr").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                continue
            text = re.sub(
                r"(?m)^ *>>> .*|BraTS 2023|.*natural-f4c1.*", "", ast.get_docstring(node) or ""
            )
            for year in re.finditer(r"\b(?:1[89]|20)\d\d\b", text):
                before = text[max(0, year.start() - 100) : year.start()]
                assert any(y == year[0] and name in before for name, y in works), (path, year[0])
                cited += 1
    assert cited > 30


def test_the_build_is_byte_stable_and_asks_no_network(workspace):
    shutil.copytree(BOOK / "api", "book/api")
    shutil.copy(BOOK / "_toc.yml", "book")
    out = book.build(workspace)
    first = digest(out)
    assert digest(book.build(workspace)) == first
    assert "Peak signal-to-noise ratio of each image" in (out / "api" / "measures.html").read_text()
    assert not (out / "notebooks" / "03_train_arm_knee_phantom-f4c3.html").exists()
    outside = re.compile(
        r"""(?:<script[^>]*\bsrc=|<link[^>]*\bhref=|<img[^>]*\bsrc=)["']?(?:https?:)?//"""
    )
    for page in out.rglob("*.html"):
        assert not outside.search(page.read_text()), page
    for sheet in out.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", sheet.read_text()), sheet
    results = (out / "generated" / "results.html").read_text()
    assert "<h2>L4 wavelets" in results.replace("Wavelets", "wavelets")
    assert "#stage-background" in results
    page = (out / "notebooks" / "background" / "L1_autoencoders.html").read_text()
    assert 'href="../05_wavelets.html"' in page and 'href="../../glossary.html"' in page
    specimen = (out / "notebooks" / "03_train_arm.html").read_text()
    assert "03 train arm (knee, natural-f8c4)" in specimen
    assert "A specimen: one of 4 runs." in specimen and "files-03" in specimen
    protocols = (out / "protocols.html").read_text().replace(' class="text-left"', "")
    assert "The loss rose again in the training of" in protocols
    assert "+1.25 [-0.50, +3.00]" in protocols and "<td><p>+1.25</p></td>" in protocols
    intro = (out / "intro.html").read_text()
    assert "+2.00 [+1.50, +2.50]" in intro and "All test images are phantoms" in intro
    assert "not a medical device" in intro
    assert '<div class="compare docutils">' in intro and "_images/compare_knee_hr.png" in intro
    assert "_static/compare.js" in intro and "mybinder" not in specimen + intro
    results = (out / "generated" / "results.html").read_text()
    assert "a|b_*" in results and "04.json" in results
    assert "same direction" in (out / "claims.html").read_text()


def test_the_run_record_stands_in_the_published_copy_only(workspace):
    out = book.build(workspace)
    label, took = "03_train_arm_knee_natural-f8c4", {"minutes": 4.25, "peak_memory_mb": 1234}
    run_record.note(f"smoke/{label}", took)
    target = book.publish("smoke", {"train_arm": 17.25})
    for page in ("intro.html", "status.html"):
        assert "This run: profile smoke" in (target / page).read_text()
        assert run_record.PLACEHOLDER in (out / page).read_text()
    for page in ("status.html", "generated/provenance.html"):
        assert "4.2 (1 of 4 runs)" in (target / page).read_text()
        assert "4.2 (1 of 4 runs)" not in (out / page).read_text()
    assert "1.2 (1 of 4 runs)" in (target / "status.html").read_text()
    assert set(digest(target)) == set(digest(out))


def test_with_a_repository_address_a_chapter_has_its_launch_button(workspace):
    shutil.copytree(REPOSITORY / "notebooks", "notebooks", dirs_exist_ok=True)
    config = Path("book/_config.yml")
    config.write_text(config.read_text().replace('url: ""', 'url: "https://github.com/me/it"'))
    book.gather(workspace, Path("results/smoke"))
    text = Path("book/notebooks/02_autoencoders_brain.ipynb").read_text()
    assert "me/it/main?urlpath=lab/tree/notebooks/02_autoencoders.ipynb" in text
    text = Path("book/notebooks/03_train_arm.ipynb").read_text()
    assert "me/it/blob/main/notebooks/03_train_arm.ipynb" in text


def test_a_missing_chapter_is_named(workspace):
    Path("results/smoke/notebooks/05_wavelets.ipynb").unlink()
    with pytest.raises(ValueError, match=r"05_wavelets.ipynb: not there; run `make repro"):
        book.build(workspace)


def test_a_broken_link_stops_the_build(workspace):
    with open("book/glossary.md", "a") as page:
        page.write("\n\n{doc}`no_such_page`\n")
    with pytest.raises(ValueError, match="no_such_page"):
        book.build(workspace)


def test_a_local_path_in_a_page_stops_the_build(workspace):
    with open("book/glossary.md", "a") as page:
        page.write(f"\n\nMade in {Path.cwd()}.\n")
    with pytest.raises(ValueError, match=r"glossary.html names the folder"):
        book.build(workspace)


@pytest.mark.parametrize("may_be_shown", [True, False])
def test_single_images_of_a_closed_set_are_not_listed(workspace, tmp_path, may_be_shown):
    folder = tmp_path / "generated"
    folder.mkdir()
    facts = {**IDS, **COUNTS, "n_train_subjects": 5, "n_train_images": 8}
    sets = {"knee": facts, "mine": {**facts, "may_be_shown": may_be_shown}}
    page = pages.results_page([Path("results/smoke")], folder, sets)
    assert ("04_scores.csv" in page) is may_be_shown
    assert (folder / "04_scores.csv").exists() is may_be_shown
    assert "04_gaps.csv" in page and "share subjects" not in page


def test_every_table_says_where_test_images_share_subjects_with_training(workspace, tmp_path):
    sets = {"knee": {**IDS, **COUNTS, "split_by": "image"}}
    page = pages.results_page([Path("results/smoke")], tmp_path, sets)
    offered = [line for line in page.splitlines() if ".csv>" in line]
    assert offered and all("share subjects in knee" in line for line in offered)


def test_figures_stand_in_the_order_of_the_sets(workspace, tmp_path):
    folder = Path("results/smoke/autoencoders/x/figures/02")
    folder.mkdir(parents=True)
    for name in ("02_cards_chest", "02_cards_knee", "02_reconstructions_knee"):
        for suffix in (".svg", ".png", ".txt"):
            (folder / f"{name}{suffix}").write_text(name)
    sets = {name: {**IDS, **COUNTS} for name in ("knee", "brain", "chest")}
    page = pages.results_page([Path("results/smoke"), folder.parents[1]], tmp_path, sets)
    order = re.findall(r"{figure} (02_\S+)\.svg", page)
    assert order == ["02_cards_knee", "02_cards_chest", "02_reconstructions_knee"]


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        ("04_arms", " Test images: knee phantoms: 7 exams, 7 images; mine phantoms: 9 images, "
         "subjects shared with training."),
        ("03_curve_knee_natural-f8c4", " Training images: knee phantoms: 5 exams, 8 images."),
        ("04_filmstrip_knee", " Test images: knee phantoms: one of 7."),
        ("06_errors", " Test images: knee phantoms: one of 7; mine phantoms: one of 9."),
        ("07_steps", " Test images: knee phantoms: 7 exams, 7 images."),
        ("L4_bands", ""),
    ],
)  # fmt: skip
def test_a_caption_counts_subjects_and_images(name, counted, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    listed = provenance.stages("smoke")
    monkeypatch.chdir(tmp_path)
    facts = {**IDS, **COUNTS, "n_train_subjects": 5, "n_train_images": 8}
    sets = {"knee": facts, "mine": {**facts, "n_test_images": 9, "split_by": "image"}}
    source = Path(f"results/smoke/arms/mine/natural-f8c4/figures/03/{name}.svg")
    source.parent.mkdir(parents=True)
    for suffix in (".svg", ".png", ".txt"):
        source.with_suffix(suffix).write_text("What is seen.\n")
    (folder := tmp_path / "generated").mkdir()
    text = pages._figure(source, folder, listed, sets)
    assert f"\nWhat is seen.{counted} {{download}}" in text
    assert ":alt: What is seen.\n" in text


def test_a_chapters_figure_keeps_its_words():
    output = {"data": {"image/png": ""}, "metadata": {"image/png": {"alt": "A knee."}}}
    heading = {"source": ["# 1 Data"], "metadata": {}}
    cells = [heading, {"source": [], "metadata": {"tags": []}, "outputs": [output]}]
    made = json.loads(book.titled(json.dumps({"cells": cells}), "knee", "01_data"))["cells"]
    assert made[0]["source"] == "# 1 Data (knee)" and made[0]["metadata"] == {}
    assert made[1]["metadata"] == {"tags": [], "mystnb": {"image": {"alt": "A knee."}}}
    assert "](#stage-data)" in made[2]["source"] and "](#files-01)" in made[2]["source"]
    assert len(made) == 4 and "tables as CSV" in made[3]["source"]


def test_below_a_chapters_figure_stand_the_counts_of_that_figure():
    heading = {"source": ["# 4 Swap"], "metadata": {}}
    drawn = {"Arms.": "04_arms", "A walk.": "04_filmstrip_knee"}
    cells = [heading]
    for alt in drawn:
        output = {"data": {"image/png": ""}, "metadata": {"image/png": {"alt": alt}}}
        cells.append({"source": [], "metadata": {}, "outputs": [output]})
    facts = {**IDS, **COUNTS}
    text = json.dumps({"cells": cells})
    made = json.loads(book.titled(text, "", "04_vae_swap", drawn, {"knee": facts, "brain": facts}))
    of_all, of_one = made["cells"][2]["source"], made["cells"][4]["source"]
    both = "knee phantoms: 7 exams, 7 images; brain phantoms: 7 exams, 7 images."
    assert of_all.endswith(f" · Test images: {both}")
    assert of_one.endswith(" · Test images: knee phantoms: one of 7.")


def test_the_parameters_of_a_run_are_told_from_those_as_shipped():
    shipped = {"source": ['dataset = "knee"'], "metadata": {"tags": ["parameters"]}}
    given = {"tags": ["injected-parameters"]}
    injected = {"source": ["# Parameters\n", 'dataset = "brain"\n'], "metadata": given}
    heading = {"source": ["# 1 Data"], "metadata": {}}
    text = json.dumps({"cells": [heading, shipped, injected]})
    made = json.loads(book.titled(text, "", "01_data"))["cells"]
    assert made[1]["source"] == shipped["source"]
    first, *values = made[2]["source"].splitlines()
    assert "of this run" in first and values == ['dataset = "brain"']


def test_the_book_stage_depends_on_every_page():
    stage = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]["book"]
    wanted = {f"book/{path.name}" for path in BOOK.glob("*.*") if path.is_file()}
    wanted |= {"book/static", "book/api", "README.md", "latentsr", str(book.EXERCISES)}
    quoted = re.compile(r"^```\{(?:literal)?include\} \.\./(.+)$", re.M)
    wanted |= {name for path in BOOK.glob("*.md") for name in quoted.findall(path.read_text())}
    assert wanted <= set(stage["deps"])
    assert not any(dep.startswith(("book/notebooks", "book/generated")) for dep in stage["deps"])


def test_the_ledger_shows_the_lr_conditions_side_by_side(tmp_path):
    columns = ["claim", "part", "dataset", "lr_condition", "paper", "measured", "low", "high"]
    rows = [
        ("C1", "gap, dB", "knee", "lr_latent", 2.91, 1.0, 0.5, 1.5, "same direction"),
        ("C1", "gap, dB", "knee", "lr_pixels", 2.91, -0.2, nan, nan, "opposite"),
        ("C1", "the same, longer", "knee", "longer", 2.91, 1.0, 0.5, 1.5, "same direction"),
        ("C0", "dominance", "all", "all", nan, nan, nan, nan, "not tested (no alternative)"),
        ("C5", "h", "knee", "released", 0.0, 0.2, 0.1, 0.3, "opposite"),
    ]
    path = tmp_path / "10_claims.csv"
    ledger = pd.DataFrame(rows, columns=[*columns, "verdict"]).assign(n_subjects=60.0)
    ledger["because"] = ["", "-0.2 over 60 subjects", "", "", ""]
    ledger["interval"] = ["", "", "", "", claims.TOST]
    ledger.to_csv(path, index=False)
    text = claims_page.sections(path)
    assert "*An arm is scored by what its own autoencoder keeps." in text  # of C1, once
    assert text.count("Row by row: {doc}`notebooks/10_claims`") == 1
    assert (
        "(c1)=\n(claim-c1)=\n\n## C1: the swap raises PSNR\n\n"
        "**Swapping only the autoencoder, SD-VAE for MedVAE, raises PSNR.**" in text
    )
    assert r"| paper | LR latent (the released way) | LR pixels (controlled) |" in text
    assert (
        r"| gap, dB | knee | 60 | 2.91 | 1 \[0.5, 1.5\]: same direction | -0.2: opposite |" in text
    )
    assert "Not tested (no alternative): dominance." in text
    assert r"| the same, longer | knee | 60 | 2.91 | longer | 1 \[0.5, 1.5\]: same" in text
    assert r"| as released (walk spaced) | 0.2 \[0.1, 0.3\] (TOST): opposite |" in text


def test_the_first_page_shows_both_protocols_and_what_is_shared(workspace):
    sets = {"knee": {"split_by": "image"}, "brain": {"split_by": "subject"}}
    text = pages.gaps_table(Path("results/smoke"), sets).replace(r"upsampled\_latent | ", "")
    assert r"| dataset | released | lr\_latent | lr\_pixels |" in text
    assert r"| knee (subjects shared) | +2.00 \[+1.50, +2.50\] | +1.25 |" in text
    assert "| brain | " in text


def test_a_chapter_on_few_subjects_counts_those(tmp_path):
    (tmp_path / "tables").mkdir()
    used = pd.DataFrame({"dataset": ["knee", "knee"], "n_subjects": 8, "n_images": [56, 8]})
    used.to_csv(tmp_path / "tables" / "11_transfer.csv", index=False)
    sets = {"knee": {"is_phantom": True, "n_test_images": 60, "n_test_subjects": 60}}
    sets["knee"]["subject_word"] = "exam"
    assert counts.of_chapter("06", tmp_path, sets) == sets
    few = counts.of_chapter("11", tmp_path, sets)
    told = "Test images: knee phantoms: 8 exams, 56 images."
    assert counts.behind("11_transfer", few) == told


def test_the_first_page_gives_the_answer_and_how_sure_it_is(workspace):
    results = Path("results/smoke")
    sets = json.loads((results / "data" / "sets.json").read_text())
    text = front.answer(results, sets, ("first", "second"))
    assert "as released, PSNR rises on 2 of 2 sets and falls on 0; controlled, PSNR" in text
    assert "trained x4, PSNR rises on 0 of 2 sets and falls on 0 (counting" in text
    assert "has two parts at this training length: what is **seen**" in text
    assert "is worth +1.00 to +1.50 dB, what is **denoised** -0.75 to -0.50 dB" in text
    assert r"| knee | +2.00 \[+1.50, +2.50\] | -0.25 | +0.38 | 7 exams |" in text
    sets["knee"] |= {"n_test_subjects": 5, "split_by": "image"}
    sure = front.how_sure(results, sets)
    assert "Too few subjects for an interval: knee." in sure and "2 of 2 arms stay below" in sure
    assert "Test images share subjects with training: knee." in sure


def test_the_claims_in_short_take_the_released_part_where_there_is_one(tmp_path):
    columns = ["claim", "part", "dataset", "lr_condition", "paper", "measured", "verdict"]
    rows = [
        ("C1", "PSNR gap", "knee", "lr_latent", 2.91, 0.5, "same direction"),
        ("C1", "PSNR gap", "knee", "lr_pixels", 2.91, -9.0, "opposite"),
        ("C1", "the same, released", "knee", "released", 2.91, 1.5, "same direction"),
        ("C1", "the same, trained for longer", "knee", "longer", 2.91, 7.5, "inconclusive"),
        ("C3", "half one", "knee", "lr_latent", nan, 0.5, "same direction"),
        ("C3", "half one", "knee", "lr_pixels", nan, 0.75, "same direction"),
        ("C3", "half two", "knee", "lr_latent", nan, 0.5, "opposite"),
        ("C3", "half two", "knee", "lr_pixels", nan, 0.5, "opposite"),
        ("C3", "half one, released", "knee", "released", nan, 0.25, "same direction"),
        ("C3", "half two, released", "knee", "released", nan, 0.5, "inconclusive"),
        ("C2", "pooled d", "knee", "lr_latent", 1.86, 0.25, "not tested (why)"),
        ("C2", "pooled d", "knee", "lr_pixels", 1.86, -9.5, "not tested (other)"),
        ("C4", "change", "knee", "lr_latent", 0.0, nan, "not tested (why)"),
        ("R2", "geometry", "knee", "lr_latent", 1.91, 0.5, "same direction"),
        ("R2", "geometry", "knee", "lr_pixels", 1.91, -1.5, "opposite"),
        ("R2", "geometry, released protocol", "knee", "released", 1.91, nan, "not tested (why)"),
        ("R3", "ceiling", "knee", "all", 2.76, 4.25, "opposite"),
        ("R4", "domain", "knee", "lr_pixels", 0.95, 0.125, "inconclusive"),
    ]
    ledger = pd.DataFrame(rows, columns=columns)
    ledger["margin"] = ledger["claim"].map({"C4": 0.15})
    ledger.to_csv(tmp_path / "x.csv", index=False)
    text = front.claims_in_short(tmp_path / "x.csv")
    told = "| 2.91 | 1.50 | -9.00 | released: same direction; controlled: opposite |"
    assert "| [C1](#claim-c1) Swapping" in text and told in text
    assert r"| 1.86 | 0.25\* | -9.50 | not tested |" in text
    assert "| within ±0.15 | – | – |" in text
    assert r"| 1.91 | 0.50\* | -1.50 |" in text, "R2 was not run under released"
    assert "| 2.76 | 4.25† | 4.25† | opposite |" in text
    assert "| 0.95 | – | 0.12 | controlled: inconclusive |" in text  # R4: no released arm
    assert "| – | 0.25 | 0.75 | released: inconclusive; controlled: opposite ‡ |" in text
    assert "7.50" not in text, "the longer arm stands in for no other"


def test_every_figure_and_table_is_listed_with_its_command_and_linked(workspace):
    book.gather(workspace, Path("results/smoke"))
    page = Path("book/generated/provenance.md").read_text()
    listed = {
        Path(name).name for name in re.findall(r"^- (?:{download})?`([^` ]+)[` ]", page, re.M)
    }
    made = [p for p in Path("results/smoke").rglob("*") if p.suffix in (".svg", ".csv", ".json")]
    wanted = {p.name for p in made if {"figures", "tables", "metrics"} & set(p.parts)}
    assert len(wanted) > 10 and wanted <= listed
    shown = {
        p.name for p in Path("book/generated").glob("*.*") if p.suffix in (".svg", ".csv", ".json")
    }
    assert shown and shown <= listed
    anchors = set(re.findall(r"^\((stage-[\w-]+)\)=", page, re.M))
    assert anchors == {provenance.anchor(s.name) for s in provenance.stages("smoke")}
    for name in ("results", *pages.FRONT_FIGURES):
        text = Path(f"book/generated/{name}.md").read_text()
        figured, linked = (
            text.count("```{figure}"),
            re.findall(r"how it is made\]\(#([\w-]+)\)", text),
        )
        assert figured == len(linked) > 0 and set(linked) <= anchors


def test_every_module_has_its_place_in_the_api():
    text = "".join(path.read_text() for path in sorted((BOOK / "api").glob("*.md")))
    listed = re.findall(r"automodule:: (\S+)", text)
    here = REPOSITORY / "latentsr"
    modules = (path.relative_to(REPOSITORY).with_suffix("") for path in here.rglob("*.py"))
    names = {".".join(path.parts).removesuffix(".__init__") for path in modules}
    assert len(listed) == len(set(listed))
    empty = {"latentsr", "latentsr.commands", "latentsr.datasets"}  # nothing of their own
    assert names - set(listed) == empty


def test_a_replication_note_names_what_backs_it():
    notes = re.findall(r"^- .+", (BOOK / "replication.md").read_text(), re.M)
    assert len(notes) > 15
    assert [n for n in notes if not re.search(r"\]\((notebooks/\w+\.ipynb)?#[\w-]+\)", n)] == []


def test_a_book_of_the_smoke_profile_says_that_its_numbers_mean_nothing(workspace):
    book.gather(workspace, Path("results/smoke"))
    assert "Its numbers mean nothing." in Path("book/generated/profile.md").read_text()
