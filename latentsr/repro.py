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
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from latentsr import book, datastore, params, registry, vaes
from latentsr.datasets import read_sets

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
EXPECTED = {  # on 2 cores, as the stage times that a run prints add up
    "smoke": "3 minutes and 0.2 GB",
    "mini": "20 minutes and 1.1 GB",
    "paper": "a day on one GPU and 100 GB",
}


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
    for name, places in registry.EXTERNAL.items():
        lines.append(f"{name}: this version reads only the shipped autoencoders ({places})")
    if not torch.cuda.is_available():
        lines.append("GPU: none found; the paper's sizes need one")
    return lines


def _environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # DVC runs commands by name
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def arms_side_by_side(jobs: int) -> dict[str, float]:
    """Train the arms that are out of date, ``jobs`` at once; return their minutes.

    `dvc repro` runs one stage after another, but an arm's small network does not fill a machine:
    two single-threaded trainings side by side beat one with two threads. The results are the
    same, since every arm has its own seeds and its number of threads is a parameter.
    """
    changed = subprocess.run(
        ["dvc", "status", "--json"], capture_output=True, text=True, env=_environment()
    ).stdout
    arms = [name for name in json.loads(changed or "{}") if name.startswith("train_arm@")]

    def train(name: str) -> tuple[str, float]:
        started = time.monotonic()
        command = ["dvc", "--wait-for-lock", "repro", "--single-item", name]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        print(done.stdout, end="", flush=True)
        if done.returncode:
            raise ValueError(f"{name}: stopped\n{done.stderr.strip()}")
        return name, (time.monotonic() - started) / 60

    with ThreadPoolExecutor(jobs) as pool:
        return dict(pool.map(train, arms))


def check_study(settings: dict[str, Any], sets: list[str]) -> None:
    """Refuse, before anything runs, values that a late chapter would only stumble over.

    Raises
    ------
    ValueError
        One line naming the key, the value found and what is allowed.
    """
    import pywt

    from latentsr.degrade import OPERATORS

    coders, arm, late = (settings[key] for key in ("autoencoders", "train_arm", "ablations"))
    here = vaes.shipped()
    choices: list[tuple[str, list[Any], Collection[Any]]] = [
        ("autoencoders.vaes", coders.vaes, here),
        ("autoencoders.arms", coders.arms, coders.vaes),
        ("vae_swap.main_vaes", settings["vae_swap"].main_vaes, coders.arms),
        ("ablations.ablation_condition", [late.ablation_condition], arm.lr_conditions),
        ("ablations.ablation_set", [late.ablation_set], ["first", *sets]),
        ("wavelets.wavelet", [settings["wavelets"].wavelet], pywt.wavelist(kind="discrete")),
        ("data.operator", [settings["data"].operator], list(OPERATORS)),
        ("train_arm.grid_factor", [arm.grid_factor], [8]),
    ]
    for key, values, allowed in choices:
        for value in values:
            if value not in allowed:
                shown = ", ".join(map(str, allowed))[:300]
                raise ValueError(f"{key}: {value!r}; allowed here are {shown}")
    if len(settings["vae_swap"].main_vaes) != 2:
        raise ValueError(f"vae_swap.main_vaes: {settings['vae_swap'].main_vaes}; two are needed")
    shares = {
        f"{block}.confidence": settings[block].confidence
        for block in ("vae_swap", "wavelets", "hallucination", "statistics", "screening")
    }
    shares["data.test_fraction"] = settings["data"].test_fraction
    for key, share in shares.items():
        if not 0 < share < 1:
            raise ValueError(f"{key}: {share}, but a share between 0 and 1 is needed")
    if type(settings["threads"]) is not int or settings["threads"] < 1:
        raise ValueError(f"threads: {settings['threads']!r}, but a whole number from 1 is needed")


def stages(command: list[str]) -> Iterator[tuple[str, float]]:
    """Run DVC, passing its output on; yield each stage that ran and its minutes."""
    name, started = "", time.monotonic()
    environment = _environment()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if found := re.search(r"Running stage '(.+)'|Importing '(.+?)'", line):
                if name:
                    yield name, (time.monotonic() - started) / 60
                name, started = found[1] or "import", time.monotonic()
    if process.returncode:
        raise ValueError(
            "repro: the pipeline stopped (see above); what was computed is kept, "
            "and the next `make repro` goes on from there"
        )
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
    """Run all stages and return their minutes; the arms several at once where cores allow."""
    started = time.monotonic()
    minutes = dict(stages(["dvc", "repro", "autoencoders"]))
    jobs = max(1, min(8, (os.cpu_count() or 1) // int(settings["threads"])))
    if jobs > 1:
        before = time.monotonic()
        minutes |= arms_side_by_side(jobs)
        print(f"  all arms, {jobs} at once: {(time.monotonic() - before) / 60:.1f} min")
    minutes |= dict(stages(["dvc", "repro"]))
    print(f"  in all: {(time.monotonic() - started) / 60:.1f} min")
    return minutes


def run(profile: str | None) -> None:
    """Run the whole study and print where the book is."""
    if profile and use_profile(profile):
        print(f"params.yaml is now profiles/{profile}.yaml (back: make repro PROFILE=mini)")
    try:
        settings = params.read(PARAMS)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}" if place else "unknown line"
        raise ValueError(f"{PARAMS}: {where} is not YAML; mend that line") from None
    name = str(settings["profile"])
    if name == "paper" and (lines := missing_for_paper()):
        raise ValueError("\n".join(f"missing for PROFILE=paper: {line}" for line in lines))
    check_study(settings, list(read_sets(Path("sets.yaml"))[1]))
    before = differs_from_commit()
    for line in datastore.rescue_strangers():
        print(line)
    print(f"profile {name}: about {EXPECTED.get(name, 'an unknown time')}, less what is cached")
    minutes = whole(settings)
    for stage, value in grouped(minutes).items():
        print(f"  {stage}: {value:.1f} min")
    changed = [path for path in differs_from_commit() if path not in before]
    if changed and read_sets(Path("sets.yaml"))[0] == "phantoms" and name == "mini":
        print(f"{' and '.join(changed)}: not as committed; another type of CPU rounds differently")
    target = book.publish(name, grouped(minutes))
    print(f"The book is at {(target / 'index.html').resolve()}")


def smoke(keep: Path | None = None) -> Path:
    """Run the pipeline with the smoke profile in a throw-away copy; return its results folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    here = Path.cwd()
    copy = keep or Path(tempfile.mkdtemp(prefix="latentsr-smoke-"))
    for name in listed.stdout.splitlines():
        if (here / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(here / name, copy / name)
    shutil.copyfile(copy / "profiles/smoke.yaml", copy / "params.yaml")
    (copy / "dvc.lock").unlink(missing_ok=True)
    (copy / ".dvc" / "config.local").write_text("[core]\n    no_scm = True\n")
    os.chdir(copy)
    try:
        for stage, value in grouped(whole(params.read(PARAMS))).items():
            print(f"  {stage}: {value * 60:.0f} s", flush=True)
    finally:
        os.chdir(here)
    return copy / "results" / "smoke"
