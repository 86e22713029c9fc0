"""`make repro`: put a profile in place, run the stages that are out of date, record the run."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path

from latentsr.autoencoders import fetch
from latentsr.autoencoders.load import read_model
from latentsr.companion.pipeline import data, params
from latentsr.companion.pipeline.stage import REASON
from latentsr.datasets import read_sets

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
EXPECTED = {  # on 2 cores, as the stage times that a run prints add up
    "smoke": "2 to 4 minutes and 0.2 GB",
    "mini": "24 to 60 minutes and 1.1 GB",
    "paper": "an unknown time on a GPU: it was never run as a whole",
}
ADVICE = re.compile(
    r"\s*$|To (track the changes|enable auto)|\t(git add|dvc config)|Use `dvc push`"
)
PLACEHOLDER = '<p class="run-record"></p>'  # where a page shows the record


def profiles() -> list[str]:
    """Return the names of the profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def use_profile(name: str) -> bool:
    """Put a profile in place as params.yaml; return whether anything changed.

    Raises
    ------
    ValueError
        For an unknown name, and when params.yaml equals no profile: edits would be lost.
    """
    if name not in profiles():
        raise ValueError(f"PROFILE: {name!r}; allowed are {', '.join(profiles())}")
    now, texts = PARAMS.read_text(), {p: (PROFILES / f"{p}.yaml").read_text() for p in profiles()}
    if now not in texts.values():
        raise ValueError(
            f"params.yaml: it equals no profile, so PROFILE={name} would overwrite your edits; "
            f"keep them with `mv params.yaml mine.yaml && cp profiles/{name}.yaml params.yaml`, "
            "or leave PROFILE out to run them"
        )
    if now != texts[name]:
        shutil.copyfile(PROFILES / f"{name}.yaml", PARAMS)
    return now != texts[name]


def missing_for_paper() -> list[str]:
    """Say, one line a thing, what the paper profile still needs here."""
    import torch

    lines = []
    source, sets = read_sets(Path("sets.yaml"))
    for name, adapter in {"knee": "mrnet", "brain": "brats", "chest": "mimic_cxr"}.items():
        if source != "own" or name not in sets or sets[name].adapter != adapter:
            command = f"`latentsr data use {name}=DIR`"
            lines.append(f"{name}: real images in the layout {adapter}; {command}")
    chosen = params.read(PROFILES / "paper.yaml")["autoencoders"].vaes
    lines += filter(None, map(fetch.missing, chosen))
    if not torch.cuda.is_available():
        lines.append("GPU: none found; the paper's sizes need one")
    return lines


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # DVC runs commands by name
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, env=_environment()).stdout


def stopped() -> str:
    """Say why the pipeline stopped, in the words of the stage that did."""
    why = REASON.read_text().strip() if REASON.exists() else "see above"
    return f"{why} (the pipeline stopped; what was computed is kept, and `make repro` goes on)"


def stage_graph() -> dict[str, set[str]]:
    """Return each stage of dvc.yaml and those whose files it reads, from DVC's own graph."""
    from dvc.repo import Repo

    with Repo() as repo:
        graph = repo.index.graph
        return {s.addressing: {other.addressing for other in graph.successors(s)} for s in graph}


