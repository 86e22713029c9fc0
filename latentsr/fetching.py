"""Downloads: fetched in pieces that can go on later, checked against ``vaes.lock``."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("vaes.lock")
RECORDED = "recorded when it was first seen, not verified"
OWN = "a file of one's own"
PIECE = 1 << 20


def _text() -> str:
    return LOCK.read_text() if LOCK.exists() else ""


def _rows() -> dict[str, Any]:
    return yaml.load(_text(), yaml.BaseLoader) or {}  # noqa: S506 - all of it is text


def locked(name: str) -> str | None:
    """Return the sha256 that the lock file has for a download, None where it has none."""
    rows = _rows()
    return str(rows[name]["sha256"]) if name in rows else None


def digest(path: Path) -> str:
    """Return the sha256 of a file as a hexadecimal number."""
    found = sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()


def _weights(path: Path) -> Path:
    """Return the file that is hashed: the path itself, or the weights in a diffusers folder."""
    inside = sorted(path.glob("diffusion_pytorch_model.*")) if path.is_dir() else []
    return inside[-1] if inside else path


def check(name: str, path: Path) -> None:
    """Compare a file with the lock file, where that has its digest.

    Raises
    ------
    ValueError
        Where they differ.
    """
    wanted = locked(name)
    if wanted and (found := digest(_weights(path))) != wanted:
        raise ValueError(
            f"{path} has sha256 {found}, {LOCK} says {wanted}; remove the file and fetch it again, "
            f"or remove the row of {name} from {LOCK} if you trust the file"
        )


def record(name: str, path: Path, source: str = RECORDED) -> None:
    """Write a row of the lock file: what came first is what everything later must be."""
    rows = _rows() | {name: {"sha256": digest(_weights(path)), "source": source}}
    head = "".join(line for line in _text().splitlines(True) if line.startswith("#"))
    quoted = {key: {k: str(v) for k, v in row.items()} for key, row in rows.items()}
    LOCK.write_text(head + yaml.safe_dump(quoted, sort_keys=False, width=1000))


def download(url: str, path: Path, progress: Callable[[int, int], object] | None = None) -> None:
    """Fetch a file over HTTP, going on after what ``path`` with ``.part`` added already holds.

    ``HF_TOKEN`` in the environment is sent to huggingface.co, for repositories behind a form.

    Raises
    ------
    ValueError
        One line, when the server cannot be reached, refuses, or stops early.
    """
    import requests

    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    there = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={there}-"} if there else {}
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith("https://huggingface.co/"):
        headers["Authorization"] = f"Bearer {token}"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
            if answer.status_code == 416:  # nothing is left to send
                total = there
            else:
                answer.raise_for_status()
                if answer.status_code != 206:  # a server that does not resume starts anew
                    there = 0
                total = there + int(answer.headers.get("Content-Length", 0))
                with part.open("ab" if there else "wb") as file:
                    for piece in answer.iter_content(PIECE):
                        file.write(piece)
                        if progress:
                            progress(file.tell(), total)
    except requests.RequestException as error:
        raise ValueError(f"{url}: {type(error).__name__}; try again, what came is kept") from None
    if total and part.stat().st_size != total:
        raise ValueError(f"{url}: {part.stat().st_size} of {total} bytes came; try again")
    os.replace(part, path)


def fetch(
    name: str,
    url: str,
    path: Path,
    inside: str = "",
    progress: Callable[[int, int], object] | None = None,
) -> str:
    """Fetch one file and check it; return a line that says what was done.

    Parameters
    ----------
    name : str
        Its row in the lock file.
    url : str
        Where it is published.
    path : Path
        Where it goes; left alone when it is there and as the lock file says.
    inside : str
        The member to take out of a zip archive.

    Raises
    ------
    ValueError
        One line; a file that is not as the lock file says is kept aside with ``.mismatch`` added.
    """
    if path.exists():
        check(name, path)
        return f"{name}: already at {path}"
    fresh = path.with_name(f"{path.name}.fetched")
    try:
        download(url, fresh, progress)
    except ValueError as error:
        raise ValueError(f"{error}; or put the file at {path} by hand") from None
    if inside:
        archive = fresh.replace(fresh.with_suffix(".zip"))
        try:
            with zipfile.ZipFile(archive) as members, fresh.open("wb") as file:
                place = next((n for n in members.namelist() if Path(n).name == inside), None)
                if place is None:
                    raise ValueError(f"{url}: no {inside} in the archive")
                with members.open(place) as source:
                    shutil.copyfileobj(source, file, PIECE)
        except zipfile.BadZipFile:
            raise ValueError(f"{url}: not a zip archive; kept at {archive}") from None
        archive.unlink()
    if locked(name) is None:
        record(name, fresh)
        fresh.replace(path)
        return f"{name}: at {path}; its sha256 is now in {LOCK} ({RECORDED})"
    if (found := digest(fresh)) != locked(name):
        aside = fresh.replace(path.with_name(f"{path.name}.mismatch"))
        raise ValueError(f"{url}: sha256 {found}, {LOCK} says {locked(name)}; kept at {aside}")
    fresh.replace(path)
    return f"{name}: at {path}, verified"
