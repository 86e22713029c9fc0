"""Where tensors are computed on: a GPU where PyTorch sees one."""

from __future__ import annotations


def default() -> str:
    """Return "cuda" where PyTorch sees a GPU, else "cpu"; every function takes it as ``device``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
