"""Weights on this machine: where they lie, what their digests must be, how they get there."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import yaml

from latentsr.autoencoders.registry import HUB, PUBLISHED, SHIPPED, WEIGHTS_FILE

WEIGHTS = Path(__file__).parents[1] / "weights"
LOCK = Path("vaes.lock")
RECORDED = "recorded when it was first seen, not verified"
NOW_LOCKED = f"its sha256 is now in {LOCK} ({RECORDED})"
Download = Callable[[Path], object]
Opens = Callable[[str, Path], object]


def _home() -> Path:
    """Return the folder of files and digests: a project that has a lock file, or the user's cache."""
    import platformdirs

    return Path() if LOCK.exists() else platformdirs.user_cache_path("latentsr")


def fetched_dir() -> Path:
    """Return where fetched autoencoders lie."""
    return _home() / ("assets/vaes" if LOCK.exists() else "vaes")


def weights_path(name: str) -> Path:
    """Return where the weights of an autoencoder lie, or would lie: its file or diffusers folder.

    ``name`` is a registered one, ``hf/OWNER/NAME/REVISION`` of the hub, or a path.
    """
    if name in SHIPPED:
        return WEIGHTS / f"{name}.safetensors"
    if row := PUBLISHED.get(name):
        return fetched_dir() / f"{name}{Path(row.inside or row.file).suffix}"
    if HUB.fullmatch(name):
        return fetched_dir() / name.replace("/", "--")
    return Path(name).expanduser()


def missing(name: str) -> str | None:
    """Name in one line what is missing of an autoencoder; None when its weights are there."""
    path, row = weights_path(name), PUBLISHED.get(name)
    if path.exists():
        return None
    if name in SHIPPED:
        return f"vae {name}: no weights at {path}; `make pretrain` makes them, then copy them there"
    if row:
        file = f"{row.inside} out of the archive" if row.inside else row.file
        by_hand = f"there {file} published at https://{row.source}"
    elif HUB.fullmatch(name):
        by_hand = f"into that folder config.json and {WEIGHTS_FILE} of that revision"
    else:
        return f"vae {name}: no such file or folder, and no registered name"
    gets = f"`latentsr vaes fetch {name}` gets it"
    return f"vae {name}: {path} is not there; {gets}, or put {by_hand}"


def _lock_rows() -> dict[str, Any]:
    path = _home() / LOCK
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        rows = yaml.load(text, yaml.BaseLoader) or {}  # noqa: S506 - all of it is text
        return {name: {"sha256": row["sha256"], **row} for name, row in rows.items()}
    except (yaml.YAMLError, AttributeError, TypeError, KeyError):
        raise ValueError(
            f"{LOCK}: not rows with a sha256; `git checkout {LOCK}` brings it back"
        ) from None


def locked(name: str) -> str | None:
    """Return the sha256 that a file must have, by the lock file or its publisher; None if unknown."""
    rows, row = _lock_rows(), PUBLISHED.get(name)
    if name in rows:
        return str(rows[name]["sha256"])
    return row.sha256 or None if row else None


def weights_file(path: Path) -> Path:
    """Return the file with the weights: the path itself, or the one that a diffusers folder needs."""
    if not path.is_dir():
        return path
    files = [path / WEIGHTS_FILE, path / "diffusion_pytorch_model.bin"]
    there = [file for file in files if file.is_file()]
    if not there or not (path / "config.json").is_file():
        inner = "; name its folder vae/" if (path / "vae").is_dir() else ""
        raise ValueError(
            f"{path}: config.json and {WEIGHTS_FILE} (or .bin) are needed in it{inner}"
        )
    return there[0]


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's weights and configuration, as 64 digits."""
    if path.is_dir():
        parts = f"{digest(weights_file(path))} {digest(path / 'config.json')}"
        return sha256(parts.encode()).hexdigest()
    with path.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def check(name: str, path: Path) -> None:
    """Raise a one-line ValueError where a file differs from its known digest, if there is one."""
    expected = locked(name)
    if expected and (actual := digest(path)) != expected:
        row = f"remove the row of {name} from" if name in _lock_rows() else "give it a row in"
        raise ValueError(
            f"{path} has sha256 {actual}, {LOCK} says {expected}; remove the file and fetch it "
            f"again, or {row} {LOCK} if you trust the file"
        )


def record(name: str, path: Path, source: str = RECORDED) -> None:
    """Write a row of the lock file: what came first is what everything later must be."""
    rows = _lock_rows() | {name: {"sha256": digest(path), "source": source}}
    lock = _home() / LOCK
    lines = lock.read_text(encoding="utf-8").splitlines(True) if lock.exists() else []
    head = "".join(line for line in lines if line.startswith("#"))
    quoted = {key: {k: str(v) for k, v in row.items()} for key, row in rows.items()}
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(head + yaml.safe_dump(quoted, sort_keys=False, width=1000), encoding="utf-8")


