"""A chromium whose network is cut: files and this machine's own server are all it can reach."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from visits import BOOK, Visit

from latentsr.companion.book import pdf


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Nothing is computed here; torch need not be loaded."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of each request."""


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=pdf.find_chromium(),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server():
    """Serve the book as `make serve` does, at a free port."""
    handler = partial(Quiet, directory=str(BOOK))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.fixture(scope="session")
def visiting(browser, server):
    """Return a context manager that opens a window: ``with visiting(color_scheme="dark") as it``."""

    @contextmanager
    def window(**options):
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        visit = Visit(context.new_page())

        def gate(route):
            if route.request.url.startswith(("file://", "data:", "blob:", server)):
                return route.continue_()
            visit.left.append(route.request.url)
            return route.abort()

        def heard(message):
            if message.type == "error":
                visit.errors.append(message.text)

        context.route("**/*", gate)
        visit.page.on("console", heard)
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on("requestfailed", lambda request: visit.errors.append(f"lost {request.url}"))
        yield visit
        context.close()

    return window
