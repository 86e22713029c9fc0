"""Figures draw the numbers of their table, can be read on a page, and a color means one arm."""

import json
from itertools import combinations, product
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import svg_text
from matplotlib.colors import to_hex, to_rgb

from latentsr import plots
from latentsr.autoencoders import registry

matplotlib.use("agg")
SETS = {name: {"is_phantom": True, "n_test_subjects": 4, "subject_word": "exam"} for name in "abc"}
TITLES = {name: plots.set_title(name, fact) for name, fact in SETS.items()}
ROOT = Path(__file__).parents[1]
# what red-green blind eyes see of linear RGB: Machado, Oliveira & Fernandes 2009, severity 1, as
# machado_et_al_2009_matrix of colorspacious 1.1.2 gives it
BLIND = {
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
}


DRAWN = ("natural-f8c4", "phantom-f8c4", "natural-f4c3", "phantom-f4c3", "bicubic")
VAES = ["natural-f8c4", "phantom-f4c3"]
ARMS = ["released", "lr_pixels"]


@pytest.fixture(autouse=True)
def style():
    plots.set_style()
    yield
    plt.close("all")


@pytest.fixture
def table(rng):
    rows = [
        {"dataset": name, "arm": arm, "vae": vae, "steps": steps}
        for name, arm, vae, steps in product(TITLES, ARMS, VAES, (1, 10, 100))
    ]
    table = pd.DataFrame(rows)
    table["psnr_db"] = rng.uniform(20, 30, len(table))
    return table.assign(
        low=table["psnr_db"] - 1, high=table["psnr_db"] + 2, n_images=8, n_subjects=4
    )


def marks(axis):
    """Return x, y and color of every mark that has a place."""
    return sorted(
        (*point, to_hex(line.get_color()))
        for line in axis.lines
        if line.get_marker() in set("osD^") and len(line.get_xdata())
        for point in line.get_xydata().tolist()
    )


def segments(axis):
    """Return both ends of every interval of an axis."""
    return [
        part for lines in axis.collections for part in np.round(lines.get_segments(), 9).tolist()
    ]


def test_lines_draw_each_point_and_interval_in_the_panel_of_its_set(table):
    looks = {"released": {"ls": ":", "mfc": "white"}}
    figure = plots.lines(
        table, "steps", "psnr_db", color="vae", style="arm", styles=looks, col="dataset",
        titles=TITLES, xlabel="steps", ylabel="PSNR, dB", log="x",
    )  # fmt: skip
    for axis, name in zip(figure.axes, TITLES, strict=True):
        rows = table[table["dataset"] == name]
        expected = zip(
            rows["steps"], rows["psnr_db"], rows["vae"].map(plots.colors(VAES)), strict=True
        )
        assert marks(axis) == sorted((x, y, tone.lower()) for x, y, tone in expected)
        ends = {(x, low, high) for (x, low), (_, high) in segments(axis)}
        assert ends == set(
            rows[["steps", "low", "high"]].round(9).itertuples(index=False, name=None)
        )
        assert axis.get_title("left") == TITLES[name]
        assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "10", "100"]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [*VAES, "as released", "LR pixels"]


@pytest.mark.parametrize("is_upright", [False, True])
@pytest.mark.parametrize("bars", [False, True])
def test_intervals_have_a_place_each_category_the_first_on_top(table, is_upright, bars):
    table = table[table["steps"] == 1]
    names = {"lr_pixels": "pixels", "released": "authors"}
    figure = plots.intervals(
        table, "psnr_db", "arm", names=names, color="vae", col="dataset", titles=TITLES,
        is_upright=is_upright, bars=bars, label="PSNR, dB",
    )  # fmt: skip
    for axis, name in zip(figure.axes, TITLES, strict=True):
        places = axis.xaxis if is_upright else axis.yaxis
        if is_upright or name == "a":  # panels beside one another share their labels
            labels = [text.get_text() for text in places.get_ticklabels()]
            assert labels == list(names.values())
        assert is_upright or axis.get_ylim()[0] > axis.get_ylim()[1]
        rows = table[table["dataset"] == name]
        drawn = [patch.get_height() if is_upright else patch.get_width() for patch in axis.patches]
        if not bars:
            points = [(y, x) if is_upright else (x, y) for x, y, _ in marks(axis)]
            assert [round(y) for _, y in sorted(points)] == [
                list(names).index(arm) for arm in rows.sort_values("psnr_db")["arm"]
            ]
            drawn = [value for value, _ in points]
        assert sorted(drawn) == pytest.approx(sorted(rows["psnr_db"]))
        value = 1 if is_upright else 0
        ends = sorted((low[value], high[value]) for low, high in segments(axis))
        assert ends == sorted(rows[["low", "high"]].round(9).itertuples(index=False, name=None))


