"""Computer-made images of three anatomies in the layouts of three public data sets; no patient."""

from __future__ import annotations

import hashlib
from pathlib import Path

from latentsr.phantoms import brain, chest, knee
from latentsr.phantoms.fields import Phantom
from latentsr.phantoms.layouts import write

__all__ = ["ANATOMIES", "Phantom", "draw", "parameters_sha256", "write"]

ANATOMIES = {"knee": knee, "brain": brain, "chest": chest}


def draw(anatomy: str, seed: int, subject: int, view: int = 0) -> Phantom:
    """One phantom, bit-identical for its arguments.

    Parameters
    ----------
    anatomy : str
        knee, brain or chest.
    seed, subject : int
        Another seed gives other subjects.
    view : int
        Brain: axial slice (0 to 154) of that subject. Chest: number of the study.
    """
    return ANATOMIES[anatomy].draw(seed, subject, view)


def parameters_sha256() -> str:
    """Hash of the generator: its source, in which its parameters stand."""
    folder = Path(__file__).parent
    sources = [folder / f"{name}.py" for name in ("fields", *ANATOMIES, "layouts")]
    return hashlib.sha256(b"\0".join(s.read_text().encode() for s in sources)).hexdigest()
