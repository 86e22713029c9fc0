"""The lessons run by hand in one process, and their exercises grade what a reader answers."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from latentsr import notebook, pretrain

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
ANSWERS = {  # of each lesson, worked out on paper or read off its tables; `why` is anything
    "L1_autoencoders": ["answer = 0.0625", "answer = 22", "return (64 - kept) * noise_variance"],
    "L2_diffusion": [
        "answer = 0.5",
        "answer = 505",
        "x0 = a**0.5 * z - (1 - a) ** 0.5 * out; eps = a**0.5 * out + (1 - a) ** 0.5 * z; "
        "return b**0.5 * x0 + (1 - b) ** 0.5 * eps",
    ],
    "L3_conditions": [
        "answer = 256",
        "answer = 8.5",
        'answer, because = "condition", "LR pixels are alike"',
    ],
    "L4_wavelets": ["answer = [1, 0, 0, 1]", "answer = 2.04", "return c**2"],
    "L5_effect_sizes": [
        "return pooled / np.sqrt(2 * (1 - r))",
        "answer = 0.048",
        'answer, because = "neither", "it reaches beyond both ends"',
    ],
}
STUBS = ("answer, because = ..., ...", "answer = ...", "...")
WRONG = ('answer, because = "target", "a guess"', "answer = 1e9", "return 1e9")
CHECK = re.compile(r"exercises\.(check|choice|function)\(")


def stub_of(text: str) -> str:
    """Find the dots of an exercise."""
    return next(stub for stub in STUBS if stub in text)


def answered(text: str, given: str) -> str:
    """Put an answer where the dots of an exercise are."""
    return text.replace(stub_of(text), given, 1)


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """Two lessons draw phantoms of one seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "drawn", cache(pretrain.drawn))
        yield


@pytest.mark.parametrize("stem", notebook.LESSONS)
def test_exercises_run_as_shipped_and_know_a_right_answer(stem, tmp_path, monkeypatch, capsys):
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    monkeypatch.chdir(path.parent)  # as JupyterLab opens it
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace = {"__name__": "__notebook__"}
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    def printed(*cells: str) -> str:
        for text in cells:
            exec(text, namespace)
        return capsys.readouterr().out

    printed(code[0])
    namespace["outputs"] = str(tmp_path)
    said = printed(*code[1:])
    assert all(f"{number}: not answered yet" in said for number in (1, 2, 3))
    sys.modules["matplotlib.pyplot"].close("all")
    assert len(list((tmp_path / "figures").rglob("*.txt"))) >= 2

    checks = [place for place, text in enumerate(code) if CHECK.search(text)]
    starts = [max(k for k in range(place) if "..." in code[k]) for place in checks]
    for number, (start, end) in enumerate(zip(starts, checks, strict=True), 1):
        task, rest = code[start], code[start + 1 : end + 1]
        right, wrong = ANSWERS[path.stem][number - 1], WRONG[STUBS.index(stub_of(task))]
        assert printed(answered(task, right), *rest) == f"{number}: right\n"
        assert printed(answered(task, wrong), *rest).startswith(f"{number}: not yet")
