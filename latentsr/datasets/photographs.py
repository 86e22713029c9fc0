"""The photographs that come inside installed packages: natural images without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PHOTOGRAPHS = (  # of scikit-image's data folder; not medical, not drawn, terms of use stated
    "astronaut.png brick.png camera.png chelsea.png clock_motion.png coffee.png coins.png "
    "grass.png gravel.png hubble_deep_field.jpg rocket.jpg"
).split()


def photographs() -> list[NDArray[np.float32]]:
    """Return the grey photographs (H, W) in [0, 1] that come inside installed packages."""
    import skimage
    import sklearn.datasets
    from PIL import Image

    paths = [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]
    folder = Path(sklearn.datasets.__file__).parent / "images"
    paths += [folder / "china.jpg", folder / "flower.jpg"]
    grey = [np.asarray(Image.open(path).convert("L"), np.float32) for path in paths]
    return [image / np.float32(255) for image in grey]
