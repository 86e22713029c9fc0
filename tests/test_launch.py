"""Launch buttons: none without an address, and with one the right notebook."""

import json
from pathlib import Path, PurePosixPath

import pytest
import yaml

from latentsr.companion.book import launch

ADDRESS = "https://github.com/someone/latentsr"
CHAPTER = {"cells": [{"cell_type": "markdown", "source": ["# 1 Data\n", "\n", "Text."]}]}


@pytest.fixture
def pages(tmp_path):
    """Write pages of the book: two chapters, a run of one, and one without a notebook here."""
    for name in ("01_data", "02_autoencoders_brain", "03_train_arm", "of_elsewhere"):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(CHAPTER))
    return tmp_path


def config(folder: Path, address: str) -> Path:
    path = folder / "_config.yml"
    path.write_text(yaml.safe_dump({"repository": {"url": address, "branch": "main"}}))
    return path


def texts(folder: Path) -> dict[str, str]:
    files = folder.glob("*.ipynb")
    return {p.stem: "".join(json.loads(p.read_text())["cells"][0]["source"]) for p in files}


def test_as_shipped_there_is_no_button(pages):
    before = {path: path.read_bytes() for path in pages.glob("*.ipynb")}
    launch.mark(pages, Path("notebooks"), Path("book/_config.yml"))
    assert before == {path: path.read_bytes() for path in pages.glob("*.ipynb")}


def test_with_an_address_every_chapter_opens_its_own_notebook(pages):
    launch.mark(pages, Path("notebooks"), config(pages, ADDRESS))
    found = texts(pages)
    binder = "https://mybinder.org/v2/gh/someone/latentsr/main?urlpath=lab/tree/notebooks/"
    assert f"{binder}01_data.ipynb\n" in found["01_data"]
    assert f"{binder}02_autoencoders.ipynb\n" in found["02_autoencoders_brain"]
    colab = "https://colab.research.google.com/github/someone/latentsr/blob/main/notebooks/"
    assert f"{colab}03_train_arm.ipynb\n" in found["03_train_arm"]
    first = (
        f"!git clone --branch main {ADDRESS}\n"
        "!pip install -q -e './latentsr[study]' && pip uninstall -q -y torchvision\n%cd /content/latentsr\n"
    )
    assert f"```text\n{first}```" in found["03_train_arm"] and "!git" not in found["01_data"]
    assert found["01_data"].startswith("# 1 Data\n\n```{button-link}")
    assert found["01_data"].endswith("Text.")
    assert found["of_elsewhere"] == "# 1 Data\n\nText."


def test_every_notebook_named_by_a_button_is_committed():
    for path in Path("notebooks").rglob("*.ipynb"):
        page = PurePosixPath(path.relative_to("notebooks"))
        assert launch.source_of(page, Path("notebooks")) == path.as_posix()


@pytest.mark.parametrize("address", ["https://gitlab.com/a/b", "github.com/a/b", ADDRESS + "/tree"])
def test_another_address_is_one_line(address):
    with pytest.raises(ValueError, match=r"repository.url is .*; allowed is https://github.com/"):
        launch.links(address, "main", "notebooks/01_data.ipynb")
