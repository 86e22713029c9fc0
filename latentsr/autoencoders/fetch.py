"""Downloads: fetched in pieces that can go on later, checked against ``vaes.lock``."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latentsr.autoencoders.digests import LOCK, RECORDED, check, digest, locked, record

PIECE = 1 << 20


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
    headers = {"Accept-Encoding": "identity"}  # sizes are those of the file itself
    token = os.environ.get("HF_TOKEN")
    if token and url.startswith("https://huggingface.co/"):
        headers["Authorization"] = f"Bearer {token}"
    try:
        if there:
            resumed = {**headers, "Range": f"bytes={there}-"}
            with requests.get(url, headers=resumed, stream=True, timeout=30) as answer:
                place = re.fullmatch(
                    r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", "")
                )
                if answer.status_code == 206 and place and int(place[1]) == there:
                    _take(answer, part, "ab", int(place[2]), progress)
                else:  # the file is another, or the server does not resume: anew
                    part.unlink()
        if not there or not part.exists():
            with requests.get(url, headers=headers, stream=True, timeout=30) as answer:
                _refused(url, answer)
                length = answer.headers.get("Content-Length")
                _take(answer, part, "wb", None if length is None else int(length), progress)
    except requests.RequestException as error:
        raise ValueError(f"{url}: {type(error).__name__}; try again, what came is kept") from None
    os.replace(part, path)


def _refused(url: str, answer: Any) -> None:
    """Say why a server does not give a file."""
    status = answer.status_code
    if status in (401, 403):
        told = "accept its form on that page, and put a token into HF_TOKEN"
        raise ValueError(f"{url}: status {status}, access is not granted; {told}")
    if status != 200:
        raise ValueError(f"{url}: status {status}; the file is not there now")


def _take(
    answer: Any,
    part: Path,
    mode: str,
    total: int | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    """Write what a server sends; a file of another length than announced is not whole."""
    import requests

    with part.open(mode) as file:
        for piece in answer.iter_content(PIECE):
            file.write(piece)
            if progress:
                progress(file.tell(), total or 0)
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError


def _already(name: str, path: Path, looks_right: Callable[[Path], object] | None) -> str:
    """Check what is there; open it first where no digest is known, somebody put it there by hand."""
    if locked(name) is None:
        if looks_right:
            looks_right(path)
        record(name, path)
    check(name, path)
    return f"{name}: already at {path}"


def fetch(
    name: str,
    url: str,
    path: Path,
    inside: str = "",
    progress: Callable[[int, int], object] | None = None,
    looks_right: Callable[[Path], object] | None = None,
) -> str:
    """Fetch one file and check it; return a line that says what was done.

    ``looks_right`` opens a file that has no digest yet, and raises where it is not what it
    should be: a page that asks for a login must not become the digest of all later ones.

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
        return _already(name, path, looks_right)
    fresh = path.with_name(f"{path.stem}.fetched{path.suffix}")  # its suffix says how it is read
    try:
        download(url, fresh, progress)
    except ValueError as error:
        what = f"{inside} out of that archive" if inside else "the file"
        raise ValueError(f"{error}; or put {what} at {path} by hand") from None
    if inside:
        archive = fresh.replace(fresh.with_suffix(".zip"))
        try:
            with zipfile.ZipFile(archive) as members:
                files = [name for name in members.namelist() if name.endswith(f"/{inside}")]
                files += [inside] if inside in members.namelist() else []
                if len(files) != 1:
                    raise ValueError(f"{len(files)} files {inside} in it")
                with members.open(files[0]) as source, fresh.open("wb") as file:
                    shutil.copyfileobj(source, file, PIECE)
        except Exception as error:  # noqa: BLE001 - zipfile raises many kinds
            said = str(error) if isinstance(error, ValueError) else type(error).__name__
            raise ValueError(f"{url}: {said}; the archive is kept at {archive}") from None
        archive.unlink()
    if locked(name) is None:
        if looks_right:
            looks_right(fresh)
        record(name, fresh)
        fresh.replace(path)
        return f"{name}: at {path}; its sha256 is now in {LOCK} ({RECORDED})"
    if (found := digest(fresh)) != locked(name):
        aside = fresh.replace(path.with_name(f"{path.name}.mismatch"))
        raise ValueError(
            f"{url}: sha256 {found}, {LOCK} says {locked(name)}; kept at {aside}: remove it and try "
            f"again, or remove the row of {name} from {LOCK} if you trust it"
        )
    fresh.replace(path)
    return f"{name}: at {path}, verified"


def fetch_folder(
    name: str,
    files: Mapping[str, str],
    folder: Path,
    progress: Callable[[int, int], object] | None = None,
    looks_right: Callable[[Path], object] | None = None,
) -> str:
    """Fetch the files (name: where it is published) of one folder, as `fetch` does for one file."""
    if folder.exists():
        return _already(name, folder, looks_right)
    fresh = folder.with_name(f"{folder.name}.fetched")
    for file, url in files.items():
        try:
            if not (fresh / file).exists():
                download(url, fresh / file, progress)
        except ValueError as error:
            raise ValueError(f"{error}; or put {', '.join(files)} into {folder}") from None
    if (known := locked(name)) and (found := digest(fresh)) != known:
        aside = folder.with_name(f"{folder.name}.mismatch")
        shutil.rmtree(aside, ignore_errors=True)
        raise ValueError(
            f"{name}: sha256 {found}, {LOCK} says {known}; kept at {fresh.replace(aside)}: try "
            f"again, or remove the row of {name} from {LOCK} if you trust it"
        )
    try:
        if looks_right:
            looks_right(fresh)
    except ValueError:
        shutil.rmtree(fresh)  # or it would be taken for fetched next time
        raise
    if not known:
        record(name, fresh)
    fresh.replace(folder)
    told = "verified" if known else f"its sha256 is now in {LOCK} ({RECORDED})"
    return f"{name}: at {folder}, {told}"
