"""The book: its configuration, its pages, and a build from a small made-up run."""

import ast
import json
import re
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
import yaml
from made_book import BOOK, REPOSITORY, TOC

from latentsr.companion.book import build as book
from latentsr.companion.book import pages
from latentsr.companion.pipeline import notebook, params, repro

CONFIG = yaml.safe_load((BOOK / "_config.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]


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
    made |= {f"generated/api_{name}" for name in pages.API}
    made |= {f"notebooks/exercises/{stem}" for stem in notebook.EXERCISES}
    written = {str(p.relative_to(BOOK).with_suffix("")) for p in BOOK.glob("**/*.md")}
    written -= {name for name in written if name.startswith(("generated/", "_build/", ".ipynb_"))}
    files = {entry["file"] for entry in CHAPTERS if "file" in entry} | {TOC["root"]}
    assert files - made == written
    assert {entry["glob"] for entry in CHAPTERS if "glob" in entry} == {"notebooks/02_*"}
    assert made - files == {"notebooks/02_autoencoders", "notebooks/02_autoencoders_brain"}


@pytest.mark.parametrize("page", ["intro.md", "claims.md"])
def test_pages_of_results_hold_no_number_typed_by_hand(page):
    assert re.findall(r"\d+\.\d+", (BOOK / page).read_text()) == []


def test_every_table_that_took_hours_is_shown_and_has_its_run():
    folder = REPOSITORY / "benchmarks" / "measured"
    runs = pd.read_csv(folder / "runs.csv")
    of_runs = [name for names in runs["tables"] for name in names.split(", ")]
    assert sorted([*of_runs, "runs"]) == sorted(path.stem for path in folder.glob("*.csv"))
    assert runs[["command", "machine", "commit", "date"]].notna().all(axis=None)
    page = (BOOK / "measured.md").read_text() + (folder.parent / "README.md").read_text()
    assert [name for name in of_runs if f"measured/{name}.csv" not in page] == []


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
    out = book.build(workspace)
    first = digest(out)
    assert digest(book.build(workspace)) == first
    assert (
        "Peak signal-to-noise ratio of each image"
        in (out / "generated" / "api_measures.html").read_text()
    )
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
    assert "loss rose again: knee, natural-f8c4, lr_pixels" in protocols.replace("\\", "")
    assert "+1.25 [-0.50, +3.00]" in protocols and "<td><p>+1.25</p></td>" in protocols
    intro = (out / "intro.html").read_text()
    assert "+2.00 [+1.50, +2.50]" in intro and "All test images are phantoms" in intro
    assert "not a medical device" in intro
    assert '<div class="compare docutils">' in intro and "_images/compare_knee_hr.png" in intro
    assert "_static/compare.js" in intro and "mybinder" not in specimen + intro
    measured = (out / "measured.html").read_text()
    assert "rectified flow" in measured and "NVIDIA H100" in measured
    results = (out / "generated" / "results.html").read_text()
    assert "a|b_*" in results and "04.json" in results
    assert "same direction" in (out / "claims.html").read_text()


def test_the_run_record_stands_in_the_published_copy_only(workspace):
    out = book.build(workspace)
    label, took = "03_train_arm_knee_natural-f8c4", {"minutes": 4.25, "peak_memory_mb": 1234}
    notebook.note(f"smoke/{label}", took)
    target = book.publish("smoke", {"train_arm": 17.25})
    for page in ("intro.html", "status.html"):
        assert "This run: profile smoke" in (target / page).read_text()
        assert repro.PLACEHOLDER in (out / page).read_text()
    row = "<td>03_train_arm</td><td>1</td><td>4.2</td><td>1.2</td>"
    assert row in (target / "status.html").read_text()
    assert row not in (out / "status.html").read_text()
    assert set(digest(target)) == set(digest(out))


def test_with_a_repository_address_a_chapter_has_its_launch_buttons(workspace):
    config = Path("book/_config.yml")
    given = yaml.safe_load(config.read_text())
    given["repository"]["url"] = "https://github.com/me/it"
    given["sphinx"]["config"]["html_theme_options"]["launch_buttons"] = {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    }
    config.write_text(yaml.safe_dump(given))
    page = (book.build(workspace) / "notebooks" / "04_vae_swap.html").read_text()
    assert "mybinder.org/v2/gh/me/it/main?urlpath=lab/tree/notebooks/04_vae_swap.ipynb" in page
    assert "github/me/it/blob/main/notebooks/04_vae_swap.ipynb" in page


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
    wanted = {"book", "benchmarks/measured", "README.md", "latentsr", str(book.EXERCISES)}
    quoted = re.compile(r"^```\{(?:literal)?include\} \.\./(.+)$", re.M)
    wanted |= {name for path in BOOK.glob("*.md") for name in quoted.findall(path.read_text())}
    assert wanted <= set(stage["deps"])
    ignored = (REPOSITORY / ".dvcignore").read_text().splitlines()
    assert {"/book/_build", "/book/generated", "/book/notebooks"} <= set(ignored)


def test_every_module_with_functions_has_its_place_in_the_api():
    text = "".join(map(pages.api_page, pages.API))
    listed = re.findall(r"automodule:: (\S+)", text)
    assert len(listed) == len(set(listed))
    here = REPOSITORY / "latentsr"
    for path in here.rglob("[!_]*.py"):
        name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        assert name in listed or "def " not in path.read_text(), name


def test_a_replication_note_names_what_backs_it():
    notes = re.findall(r"^- .+", (BOOK / "replication.md").read_text(), re.M)
    assert len(notes) > 15
    assert [n for n in notes if not re.search(r"\]\((notebooks/\w+\.ipynb)?#[\w-]+\)", n)] == []


def test_a_book_of_the_smoke_profile_says_that_its_numbers_mean_nothing(workspace):
    book.gather(workspace, Path("results/smoke"))
    assert "Its numbers mean nothing." in Path("book/generated/profile.md").read_text()
