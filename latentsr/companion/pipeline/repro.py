"""`make repro`: put a profile in place, run the pipeline, say where the book is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from latentsr.autoencoders import load as vaes
from latentsr.autoencoders import vae_fetching
from latentsr.companion.book import build as book
from latentsr.companion.pipeline import datastore, params, run_record, strangers
from latentsr.companion.pipeline.stages import grouped, whole
from latentsr.datasets import read_sets

PARAMS, PROFILES = Path("params.yaml"), Path("profiles")
EXPECTED = {  # on 2 cores, as the stage times that a run prints add up
    "smoke": "2 to 4 minutes and 0.2 GB",
    "mini": "24 to 60 minutes and 1.1 GB",
    "paper": "an unknown time on a GPU: it was never run as a whole",
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
    wanted_vaes = params.read(PROFILES / "paper.yaml")["autoencoders"].vaes
    lines += [line for vae in wanted_vaes if (line := vaes.missing(vae))]
    if not torch.cuda.is_available():
        lines.append("GPU: none found; the paper's sizes need one")
    return lines


def differs_from_commit() -> list[str]:
    """Return which of dvc.lock and data.dvc are not as committed."""
    command = ["git", "diff", "--name-only", "HEAD", "--", "dvc.lock", "data.dvc"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split()


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
