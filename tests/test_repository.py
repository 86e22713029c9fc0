"""The papers of the repository agree with each other."""

import contextlib
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from latentsr.datasets import pixels

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
TITLES = (
    "Domain-Specific Latent Representations Improve the Fidelity of Diffusion-Based Medical Image "
    "Super-Resolution",
    "Latent Geometry Shapes Fidelity in Diffusion-Based Medical Image Super-Resolution",
)


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def pins() -> dict[str, str]:
    lines = (line.strip() for line in text_of("constraints.txt").splitlines())
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_constraints_pin_every_dependency_within_its_range():
    pinned = pins()
    sets = PROJECT["optional-dependencies"]  # "others" pulls torchvision: never beside the pins
    extras = [line for name, lines in sets.items() if name != "others" for line in lines]
    for line in PROJECT["dependencies"] + extras:
        wanted = Requirement(line)
        version = pinned[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{line}, but constraints.txt has {version}"


def test_constraints_name_no_local_build_and_nothing_of_torchvision():
    pinned = pins()
    assert pinned["torch"] == "2.13.0" and "torch==2.13.0" in PROJECT["dependencies"]
    assert not [name for name, version in pinned.items() if "+" in version]
    assert not {"torchvision", "lpips", "latentsr"} & set(pinned)


def needed(lines: list[str]) -> set[str]:
    """Everything that these requirements pull in here, in the end."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in lines]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        for chosen in ("", *wanted.extras):
            if (place := (canonicalize_name(wanted.name), chosen)) not in found:
                found.add(place)
                with contextlib.suppress(metadata.PackageNotFoundError):
                    below = metadata.requires(wanted.name) or []
                    waiting += [(Requirement(line), chosen) for line in below]
    return {name for name, _ in found}


def test_the_core_is_small_and_no_dependency_pulls_in_torchvision():
    core = needed(PROJECT["dependencies"])
    assert "sympy" in core and len(core) <= 80  # dependencies of dependencies are seen
    study = core | needed(PROJECT["optional-dependencies"]["study"])
    assert {"dvc", "jupyter-book", "sphinx"} <= study - core
    assert "torchvision" not in study
    assert study - set(pins()) <= {"setuptools", "wheel"}  # the tools of pip itself


def test_conda_takes_python_from_conda_and_all_else_from_pip():
    entries = yaml.safe_load(text_of("environment.yml"))["dependencies"]
    assert entries[-1] == {"pip": ["-c constraints.txt", "-e .[study,dev]"]}
    python = next(entry for entry in entries if str(entry).startswith("python="))
    assert Requirement(f"x{PROJECT['requires-python']}").specifier.contains(python.split("=")[1])
    assert sorted(str(entry).split("=")[0] for entry in entries[:-1]) == ["pip", "python"]


def test_binder_builds_the_same_environment_without_cuda():
    """Binder takes a folder of this name before the file above; pip runs in it, so paths go up."""
    ours, theirs = (
        yaml.safe_load(text_of(f"{folder}environment.yml"))["dependencies"]
        for folder in ("", "binder/")
    )
    assert ours[:-1] == theirs[:-1]
    cpu = re.search(r"--extra-index-url \S+", text_of("Makefile"))[0].rstrip(",)")
    assert theirs[-1] == {"pip": [cpu, "-c ../constraints.txt", "-e ..[study]"]}


def test_the_makefile_installs_what_conda_installs():
    assert "-c constraints.txt -e '.[study,dev]'" in text_of("Makefile")


def test_the_citation_has_both_titles_of_the_paper():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert tuple(entry["title"] for entry in citation["references"]) == TITLES
    assert all("2604.12152" in entry["url"] for entry in citation["references"])
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    for name in ("README.md", "book/references.bib"):
        assert all(title in text_of(name) for title in TITLES), name


def test_the_notices_name_every_photograph_and_every_bundled_script():
    notices = text_of("THIRD_PARTY_NOTICES")
    for name in (*pixels.PHOTOGRAPHS, "china.jpg", "flower.jpg"):
        assert re.search(rf"^  {re.escape(name)} +\S", notices, re.M), name
    assert notices.count("https://creativecommons.org/licenses/by/2.0/") == 1
    for script in (REPOSITORY / "book" / "static").glob("*/**/*.js"):  # ours lies outside a folder
        assert script.name in notices


def test_the_licence_is_the_whole_apache_text():
    licence = text_of("LICENSE")
    assert "Version 2.0, January 2004" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert len(licence.splitlines()) > 195


def test_hooks_use_installed_tools_only():
    for repo in yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]:
        assert repo["repo"] == "local"
        for hook in repo["hooks"]:
            assert hook["language"] == "system"
            assert (Path(sys.executable).parent / hook["entry"].split()[0]).exists()


def test_the_notebook_hook_takes_outputs_and_leaves_all_else(tmp_path):
    hook = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"][0]["hooks"][0]
    tool, *options = hook["entry"].split()
    command = [str(Path(sys.executable).with_name(tool)), *options]
    committed = sorted((REPOSITORY / "notebooks").rglob("*.ipynb"))
    done = subprocess.run([*command, "--verify", *committed], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    run = json.loads(committed[0].read_text())
    cell = next(cell for cell in run["cells"] if cell["cell_type"] == "code")
    cell |= {"execution_count": 3, "outputs": [{"output_type": "stream", "name": "stdout"}]}
    cell["outputs"][0]["text"] = ["a number"]
    run["metadata"]["language_info"] = {"name": "python"}
    (marked := tmp_path / "run.ipynb").write_text(json.dumps(run))
    subprocess.run([*command, marked], check=True)
    assert json.loads(marked.read_text()) == json.loads(committed[0].read_text())


def test_the_workflow_pins_its_actions_and_calls_targets_that_exist():
    flow = yaml.safe_load(text_of(".github/workflows/book.yml"))
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used and all(re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", name) for name in used)
    called = {target for step in steps for target in re.findall(r"make (\S+)", step.get("run", ""))}
    assert called >= {"repro", "test-browser"}
    assert called <= set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.M))
    profiles = flow[True]["workflow_dispatch"]["inputs"]["profile"]["options"]  # "on" is true
    assert all((REPOSITORY / "profiles" / f"{name}.yaml").exists() for name in profiles)
