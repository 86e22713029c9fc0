"""The committed notebooks keep to one form, and the runner makes byte-stable copies."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import nbformat
import pytest

from latentsr.companion.pipeline import notebook, stage

ROOT = Path(__file__).parents[1]
ALL = sorted(
    p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
)
CHAPTERS = [ROOT / "notebooks" / f"{stem}.ipynb" for stem in notebook.STEMS]
LESSONS = [ROOT / "notebooks" / f"{stem}.ipynb" for stem in notebook.LESSONS]


def cells(path, kind=None):
    found = json.loads(path.read_text())["cells"]
    return [cell for cell in found if kind in (None, cell["cell_type"])]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def runs_without_prose(path):
    """How many code cells follow one another without prose; a check belongs to what it grades."""
    kinds = ("code" if c["cell_type"] == "code" else "text" for c in cells(path)[3:])
    graded = ["check" in tags(c) for c in cells(path)[3:]]
    kept = [kind for kind, is_check in zip(kinds, graded, strict=True) if not is_check]
    return [len(list(group)) for kind, group in groupby(kept) if kind == "code"]


def name(path):
    return str(path.relative_to(ROOT / "notebooks").with_suffix(""))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_form_of_a_notebook(path):
    content = json.loads(path.read_text())
    nbformat.validate(nbformat.from_dict(content))
    assert path.stat().st_size < 500_000
    assert set(content["metadata"]) == {"kernelspec"}
    assert len({cell["id"] for cell in cells(path)}) == len(cells(path))
    code = cells(path, "code")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    lengths = [len(cell["source"]) for cell in code]
    assert max(lengths) <= 35, f"a cell of {max(lengths)} lines: a cell does one job"
    assert sum(lengths) <= 400
    first, second, third = cells(path)[:3]
    assert source(first).startswith("# ")
    assert "**You will**" in source(second) and "**You need**" in source(second)
    assert "parameters" in third["metadata"]["tags"]
    for line in third["source"]:
        assert "#" in line, line


@pytest.mark.parametrize("path", ALL, ids=name)
def test_links_lead_somewhere_in_a_clone(path):
    """JupyterLab says nothing when a link leads nowhere; the book's own links are rewritten."""
    for cell in cells(path, "markdown"):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", source(cell)):
            assert link.startswith("https://") or (path.parent / link).is_file(), link


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_asks_first_and_ends_alike(path):
    prose = cells(path, "markdown")
    asked = [cell for cell in prose if "*Before you look: " in source(cell)]
    assert 1 <= len(asked) <= 3
    is_graded = path.stem in notebook.EXERCISES
    assert (f"(exercises/{path.name})" in source(cells(path)[1])) == is_graded
    headings = [
        line for cell in prose for line in source(cell).splitlines() if line.startswith("##")
    ]
    assert headings[-3:] == ["## What we found", "## Exercises", "## Next"]


@pytest.mark.parametrize("path", [*CHAPTERS, *LESSONS], ids=lambda path: path.stem)
def test_a_chapter_narrates(path):
    """What a call is given stands in the call: no class, no long function, no packed arguments."""
    for cell in cells(path, "code"):
        for node in ast.walk(ast.parse(source(cell))):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 25
            if isinstance(node, ast.Call):
                packed = [a for a in node.args if isinstance(a, ast.Starred)]
                assert not any(isinstance(star.value, ast.Name) for star in packed), source(cell)


@pytest.mark.parametrize("path", [*CHAPTERS, *LESSONS], ids=lambda path: path.stem)
def test_prose_comes_between_code(path):
    assert max(runs_without_prose(path)) <= 3


@pytest.mark.parametrize("path", [*CHAPTERS, *LESSONS], ids=name)
def test_a_notebook_opens_with_its_time_and_its_versions(path):
    title, *rest = cells(path)
    assert len(source(title).split()) > 30, "what it is about, not its name alone"
    assert re.search(r"seconds|minute", source(title) + source(rest[0]))
    opening = next(i for i, cell in enumerate(rest) if "parameters" in tags(cell)) + 1
    imports = source(rest[opening])
    assert imports.startswith(("import ", "from ")) and "__version__" in imports.splitlines()[-1]
    for cell in rest[opening + 1 :]:  # what a late part alone needs stands at the head of its cell
        if cell["cell_type"] == "code":
            kinds = [
                isinstance(node, (ast.Import, ast.ImportFrom))
                for node in ast.parse(source(cell)).body
            ]
            assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize("path", CHAPTERS[:-1], ids=lambda path: path.stem)
def test_a_chapters_exercises_link_those_that_grade_themselves(path):
    prose = "\n".join(map(source, cells(path, "markdown")))
    closing = re.search(r"^## Exercises$(.*)^## Next$", prose, re.DOTALL | re.MULTILINE)
    assert f"](exercises/{path.name})" in closing[1]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_asks_before_it_shows(path):
    assert " minutes" in source(cells(path)[1])
    asked, drawn = False, 0
    for cell in cells(path):
        asked |= bool(re.search(r"\*\*Before you run the next cells?:\*\*", source(cell)))
        if re.search(r"\b(figures|style|plots)\.save\(", source(cell)):
            assert asked, source(cell)
            asked, drawn = False, drawn + 1
    assert drawn >= 2
    code = "\n".join(source(cell) for cell in cells(path, "code"))
    assert "np.testing.assert_" in code  # something by hand against the package
    assert len(re.findall(r"\b(?:exercises|teaching)\.(?:check|choice|function)\(", code)) == 3


