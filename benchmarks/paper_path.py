"""Chapters 2 and 3 with the architectures of the paper, random weights, four phantoms at 256 px.

`python benchmarks/paper_path.py` proves that the paper's path runs with the real shapes; the
scores mean nothing.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_paper_path import run

from latentsr.autoencoders import fetch
from latentsr.companion.pipeline import notebook

if __name__ == "__main__":
    os.environ.update({notebook.IN_STAGE: "1", "MPLBACKEND": "agg"})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fetch.fetched_dir = lambda: Path(folder) / "vaes"
        for name, (hr, _, psnr_db) in run(Path(folder), 256, [128, 256, 512, 512], 5).items():
            print(f"{name}: latents {hr}, {len(psnr_db)} scores")
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
