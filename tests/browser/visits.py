"""The book under test, and one visit to it."""

import os
from pathlib import Path

BOOK = Path(os.environ.get("LATENTSR_BOOK", "book/_build/html")).resolve()
AXE = Path(".scratch/browser/axe.min.js").resolve()
if not (BOOK / "intro.html").exists() or not AXE.exists():
    raise FileNotFoundError(f"{BOOK} or {AXE}: not there; run `make test-browser`")


class Visit:
    """A page that is open, and what happened while it was."""

    def __init__(self, page):
        self.page, self.errors, self.left = page, [], []

    def open(self, address: str) -> "Visit":
        """Go to an address and wait until its maths is set."""
        self.page.goto(address)
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        return self
