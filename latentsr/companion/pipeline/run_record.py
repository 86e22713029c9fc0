"""When, from which commit and on what machine a run was made; never part of a stage's output."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latentsr.companion.pipeline.notebook import flat
from latentsr.companion.pipeline.stage import NOTES

PLACEHOLDER = '<p class="run-record"></p>'  # where a page shows the record
SLOT = re.compile(r'<span class="measured" data-what="(\w+)" data-runs="([^"]*)"></span>')
KEYS = {"minutes": "minutes", "memory": "peak_memory_mb"}


def note(name: str, values: Mapping[str, Any]) -> None:
    """Keep what a stage measured of this machine, for the record beside the book."""
    path = NOTES / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")


def notes() -> dict[str, Any]:
    """Return what the stages noted."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(NOTES.glob("*.json"))}


def slot(what: str, labels: Collection[str]) -> str:
    """Leave a place in a page for the ``minutes`` or the ``memory`` of some runs together."""
    runs = " ".join(map(flat, labels))
    return f'<span class="measured" data-what="{what}" data-runs="{runs}"></span>'


def filled(page: str, profile: str) -> str:
    """Fill the places of a built page with what was measured on this machine.

    Minutes add up over the runs, of memory the largest counts. Where a run was never made here,
    for instance because the cache held it, the place gets a dash.
    """

    def measured(place: re.Match[str]) -> str:
        what, labels = place[1], place[2].split()
        paths = [NOTES / profile / f"{label}.json" for label in labels]
        noted = (json.loads(path.read_text()) for path in paths if path.exists())
        found = [one[KEYS[what]] for one in noted if KEYS[what] in one]
        if not found:
            return "–"
        part = "" if len(found) == len(labels) else f" ({len(found)} of {len(labels)} runs)"
        total = sum(found) if what == "minutes" else max(found) / 1000
        return f"{f'{total:.1f}' if total >= 0.05 else '< 0.1'}{part}"

    return SLOT.sub(measured, page)


def commit() -> str:
    """Name the commit, "-dirty" where a tracked file differs: of `dvc.lock` each run writes its own."""
    git = "git", "describe", "--always"
    name = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    changed = (
        "git",
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ":/",
        ":(top,exclude)dvc.lock",
    )
    dirty = subprocess.run(changed, capture_output=True, text=True).stdout.strip()
    return f"{name}-dirty" if name and dirty else name


def collect(profile: str, minutes: Mapping[str, float]) -> dict[str, str]:
    """Collect when, from which commit and on what machine a run was made."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    cpu = models[0] if models else platform.processor() or platform.machine()
    spent = ", ".join(f"{stage} {value:.1f}" for stage, value in minutes.items())
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return {
        "profile": profile,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit() or "none",
        "machine": f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GB, {gpu}, {platform.system()}",
        "versions": f"Python {platform.python_version()}, torch {version('torch')}",
        **({"minutes": spent} if spent else {}),
    }
