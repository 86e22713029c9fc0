"""dvc.yaml: every stage lists what it reads."""

import ast
import json
from pathlib import Path

import pytest
import yaml

from latentsr.companion.pipeline import notebook

RAW = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in RAW.items()}
CHAPTERS = {s: d for s, d in STAGES.items() if "latentsr.companion.pipeline.stage" in d["cmd"]}
LESSONS = CHAPTERS.pop("background")


def module(name):
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def imported(text):
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names if name.startswith("latentsr") and (path := module(name))}


def reached(text):
    todo, seen = imported(text), set()
    while todo:
        seen.add(path := todo.pop())
        todo |= imported(path.read_text()) - seen
    return seen


def notebook_of(stage):
    stem = stage["cmd"].split()[3]
    return Path("notebooks") / f"{stem}.ipynb"


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_lists_every_module_it_reaches(name):
    stage = CHAPTERS[name]
    assert str(notebook_of(stage)) in stage["deps"]
    check_modules(stage, code_of(notebook_of(stage)))


def test_the_lessons_are_the_runs_of_one_stage():
    stem = LESSONS["cmd"].split()[3]
    runs = [
        stem.replace("${key}", str(key)).replace("${item}", item)
        for key, item in RAW["background"]["foreach"].items()
    ]
    assert runs == notebook.LESSONS
    assert f"notebooks/{stem}.ipynb" in LESSONS["deps"]
    assert f"results/${{profile}}/notebooks/{stem}.ipynb" in LESSONS["outs"]
    assert not [dep for dep in LESSONS["deps"] if dep.startswith("results")]
    check_modules(LESSONS, "\n".join(code_of(Path("notebooks") / f"{one}.ipynb") for one in runs))


def code_of(path):
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def check_modules(stage, code):
    listed = {dep for dep in stage["deps"] if dep.startswith("latentsr")}
    code += "\nimport latentsr.companion.pipeline.stage"  # which runs it
    needed = {str(path) for path in reached(code)} - {"latentsr/__init__.py"}
    covered = {
        path for path in needed if any(path == d or path.startswith(d + "/") for d in listed)
    }
    assert needed == covered
    useless = {d for d in listed if d.endswith(".py") and d not in needed}
    assert not useless


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_lists_its_block_and_writes_its_page(name):
    stage = CHAPTERS[name]
    stem = notebook_of(stage).stem
    assert stem.split("_", 1)[1] in stage["params"]
    assert {"profile", "threads"} <= {p for p in stage["params"] if isinstance(p, str)}
    assert any(
        str(out).startswith(f"results/${{profile}}/notebooks/{stem}") for out in stage["outs"]
    )


def test_no_computing_stage_reads_an_executed_notebook():
    for name, stage in STAGES.items():
        if name != "book":
            assert not any("/notebooks" in dep and "results" in dep for dep in stage["deps"])


def test_every_stage_keeps_a_cached_out():
    for name, stage in STAGES.items():
        cached = [out for out in stage["outs"] if isinstance(out, str) or "cache" not in str(out)]
        assert cached, f"{name} would be skipped on a fresh clone"