def needed_for(target: str, graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the part of a graph that a stage needs: each stage after those it waits for.

    >>> needed_for("c", {"d": {"b"}, "c": {"b"}, "b": {"a"}, "a": set()})
    {'a': set(), 'b': {'a'}, 'c': {'b'}}
    """
    needed: dict[str, set[str]] = {}
    todo = sorted(name for name in graph if name.split("@")[0] == target)
    while todo:
        name = todo.pop()
        needed[name] = graph[name]
        todo += sorted(graph[name] - needed.keys())
    return {name: needed[name] for name in TopologicalSorter(needed).static_order()}


def _run_stage(name: str) -> float:
    started = time.monotonic()
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", name]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    lines = (line for line in done.stdout.splitlines(True) if not ADVICE.match(line))
    print("".join(lines), end="", flush=True)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        raise ValueError(stopped())
    return (time.monotonic() - started) / 60


def run_stages(graph: Mapping[str, set[str]], jobs: int) -> dict[str, float]:
    """Run what is out of date, ``jobs`` stages at once; return minutes divided by ``jobs``.

    `dvc repro` runs one stage after another, but a small network does not fill a machine: two
    single-threaded runs beside each other beat one with two threads. The results are the same,
    since every run has its own seeds and its number of threads is a parameter. Single stages
    start before the runs of a grid, later ones first: they take longest.
    """
    changed = json.loads(_output("dvc", "status", "--json") or "{}")
    stale: dict[str, set[str]] = {}
    for name, waits in graph.items():
        if name in changed or stale.keys() & waits:
            stale[name] = waits & stale.keys()
    order = list(stale)
    sorter = TopologicalSorter(stale)
    sorter.prepare()
    ready: list[str] = []
    running: dict[Future[float], str] = {}
    minutes: dict[str, float] = {}
    with ThreadPoolExecutor(jobs) as pool:
        while sorter.is_active():
            ready = sorted(
                [*ready, *sorter.get_ready()], key=lambda n: ("@" not in n, order.index(n))
            )
            while ready and len(running) < jobs:
                name = ready.pop()
                running[pool.submit(_run_stage, name)] = name
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                minutes[running[done]] = done.result() / jobs
                sorter.done(running.pop(done))
    return minutes


def grouped(minutes: Mapping[str, float]) -> dict[str, float]:
    """Add up the runs of one stage.

    >>> grouped({"train@knee-a": 1.5, "train@knee-b": 2.0, "data": 0.5})
    {'train': 3.5, 'data': 0.5}
    """
    total: dict[str, float] = {}
    for name, value in minutes.items():
        total[name.split("@")[0]] = total.get(name.split("@")[0], 0.0) + value
    return total


def run_all(threads: int) -> dict[str, float]:
    """Run all stages of the book, several at once where cores allow; return minutes by stage."""
    started = time.monotonic()
    REASON.unlink(missing_ok=True)
    jobs = max(1, min(8, (os.cpu_count() or 1) // threads))
    minutes = grouped(run_stages(needed_for("book", stage_graph()), jobs))
    for stage, value in minutes.items():
        print(f"  {stage}: {value:.1f} min")
    print(f"  in all: {(time.monotonic() - started) / 60:.1f} min")
    return minutes


def run(profile: str | None) -> tuple[str, dict[str, float]]:
    """Run the whole study; return its profile and the minutes of each stage."""
    name = profile or str(params.read(PARAMS)["profile"])
    if name == "paper" and (lines := missing_for_paper()):
        raise ValueError("\n".join(f"missing for PROFILE=paper: {line}" for line in lines))
    if profile and use_profile(profile):
        print(f"params.yaml is now profiles/{profile}.yaml (back: make repro PROFILE=mini)")
    settings = params.read(PARAMS)
    chosen = settings["autoencoders"].vaes
    if absent := list(filter(None, map(fetch.missing, chosen))):
        raise ValueError("\n".join(absent))
    notes = [fetch.note(vae, read_model) for vae in chosen]
    for line in [*filter(None, notes), *data.rescue()]:
        print(line)
    print(f"profile {name}: about {EXPECTED.get(name, 'an unknown time')}, less what is cached")
    if settings["ablations"].run == "all":
        print("ablations.run is all: chapter 12 takes hours more, and goes on where it was stopped")
    differs = "git", "diff", "--name-only", "HEAD", "--", "dvc.lock", "data.dvc"
    before = _output(*differs).split()
    minutes = run_all(settings["threads"])
    changed = [path for path in _output(*differs).split() if path not in before]
    if changed and read_sets(Path("sets.yaml"))[0] == "phantoms" and name == "mini":
        why = "another type of CPU rounds differently, or code has changed since the commit"
        print(f"{' and '.join(changed)}: not as committed; {why}")
    return name, minutes


def smoke(keep: Path | None = None) -> Path:
    """Run the pipeline with the smoke profile in a throw-away copy; return its results folder."""
    listing = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(listing, capture_output=True, text=True)
    if listed.returncode:
        raise ValueError(f"smoke: git cannot list this folder ({listed.stderr.strip()})")
    here = Path.cwd()
    copy = keep or Path(tempfile.mkdtemp(prefix="latentsr-smoke-"))
    for name in listed.stdout.splitlines():
        if (here / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here / name, copy / name)
    shutil.copyfile(copy / "profiles/smoke.yaml", copy / "params.yaml")
    (copy / "dvc.lock").unlink(missing_ok=True)
    for name, text in data.DEFAULTS.items():  # phantoms, whatever the study uses now
        (copy / name).write_text(text)
    (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = True\n")
    os.chdir(copy)
    try:
        run_all(params.read(PARAMS)["threads"])
    finally:
        os.chdir(here)
    return copy / "results" / "smoke"


def commit() -> str:
    """Name the commit, "-dirty" where a tracked file differs: of `dvc.lock` each run writes its own."""
    name = _output("git", "describe", "--always").strip()
    status = ("git", "status", "--porcelain", "--untracked-files=no")
    dirty = _output(*status, "--", ":/", ":(top,exclude)dvc.lock").strip()
    return f"{name}-dirty" if name and dirty else name


def record(profile: str, minutes: Mapping[str, float]) -> dict[str, str]:
    """Record when, from which commit and on what machine a run was made, and its minutes."""
    import torch

    info = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", info.read_text() if info.exists() else "")
    cpu = models[0] if models else platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    spent = ", ".join(f"{stage} {value:.1f}" for stage, value in minutes.items())
    return {
        "profile": profile,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit() or "none",
        "machine": f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, {gpu}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, torch {version('torch')}",
        **({"minutes": spent} if spent else {}),
    }
