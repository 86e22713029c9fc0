"""One quantity has one tone in all figures, and no tone means two."""

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from latentsr import charts, figures

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


def test_a_gap_is_black():
    rows = {"measure": ["a", "b"], "dataset": "knee", "arm": "released", "mean_difference": 1.0}
    table = pd.DataFrame({**rows, "low": 0.5, "high": 1.5})
    figure = charts.gap_forest(table, ["a", "b"], 0.1, TITLES)
    assert {to_hex(line.get_color()) for axis in figure.axes for line in axis.lines} == {BLACK}


def test_effects_are_black_with_a_face_each():
    effects = pd.DataFrame({"effect": list(charts.EFFECTS), "estimate": 1.0})
    table = effects.assign(dataset="knee", lr_condition="lr_pixels", low=0.5, high=1.5)
    axis = charts.effects(table, ["lr_pixels"], TITLES).axes[0]
    marks = [line for line in axis.lines if line.get_marker() in "os^"]
    assert {to_hex(mark.get_color()) for mark in marks} == {BLACK}
    faces = {to_hex(mark.get_markerfacecolor()) for mark in marks}
    assert faces == {BLACK, "#ffffff", "#999999"}


def test_the_plane_of_one_noise_has_no_hollow_points_and_ticks_as_far_as_its_walks():
    from latentsr import curves

    rows = [
        {"vae": vae, "walk": "spaced", "T": T, "psnr_db": 20 + T / 50, "gmsd": 0.2 + T / 900}
        for vae in ("natural-f8c4", "phantom-f4c3")
        for T in (1, 10, 50)
    ]
    walks = pd.DataFrame(rows).assign(noise="noise 1")
    labels = {}
    for name, table in {
        "one": walks,
        "two": pd.concat([walks, walks.assign(noise="half")]),
    }.items():
        figure = curves.perception_distortion(table, "knee")
        labels[name] = figure.axes[0].get_legend_handles_labels()[1]
        assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["1", "10", "100"]
    assert set(labels["two"]) - set(labels["one"]) == {"from full noise", "from half the noise"}
