"""The lessons run by hand in one process, and their exercises grade what a reader answers."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import svg_text

from latentsr.companion.pipeline import notebook
from latentsr.phantoms import prepared

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SOLUTIONS = ROOT / "notebooks" / "exercises" / "solutions"
COUNTED = re.compile(r"\d+ (\w+ )*(phantoms?|simulated|subjects|studies)|no image is behind")
WRONG = {  # by what an exercise leaves to fill in
    "because = ..., ...": 'because = "target", "a guess"',
    " = ...": " = 1e9",
    "...": "return 1e9",
}


def code_of(path: Path) -> list[tuple[str, list[str]]]:
    """The code cells of a notebook with their tags."""
    cells = json.loads(path.read_text())["cells"]
    code = (cell for cell in cells if cell["cell_type"] == "code")
    return [("".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in code]


def tagged(path: Path, tag: str) -> list[str]:
    return [text for text, tags in code_of(path) if tag in tags]


def wrongly(task: str) -> str:
    """Put a wrong answer where the dots of an exercise are."""
    stub = next(stub for stub in WRONG if stub in task)
    return task.replace(stub, WRONG[stub], 1)


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """Two lessons draw phantoms of one seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepared, "prepared_phantom", cache(prepared.prepared_phantom))
        yield


@pytest.mark.parametrize("stem", notebook.LESSONS)
def test_exercises_run_as_shipped_and_know_a_right_answer(stem, tmp_path, monkeypatch, capsys):
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    monkeypatch.chdir(path.parent)  # as JupyterLab opens it
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace = {"__name__": "__notebook__"}
    code = [text for text, _ in code_of(path)]

    def printed(*cells: str) -> str:
        for text in cells:
            exec(text, namespace)
        return capsys.readouterr().out

    printed(code[0])
    namespace["outputs"] = str(tmp_path)
    said = printed(*code[1:])
    assert all(f"{number}: not answered yet" in said for number in (1, 2, 3))
    sys.modules["matplotlib.pyplot"].close("all")
    drawn = list((tmp_path / "figures").rglob("*.svg"))
    assert len(drawn) >= 2
    for svg in drawn:
        words = [text for text, *_ in svg_text.texts(svg)[2]]
        assert any(map(COUNTED.search, words)), f"{svg.name} tells no n"
        assert svg_text.faults(svg) == [] and svg_text.smallest_px(svg)[0] >= 9

    tasks, checks = tagged(path, "answer"), tagged(path, "check")
    right = tagged(SOLUTIONS / path.name, "answer")
    for number, (task, answer, check) in enumerate(zip(tasks, right, checks, strict=True), 1):
        assert printed(answer, check) == f"{number}: right\n"
        assert printed(wrongly(task), check).startswith(f"{number}: not yet")


def test_a_solution_runs_its_lesson_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(SOLUTIONS)
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace = {"outputs": str(tmp_path)}
    for text, tags in code_of(SOLUTIONS / "L4_wavelets.ipynb"):
        if "parameters" not in tags:
            exec(text, namespace)
    said = capsys.readouterr().out
    assert "not answered" not in said and said.endswith("1: right\n2: right\n3: right\n")
