import os
from pathlib import Path

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


def pytest_collection_modifyitems(items):
    """Start the longest test first, so that the other process fills the time beside it."""
    items.sort(key=lambda item: "test_smoke" not in item.nodeid)
