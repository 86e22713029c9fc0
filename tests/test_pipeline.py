"""dvc.yaml: every stage lists what it reads."""

import ast
import json
from pathlib import Path

import grimp
import pytest
import yaml

from latentsr.companion.pipeline import notebook

RAW = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
STAGES = {name: stage.get("do", stage) for name, stage in RAW.items()}
CHAPTERS = {s: d for s, d in STAGES.items() if ".pipeline.stage " in d["cmd"] and s != "phantoms"}
LESSONS = CHAPTERS.pop("background")
RUNNER = ("params", "data", "scratch")  # behind notebook.start: no number depends on them


@pytest.fixture(scope="module")
def imports():
    graph = grimp.build_graph("latentsr", cache_dir=None)
    for name in RUNNER:
        graph.remove_module(f"latentsr.companion.pipeline.{name}")
    return graph


def notebook_of(stage):
    return Path("notebooks") / f"{stage['cmd'].split()[3]}.ipynb"


def modules_of(path):
    """The modules of the package that the cells of a notebook import."""
    cells = json.loads(path.read_text())["cells"]
    names = set()
    for code in ("".join(c["source"]) for c in cells if c["cell_type"] == "code"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def check_modules(stage, paths, graph):
    """Each module that the notebooks reach lies in a listed file or folder, and none is idle."""
    direct = set.union(*map(modules_of, paths)) & graph.modules
    reached = direct.union(*map(graph.find_upstream_modules, direct))
    files = {name.replace(".", "/") for name in reached - {"latentsr", "latentsr.companion"}}
    files |= {f"{name}/__init__" for name in files if Path(name).is_dir()}
    listed = [dep.removesuffix(".py") for dep in stage["deps"] if dep.startswith("latentsr/")]
    modules = {name for name in files if Path(f"{name}.py").is_file() and "__init__" not in name}
    covered = {m for m in modules if any(f"{m}/".startswith(f"{dep}/") for dep in listed)}
    assert modules == covered
    code = [dep for dep in listed if dep != "latentsr/weights"]
    idle = [dep for dep in code if not any(f"{name}/".startswith(f"{dep}/") for name in files)]
    assert idle == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_lists_what_it_reads_and_writes(name, imports):
    stage, path = CHAPTERS[name], notebook_of(CHAPTERS[name])
    assert str(path) in stage["deps"]
    check_modules(stage, [path], imports)
    assert notebook.block_name(path.stem) in stage["params"]
    assert {"profile", "threads"} <= {p for p in stage["params"] if isinstance(p, str)}
    page = f"results/${{profile}}/notebooks/{path.stem}"
    assert any(str(out).startswith(page) for out in stage["outs"])


def test_the_lessons_are_the_runs_of_one_stage(imports):
    stem = LESSONS["cmd"].split()[3]
    runs = [
        stem.replace("${key}", str(key)).replace("${item}", item)
        for key, item in RAW["background"]["foreach"].items()
    ]
    assert runs == notebook.LESSONS
    assert f"notebooks/{stem}.ipynb" in LESSONS["deps"]
    assert f"results/${{profile}}/notebooks/{stem}.ipynb" in LESSONS["outs"]
    assert not [dep for dep in LESSONS["deps"] if dep.startswith("results")]
    check_modules(LESSONS, [Path("notebooks") / f"{one}.ipynb" for one in runs], imports)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_keeps_a_cached_out_and_reads_no_executed_notebook(name):
    stage = STAGES[name]
    cached = [out for out in stage["outs"] if isinstance(out, str) or "cache" not in str(out)]
    assert cached, "it would be skipped on a fresh clone"
    assert name == "book" or not any("/notebooks" in d and "results" in d for d in stage["deps"])
