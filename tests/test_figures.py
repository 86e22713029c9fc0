"""Every figure can be read on a page, and a colour means one arm."""

import json
from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import svg_text
from matplotlib.colors import to_rgb

from latentsr.plots import style as figures

matplotlib.use("agg")
ROOT = Path(__file__).parents[1]
# what red-green blind eyes see of linear RGB: Machado, Oliveira & Fernandes 2009, severity 1, as
# machado_et_al_2009_matrix of colorspacious 1.1.2 gives it
BLIND = {
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
}


@pytest.fixture(autouse=True)
def style():
    figures.style()
    yield
    plt.close("all")


def draw(width_inch, size):
    figure, axes = plt.subplots(1, 2, figsize=(width_inch, 3))
    axes[0].semilogy([1, 1e6])
    axes[0].tick_params(labelsize=size)
    axes[0].set_title("small", fontsize=size)
    axes[1].text(0.2, 0.5, "a note", fontsize=size)
    return figure


@pytest.mark.parametrize("width_inch", [5, 7.2, 14])
def test_no_type_is_smaller_than_9_px_on_a_page(tmp_path, width_inch):
    figure = draw(width_inch, 4)
    figure.savefig(tmp_path / "bare.svg")
    assert svg_text.smallest_px(tmp_path / "bare.svg")[0] < 6
    figures.save(figure, tmp_path, "04_x", "Words.")
    assert svg_text.smallest_px(tmp_path / "figures/04/04_x.svg")[0] >= 9
    assert not svg_text.faults(tmp_path / "figures/04/04_x.svg")


def test_large_type_stays_as_it_was(tmp_path):
    figures.save(draw(7, 13), tmp_path, "04_x", "Words.")
    sizes = {text: size for text, size, _ in svg_text.texts(tmp_path / "figures/04/04_x.svg")[2]}
    assert sizes["small"] == sizes["a note"] == pytest.approx(13)


@pytest.mark.parametrize("sets", [1, 2, 3, 4, 5])
def test_long_titles_of_panels_are_broken_not_cut(tmp_path, sets):
    fact = {"is_phantom": False, "n_test_images": 8, "split_by": "image"}
    titles = {f"set {k}": figures.heading(f"my own images {k}", fact) for k in range(sets)}
    figure, axes = figures.panels(titles, 3, sharey=True)
    for axis, title in zip(axes[0], titles.values(), strict=True):
        axis.plot([20, 30], label="an arm")
        axis.set_title(title)
    figures.label_below(axes, "PSNR, dB")
    figures.legend_below(figure, axes[0, 0])
    figures.save(figure, tmp_path, "04_x", "Words.")
    assert svg_text.smallest_px(tmp_path / "figures/04/04_x.svg")[0] >= 9
    assert not svg_text.faults(tmp_path / "figures/04/04_x.svg")


def test_overlapping_and_clipped_type_is_seen(tmp_path):
    figure = plt.figure(figsize=(4, 2))
    for place, text in (((0.1, 0.5), "one"), ((0.12, 0.5), "two"), ((0.95, 0.8), "too far right")):
        figure.text(*place, text)
    figure.savefig(tmp_path / "x.svg")
    assert svg_text.faults(tmp_path / "x.svg") == ["cut: too far right", "over: one / two"]


def test_an_arms_colour_is_no_other_things():
    arms = {tone.lower() for tone in figures.COLOURS.values()}
    assert not arms & {tone.lower() for tone in (*figures.TONES, *figures.OTHERS)}
    own = ("plots/style.py", "plots/theme.py", "autoencoders/registry.py")
    files = [*ROOT.glob("latentsr/**/*.py"), *ROOT.glob("notebooks/**/*.ipynb")]
    for path in set(files) - {ROOT / "latentsr" / name for name in own}:
        text = path.read_text()
        if path.suffix == ".ipynb":
            text = "".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        assert not [tone for tone in arms if tone in text.lower()], path


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("names", ["arms", "tones"])
def test_colours_stay_apart_for_red_green_blind_eyes(kind, names):
    arms = ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3", "bicubic")
    tones = {"arms": [figures.COLOURS[arm] for arm in arms], "tones": figures.TONES}[names]
    rgb = np.array([to_rgb(tone) for tone in tones])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    seen = (
        np.clip(linear @ np.array(BLIND[kind].split(), float).reshape(3, 3).T, 0, 1)
        @ xyz.T
        / [0.9505, 1, 1.089]
    )
    root = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116)
    lightness, a = 116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1])
    lab = np.stack([lightness, a, 200 * (root[:, 1] - root[:, 2])], axis=1)  # CIELAB
    assert min(np.linalg.norm(x - y) for x, y in combinations(lab, 2)) > 15
