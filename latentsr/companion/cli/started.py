"""Where a command was started, whose results it reads, and how it shows that it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTED_IN = Path.cwd()  # the commands themselves run in the repository's folder


def here(path: str | Path) -> Path:
    """Return a path as it was meant where the command was started."""
    return STARTED_IN / Path(path).expanduser()


def results() -> Path:
    """Return the folder of the current profile's results.

    Raises
    ------
    ValueError
        When there is no run in it.
    """
    from latentsr.companion.pipeline import params

    folder = Path("results") / params.read(Path("params.yaml"))["profile"]
    if not (folder / "data").is_dir():
        raise ValueError(f"{folder}: no run there; `make repro PROFILE={folder.name}` makes it")
    return folder


@contextmanager
def progress(name: str, **shown: Any) -> Iterator[Callable[[int, int], None]]:
    """Show a bar, of bytes unless told otherwise; gives what to call with what is done, and all."""
    from tqdm import tqdm

    with tqdm(desc=name, delay=1, **{"unit": "B", "unit_scale": True, **shown}) as bar:

        def seen(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield seen
