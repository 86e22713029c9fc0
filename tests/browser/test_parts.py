"""The parts of the book that move: sliders, search, buttons, folded parts, paper."""

import re

import pytest
from visits import BOOK

from latentsr.companion.book import pdf

INTRO = f"file://{BOOK}/intro.html"
LIVE = ".compare-live"
# Sphinx's search reads an extract of each page found, which browsers forbid to pages from files.
APART = re.compile(r"^Access to fetch at 'file:|^lost file:|^Failed to (load resource|fetch)")


@pytest.fixture
def slider(visiting):
    """Open the first page at its first slider."""
    with visiting(has_touch=True) as visit:
        visit.open(INTRO)
        yield visit.page.locator(LIVE).first


def at(slider) -> float:
    """Return where the line stands and make sure that the picture is cut there."""
    value = slider.locator("input").input_value()
    cut = slider.locator("img").nth(1).evaluate("image => getComputedStyle(image).clipPath")
    assert cut == f"inset(0px {100 - float(value):g}% 0px 0px)"
    return float(value)


def test_the_keyboard_moves_the_line(slider):
    assert at(slider) == 50
    slider.locator("input").focus()
    slider.page.keyboard.press("ArrowRight")
    assert at(slider) == 51
    slider.page.keyboard.press("Home")
    assert at(slider) == 0


def test_the_mouse_drags_the_line(slider):
    slider.scroll_into_view_if_needed()
    box = slider.locator(".compare-stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    slider.page.mouse.move(box["x"] + box["width"] / 2, middle)
    slider.page.mouse.down()
    slider.page.mouse.move(box["x"] + box["width"] / 4, middle, steps=5)
    slider.page.mouse.up()
    assert abs(at(slider) - 25) <= 2
    line = slider.locator(".compare-line").bounding_box()
    assert abs(line["x"] + line["width"] / 2 - box["x"] - box["width"] / 4) <= 0.02 * box["width"]


def test_a_finger_moves_the_line(slider):
    slider.scroll_into_view_if_needed()
    box = slider.locator(".compare-stage").bounding_box()
    slider.page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + box["height"] / 2)
    assert abs(at(slider) - 75) <= 2


def test_another_image_can_be_chosen(slider):
    shown, chosen = slider.locator("img").nth(1), slider.locator("select").first
    before = shown.get_attribute("src")
    titles = chosen.locator("option").all_text_contents()
    assert titles[0].startswith("LR") and titles[-1].startswith("HR")
    chosen.select_option(titles[0])
    assert "_lr." in shown.get_attribute("src") != before
    assert titles[0] in slider.locator("input").get_attribute("aria-valuetext")


@pytest.mark.parametrize("how", ["print", "no script"])
def test_images_stand_side_by_side_without_the_slider(visiting, how):
    with visiting(java_script_enabled=how == "print") as visit:
        visit.page.goto(INTRO)
        visit.page.emulate_media(media="print" if how == "print" else "screen")
        images = visit.page.locator(".compare").first.locator(".compare-image img")
        assert images.count() >= 4
        assert all(image.is_visible() for image in images.all())
        tops = [image.bounding_box()["y"] for image in images.all()]
        assert tops[0] == tops[1]
        assert not any(live.is_visible() for live in visit.page.locator(LIVE).all())


def test_beside_the_slider_stay_lr_bicubic_and_hr(slider):
    block = slider.locator("..")
    beside = [image.get_attribute("src") for image in block.locator(".compare-image img").all()
              if image.is_visible()]  # fmt: skip
    assert len(beside) == 3
    assert all(
        f"_{kind}." in src for kind, src in zip(("lr", "bicubic", "hr"), beside, strict=True)
    )
    stage = slider.locator(".compare-stage").bounding_box()
    above = slider.locator("img").nth(1).bounding_box()
    assert abs(stage["height"] - above["height"]) < 1
    cut = "select => select.scrollWidth > select.clientWidth"
    assert not any(select.evaluate(cut) for select in slider.locator("select").all())


@pytest.mark.parametrize("address", ["intro", "notebooks/04_vae_swap"])
def test_on_a_phone_a_figure_scrolls_in_a_box_with_a_name(visiting, address):
    with visiting() as visit:
        visit.page.set_viewport_size({"width": 390, "height": 844})
        visit.open(f"file://{BOOK}/{address}.html")
        box = visit.page.locator(".sideways").first
        box.scroll_into_view_if_needed()
        assert box.locator("img").bounding_box()["width"] >= 620
        assert box.bounding_box()["width"] <= 390
        assert box.get_attribute("role") == "region" and box.get_attribute("aria-label")
        box.focus()
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_function("() => document.activeElement.scrollLeft > 0")
        visit.page.set_viewport_size({"width": 1300, "height": 900})
        visit.page.wait_for_function("() => !document.querySelector('.sideways[tabindex]')")


def test_a_table_wider_than_a_phone_says_that_it_scrolls(visiting):
    with visiting() as visit:
        visit.page.set_viewport_size({"width": 390, "height": 844})
        visit.open(f"file://{BOOK}/claims.html")
        visit.page.wait_for_function("() => document.querySelector('.wide-table.scrolls')")
        wide = visit.page.locator(".wide-table.scrolls").first
        said = "part => getComputedStyle(part, '::before').content"
        assert "scrolls sideways" in wide.evaluate(said)
        visit.page.set_viewport_size({"width": 1300, "height": 900})
        visit.page.wait_for_function("() => !document.querySelector('.wide-table.scrolls')")


