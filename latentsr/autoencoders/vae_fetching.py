"""Getting autoencoders that the package does not ship, and keeping their digests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from latentsr.autoencoders import digests
from latentsr.autoencoders import fetch as fetching
from latentsr.autoencoders import load as vaes
from latentsr.autoencoders.registry import PUBLISHED, SPECS, hub_files


def fetch(name: str, progress: Callable[[int, int], object] | None = None) -> str:
    """Download a published autoencoder, or a diffusers folder of the hub; say what was done.

    Raises
    ------
    ValueError
        For a name that means neither, or as `fetching.fetch` does.
    """

    def right(there: Path) -> None:
        vaes.opened(name, there)

    path = vaes.place(name)
    if name in PUBLISHED:
        entry = PUBLISHED[name]
        return fetching.fetch(name, entry.url, path, entry.inside, progress, right)
    if files := hub_files(name):
        return fetching.fetch_folder(name, files, path, progress, right)
    if name in SPECS:
        raise ValueError(f"vaes fetch: {name} comes with the package; there is nothing to fetch")
    allowed = f"{', '.join(PUBLISHED)}, hf/OWNER/NAME/REVISION with a revision of 40 digits"
    raise ValueError(f"vaes fetch: {name!r}; allowed are {allowed}")


def note(name: str) -> str | None:
    """Record the digest of an autoencoder that the package does not ship; say what is new.

    Stages depend on ``vaes.lock``, so a file of one's own that changed runs again what it touches.
    """
    path = vaes.place(name)
    if name in PUBLISHED or hub_files(name):
        if digests.locked(name) is None:
            vaes.opened(name, path)
            digests.record(name, path)
            return f"{name}: its sha256 is now in {digests.LOCK} ({digests.RECORDED})"
        digests.check(name, path)
    elif name not in SPECS:
        before = digests.locked(name)
        digests.record(name, path, digests.OWN)
        if before and digests.locked(name) != before:
            return f"{name}: changed since the last run"
    return None
