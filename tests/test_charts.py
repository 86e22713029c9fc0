"""One quantity has one tone in all figures, and no tone means two."""

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from latentsr.plots import charts, forests
from latentsr.plots import style as figures

matplotlib.use("agg")
TITLES = {"knee": "knee phantoms"}
BLACK = "#000000"


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_seen_and_denoised_keep_their_tones_to_themselves():
    seen, denoised = charts.PARTS["condition"], charts.PARTS["target"]
    others = [face for _, face in (*charts.EFFECTS.values(), *charts.CONDITIONS.values())]
    assert len({charts.PARTS["gap"], seen, denoised}) == 3
    assert not {seen, denoised} & {*others, charts.GAP, *figures.COLOURS.values()}


def test_marks_tell_effects_and_conditions_apart():
    for looks in (charts.EFFECTS, charts.CONDITIONS):
        assert len({mark for mark, _ in looks.values()}) == len(looks)
    assert set(figures.CONDITION_LABELS) == set(charts.CONDITIONS)


def test_effects_are_black_with_a_face_each():
    effects = pd.DataFrame({"effect": list(charts.EFFECTS), "estimate": 1.0})
    table = effects.assign(dataset="knee", lr_condition="lr_pixels", low=0.5, high=1.5)
    axis = charts.effects(table, ["lr_pixels"], TITLES).axes[0]
    marks = [line for line in axis.lines if line.get_marker() in "os^"]
    assert {to_hex(mark.get_color()) for mark in marks} == {BLACK}
    faces = {to_hex(mark.get_markerfacecolor()) for mark in marks}
    assert faces == {BLACK, "#ffffff", "#999999"}


def split(level):
    parts = pd.DataFrame({"effect": list(charts.SPLIT), "estimate": level})
    return parts.assign(dataset="knee", low=parts.estimate - 0.2, high=parts.estimate + 0.1)


def test_the_interaction_is_drawn_below_what_adds_up():
    main, seen = ["natural-f8c4", "phantom-f4c3"], ["latent of natural-f8c4", "lr_pixels"]
    index = pd.MultiIndex.from_product([["knee"], main, seen], names=["dataset", "vae", "seen"])
    level = pd.Series([20.0, 22.0, 21.0, 23.0], index=index)
    parts = split([1.0, 1.5, -0.5, 0.3])
    figure = charts.target_condition(level, parts, {"knee": 21.5}, main, seen, TITLES)
    below = figure.axes[1]
    names = [text.get_text() for text in below.get_yticklabels()]
    assert names == ["gap, own LR latents", "= seen", "+ denoised", "interaction"]
    above = figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
    assert above == f"{TITLES['knee']}\nseen +1.5, denoised -0.5 dB"
    assert [bar.get_width() for bar in below.patches] == [1.0, 1.5, -0.5, 0.3]
    (bars,) = below.collections
    ends = [(a[0], b[0]) for a, b in bars.get_segments()]
    assert ends == [pytest.approx(one) for one in zip(parts.low, parts.high, strict=True)]


def test_a_forest_has_headings_and_a_line_from_each_groups_first():
    arms = ["released", "released, but grid", "to grid", "to schedule"]
    table = pd.DataFrame({"arm": arms, "dataset": "knee", "gap": [1.0, 2.0, 2.0, 3.0]})
    table = table.assign(low=table.gap - 0.1, high=table.gap + 0.2)
    groups = {
        "alone": {"released": "none", "released, but grid": "grid"},
        "ladder": {"released": "none", "to grid": "+ grid", "to schedule": "+ schedule"},
    }
    (axis,) = forests.forest(table, TITLES, "gap, dB", groups=groups).axes
    labels = axis.get_yticklabels()
    told = ["alone", "none", "grid", "ladder", "none", "+ grid", "+ schedule"]
    assert [label.get_text() for label in labels] == told
    assert [t for t, label in zip(told, labels, strict=True) if label.get_weight() == "bold"] == [
        "alone",
        "ladder",
    ]
    dotted = [line for line in axis.lines if line.get_linestyle() == ":"]
    assert [line.get_xydata().tolist() for line in dotted] == [
        [[1, 1], [1, 2]],
        [[1, 4], [1, 6]],
    ]
    points = next(line for line in axis.lines if line.get_marker() == "o")
    assert points.get_xdata()[[1, 2, 4, 5, 6]].tolist() == [1, 2, 1, 2, 3]
    (plain,) = forests.forest(table, TITLES, "gap, dB").axes
    assert [label.get_text() for label in plain.get_yticklabels()] == arms
    assert all(label.get_weight() == "normal" for label in plain.get_yticklabels())
    assert not [line for line in plain.lines if line.get_linestyle() == ":"]
