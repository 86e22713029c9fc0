"""dvc.yaml: every stage lists what it reads."""

import ast
import json
from pathlib import Path

import pytest
import yaml

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
CHAPTERS = {s: d for s, d in STAGES.items() if "latentsr.notebook" in d["cmd"]}


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
    cells = json.loads(notebook_of(stage).read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    listed = {dep for dep in stage["deps"] if dep.startswith("latentsr")}
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
