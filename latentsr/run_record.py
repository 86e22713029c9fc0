"""When, from which commit and on what machine a run was made; never part of a stage's output."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

NOTES = Path(".scratch/run_record")


def note(name: str, values: Mapping[str, Any]) -> None:
    """Keep what a stage measured of this machine, for the record beside the book."""
    NOTES.mkdir(parents=True, exist_ok=True)
    (NOTES / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")


def notes() -> dict[str, Any]:
    """Return what the stages noted."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(NOTES.glob("*.json"))}


def collect(profile: str, minutes: Mapping[str, float]) -> dict[str, str]:
    """Collect when, from which commit and on what machine a run was made."""
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    cpu = models[0] if models else platform.processor() or platform.machine()
    spent = ", ".join(f"{stage} {value:.1f}" for stage, value in minutes.items())
    return {
        "profile": profile,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or "none",
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()}",
        "versions": f"Python {platform.python_version()}, torch {version('torch')}",
        **({"minutes": spent} if spent else {}),
    }