def test_a_group_has_a_bold_heading_over_its_categories():
    table = pd.DataFrame({"group": list("aab"), "arm": list("xyx"), "gap": [1.0, 2.0, 3.0]})
    headings = {"a": "first\n(8 images)", "b": "second"}
    (axis,) = plots.intervals(table, "gap", "arm", group="group", headings=headings).axes
    labels = axis.get_yticklabels()
    texts = ["first", "(8 images)", "x", "y", "second", "x"]
    assert [label.get_text() for label in labels] == texts
    assert [label.get_weight() for label in labels] == [
        "bold" if text in ("first", "(8 images)", "second") else "normal" for text in texts
    ]
    assert [point[:2] for point in marks(axis)] == [(1, 2), (2, 3), (3, 5)]
    assert {point[2] for point in marks(axis)} == {"#000000"}  # a gap is no arm's


def test_many_points_that_nothing_joins_have_marks():
    table = pd.DataFrame({"mean": range(50), "difference": 1.0, "vae": VAES[0]})
    looks = {VAES[0]: {"ls": ""}}
    figure = plots.lines(table, "mean", "difference", color="vae", styles=looks)
    assert [x for x, _, _ in marks(figure.axes[0])] == list(range(50))
    bare = plots.lines(table, "mean", "difference", color="vae")
    assert not marks(bare.axes[0])


def test_references_margins_and_zero_are_drawn_across(table):
    levels = {"bicubic": pd.Series({"a": 21.0, "b": 22.0, "c": 23.0}), "all": 25.0}
    figure = plots.lines(
        table, "steps", "psnr_db", col="dataset", titles=TITLES, zero=0, references=levels,
        margins=[0.15],
    )  # fmt: skip
    for axis, level in zip(figure.axes, levels["bicubic"], strict=True):
        across = [line.get_ydata()[0] for line in axis.lines if list(line.get_xdata()) == [0, 1]]
        assert across == [0, level, 25]
        (band,) = axis.patches
        assert (band.get_y(), band.get_height()) == (-0.15, 0.3)


def test_primitives_draw_into_panels_that_are_there(table):
    figure, axes = plots.panels({"": "left", "r": "right"}, 3)
    plots.lines(table, "steps", "psnr_db", on=axes[0, 1], ylabel="dB")
    assert not axes[0, 0].lines and len(marks(axes[0, 1])) == len(table)
    assert axes[0, 1].get_ylabel() == "dB"


def test_violins_join_the_units_of_a_pair(rng):
    rows = [{"arm": "released", "vae": v, "subject_id": k} for v, k in product(VAES, range(8))]
    table = pd.DataFrame(rows).assign(psnr_db=rng.uniform(20, 30, 16))
    (axis,) = plots.violins(table, "psnr_db", "arm", "vae", "subject_id").axes
    wide = table.pivot(index="subject_id", columns="vae", values="psnr_db")[VAES]
    joined = [line.get_ydata().tolist() for line in axis.lines if line.get_lw() < 1]
    assert joined == wide.to_numpy().tolist()
    means = {
        to_hex(line.get_color()): line.get_ydata()[0]
        for line in axis.lines
        if line.get_marker() == "o"
    }
    assert means == {
        plots.colors(VAES)[vae].lower(): pytest.approx(wide[vae].mean()) for vae in VAES
    }
    assert len(axis.collections) == len(VAES)


def test_images_have_one_grey_scale_and_long_rows_go_on_below():
    rows = {"a": {f"image {k}": np.full((8, 8), k / 10) for k in range(7)}}
    figure = plots.images(rows, {"a": "a phantoms"})
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title("left") for axis in shown] == list(rows["a"])
    assert {axis.images[0].get_clim() for axis in shown} == {(0, 1)}
    assert [axis.get_subplotspec().rowspan.start for axis in shown] == [0] * 4 + [1] * 3
    assert figure.axes[0].texts[0].get_text() == "a phantoms"
    maps = plots.images(
        {"a": {"x": np.full((8, 8), 0.2), "y": np.full((8, 8), 0.4)}}, scale="share"
    )
    assert {axis.images[0].get_clim() for axis in maps.axes if axis.images} == {(0, 0.4)}


def test_errors_have_a_scale_each_row_and_a_bar_that_ends_at_its_largest():
    true = np.full((20, 20), 0.5)
    rows = {"knee": (0.1, -0.4), "chest": (0.02, 0.05)}
    images = {name: {"HR": true, "a": true + a, "b": true + b} for name, (a, b) in rows.items()}
    axes = plots.error_images(images).axes
    for number, off in enumerate(rows.values()):
        most = max(map(abs, off))
        bare, *below = axes[6 * number + 3 : 6 * number + 6]  # under HR, and under two arms
        for axis, value in zip(below, off, strict=True):
            assert axis.images[0].get_clim() == (0, pytest.approx(most))
            assert np.allclose(axis.images[0].get_array(), abs(value))
        (bar,) = bare.child_axes
        assert bar.get_ylim() == (0, pytest.approx(most))


