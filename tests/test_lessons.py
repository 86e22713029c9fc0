"""The lessons run by hand in one process, and their exercises grade what a reader answers."""

import json
import sys
from pathlib import Path

import pytest

from latentsr import notebook

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
ANSWERS = {  # of each lesson, worked out on paper or read off its tables; `why` is anything
    "L1_autoencoders": ["answer = 0.0625", None, "return (64 - kept) * noise_variance"],
    "L2_diffusion": [
        "answer = 0.5",
        None,
        "x0 = a**0.5 * z - (1 - a) ** 0.5 * out; eps = a**0.5 * out + (1 - a) ** 0.5 * z; "
        "return b**0.5 * x0 + (1 - b) ** 0.5 * eps",
    ],
    "L3_conditions": ["answer = 256", None, 'answer, because = "condition", "LR pixels are alike"'],
    "L4_wavelets": ["answer = [1, 0, 0, 1]", "answer = 2.04", "return c**2"],
    "L5_effect_sizes": [
        "return pooled / np.sqrt(2 * (1 - r))",
        "answer = 0.048",
        'answer, because = "neither", "it reaches beyond both ends"',
    ],
}
STUBS = ("answer, because = ..., ...", "answer = ...", "...")


def answered(text: str, given: str) -> str:
    """Put an answer where the dots of an exercise are."""
    stub = next(stub for stub in STUBS if stub in text)
    return text.replace(stub, given, 1)


@pytest.mark.parametrize("stem", notebook.LESSONS)
def test_exercises_run_as_shipped_and_know_a_right_answer(stem, tmp_path, monkeypatch, capsys):
    path = ROOT / "notebooks" / f"{stem}.ipynb"
    monkeypatch.chdir(path.parent)  # as JupyterLab opens it
    monkeypatch.setenv("MPLBACKEND", "agg")
    namespace = {"__name__": "__notebook__"}
    cells = json.loads(path.read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, text in enumerate(code):
        exec(compile(text, f"{path.stem}, cell {number}", "exec"), namespace)
        if number == 0:
            namespace["outputs"] = str(tmp_path)
    said = capsys.readouterr().out
    assert all(f"{number}: not answered yet" in said for number in (1, 2, 3))
    tasks = [text for text in code if "print(exercises." in text]
    for number, (text, given) in enumerate(zip(tasks, ANSWERS[path.stem], strict=True), 1):
        if given is not None:
            exec(answered(text, given), namespace)
            assert capsys.readouterr().out == f"{number}: right\n"
        wrong = "return 1e9" if "def " in text else "answer = 1e9"
        if "because" not in text:
            exec(answered(text, wrong), namespace)
            assert capsys.readouterr().out.startswith(f"{number}: not yet")
    sys.modules["matplotlib.pyplot"].close("all")
    assert len(list((tmp_path / "figures").rglob("*.txt"))) >= 2
