"""The stages of dvc.yaml run by DVC: one after another, runs that need not wait side by side."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from latentsr.companion.pipeline import notebook
from latentsr.companion.pipeline.stage import REASON
from latentsr.datasets import read_sets

ADVICE = re.compile(
    r"\s*$|To (track the changes|enable auto)|\t(git add|dvc config)|Use `dvc push`"
)


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
    The lessons wait for nothing: they stand where the last arm is waited for. Of the later chapters
    11 takes longest, so it comes first.
    """
    runs: dict[str, list[str]] = {f"autoencoders@{name}": [] for name in sets}
    for name in sets:
        arms = [f"train_arm@{name}-{vae}" for vae in settings["autoencoders"].arms]
        runs |= {arm: [f"autoencoders@{name}"] for arm in arms}
        if name == sets[0]:
            runs["ablations"] = arms
    runs["vae_swap"] = [name for name in runs if name != "ablations"]
    runs |= {f"background@{number}": [] for number, _ in enumerate(notebook.LESSONS, 1)}
    return runs | {
        "lesions": ["vae_swap"],
        "wavelets": ["vae_swap"],
        "hallucination": ["vae_swap"],
        "statistics": ["vae_swap", "ablations"],
        "screening": ["vae_swap", "ablations"],
    }


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
