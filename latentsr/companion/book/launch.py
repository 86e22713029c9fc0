"""Buttons that open a chapter's own notebook on a public service; none without an address."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import yaml

GITHUB = "https://github.com/"
TRAINING = {"03_train_arm", "07_ablations", "11_lesions"}  # these want a GPU for larger profiles


def links(address: str, branch: str, notebook: str) -> str:
    """Write the buttons of one notebook, a path below the repository such as notebooks/x.ipynb.

    Raises
    ------
    ValueError
        When the address is not that of a repository on GitHub: Colab opens no other.

    Examples
    --------
    >>> print(links("https://github.com/me/latentsr", "main", "notebooks/01_data.ipynb"))
    ```{button-link} https://mybinder.org/v2/gh/me/latentsr/main?urlpath=lab/tree/notebooks/01_data.ipynb
    :color: primary
    :outline:
    Open in Binder
    ```
    """  # noqa: E501
    place = address.removeprefix(GITHUB).removesuffix(".git").strip("/")
    if not address.startswith(GITHUB) or place.count("/") != 1:
        raise ValueError(
            f"book/_config.yml: repository.url is {address!r}; allowed is {GITHUB}ORG/NAME, or "
            'leave it empty ("") for no launch buttons'
        )
    if PurePosixPath(notebook).stem in TRAINING:
        name, link = "Colab", f"https://colab.research.google.com/github/{place}/blob/{branch}/"
        link += notebook
        folder = place.partition("/")[2]
        note = (
            "\n\nIn Colab choose a GPU, then run this in a cell of its own first. (Colab's torchvision "
            "does not fit this version of torch, and is not needed.) Where Colab asks for a restart, "
            f"run the last line again after it.\n\n```text\n!git clone --branch {branch} {GITHUB}"
            f"{place}\n!pip install -q -e './{folder}[study]' && pip uninstall -q -y torchvision\n"
            f"%cd /content/{folder}\n```"
        )
    else:
        name, link = "Binder", f"https://mybinder.org/v2/gh/{place}/{branch}?urlpath=lab/tree/"
        link += notebook
        note = ""
    return f"```{{button-link}} {link}\n:color: primary\n:outline:\nOpen in {name}\n```{note}"


def source_of(page: PurePosixPath, notebooks: Path) -> str | None:
    """Return the committed notebook behind a page: 02_autoencoders_brain is a run of chapter 2."""
    folder = notebooks / page.parent
    stems = [path.stem for path in folder.glob("*.ipynb") if page.stem.startswith(path.stem)]
    return (folder / f"{max(stems, key=len)}.ipynb").as_posix() if stems else None


def mark(pages: Path, notebooks: Path, config: Path) -> None:
    """Give every notebook of the book its button, if the configuration has an address."""
    repository = yaml.safe_load(config.read_text())["repository"]
    if not repository["url"]:
        return
    for page in sorted(pages.rglob("*.ipynb")):
        if not (source := source_of(PurePosixPath(page.relative_to(pages)), notebooks)):
            continue
        content = json.loads(page.read_text())
        buttons = links(repository["url"], repository["branch"], source)
        heading, _, rest = "".join(content["cells"][0]["source"]).partition("\n")
        content["cells"][0]["source"] = f"{heading}\n\n{buttons}\n{rest}"
        page.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
