"""The results as one PDF, printed by a headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGES = ("intro", "claims", "generated/results")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOW_TO_GET = "install it with `apt-get install chromium`, or name one in CHROMIUM"
OPTIONS = "--headless --no-sandbox --disable-gpu --no-pdf-header-footer"
OPTIONS += " --generate-pdf-document-outline --virtual-time-budget=60000"
DOUBLED = re.compile(rb"/Title (?:\(((?:\\.|[^()\\]){4,})\1\)|<FEFF([0-9A-F]{8,})\2>)")
LOCAL = re.compile(r' href="(?!#|https?:)[^"]*"')


def find_chromium() -> str:
    """Return the browser's command: that of the variable CHROMIUM, or the first that is here."""
    named = os.environ.get("CHROMIUM")
    command = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
    if not command:
        raise ValueError(f"chromium: {named or 'none'} is not a command here; {HOW_TO_GET}")
    return command


def article(page: Path, root: Path) -> str:
    """Return the text of a page, its files named from the book's root, links to pages taken out.

    A link to a page would carry this machine's folders into the PDF.
    """
    match = re.search(r'<article class="bd-article".*?</article>', page.read_text(), re.S)
    if not match:
        raise ValueError(f"{page}: no article in it; build the book again with `make book`")
    up = "../" * len(page.relative_to(root).parts[1:])
    text = re.sub(rf'(src|data)="{re.escape(up)}', r'\1="', match[0]) if up else match[0]
    return LOCAL.sub("", text)


def joined(root: Path) -> str:
    """Return the first page with the articles of all `PAGES` in place of its own."""
    articles = "\n".join(article(root / f"{name}.html", root) for name in PAGES)
    before, _, rest = (root / "intro.html").read_text().partition('<article class="bd-article"')
    return before + articles + rest.partition("</article>")[2]


def once(data: bytes) -> bytes:
    """Return a PDF whose bookmarks read "X" where Chromium wrote "XX", its length unchanged.

    Chromium writes a heading that moves to the next sheet twice.

    >>> once(b"/Title (DataData)")
    b'/Title (Data)    '
    """

    def half(match: re.Match[bytes]) -> bytes:
        title = b"/Title (%b)" % match[1] if match[1] else b"/Title <FEFF%b>" % match[2]
        return title.ljust(len(match[0]))

    return DOUBLED.sub(half, data)


def write(root: Path, out: Path) -> Path:
    """Print the articles of `PAGES` of the built book in ``root`` to ``out``.

    Raises
    ------
    ValueError
        When there is no book or no browser, or the browser fails.
    """
    for name in PAGES:
        if not (root / f"{name}.html").exists():
            raise ValueError(f"{root / name}.html: not there; run `make repro` or `make book`")
    browser = find_chromium()
    out.parent.mkdir(parents=True, exist_ok=True)
    page = root / "print.html"  # beside the files that it names
    page.write_text(joined(root))
    try:
        with tempfile.TemporaryDirectory() as profile:
            places = [f"--user-data-dir={profile}", f"--print-to-pdf={out.resolve()}"]
            command = [browser, *OPTIONS.split(), *places, page.resolve().as_uri()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    finally:
        page.unlink()
    if done.returncode or not out.exists():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"{browser}: no PDF was written ({reason})")
    out.write_bytes(once(out.read_bytes()))
    return out


def main() -> None:
    """Print the published book to book/_build/results.pdf."""
    try:
        if unknown := sys.argv[1:]:
            raise ValueError(f"{unknown[0]}: unknown; the command takes no arguments")
        print(write(Path("book/_build/html"), Path("book/_build/results.pdf")))
    except (ValueError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
