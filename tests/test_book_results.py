"""What the book shows of a run: its figures with their counts, its tables."""

import json
import re
from pathlib import Path

import pytest
from made_book import COUNTS, IDS

from latentsr.companion.book import build as book
from latentsr.companion.book import pages, provenance


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
    offered = [line for line in page.splitlines() if " rows, " in line]
    assert offered and all("share subjects in knee" in line for line in offered)


def test_figures_stand_in_the_order_of_the_sets(workspace, tmp_path):
    folder = Path("results/smoke/autoencoders/x/figures/02")
    folder.mkdir(parents=True)
    for name in ("02_cards_chest", "02_cards_knee", "02_reconstructions_knee"):
        for suffix in (".svg", ".png", ".csv", ".txt"):
            (folder / f"{name}{suffix}").write_text(name)
    sets = {name: {**IDS, **COUNTS} for name in ("knee", "brain", "chest")}
    page = pages.results_page([Path("results/smoke"), folder.parents[1]], tmp_path, sets)
    order = re.findall(r"{figure} (02_\S+)\.svg", page)
    assert order == ["02_cards_knee", "02_cards_chest", "02_reconstructions_knee"]


@pytest.mark.parametrize(
    ("records", "caption"),
    [
        (
            [
                {"dataset": "knee", "n_subjects": 5, "n_images": 8},
                {"dataset": "mine", "n_images": 9},
            ],
            "Test images: knee phantoms: 5 exams, 8 images; mine phantoms: 9 images, subjects "
            "shared with training.",
        ),
        (
            [{"dataset": "knee", "split": "train", "n_subjects": 5, "n_images": 8}],
            "Train images: knee phantoms: 5 exams, 8 images.",
        ),
        ([], ""),
    ],
)
def test_a_caption_counts_the_subjects_and_images_that_the_figure_has(records, caption, tmp_path):
    sets = {"knee": {**IDS, **COUNTS}, "mine": {**IDS, **COUNTS, "split_by": "image"}}
    (tmp_path / "04_arms.json").write_text(json.dumps(records))
    assert pages.caption(tmp_path / "04_arms.svg", sets) == caption
    assert pages.caption(tmp_path / "no_record.svg", sets) == ""


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
    text = json.dumps({"cells": cells})
    captions = {"Arms.": "Test images: 7.", "A walk.": "Test images: one of 7."}
    made = json.loads(book.titled(text, "", "04_vae_swap", captions))
    assert made["cells"][2]["source"].endswith(" · Test images: 7.")
    assert made["cells"][4]["source"].endswith(" · Test images: one of 7.")


def test_a_caption_follows_its_figure_and_not_a_table_of_the_same_cell():
    picture = {"output_type": "display_data", "data": {"image/png": "", "text/plain": ["x"]}}
    table = {"output_type": "execute_result", "data": {"text/html": ["<table>"]}}
    cell = {"cell_type": "code", "metadata": {}, "source": ["1"], "outputs": [picture, table]}
    head = {"cell_type": "markdown", "metadata": {}, "source": ["# 4 Swap"]}
    made = json.loads(book.titled(json.dumps({"cells": [head, cell]}), "", "04_vae_swap"))
    outputs, caption = made["cells"][1]["outputs"], "".join(made["cells"][2]["source"])
    assert ["image/png" in output["data"] for output in outputs] == [False, True]
    assert caption.startswith("[How this figure is made]")


def test_every_figure_and_table_is_listed_with_its_command_and_linked(workspace):
    book.gather(workspace, Path("results/smoke"))
    page = Path("book/generated/provenance.md").read_text()
    listed = {
        Path(name).name for name in re.findall(r"^- (?:{download})?`([^` ]+)[` ]", page, re.M)
    }
    made = [p for p in Path("results/smoke").rglob("*") if p.suffix in (".svg", ".csv", ".json")]
    wanted = {p.name for p in made if {"figures", "tables", "metrics"} & set(p.parts)}
    wanted -= {p.name for p in made if "figures" in p.parts and p.suffix == ".json"}
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
