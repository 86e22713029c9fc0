"""Images of a user's sets stay out of pages, unless `allow_images` says otherwise."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_layouts import png

from latentsr import plots
from latentsr.companion.pipeline import data, notebook, scratch

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
DRAWS = re.compile(r"plots\.(?:images|error_images)\(|imshow\(")


@pytest.fixture
def study(smoke_study, rng):
    for i in range(8):
        png(smoke_study / f"own/{i}.png", rng.integers(0, 256, (64, 64), dtype=np.uint8))
    (smoke_study / "own/secret.png").write_text("x")  # left out
    return smoke_study


@pytest.mark.parametrize("allow", [False, True])
def test_chapter_1_shows_only_what_may_be_shown(study, capsys, allow):
    settings = ["hand.on_error=skip", *["hand.allow_images=true"] * allow]
    data.use([f"hand={study}/own"], [], study, settings)
    shutil.copytree("assets/own", "data")  # what `dvc repro` would import
    places = {"inputs": "data", "outputs": "results/smoke"}
    scratch.run_cells("01_data", notebook.arguments_of("01_data", Path("params.yaml"), places))
    out = capsys.readouterr().out
    assert (plots.NOT_SHOWN in out) is not allow
    assert Path("results/smoke/figures/01/01_examples.png").is_file() is allow
    assert "hand: 1 images left out" in out and ("secret.png" in out) is allow
    facts = json.loads(Path("results/smoke/data/sets.json").read_text())["hand"]
    assert facts["may_be_shown"] is allow and facts["n_left_out"] == 1


def test_every_cell_that_draws_images_asks_first():
    found = 0
    for path in NOTEBOOKS:
        cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
        for before, source in zip(["", *sources], sources, strict=False):
            if DRAWS.search(source):
                found += 1
                assert "may_be_shown" in before + source, (path.name, source)
                assert "NOT_SHOWN" in source, (path.name, source)
    assert found >= 4
