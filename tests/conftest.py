import os
import shutil
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    """Tests name files as they lie in the repository."""
    monkeypatch.chdir(Path(__file__).parents[1])


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Two test processes share two cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def smoke_study(tmp_path, monkeypatch):
    """A study of its own with the parameters of the smoke profile; notebooks run as stages in it."""
    for name in ("profiles", "notebooks"):
        shutil.copytree(name, tmp_path / name)
    for name in ("sets.yaml", "data.dvc", "dvc.yaml"):
        shutil.copy(name, tmp_path)
    shutil.copy("profiles/smoke.yaml", tmp_path / "params.yaml")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTSR_STAGE", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A throw-away copy of the book with a made-up smoke run: `made_book.workspace`."""
    import made_book

    return made_book.workspace(tmp_path, monkeypatch)


def pytest_collection_modifyitems(items):
    """Start the longest test first, so that the other process fills the time beside it."""
    items.sort(key=lambda item: "test_smoke" not in item.nodeid)
