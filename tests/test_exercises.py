"""The grader tells right from wrong and gives nothing away; exercises and solutions agree."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from latentsr.companion import teaching as exercises
from latentsr.companion.book import build as book
from latentsr.companion.pipeline import notebook

FOLDER = Path(__file__).parents[1] / "notebooks" / "exercises"


def tags_of(cell):
    return cell["metadata"].get("tags", [])


def tagged(path, tag):
    found = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if tag in tags_of(cell)]


@pytest.mark.parametrize("empty", [None, ..., "", "  "])
def test_what_is_left_as_shipped_is_not_answered(empty):
    assert exercises.check(3, empty, 28.3) == "3: not answered yet"
    assert exercises.choice(3, empty, "a", "why", "ab") == "3: not answered yet"
    assert exercises.choice(3, "a", "a", empty, "ab") == "3: not answered yet"


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance"),
    [
        (28.34, 28.3, 0.05),
        (np.float32(28.3), 28.3, 1e-5),
        (5, 5, 0),
        ([1, 2.001], np.array([1.0, 2.0]), 0.01),
        (float("nan"), np.nan, 0.1),
        (" Knee", "knee", 0),
        (True, np.bool_(True), 0),
        (["b", "a"], {"a", "b"}, 0),
        ((), frozenset(), 0),
    ],
)
def test_right_answers(answer, expected, tolerance):
    assert exercises.check(1, answer, expected, tolerance=tolerance) == "1: right"


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (28.36, 28.3, "look again"),
        ("28.3", [28.3, 1], r"an array or list of shape \(2,\) is wanted, not one number"),
        ((28, 3), 28.3, r"one number is wanted, not an array or list of shape \(2,\)"),
        ("much", 28.3, "numbers are wanted, not str"),
        ([1, 2, 3], [1, 2], r"shape \(2,\) is wanted, not an array or list of shape \(3,\)"),
        (1, True, "True or False is wanted, not int"),
        (1, "knee", "a word in quotes is wanted, not int"),
        ("brain", "knee", "look again"),
        ("a", {"a"}, "a list of names is wanted, not str"),
        (["a"], {"a", "b"}, "look again"),
        ([["a"]], {"a"}, "not a list of lists"),
        (None, 28.3, "not answered"),
    ],
)
def test_wrong_answers_are_told_what_kind_of_thing_is_wrong(answer, expected, said):
    line = exercises.check(1, answer, expected, tolerance=0.05)
    assert re.search(said, line)
    assert "28.3" not in line and "knee" not in line


def test_a_choice_is_one_of_the_options_and_needs_a_reason():
    assert exercises.choice(2, "B", "b", "fewer numbers", "abc") == "2: right"
    assert exercises.choice(2, "a", "b", "x", "abc", hint="count") == "2: not yet: count"
    assert "one of a, b, c" in exercises.choice(2, "d", "b", "x", "abc")
    with pytest.raises(ValueError, match="exercise 2: 'd' is not among a, b, c"):
        exercises.choice(2, "a", "d", "x", "abc")


def test_a_function_is_tried_on_every_case():
    cases = [(np.array([3.0, 4.0]), 1.0), (np.array([6.0, 8.0]), 2.0)]

    def norm(x, scale):
        return float(np.sqrt((x**2).sum())) / scale

    assert exercises.function(4, norm, norm, cases) == "4: right"
    first_only = exercises.function(4, lambda x, scale: 5.0, lambda x, s: norm(x, 1), cases)
    assert first_only == "4: not yet: look again"
    assert exercises.function(4, lambda x, scale: ..., norm, cases) == "4: not answered yet"
    nothing = exercises.function(4, lambda x, scale: None, norm, cases)
    assert nothing == "4: not answered yet: the function returns nothing"
    with pytest.raises(ValueError, match="exercise 4: no case"):
        exercises.function(4, norm, norm, [])
    stopped = exercises.function(4, lambda x: x, norm, cases)
    assert stopped.startswith("4: not yet: it stopped with TypeError")


def test_a_function_that_spoils_its_arguments_spoils_no_other_call():
    def spoil(x):
        x += 1
        return x.sum()

    data = np.zeros(3)
    right = exercises.function(5, spoil, lambda x: (x + 1).sum(), [(data,), (data,)])
    assert right == "5: right" and not data.any()


@pytest.mark.parametrize("stem", [*notebook.EXERCISES, *notebook.LESSONS])
def test_exercise_and_solution_ask_the_same(stem):
    exercise, solution = FOLDER / f"{stem}.ipynb", FOLDER / "solutions" / f"{Path(stem).name}.ipynb"
    first = 1
    if stem in notebook.LESSONS:  # its exercises stand at its end, and its solution runs the rest
        exercise, first = FOLDER.parent / f"{stem}.ipynb", "question-1"

    def asked(path):
        found = json.loads(path.read_text())["cells"]
        start = first if first == 1 else [cell["id"] for cell in found].index(first)
        given = (c for c in found[start:] if not {"answer", "why"} & set(tags_of(c)))
        texts = [(c["metadata"], "".join(c["source"]).replace("../", "")) for c in given]
        return [cell for cell in texts if not cell[1].startswith("## Next")]

    assert asked(exercise) == asked(solution)
    empty, answered = tagged(exercise, "answer"), tagged(solution, "answer")
    assert 3 <= len(empty) <= 4
    assert len(empty) == len(answered) == len(tagged(exercise, "check"))
    assert len(tagged(solution, "why")) == len(answered) and not tagged(exercise, "why")
    assert all("..." in cell for cell in empty) and not any("..." in cell for cell in answered)


def test_every_exercise_has_a_solution_and_every_chapter_and_lesson_both():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == notebook.EXERCISES
    solved = sorted(path.stem for path in (FOLDER / "solutions").glob("*.ipynb"))
    assert solved == [*notebook.EXERCISES, *(Path(stem).name for stem in notebook.LESSONS)]


@pytest.mark.parametrize("stem", ["exercises/01_data", "background/L4_wavelets"])
def test_a_page_folds_each_solution_up_below_its_exercise(stem):
    exercise = FOLDER.parent / f"{stem}.ipynb"
    solution = FOLDER / "solutions" / exercise.name
    cells = json.loads(book.exercise_page(exercise.read_text(), solution.read_text()))["cells"]
    whys = tagged(solution, "why")
    for cell, below in zip(cells, cells[1:], strict=False):
        if "check" in cell["metadata"].get("tags", []):
            assert below["source"].startswith("::::{dropdown} Solution")
            assert whys.pop(0) in below["source"]
            assert cell["metadata"]["mystnb"]["code_prompt_show"] == "Show the check"
    assert whys == [] and len({cell["id"] for cell in cells}) == len(cells)
