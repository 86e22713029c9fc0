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
