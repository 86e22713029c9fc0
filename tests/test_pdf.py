"""The PDF of the results: what is joined, and what is said when it cannot be printed."""

import os
import shutil
import subprocess
import sys

import pytest

from latentsr.companion.book import pdf

PAGE = '<html><head></head><body><article class="bd-article">\n{}\n</article><nav>n</nav></body></html>'


@pytest.fixture
def book(tmp_path):
    (tmp_path / "generated").mkdir()
    texts = {
        "intro": '<h1>First</h1><a href="claims.html">c</a><a href="#here">h</a>',
        "claims": '<h1>Second</h1><img src="_images/a.png">',
        "generated/results": '<h1>Third</h1><img src="../_images/b.svg">',
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.html").write_text(PAGE.format(text))
    return tmp_path


def test_pages_are_joined_with_their_images_and_without_places_of_this_machine(book):
    text = pdf.joined(book)
    assert text.index("First") < text.index("Second") < text.index("Third")
    assert text.count("<nav>") == 1 and text.count("</article>") == 3
    assert 'src="_images/a.png"' in text and 'src="_images/b.svg"' in text
    assert 'href="#here"' in text and "claims.html" not in text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"/Title (11 Lesions11 Lesions)", b"/Title (11 Lesions)"),
        (rb"/Title (a \(b\)a \(b\))", rb"/Title (a \(b\))"),
        (b"/Title <FEFF0041201400412014>", b"/Title <FEFF00412014>"),
        (b"/Title (11 Lesions)", b"/Title (11 Lesions)"),
        (b"/Title (11)", b"/Title (11)"),
    ],
)
def test_a_bookmark_that_stands_twice_is_halved_in_place(written, read):
    assert pdf.once(written + b"\n/Next") == read.ljust(len(written)) + b"\n/Next"


def test_a_missing_book_or_browser_is_one_line(book, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"nothing/intro.html: not there; run `make repro`"):
        pdf.write(tmp_path / "nothing", tmp_path / "x.pdf")
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    with pytest.raises(ValueError, match=r"no-such-browser is not a command here; install it"):
        pdf.write(book, tmp_path / "x.pdf")


@pytest.mark.skipif(not any(map(shutil.which, pdf.BROWSERS)), reason="no chromium here")
def test_it_prints(book, tmp_path):
    out = pdf.write(book, tmp_path / "x.pdf")
    data = out.read_bytes()
    assert data.startswith(b"%PDF-") and b"file:" not in data
    assert not (book / "print.html").exists()


@pytest.mark.parametrize("optional", [False, True])
def test_without_a_browser_its_test_says_so_in_one_line(optional):
    environment = {**os.environ, "CHROMIUM": "no-such-browser", "PYTHONPATH": "."}
    environment |= {"LATENTSR_BROWSER_OPTIONAL": "1"} if optional else {}
    command = [sys.executable, "tests/browser/run.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == (0 if optional else 1)
    said = (done.stdout + done.stderr).splitlines()
    assert len(said) == 1 and "no-such-browser is not a command here; install it" in said[0]
