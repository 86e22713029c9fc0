"""Every page of the book, in a browser whose network is cut."""

import re
from functools import cache
from urllib.parse import unquote, urlsplit

import pytest
from visits import AXE, BOOK

PAGES = sorted(
    str(path.relative_to(BOOK))
    for path in BOOK.rglob("*.html")
    if not path.relative_to(BOOK).parts[0].startswith("_") and path != BOOK / "index.html"
)
# What axe-core calls serious and the theme or its extensions write: rule -> (where, why).
THEIRS = {
    "label-content-name-mismatch": (
        (".search-button", ".theme-switch-button", ".nav-link", "theme-switch"),
        "the theme names its search and colour buttons otherwise than the text hidden in them",
    ),
    "aria-required-children": (
        (".citation-list",),
        "docutils gives the bibliography the role of a list and its entries others",
    ),
}
UNSET = r"""() => {
  const found = [];
  const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const apart = "code, pre, script, style, kbd, mjx-container, option";
  const raw = /\\\(|\\\[|\$\$|\$[^\s$][^$]*\$/;
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent;
    if (raw.test(text) && !walk.currentNode.parentElement.closest(apart)) found.push(text.trim());
  }
  for (const part of document.querySelectorAll("main .math")) {
    if (!part.querySelector("mjx-container")) found.push("not set: " + part.textContent);
    if (part.querySelector("mjx-merror")) found.push("error: " + part.textContent);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def window(visiting):
    with visiting() as visit:
        yield visit


@pytest.fixture(scope="module", params=PAGES)
def page(request, window):
    """Open a page once for all its tests."""
    window.errors.clear()
    window.left.clear()
    window.page.set_viewport_size({"width": 1300, "height": 900})
    window.page.emulate_media(color_scheme="light")
    return window.open(f"file://{BOOK}/{request.param}")


@cache
def anchors(path) -> set[str]:
    return set(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text()))


def test_it_loads_without_an_error_and_asks_nobody(page):
    assert page.page.title()
    assert not page.left
    assert not page.errors


def test_every_image_shows(page):
    js = """images => Promise.all(images.map(async image => {
        image.loading = "eager";
        await image.decode().catch(() => 0);
        return image.naturalWidth ? "" : image.src;
    }))"""
    assert not list(filter(None, page.page.eval_on_selector_all("img", js)))


def test_every_link_leads_somewhere(page):
    broken = []
    for link in set(page.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")):
        parts = urlsplit(link)
        if parts.scheme in ("http", "https", "mailto", "javascript"):
            continue
        target = BOOK.__class__(unquote(parts.path))
        name = unquote(parts.fragment)
        if not target.is_file() or (name and name not in anchors(target)):
            broken.append(link)
    assert not broken


def test_all_maths_is_set(page):
    assert not page.page.evaluate(UNSET)


def serious(page, rules=None) -> list[str]:
    """Run axe-core; return what is serious or critical and not the theme's."""
    if not page.page.evaluate("() => Boolean(window.axe)"):
        page.page.evaluate(AXE.read_text())
    options = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found = page.page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not any(mark in str(node["target"]) for mark in THEIRS.get(rule["id"], ((), ""))[0])
    ]


def test_axe_finds_nothing_serious(page):
    assert not serious(page)


def test_dark_mode_is_readable_and_alters_no_image(page):
    page.page.add_style_tag(content="* { transition: none !important }")  # at once, to measure
    page.page.emulate_media(color_scheme="dark")
    page.page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    assert not serious(page, ["color-contrast"])
    filters = "all => [...new Set(all.map(image => getComputedStyle(image).filter))]"
    assert page.page.eval_on_selector_all("main article img", filters) in ([], ["none"])


def test_a_phone_does_not_scroll_sideways(page):
    page.page.set_viewport_size({"width": 390, "height": 844})
    root = "document.documentElement"
    assert page.page.evaluate(f"() => {root}.scrollWidth - {root}.clientWidth") <= 0
