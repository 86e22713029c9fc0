"""Images a second and memory of preparing many images, beside a plain loop of Pillow calls.

`python benchmarks/prepare.py [--count 10000] [--side 512]` writes random pictures to a temporary
folder, prepares them as chapter 1 does, and does the same by hand.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from latentsr.datasets import Preparation, SetEntry, load_set

HR, LR = 256, 64


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_hand(paths):
    """What preparing one picture comes to, without ids, checks and files."""
    for path in paths:
        with Image.open(path) as picture:
            grey = Image.fromarray(np.asarray(picture, np.float32) / 255)
        hr = grey.resize((HR, HR), Image.Resampling.LANCZOS)
        np.clip(np.asarray(hr.resize((LR, LR), Image.Resampling.BICUBIC)), 0, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--side", type=int, default=512)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (given.count, 16, 16), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "set").mkdir()
        for number, blob in enumerate(coarse):
            picture = Image.fromarray(blob).resize((given.side, given.side))
            picture.save(root / "set" / f"{number:05d}.png", compress_level=1)
        before = peak_mb()
        print(f"peak memory before: {before:.0f} MB")
        for share in (0.1, 1.0):
            count = int(given.count * share)
            how = Preparation(HR, LR, int(0.9 * count), int(0.1 * count), test_fraction=0.1)
            started = time.perf_counter()
            entry = SetEntry("folder", "set", "folder")
            arrays = load_set("x", entry, root, how, folder=root / f"kept{share}")
            took = time.perf_counter() - started
            made = len(arrays["hr"])
            print(f"{made} images: {made / took:.0f} a second, peak {peak_mb():.0f} MB")
        paths = sorted((root / "set").iterdir())
        started = time.perf_counter()
        by_hand(paths)
        print(f"by hand: {len(paths) / (time.perf_counter() - started):.0f} a second")


if __name__ == "__main__":
    main()
