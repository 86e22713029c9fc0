"""Two runs are compared by what their files hold: words exactly, numbers to a tolerance."""

import json

import numpy as np
import pytest

from latentsr.companion import compare


def run(folder, psnr_db="20.5", arm="released", array=(1.0, 2.0)):
    (folder / "tables").mkdir(parents=True)
    (folder / "tables/04.csv").write_text(f"arm,psnr_db\n{arm},{psnr_db}\n")
    (folder / "04.json").write_text(json.dumps({"gap": {"psnr_db": [float(psnr_db), None]}}))
    np.save(folder / "codes.npy", np.array(array))
    (folder / "notebooks").mkdir()
    (folder / "notebooks/page.txt").write_text(psnr_db)  # pages are not compared
    return folder


def test_equal_runs_and_rounding_differ_nowhere(tmp_path):
    a, b = run(tmp_path / "a"), run(tmp_path / "b", "20.500000000001", array=(1.0, 2.0 + 1e-12))
    assert list(compare.differences(a, b)) == []
    assert len(compare.files(a)) == 3


def test_each_file_that_differs_is_a_line_with_its_first_place(tmp_path):
    a, b = run(tmp_path / "a"), run(tmp_path / "b", "20.6", "own", (1.0, 3.0))
    (b / "extra.json").write_text("{}")
    lines = list(compare.differences(a, b))
    assert [line.split(":")[0] for line in lines] == [
        "04.json", "codes.npy", "extra.json", "tables/04.csv"
    ]  # fmt: skip
    assert "2 of 4 values differ" in lines[3] and "row 0, arm: released and own" in lines[3]
    assert "only in" in lines[2]
    assert list(compare.differences(a, run(tmp_path / "c", "20.6"), relative=0.01)) == []


def test_words_under_new_names_are_the_same(tmp_path):
    a, b = run(tmp_path / "a"), run(tmp_path / "b", arm="authors")
    (b / "tables/04.csv").rename(b / "tables/04_scores.csv")
    names = {"released": "authors", "04.csv": "04_scores.csv"}
    assert list(compare.differences(a, b, names)) == []
    assert len(list(compare.differences(a, b))) == 2


def test_what_is_no_folder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="gone is no folder; give the results of a run"):
        list(compare.differences(tmp_path / "gone", tmp_path))
