"""How close the phantoms come to real images: difficulty, spectrum, predictability, noise.

    python benchmarks/phantom_realism.py [--subjects 60] [--real DIR] [--cnn]

DIR holds grey PNG files and a manifest.csv (file, subject) in the folders knee, brain and cxr.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentsr.datasets.pixels import prepare_pixels, read_image
from latentsr.degrade import degrade, upsample
from latentsr.experiments import baselines
from latentsr.metrics.image import psnr_db

Images = NDArray[np.float32]
SIZE_PX, FACTOR = 128, 4
ANATOMIES = ("knee", "brain", "chest")
REAL_FOLDERS = {"knee": "knee", "brain": "brain", "chest": "cxr"}
# reference and tolerance on real images: bicubic PSNR (dB), spectral slope, ridge gain (dB)
GATE = {
    "knee": ((22.6, 2.0), (-2.8, 0.4), (0.69, 0.3)),
    "brain": ((21.3, 3.0), (-2.4, 0.6), (0.47, 0.4)),
    "chest": ((29.9, 2.0), (-3.1, 0.4), (0.41, 0.3)),
}


def low_resolution(images: Images) -> Images:
    return degrade(images, SIZE_PX // FACTOR)


def bicubic(images: Images) -> Images:
    return upsample(low_resolution(images), SIZE_PX)


def mean_psnr_db(images: Images, estimates: Images) -> float:
    return float(psnr_db(estimates, images).mean())


def spectral_slope(images: Images) -> float:
    """Slope of log10 ring power over log10 k, k = 4 to n/2 - 1, Hann window."""
    n = images.shape[-1]
    window = np.outer(np.hanning(n), np.hanning(n))
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    power = np.mean(np.abs(np.fft.fft2(centred * window)) ** 2, axis=0)
    k = np.fft.fftfreq(n, 1 / n)
    ring = np.rint(np.hypot(k[:, None], k[None])).astype(int)
    mean_power = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    used = np.arange(4, n // 2)
    return float(np.polyfit(np.log10(used), np.log10(mean_power[used]), 1)[0])


def ridge_gain_db(
    images: Images, subjects: Sequence[str] | None = None, penalty: float = 1.0
) -> float:
    """Gain over bicubic of a 5x5 linear filter fitted on every other subject, scored on the rest.

    Without ``subjects`` each image is one; where there is one subject only, halves share it.
    """
    units = list(subjects) if subjects and len(set(subjects)) > 1 else list(range(len(images)))
    even = np.isin(units, sorted(set(units))[::2])
    up = bicubic(images)
    padded = np.pad(up, ((0, 0), (2, 2), (2, 2)), mode="edge")
    patches = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    gram, moment = np.zeros((25, 25)), np.zeros(25)
    for window, residual in zip(patches[even], (images - up)[even], strict=True):
        x = window.reshape(-1, 25).astype(np.float64)
        gram, moment = gram + x.T @ x, moment + x.T @ residual.ravel()
    weights = np.linalg.solve(gram + penalty * np.eye(25), moment)
    refined = up + np.einsum("nhwij,ij->nhw", patches, weights.reshape(5, 5))
    return mean_psnr_db(images[~even], refined[~even]) - mean_psnr_db(images[~even], up[~even])


def cnn_gain_db(train: Images, test: Images) -> float:
    """Gain over bicubic of the small residual network of `latentsr.experiments.baselines`."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = baselines.train_regression(low_resolution(train), train, device=device)
    refined = baselines.regress(net, low_resolution(test), SIZE_PX)
    return mean_psnr_db(test, refined) - mean_psnr_db(test, bicubic(test))


def phantoms(anatomy: str, subjects: range, seed: int) -> tuple[Images, float]:
    """Prepared phantoms, one a subject, and the SD of their noise on the foreground."""
    from latentsr.phantoms import draw

    images, spreads = [], []
    for subject in subjects:
        view = 40 + 37 * subject % 76 if anatomy == "brain" else 0
        phantom = draw(anatomy, seed, subject, view)
        images.append(prepare_pixels(phantom.image, anatomy, SIZE_PX))
        scale = (
            phantom.image.max() if anatomy == "brain" else 1.0
        )  # a brain slice is min-max scaled
        clean = prepare_pixels(phantom.noise_free / scale, "folder", SIZE_PX)
        spreads.append(np.std((images[-1] - clean)[clean > 0.1]))
    return np.stack(images), float(np.mean(spreads))


def real_images(folder: Path, anatomy: str) -> tuple[Images, list[str]]:
    """Prepared images of a folder, and the subject of each from its manifest.csv."""
    folder = folder / REAL_FOLDERS[anatomy]
    with (folder / "manifest.csv").open() as lines:
        rows = [(line["file"], line["subject"]) for line in csv.DictReader(lines)]
    kind = "brain" if anatomy == "brain" else "folder"
    images = [prepare_pixels(read_image(folder / name), kind, SIZE_PX) for name, _ in rows]
    return np.stack(images), [subject for _, subject in rows]


def row(
    name: str,
    anatomy: str,
    images: Images,
    noise_sd: float | None,
    cnn: str,
    subjects: Sequence[str] | None = None,
) -> str:
    noise = "" if noise_sd is None else f"{noise_sd:.4f}"
    figures = (
        mean_psnr_db(images, bicubic(images)),
        spectral_slope(images),
        ridge_gain_db(images, subjects),
    )
    psnr, slope, gain = figures
    (p, dp), (s, ds), (g, dg) = GATE[anatomy]
    met = all(abs(v - ref) <= tol for v, (ref, tol) in zip(figures, GATE[anatomy], strict=True))
    return (
        f"| {anatomy} {name} | {len(images)} | {psnr:.2f} ({p} +- {dp}) | {slope:.2f} ({s} +- {ds})"
        f" | {gain:.2f} ({g} +- {dg}) | {cnn} | {noise} | {'yes' if met else 'no'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--cnn", action="store_true", help="train on 150, test on 60 others")
    parser.add_argument("--anatomies", nargs="+", choices=ANATOMIES, default=ANATOMIES)
    options = parser.parse_args()
    print(
        "| images | n | bicubic PSNR, dB | slope | ridge gain, dB | CNN gain, dB | noise SD | ok |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for anatomy in options.anatomies:
        count = 210 if options.cnn else options.subjects
        images, noise_sd = phantoms(anatomy, range(count), options.seed)
        cnn = f"{cnn_gain_db(images[60:210], images[:60]):.2f}" if options.cnn else ""
        print(row("phantoms", anatomy, images[: options.subjects], noise_sd, cnn), flush=True)
        if options.real:
            images, subjects = real_images(options.real, anatomy)
            # only the chest folder has enough subjects to train on
            cnn = (
                f"{cnn_gain_db(images[60:210], images[:60]):.2f}"
                if options.cnn and anatomy == "chest"
                else ""
            )
            print(row("real", anatomy, images, None, cnn, subjects), flush=True)


if __name__ == "__main__":
    main()