@pytest.mark.parametrize("address", ["04_vae_swap", "08_statistics"])
def test_a_chapter_s_table_says_that_it_scrolls_and_its_labels_leave_room(visiting, address):
    with visiting() as visit:
        visit.page.set_viewport_size({"width": 390, "height": 844})
        visit.open(f"file://{BOOK}/notebooks/{address}.html")
        visit.page.wait_for_function("() => document.querySelector('.cell_output.scrolls')")
        told = """() => [...document.querySelectorAll("div.cell_output table")].map(table => {
            const box = table.closest(".cell_output");
            const labels = table.querySelectorAll("tbody tr:nth-child(1) th");
            return {
                wide: table.scrollWidth > box.clientWidth + 1,
                said: getComputedStyle(box, "::before").content,
                label: Math.max(0, ...[...labels].map(one => one.offsetWidth)) / box.clientWidth,
            };
        })"""
        tables = visit.page.evaluate(told)
        wide = [table for table in tables if table["wide"]]
        assert len(wide) >= 3
        assert all("scrolls sideways" in table["said"] for table in wide)
        assert all(table["label"] < 0.4 for table in tables)


@pytest.mark.parametrize("served", [False, True], ids=["from files", "served"])
def test_search_finds_hallucination(visiting, server, served):
    with visiting() as visit:
        root = server if served else f"file://{BOOK}"
        visit.open(f"{root}/search.html?q=hallucination")
        visit.page.wait_for_selector("#search-results li a")
        titles = visit.page.locator("#search-results li > a").all_text_contents()
        assert any("hallucination" in title.lower() for title in titles)
        assert not visit.left
        told = [error for error in visit.errors if served or not APART.search(error)]
        assert not told


def test_the_reader_can_choose_dark_or_light(visiting):
    with visiting() as visit:
        visit.open(INTRO)
        seen = set()
        for _ in range(3):
            visit.page.locator(".theme-switch-button:visible").click()
            seen.add(visit.page.evaluate("() => document.documentElement.dataset.mode"))
        assert seen == {"light", "dark", "auto"}


def test_paper_leaves_out_menus_and_opens_what_is_folded(visiting):
    with visiting() as visit:
        visit.open(f"file://{BOOK}/generated/results.html")
        visit.page.emulate_media(media="print")
        for part in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer"):
            assert not visit.page.locator(part).first.is_visible(), part
        folded = visit.page.locator("details")
        assert folded.count()
        assert all(part.locator("img").first.is_visible() for part in folded.all())


@pytest.mark.parametrize("page", ["exercises/01_data", "background/L1_autoencoders"])
def test_a_printed_exercise_keeps_its_solution_folded_until_it_is_opened(visiting, page):
    with visiting() as visit:
        visit.open(f"file://{BOOK}/notebooks/{page}.html")
        parts = visit.page.locator("details.solution")
        assert parts.count() >= 3
        parts.first.locator("summary").click()
        visit.page.emulate_media(media="print")
        shown = [part.locator("pre").first.is_visible() for part in parts.all()]
        assert shown == [True] + [False] * (len(shown) - 1)
        assert all(part.locator("summary").is_visible() for part in parts.all())
        checks = visit.page.locator(".tag_check details pre")
        assert checks.count() and not any(check.is_visible() for check in checks.all())


def test_the_pdf_holds_first_page_claims_and_results_and_no_place_of_this_machine(tmp_path):
    data = pdf.write(BOOK, tmp_path / "results.pdf").read_bytes()
    titles = set(re.findall(rb"/Title \(([^)]*)\)", data))
    assert {b"Three doors", b"How to read a verdict", b"1 Data", b"11 Lesions"} <= titles
    assert {b"C1: the swap raises PSNR", b"R1: the gap stays against the true image"} <= titles
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 15
    assert b"file:" not in data


def test_paper_is_light_whatever_the_screen_shows(visiting):
    with visiting(color_scheme="dark") as visit:
        visit.open(f"file://{BOOK}/notebooks/09_screening.html")
        visit.page.add_style_tag(content="* { transition: none !important }")  # at once, to measure
        theme = "() => document.documentElement.dataset.theme"
        assert visit.page.evaluate(theme) == "dark"
        visit.page.evaluate("""() => addEventListener("beforeprint", () => {
            const text = getComputedStyle(document.querySelector("article p")).color;
            window.printed = [getComputedStyle(document.body).backgroundColor, text];
        })""")
        visit.page.pdf(print_background=True)
        ground, text = visit.page.evaluate("() => window.printed")
        assert ground == "rgb(255, 255, 255)"
        assert max(map(int, re.findall(r"\d+", text)[:3])) < 100
        assert visit.page.evaluate(theme) == "dark"


def test_on_paper_every_set_of_the_slider_has_its_name(visiting):
    with visiting() as visit:
        visit.open(INTRO)
        visit.page.emulate_media(media="print")
        names = visit.page.locator(".sd-tab-set > label").all()
        assert len(names) >= 2 and all(name.is_visible() for name in names)
        for name in names:
            below = visit.page.locator(f"#{name.get_attribute('for')}-content .compare-image").first
            assert name.bounding_box()["y"] < below.bounding_box()["y"]
        tops = [name.bounding_box()["y"] for name in names]
        assert tops == sorted(tops) and len(set(tops)) == len(tops)


def test_some_page_has_maths(visiting):
    """If none had, the test of the pages would find all of it set."""
    pages = [p for p in BOOK.rglob("*.html") if 'class="math' in p.read_text()]
    assert pages
    with visiting() as visit:
        visit.open(f"file://{pages[0]}")
        assert visit.page.locator("main mjx-container").count()
        assert visit.page.locator("main mjx-container").first.bounding_box()["width"] > 0


def test_the_cut_holds(visiting):
    """A page that asks somebody is found out."""
    with visiting() as visit:
        visit.page.goto(INTRO)
        visit.page.evaluate("() => fetch('https://example.org/x').catch(() => 0)")
        assert visit.left == ["https://example.org/x"] and visit.errors