def test_a_figure_is_saved_with_its_table_its_words_and_its_n(tmp_path, table):
    figure = plots.lines(table, "steps", "psnr_db", color="vae")
    plots.save(figure, tmp_path, "04_x", "PSNR,\n along steps.", table, "psnr_db", "{:+.1f} dB")
    folder = tmp_path / "figures/04"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"04_x.{kind}" for kind in ("csv", "json", "png", "svg", "txt")
    ]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "04_x.csv"), table)
    least, most = table["psnr_db"].min(), table["psnr_db"].max()
    words = (folder / "04_x.txt").read_text()
    assert (
        words.startswith(f"PSNR, along steps. {least:+.1f} dB (")
        and f"to {most:+.1f} dB (" in words
    )
    assert words.endswith(f"intervals above zero: {len(table)}, below: 0, of {len(table)}.\n")
    n = [{"dataset": name, "n_subjects": 4, "n_images": 8} for name in TITLES]
    assert json.loads((folder / "04_x.json").read_text()) == n
    plots.save(figure, tmp_path, "04_y", "A formula.", table[["steps", "psnr_db"]])
    assert json.loads((folder / "04_y.json").read_text()) == []
    assert (folder / "04_y.svg").read_bytes() == (folder / "04_x.svg").read_bytes()


@pytest.mark.parametrize("sets", [1, 2, 3, 5])
def test_type_can_be_read_on_a_page_and_is_neither_cut_nor_covered(tmp_path, sets):
    fact = {"is_phantom": False, "n_test_images": 8, "split_by": "image"}
    titles = {f"set {k}": plots.set_title(f"my own images {k}", fact) for k in range(sets)}
    rows = product(titles, plots.CONDITION_LABELS, [*VAES, "my own long autoencoder"], (1, 1e4))
    table = pd.DataFrame(rows, columns=["dataset", "arm", "vae", "loss"])
    table = table.assign(low=table["loss"] / 2, high=table["loss"] * 2, steps=table["loss"])
    shared = {"color": "vae", "col": "dataset", "titles": titles}
    names = plots.CONDITION_LABELS
    figures = {
        "04_lines": plots.lines(
            table, "steps", "loss", xlabel="steps", ylabel="L1", log="xy", **shared
        ),
        "04_beside": plots.intervals(table, "loss", "arm", names=names, label="dB", **shared),
        "04_upright": plots.intervals(
            table, "loss", "arm", names=names, label="dB", is_upright=True, **shared
        ),
    }
    for name, figure in figures.items():
        plots.save(figure, tmp_path, name, "Words.", table)
        path = tmp_path / "figures/04" / f"{name}.svg"
        assert svg_text.smallest_px(path)[0] >= 9
        assert not svg_text.faults(path)


def test_overlapping_and_clipped_type_is_noticed(tmp_path):
    figure = plt.figure(figsize=(4, 2))
    for place, text in (((0.1, 0.5), "one"), ((0.12, 0.5), "two"), ((0.95, 0.8), "too far right")):
        figure.text(*place, text)
    figure.savefig(tmp_path / "x.svg")
    assert svg_text.faults(tmp_path / "x.svg") == ["cut: too far right", "over: one / two"]


def test_a_table_in_words_keeps_its_numbers():
    table = pd.DataFrame({"lr_pixels": [1.0]}, index=pd.Index(["released - lr_pixels"], name="arm"))
    worded = plots.worded(table)
    assert worded.index[0] == "as released - LR pixels" and list(worded) == ["LR pixels"]
    assert worded.to_numpy().tolist() == [[1.0]]


def test_an_arms_color_is_no_other_things():
    arms = {tone.lower() for tone in plots.colors(DRAWN).values()}
    assert not arms & {tone.lower() for tone in (*plots.TONES, *registry.FREE_COLORS)}
    own = ("plots/style.py", "autoencoders/registry.py")
    files = [*ROOT.glob("latentsr/**/*.py"), *ROOT.glob("notebooks/**/*.ipynb")]
    for path in set(files) - {ROOT / "latentsr" / name for name in own}:
        text = path.read_text()
        if path.suffix == ".ipynb":
            text = "".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        assert not [tone for tone in arms if tone in text.lower()], path


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize("names", ["arms", "tones"])
def test_colors_differ_for_red_green_blind_eyes(kind, names):
    tones = {"arms": list(plots.colors(DRAWN).values()), "tones": plots.TONES}[names]
    rgb = np.array([to_rgb(tone) for tone in tones])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    perceived = (
        np.clip(linear @ np.array(BLIND[kind].split(), float).reshape(3, 3).T, 0, 1)
        @ xyz.T
        / [0.9505, 1, 1.089]
    )
    root = np.where(perceived > 0.008856, np.cbrt(perceived), 7.787 * perceived + 16 / 116)
    lightness, a = 116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1])
    lab = np.stack([lightness, a, 200 * (root[:, 1] - root[:, 2])], axis=1)  # CIELAB
    assert min(np.linalg.norm(x - y) for x, y in combinations(lab, 2)) > 15