def from_hub(repo: str, file: str, revision: str, target: Path) -> None:
    """Fetch a file of the Hugging Face hub through the hub's own cache; ``HF_ENDPOINT`` counts."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        mirror = os.environ.get("HF_ENDPOINT")
        cached = hf_hub_download(repo, file, revision=revision, endpoint=mirror)
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            raise
        form = f"accept its form at https://huggingface.co/{repo} and put a token into HF_TOKEN"
        raise ValueError(f"{repo}: access is not granted; {form}") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(cached, target)


def from_archive(url: str, inside: str, target: Path) -> None:
    """Fetch a zip archive, going on where an earlier try ended, and take one file out of it."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from tqdm import tqdm

    archive = target.with_name(f"{target.name}.zip")
    archive.parent.mkdir(parents=True, exist_ok=True)
    there = archive.stat().st_size if archive.exists() else 0
    try:
        with urlopen(Request(url, headers={"Range": f"bytes={there}-"}), timeout=30) as answer:
            bar = tqdm.wrapattr(answer, "read", total=answer.length, desc=target.name, delay=1)
            with archive.open("ab" if answer.status == 206 else "wb") as file, bar as stream:
                shutil.copyfileobj(stream, file)
            if answer.length:
                raise ValueError(f"{url}: {answer.length} bytes did not come")
    except HTTPError as error:
        if error.code != 416:  # then all of it is there
            raise
    try:
        with zipfile.ZipFile(archive) as members:
            files = [name for name in members.namelist() if Path(name).name == inside]
            if len(files) != 1:
                raise ValueError(f"{len(files)} files {inside} in {archive}")
            with members.open(files[0]) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
    except zipfile.BadZipFile:
        archive.unlink()
        raise
    archive.unlink()


def obtain(name: str, path: Path, download: Download, opens: Opens) -> str:
    """Put a file in its place once it has its known digest, or opens; return what was done.

    ``opens(name, path)`` raises where a file that has no digest yet is not what it should be: a
    page that asks for a login must not become the digest of all later ones. Errors are one line.
    """
    if path.exists():
        _accept(name, path, opens)
        return f"{name}: already at {path}"
    fresh = path.with_name(f"{path.stem}.fetched{path.suffix}")  # its suffix says how it is read
    try:
        download(fresh)
    except Exception as error:  # the hub, the network and zip archives raise many kinds
        cause = error.__cause__ or error
        kind = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
        reason = " ".join(str(cause).split())[:300]
        raise ValueError(
            f"{name}: {kind}{reason}; try again, what came is kept, or put it at {path} by hand"
        ) from None
    known = locked(name) is not None
    _accept(name, fresh, opens)
    fresh.replace(path)
    return f"{name}: at {path}, {'verified' if known else NOW_LOCKED}"


def _accept(name: str, path: Path, opens: Opens) -> None:
    if locked(name) is None:
        opens(name, path)
        record(name, path)
    check(name, path)


def fetch(name: str, opens: Opens) -> str:
    """Fetch a published autoencoder, or a diffusers folder of the hub; return what was done.

    ``opens`` is `latentsr.autoencoders.load.read_model`; errors are one line, as of `obtain`.
    """
    row, hub = PUBLISHED.get(name), HUB.fullmatch(name)
    if name in SHIPPED:
        raise ValueError(f"vaes fetch: {name} comes with the package; there is nothing to fetch")
    if not row and not hub:
        allowed = f"{', '.join(PUBLISHED)}, hf/OWNER/NAME/REVISION with a revision of 40 digits"
        raise ValueError(f"vaes fetch: {name!r}; allowed are {allowed}")

    def download(target: Path) -> None:
        if row and row.url:
            from_archive(row.url, row.inside, target)
        elif row:
            from_hub(row.repo, row.file, row.revision, target)
        elif hub:
            for file in ("config.json", WEIGHTS_FILE):
                inner = f"{hub['folder']}/{file}".strip("/")
                from_hub(hub["repo"], inner, hub["revision"], target / file)

    return obtain(name, weights_path(name), download, opens)


def note(name: str, opens: Opens) -> str | None:
    """Record the digest of an autoencoder that the package does not ship; return what is new.

    Stages depend on the lock file, so a file of one's own that changed runs again what it touches.
    """
    path, before = weights_path(name), locked(name)
    if name in PUBLISHED or HUB.fullmatch(name):
        _accept(name, path, opens)
        return None if before else f"{name}: {NOW_LOCKED}"
    if name not in SHIPPED:
        record(name, path, "a file of one's own")
        if before and locked(name) != before:
            return f"{name}: changed since the last run"
    return None
