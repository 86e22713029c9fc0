"""`make repro`: put a profile in place, run the pipeline, say where the book is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from latentsr import book, datastore, notebook, params, run_record, strangers, vae_fetching, vaes
from latentsr.datasets import read_sets
from latentsr.stage import REASON

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
EXPECTED = {  # on 2 cores, as the stage times that a run prints add up
    "smoke": "2 to 4 minutes and 0.2 GB",
    "mini": "24 to 45 minutes and 1.1 GB",
    "paper": "an unknown time on a GPU: it was never run as a whole",
}
ADVICE = re.compile(
    r"\s*$|To (track the changes|enable auto)|\t(git add|dvc config)|Use `dvc push`"
)


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
    wanted = {"knee": "mrnet", "brain": "brats", "chest": "mimic_cxr"}
    for name, adapter in wanted.items():
        if source != "own" or name not in sets or sets[name].adapter != adapter:
            lines.append(f"{name}: real images in the layout {adapter}; "
                         f"`latentsr data use {name}=DIR`")  # fmt: skip
    wanted_vaes = params.read(PROFILES / "paper.yaml")["autoencoders"].vaes
    lines += [line for vae in wanted_vaes if (line := vaes.missing(vae))]
    if not torch.cuda.is_available():
        lines.append("GPU: none found; the paper's sizes need one")
    return lines


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # DVC runs commands by name
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def stopped() -> str:
    """Say why the pipeline stopped, in the words of the stage that did."""
    why = REASON.read_text().strip() if REASON.exists() else "see above"
    return f"{why} (the pipeline stopped; what was computed is kept, and `make repro` goes on)"


def grid(settings: dict[str, Any], sets: list[str]) -> dict[str, list[str]]:
    """Return the runs that need not wait for all others, each with the runs that it waits for.

    Chapter 7 takes the arms of the first set. It is the longest run, so it comes right after them.
    The lessons wait for nothing and fill the end.
    """
    runs: dict[str, list[str]] = {f"autoencoders@{name}": [] for name in sets}
    for name in sets:
        arms = [f"train_arm@{name}-{vae}" for vae in settings["autoencoders"].arms]
        runs |= {arm: [f"autoencoders@{name}"] for arm in arms}
        if name == sets[0]:
            runs["ablations"] = arms
    return runs | {f"background@{number}": [] for number, _ in enumerate(notebook.LESSONS, 1)}


def side_by_side(runs: dict[str, list[str]], jobs: int) -> dict[str, float]:
    """Run what is out of date of a `grid`, ``jobs`` at once; return minutes divided by ``jobs``.

    `dvc repro` runs one stage after another, but a small network does not fill a machine:
    two single-threaded runs side by side beat one with two threads. The results are the
    same, since every run has its own seeds and its number of threads is a parameter.
    """
    status = ["dvc", "status", "--json"]
    found = subprocess.run(status, capture_output=True, text=True, env=_environment()).stdout
    changed = json.loads(found or "{}")
    needed: dict[str, list[str]] = {}
    for name, waits in runs.items():
        if name in changed or needed.keys() & waits:
            needed[name] = [other for other in waits if other in needed]

    def run_one(name: str, before: list[Future[float]]) -> float:
        wait(before)
        if any(run.cancelled() or run.exception() for run in before):
            raise ValueError(stopped())
        started = time.monotonic()
        command = ["dvc", "--wait-for-lock", "repro", "--single-item", name]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        said = (line for line in done.stdout.splitlines(True) if not ADVICE.match(line))
        print("".join(said), end="", flush=True)
        if done.returncode:
            print(done.stderr.strip(), file=sys.stderr)
            raise ValueError(stopped())
        return (time.monotonic() - started) / 60

    futures: dict[str, Future[float]] = {}
    with ThreadPoolExecutor(jobs) as pool:  # first in, first out: what is waited for runs already
        for name, waits in needed.items():
            futures[name] = pool.submit(run_one, name, [futures[other] for other in waits])
        try:
            wait(futures.values(), return_when=FIRST_EXCEPTION)
        finally:  # Ctrl-C must not start what still waits
            pool.shutdown(wait=False, cancel_futures=True)
    for run in futures.values():
        if not run.cancelled() and (error := run.exception()):
            raise error
    return {name: run.result() / jobs for name, run in futures.items()}


def stages(command: list[str]) -> Iterator[tuple[str, float]]:
    """Run DVC, passing its output on; yield each stage that ran and its minutes."""
    name, started = "", time.monotonic()
    environment = _environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            if not ADVICE.match(line):
                print(line, end="", flush=True)
            if found := re.search(r"Running stage '(.+)'|Importing '(.+?)'", line):
                if name:
                    yield name, (time.monotonic() - started) / 60
                name, started = found[1] or "import", time.monotonic()
    if process.returncode:
        raise ValueError(stopped())
    if name:
        yield name, (time.monotonic() - started) / 60


def grouped(minutes: dict[str, float]) -> dict[str, float]:
    """Add up the runs of one stage: ``train_arm@knee-natural-f8c4`` counts for ``train_arm``."""
    total: dict[str, float] = {}
    for name, value in minutes.items():
        key = name.split("@")[0]
        total[key] = total.get(key, 0.0) + value
    return total


def differs_from_commit() -> list[str]:
    """Return which of dvc.lock and data.dvc are not as committed."""
    command = ["git", "diff", "--name-only", "HEAD", "--", "dvc.lock", "data.dvc"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split()


def whole(settings: dict[str, Any]) -> dict[str, float]:
    """Run all stages and return their minutes; the grid several at once where cores allow."""
    started = time.monotonic()
    REASON.unlink(missing_ok=True)
    minutes = dict(stages(["dvc", "repro", "data"]))
    jobs = max(1, min(8, (os.cpu_count() or 1) // settings["threads"]))
    if jobs > 1:
        sets = list(read_sets(Path("sets.yaml"))[1])
        minutes |= side_by_side(grid(settings, sets), jobs)
    minutes |= dict(stages(["dvc", "repro", "book"]))  # not phantoms that no set uses
    print(f"  in all: {(time.monotonic() - started) / 60:.1f} min")
    return minutes


def run(profile: str | None) -> None:
    """Run the whole study and print where the book is."""
    name = profile or str(params.read(PARAMS)["profile"])
    if name == "paper" and (lines := missing_for_paper()):
        raise ValueError("\n".join(f"missing for PROFILE=paper: {line}" for line in lines))
    if profile and use_profile(profile):
        print(f"params.yaml is now profiles/{profile}.yaml (back: make repro PROFILE=mini)")
    settings = params.read(PARAMS)
    if absent := [line for vae in settings["autoencoders"].vaes if (line := vaes.missing(vae))]:
        raise ValueError("\n".join(absent))
    for line in filter(None, map(vae_fetching.note, settings["autoencoders"].vaes)):
        print(line)
    before = differs_from_commit()
    for line in strangers.rescue():
        print(line)
    print(f"profile {name}: about {EXPECTED.get(name, 'an unknown time')}, less what is cached")
    if settings["ablations"].run == "all":
        print("ablations.run is all: chapter 7 takes hours more, and goes on where it was stopped")
    minutes = whole(settings)
    for stage, value in grouped(minutes).items():
        print(f"  {stage}: {value:.1f} min")
    if "phantoms" in minutes:  # the other stages note themselves
        run_record.note(f"{name}/phantoms", {"minutes": minutes["phantoms"]})
    changed = [path for path in differs_from_commit() if path not in before]
    if changed and read_sets(Path("sets.yaml"))[0] == "phantoms" and name == "mini":
        why = "another type of CPU rounds differently, or code has changed since the commit"
        print(f"{' and '.join(changed)}: not as committed; {why}")
    target = book.publish(name, grouped(minutes))
    print(f"The book is at {(target / 'index.html').resolve()}")


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
    for name, text in datastore.DEFAULTS.items():  # phantoms, whatever the study uses now
        (copy / name).write_text(text)
    (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = True\n")
    os.chdir(copy)
    try:
        for stage, value in grouped(whole(params.read(PARAMS))).items():
            print(f"  {stage}: {value * 60:.0f} s", flush=True)
    finally:
        os.chdir(here)
    return copy / "results" / "smoke"
