"""Input that is broken, and input that is only odd: one line that names it, or read as lines."""

import re
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
from bad_folders import BAD, FINE, PASSED_OVER
from bad_layouts import ANATOMY, BAD_LAYOUTS, FINE_LAYOUTS, MAKE, VALID, _text
from test_datasets import FOLDER, HOW
from tiny_layouts import folder_of, mrnet_of

from latentsr.datasets import SetEntry, load_set

CASES = {name: ("folder", *case) for name, case in BAD.items()} | BAD_LAYOUTS


def _spoilt(case, layout, tmp_path, monkeypatch):
    root = MAKE[layout](tmp_path / "set")
    if "monkeypatch" in signature(case).parameters:
        case(root, monkeypatch=monkeypatch)
    else:
        case(root)
    return SetEntry(layout, "set", ANATOMY[layout])


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_line_that_names_it(tmp_path, case, monkeypatch):
    layout, spoil, message = CASES[case]
    entry = _spoilt(spoil, layout, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=message) as caught:
        load_set("x", entry, tmp_path, HOW)
    assert "\n" not in str(caught.value) and "set x" in str(caught.value)


@pytest.mark.parametrize("case", FINE_LAYOUTS)
def test_odd_layouts_are_read_as_documented(tmp_path, case, monkeypatch):
    layout, spoil, count = FINE_LAYOUTS[case]
    entry = _spoilt(spoil, layout, tmp_path, monkeypatch)
    arrays = load_set("x", entry, tmp_path, HOW)
    assert len(arrays["hr"]) == count
    assert np.isfinite(arrays["hr"]).all() and arrays["hr"].min() >= 0 and arrays["hr"].max() <= 1


SKIPPED = [
    "truncated",
    "not permitted",
    "absent file",
    "mrnet: an exam that is absent",
    "mrnet: truncated",
    "brats: a scan without segmentation",
    "brats: a scan without T2w",
    "brats: truncated gzip",
    "brats: a mask of another shape",
    "mimic: colour",
]


@pytest.mark.parametrize("case", SKIPPED)
def test_one_bad_file_can_be_skipped_and_is_listed(tmp_path, case, monkeypatch):
    layout, spoil, message = CASES[case]
    entry = replace(_spoilt(spoil, layout, tmp_path, monkeypatch), on_error="skip")
    lines = []
    arrays = load_set("x", entry, tmp_path, HOW, left_out=lines)
    assert len(arrays["hr"]) > 6
    assert lines and all(re.search(message, line) for line in lines)


@pytest.mark.parametrize("case", [*FINE, *PASSED_OVER])
def test_odd_input_is_read_as_documented(tmp_path, case):
    root = folder_of(tmp_path / "set")
    (FINE | PASSED_OVER)[case](root)
    arrays = load_set("x", FOLDER, tmp_path, HOW)
    assert len(arrays["hr"]) == 8 + (case in FINE)
    assert np.isfinite(arrays["hr"]).all() and arrays["hr"].min() >= 0 and arrays["hr"].max() <= 1


def test_an_exam_in_both_tables_is_told(tmp_path):
    root = mrnet_of(tmp_path / "set")
    _text(VALID, "0005", "0002")(root)
    np.save(root / "valid/sagittal/0002.npy", np.full((5, 16, 16), 99, np.uint8))
    with pytest.raises(ValueError) as caught:
        load_set("x", SetEntry("mrnet", "set", "knee"), tmp_path, HOW)
    twice, both = str(caught.value).splitlines()
    assert "image id 0002 is there twice: " in twice
    assert "subject 0002 is in train and in test; a subject must be on one side" in both
