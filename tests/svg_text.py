"""Type of a saved figure, read from its SVG: an outside look at what `plots.save` promises."""

import html
import re
from functools import cache
from itertools import combinations
from pathlib import Path

from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.textpath import TextPath

FAMILIES = ["Arial", "Liberation Sans", "DejaVu Sans"]  # seaborn's order
TEXT = re.compile(r'<!-- (.*?) -->\s*<g[^>]*?transform="([^"]*)">(.*?)</g>', re.S)


@cache
def extent(text):
    """Return left, bottom, right, top of a text of 100 points."""
    there = {font.name for font in fontManager.ttflist}
    font = FontProperties(family=next(name for name in FAMILIES if name in there))
    return TextPath((0, 0), text, size=100, prop=font).get_extents().extents


def texts(path: Path):
    """Return width and height in points, and of every text its size and its box."""
    svg, found = path.read_text(), []
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    for words, place, glyphs in TEXT.findall(svg):
        x, y = map(float, re.search(r"translate\(([-\d.]+) ([-\d.]+)\)", place).groups())
        scale = float(re.search(r"scale\(([-\d.]+)", place).group(1))
        turned = "rotate(-90)" in place
        text = html.unescape(words)
        left, low, right, top = (scale * end for end in extent(text))
        box = (
            (x - top, y - right, x - low, y - left)
            if turned
            else (x + left, y - top, x + right, y - low)
        )
        smallest = min(
            [1.0, *map(float, re.findall(r"<use [^>]*scale\(([\d.]+)\)", glyphs))]
        )  # exponents
        found.append((text, 100 * scale * smallest, box))
    return (*map(float, size.groups()), found)


def smallest_px(path: Path, page_px=700):
    """Return the least size of type where the figure is shown, and whose it is."""
    width, _, found = texts(path)
    shown = min(page_px / width, 100 / 72)  # px a point; at most 100 dots an inch
    return min(((size * shown, text) for text, size, _ in found), default=(page_px, ""))


def faults(path: Path):
    """List texts that leave the figure or lie over one another."""
    width, height, found = texts(path)
    told = [
        f"cut: {text}"
        for text, _, (left, top, right, low) in found
        if left < -1 or top < -1 or right > width + 1 or low > height + 1
    ]
    for (one, _, a), (other, _, b) in combinations(found, 2):
        across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        told += [f"over: {one} / {other}"] if min(across, down) > 0.3 else []
    return told
