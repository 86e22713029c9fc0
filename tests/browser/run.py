"""`make test-browser`: get what the browser test needs, choose a book, run the test."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from hashlib import sha256
from pathlib import Path

from latentsr.companion.book import pdf
from latentsr.companion.pipeline import params

AXE = "4.14.1"
AXE_SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
AXE_URL = f"https://registry.npmjs.org/axe-core/-/axe-core-{AXE}.tgz"
TOOLS, SMOKE_BOOK = Path(".scratch/browser"), Path(".scratch/smoke-book")
OPTIONAL = (
    "LATENTSR_BROWSER_OPTIONAL"  # set by .ci/run: what cannot be installed is no failure there
)


class Missing(ValueError):
    """What this machine lacks and cannot get."""


def quietly(command: list[str], what: str) -> None:
    """Run a command; if it fails, raise its last words in one line."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise Missing(f"{what}: not installed ({said})")


def get_chromium() -> None:
    """Install Debian's chromium where this user may."""
    try:
        pdf.find_chromium()
    except ValueError as error:
        if os.environ.get("CHROMIUM") or os.geteuid() or not shutil.which("apt-get"):
            raise Missing(str(error)) from None
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60"]
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
        subprocess.run([*apt, "update"], capture_output=True)
        install = [*apt, "install", "-y", "--no-install-recommends", "chromium"]
        quietly(install, f"chromium: {pdf.HOW_TO_GET}")


def get_playwright() -> None:
    """Install the pinned driver into this environment."""
    if not importlib.util.find_spec("playwright"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "-c", "constraints.txt"]
        quietly([*pip, "playwright"], "playwright")


def get_axe() -> None:
    """Fetch axe-core by npm, or without npm from npm's registry, and check what came."""
    if (TOOLS / "axe.min.js").exists() and (TOOLS / "version").read_text() == AXE:
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    archive = TOOLS / f"axe-core-{AXE}.tgz"
    if shutil.which("npm"):
        pack = ["npm", "pack", f"axe-core@{AXE}", "--silent", "--pack-destination", str(TOOLS)]
        quietly(pack, "axe-core")
    else:
        try:
            with urllib.request.urlopen(AXE_URL, timeout=60) as answer:
                archive.write_bytes(answer.read())
        except OSError as error:
            raise Missing(f"{AXE_URL}: not fetched ({error})") from None
    found = sha256(archive.read_bytes()).hexdigest()
    if found != AXE_SHA256:
        raise ValueError(f"{archive}: sha256 is {found}, not {AXE_SHA256}; delete it, try again")
    with tarfile.open(archive) as files:
        script = files.extractfile("package/axe.min.js")
        (TOOLS / "axe.min.js").write_bytes(script.read() if script else b"")
    (TOOLS / "version").write_text(AXE)
    archive.unlink()


def choose_book() -> Path:
    """Return the published book, else that of the current results, else one of the smoke run."""
    results = Path("results") / params.read(Path("params.yaml"))["profile"] / "book"
    for folder in (Path("book/_build/html"), results, SMOKE_BOOK):
        if (folder / "intro.html").exists():
            return folder
    from latentsr.companion.pipeline import repro

    shutil.copytree(repro.smoke() / "book", SMOKE_BOOK)
    return SMOKE_BOOK


def main() -> None:
    """Run the browser test."""
    try:
        get_chromium()
        get_playwright()
        get_axe()
        os.environ["LATENTSR_BOOK"] = str(book := choose_book().resolve())
    except (ValueError, OSError) as error:
        if not (isinstance(error, Missing) and os.environ.get(OPTIONAL)):
            sys.exit(f"test-browser: {error}")
        print(f"no browser test: {error}")
        return
    print(f"testing {book}", flush=True)
    command = [sys.executable, "-m", "pytest", "tests/browser", "-n", "2", "--dist", "loadscope"]
    sys.exit(subprocess.run([*command, *sys.argv[1:]]).returncode)


if __name__ == "__main__":
    main()
