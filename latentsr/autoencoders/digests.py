"""``vaes.lock``: the digest of each file that is downloaded or one's own."""

from __future__ import annotations

from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("vaes.lock")
RECORDED = "recorded when it was first seen, not verified"
OWN = "a file of one's own"


def _text() -> str:
    return LOCK.read_text() if LOCK.exists() else ""


def _rows() -> dict[str, Any]:
    try:
        rows = yaml.load(_text(), yaml.BaseLoader) or {}  # noqa: S506 - all of it is text
    except yaml.YAMLError:
        rows = None
    if not isinstance(rows, dict):
        raise ValueError(f"{LOCK}: not YAML rows; `git checkout {LOCK}` brings it back")
    return rows


def locked(name: str) -> str | None:
    """Return the sha256 that the lock file has for a download, None where it has none."""
    rows = _rows()
    if name not in rows:
        return None
    if not isinstance(rows[name], dict) or "sha256" not in rows[name]:
        raise ValueError(f"{LOCK}: the row of {name} has no sha256; remove the row or mend it")
    return str(rows[name]["sha256"])


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def weights(path: Path) -> Path:
    """Return the file with the weights: the path itself, or the one in a diffusers folder.

    Raises
    ------
    ValueError
        For a folder without one.
    """
    if not path.is_dir():
        return path
    names = [f"diffusion_pytorch_model.{kind}" for kind in ("safetensors", "bin")]
    found = next((path / name for name in names if (path / name).is_file()), None)
    if found is None or not (path / "config.json").is_file():
        inner = "; name its folder vae/" if (path / "vae").is_dir() else ""
        raise ValueError(f"{path}: config.json and {names[0]} (or .bin) are needed in it{inner}")
    return found


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's weights and configuration, as 64 digits."""
    found = _of_file(weights(path))
    if path.is_dir():
        found = sha256(f"{found} {_of_file(path / 'config.json')}".encode()).hexdigest()
    return found


def check(name: str, path: Path) -> None:
    """Compare a file with the lock file, where that has its digest.

    Raises
    ------
    ValueError
        Where they differ.
    """
    wanted = locked(name)
    if wanted and (found := digest(path)) != wanted:
        raise ValueError(
            f"{path} has sha256 {found}, {LOCK} says {wanted}; remove the file and fetch it again, "
            f"or remove the row of {name} from {LOCK} if you trust the file"
        )


def record(name: str, path: Path, source: str = RECORDED) -> None:
    """Write a row of the lock file: what came first is what everything later must be."""
    rows = _rows() | {name: {"sha256": digest(path), "source": source}}
    head = "".join(line for line in _text().splitlines(True) if line.startswith("#"))
    quoted = {key: {k: str(v) for k, v in row.items()} for key, row in rows.items()}
    LOCK.write_text(head + yaml.safe_dump(quoted, sort_keys=False, width=1000))
