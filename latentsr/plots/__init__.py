"""Figures: one style, a handful of primitives, and `save`."""

from latentsr.plots.charts import intervals, lines, violins
from latentsr.plots.images import error_images, image_table, images, overlay
from latentsr.plots.labels import (
    ARM_LABELS,
    CONDITION_LABELS,
    MEASURES,
    in_words,
    pictured,
    set_counts,
    set_label,
    set_title,
    shared_subjects,
    worded,
)
from latentsr.plots.style import (
    NOT_SHOWN,
    PAGE_INCH,
    TONES,
    colors,
    extremes,
    legend_below,
    panels,
    save,
    set_style,
    words,
)

__all__ = [
    "ARM_LABELS",
    "CONDITION_LABELS",
    "MEASURES",
    "NOT_SHOWN",
    "PAGE_INCH",
    "TONES",
    "colors",
    "error_images",
    "extremes",
    "image_table",
    "images",
    "in_words",
    "intervals",
    "legend_below",
    "lines",
    "overlay",
    "panels",
    "pictured",
    "save",
    "set_counts",
    "set_label",
    "set_style",
    "set_title",
    "shared_subjects",
    "violins",
    "worded",
    "words",
]