def test_every_lesson_is_listed():
    assert sorted((ROOT / "notebooks" / "background").glob("*.ipynb")) == LESSONS


def test_grid_and_labels():
    class Settings:
        arms = ["u", "v"]

    runs = list(notebook.grid("03_train_arm", {"autoencoders": Settings}, ["knee", "brain"]))
    assert [notebook.label("03_train_arm", run) for run in runs] == [
        "03_train_arm_knee_u",
        "03_train_arm_knee_v",
        "03_train_arm_brain_u",
        "03_train_arm_brain_v",
    ]
    assert list(notebook.grid("04_vae_swap", {}, ["knee"])) == [{}]


@pytest.fixture
def miniature(tmp_path, monkeypatch):
    """A repository with the notebook 09 of two cells, and the parameters of the smoke profile."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "dvc.yaml").touch()
    text = (ROOT / "profiles/smoke.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    shutil.copy(ROOT / "sets.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_notebook(folder, code, parameters='inputs = "x"\noutputs = "x"\nconfidence = 0.5'):
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    made.cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    nbformat.write(made, folder / "notebooks" / "09_screening.ipynb")


def execute(*options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "latentsr.companion.pipeline.stage", "09_screening", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_two_runs_give_the_same_bytes(miniature):
    write_notebook(
        miniature, "import sys\nprint(confidence, inputs)\nprint(id(1), file=sys.stderr)"
    )
    copies = []
    for _ in range(2):
        assert (done := execute()).returncode == 0, done.stderr
        copies.append((miniature / "results/smoke/notebooks/09_screening.ipynb").read_bytes())
    assert copies[0] == copies[1]
    assert b"0.95 results/smoke" in copies[0]  # the parameters of params.yaml, not the cell's


def test_a_failing_notebook_is_one_line_and_keeps_its_copy(miniature):
    write_notebook(miniature, "raise ValueError('set knee: too small')")
    done = execute()
    assert done.returncode == 1
    assert "09_screening: set knee: too small" in done.stderr
    assert "Traceback" not in done.stderr
    assert (miniature / ".scratch/failed/09_screening.ipynb").exists()
    assert not (miniature / "results/smoke/notebooks/09_screening.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('inputs = "x"\noutputs = "x"', "parameter 'confidence' is not in its parameters cell"),
        ('inputs="x"\noutputs="x"\nconfidence=1.0\nmore=2', "no value for parameter more"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused(miniature, cell, message):
    write_notebook(miniature, "pass", cell)
    with pytest.raises(ValueError, match=message):
        stage.execute("09_screening", {})


def test_a_grid_point_that_is_not_in_the_study_is_one_line(miniature):
    write_notebook(miniature, "pass")
    done = execute("--dataset", "liver")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "09_screening: {'dataset': 'liver'}; allowed are no options" in done.stderr
    assert (miniature / stage.REASON).read_text() == done.stderr


def test_a_run_is_read_by_hand_with_the_parameters_that_made_it(miniature, monkeypatch):
    monkeypatch.delenv(notebook.IN_STAGE, raising=False)
    (miniature / "dvc.yaml").touch()
    shutil.copytree(ROOT / "profiles", miniature / "profiles")
    mine = (miniature / "params.yaml").read_text().replace("profile: smoke", "profile: mine")
    (miniature / "params.yaml").write_text(mine.replace("confidence: 0.95", "confidence: 0.5"))
    for name, confidence in (("mine", 0.5), ("mini", 0.95)):
        (miniature / "results" / name).mkdir(parents=True)
        cell = {"inputs": f"results/{name}", "outputs": ".scratch/smoke", "confidence": 0.95}
        read, write = notebook.start("09_screening", cell)
        assert (str(read), str(write)) == (f"results/{name}", f".scratch/{name}")
        assert cell["confidence"] == confidence
        cell["confidence"] = 0.8  # changed by hand: kept, and said
        notebook.start("09_screening", cell)
        assert cell["confidence"] == 0.8
    (miniature / "results" / "gone").mkdir()
    with pytest.raises(ValueError, match="results/gone has a profile that is neither"):
        notebook.start("09_screening", {"inputs": "results/gone", "outputs": ".scratch/smoke"})
    with pytest.raises(ValueError, match="chapter 1 reads images, not results"):
        notebook.start("01_data", {"inputs": "results/mini", "outputs": ".scratch/smoke"})


def test_exercises_open_a_run_or_make_the_chapters_own_results(miniature, monkeypatch):
    made = []
    monkeypatch.setattr(notebook, "_make_smoke", lambda *given: made.append(given))
    (miniature / "results" / "mini" / "data").mkdir(parents=True)
    assert notebook.results("09_screening", "results/mini") == Path("results/mini")
    assert made == []
    assert notebook.results("09_screening", ".scratch/smoke") == Path(".scratch/smoke")
    assert made == [("09_screening", "--itself")]
    with pytest.raises(ValueError, match="results/big is not there; run `make repro PROFILE=big`"):
        notebook.results("09_screening", "results/big")


def test_a_progress_bar_leaves_nothing_behind():
    """Its id is another one at every run."""
    bar = nbformat.v4.new_output("display_data", {stage.WIDGET: {"model_id": "1a"}})
    said = nbformat.v4.new_output("stream", name="stdout", text="done")
    cell = nbformat.v4.new_code_cell("run()", outputs=[bar, said])
    made = stage.byte_stable(nbformat.v4.new_notebook(cells=[cell]))
    assert made.cells[0].outputs == [said]
