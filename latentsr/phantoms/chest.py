"""Frontal chest radiographs: attenuation along the beam adds up, so ribs shine through lungs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from latentsr.phantoms.fields import (
    Field,
    Phantom,
    Rng,
    closed_curve,
    cover,
    depth,
    open_curve,
    ridges,
    strokes,
    texture,
)

INDEX = 2
PARAMETERS: dict[str, Any] = {
    "height_px": (308, 332),
    "width_px": (280, 304),
    "photons": 3500,  # mean count of a native pixel behind no tissue
    "blur_px": 0.6,
    "rib": 0.30,
    "vessel": 0.20,
    "grain": 0.030,
    "jitter": 0.012,
}
# control points (y, x) of the right half; x from the midline in half widths, y in heights
LUNG = [(0.13, 0.20), (0.11, 0.34), (0.16, 0.50), (0.30, 0.66), (0.46, 0.74), (0.62, 0.77),
        (0.74, 0.75), (0.70, 0.62), (0.655, 0.45), (0.665, 0.27), (0.60, 0.20), (0.46, 0.19),
        (0.30, 0.14), (0.20, 0.12)]  # fmt: skip
TRUNK = [(-0.1, 0.30), (0.03, 0.30), (0.09, 0.42), (0.12, 0.80), (0.20, 1.08), (0.34, 1.02),
         (0.50, 0.94), (0.70, 0.93), (0.9, 0.95), (1.1, 0.96)]  # fmt: skip
HEART = [(0.36, -0.10), (0.44, -0.17), (0.56, -0.20), (0.68, -0.14), (0.72, 0.15), (0.70, 0.42),
         (0.62, 0.44), (0.52, 0.32), (0.42, 0.20), (0.34, 0.14)]  # fmt: skip
SCAPULA = [(0.15, 0.66), (0.17, 0.88), (0.30, 0.86), (0.46, 0.72), (0.36, 0.69), (0.24, 0.63)]


def _tree(rng: Rng, start: NDArray[np.float64], heading: float, length: float, radius: float,
          lines: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> None:  # fmt: skip
    """Branching vessels, written into `lines`; a branch ends when it is too thin to be seen."""
    if radius < 0.35 or length < 4:
        return
    turns = heading + np.cumsum(rng.normal(0, 0.17, 4))
    steps = length / 4 * np.c_[np.sin(turns), np.cos(turns)]
    points = np.r_[start[None], start + np.cumsum(steps, axis=0)]
    lines.append((points, np.linspace(radius, radius * 0.8, 5)))
    for side in (-1, 1):
        share = rng.uniform(0.62, 0.86)
        _tree(rng, points[-1], turns[-1] + side * rng.uniform(0.15, 0.6),
              length * rng.uniform(0.7, 0.95), radius * 0.8 * share, lines)  # fmt: skip


def draw(seed: int, subject: int, view: int = 0) -> Phantom:
    """Study `view` of a patient: the same anatomy, another breath, pose and exposure."""
    p = PARAMETERS
    rng = np.random.default_rng([seed, INDEX, subject])
    pose = np.random.default_rng([seed, INDEX, subject, 1, view])
    shape = (int(rng.integers(*p["height_px"])), int(rng.integers(*p["width_px"])))
    h, half = shape[0], shape[1] / 2
    scale, breath = rng.normal(1.0, 0.035, 2), rng.normal(0, 0.03) + pose.normal(0, 0.012)
    turn, slip = pose.normal(0, 0.02), pose.normal(0, (0.008, 0.02))
    lean, build = rng.normal(0, 0.02), rng.uniform(0.8, 1.25)
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(np.float32)

    def place(points: Any, side: float = 1, jitter: float = p["jitter"]) -> NDArray[np.float64]:
        at = np.asarray(points, float) + rng.normal(0, jitter, np.shape(points))
        at[:, 0] += breath * np.clip((at[:, 0] - 0.1) / 0.6, 0, 1)
        at[:, 1] = side * at[:, 1] + lean * (at[:, 0] - 0.5)
        at = (at - (0.5, 0)) * scale + (0.5, 0) + slip
        y, x = (at[:, 0] - 0.5) * h, at[:, 1] * half
        return np.c_[y * np.cos(turn) + x * np.sin(turn) + h / 2,
                     x * np.cos(turn) - y * np.sin(turn) + half]  # fmt: skip

    def rough(amount_px: float) -> Field:
        return amount_px * texture(rng, shape, -2.2, (5, 60))

    # soft tissue of the trunk, with muscle and skin folds
    outline = [*reversed([(y, -x) for y, x in TRUNK]), *TRUNK]
    body = depth(shape, place(outline))
    thick = 0.8 + build * (0.9 + 0.16 * texture(rng, shape, -3, (60, 500)) + 0.25 * (yy / h - 0.5))
    rise = gaussian_filter(cover(body, 6), 5)
    total = thick * rise * (1 + 0.020 * texture(rng, shape, -1.6, (3, 50)))
    for side in (-1, 1):
        fold = open_curve(place([(0.18, 0.72), (0.36, 0.84), (0.60, 0.88), (1.0, 0.87)], side))
        total += 0.10 * np.clip(strokes(shape, [(fold, np.full(60, 2.0))]), 0, 1) * rise
    # the belly below the domes, the mediastinum and the heart
    middle = np.abs(xx - half - lean * half * (yy / h - 0.5) - slip[1] * half)
    column = gaussian_filter(cover(0.17 * half - middle, 6), 3)
    total += 0.34 * build * column + 0.22 * gaussian_filter(cover(0.10 * half - middle, 4), 2)
    heart = depth(shape, closed_curve(place(HEART, 1, 0.02)), rough(0.8))
    total += 0.42 * cover(heart, 5) * (1 - 0.6 * column)
    belly = depth(shape, closed_curve(place([(0.66, -0.5), (0.70, -0.8), (1.2, -0.95), (1.2, 0.95),
                                             (0.70, 0.8), (0.66, 0.45), (0.68, 0)])))  # fmt: skip
    total += rng.uniform(0.25, 0.5) * gaussian_filter(cover(belly + 6, 12), 5)

    lungs = np.zeros(shape, np.float32)
    vessels: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    density = rng.uniform(0.30, 0.55) * build
    for side in (-1, 1):
        points = np.array(LUNG) + rng.normal(0, 0.01, (len(LUNG), 2))
        points[6:10, 0] += (0.012 if side > 0 else -0.012) + rng.normal(0, 0.015)
        edge = depth(shape, closed_curve(place(points, side)), rough(0.6))
        lungs = np.maximum(lungs, cover(edge, 3))
        hilum = place([(0.40, 0.20)], side)[0]
        for heading in np.linspace(-1.3, 1.45, 8):
            toward = heading if side > 0 else np.pi - heading
            _tree(rng, hilum + rng.normal(0, 4, 2), toward + rng.normal(0, 0.12),
                  rng.uniform(20, 30), rng.uniform(1.6, 2.9), vessels)  # fmt: skip
    heart_shade = 0.75 * cover(heart, 4)
    air = lungs * np.clip(1 - heart_shade - 0.7 * column, 0, 1)
    total -= (0.95 - density) * build * air
    mesh = ridges(texture(rng, shape, -0.8, (5, 18)), 1.0) * rng.uniform(0.5, 1.3)
    lung_grain = texture(rng, shape, -1.4, (2.4, 30)) + 0.9 * mesh
    total += p["grain"] * lung_grain * (0.25 + air) * rise
    total += p["vessel"] * strokes(shape, vessels) * (0.15 + 0.85 * lungs)

    # bones: posterior and anterior ribs, clavicles, scapulae, spine
    bones = np.zeros(shape, np.float32)
    calcium = rng.uniform(0.8, 1.3)
    spongy = 1 + 0.22 * texture(rng, shape, -1.0, (2.4, 14))
    for side in (-1, 1):
        for i in range(10):
            top = 0.075 + 0.066 * i + rng.normal(0, 0.004)
            out = np.interp(i, [0, 2, 5, 9], [0.34, 0.58, 0.77, 0.82])
            behind = [(top, 0.06), (top - 0.012, 0.4 * out), (top + 0.02, 0.78 * out),
                      (top + 0.055 + 0.006 * i, out)]  # fmt: skip
            front = [(top + 0.055 + 0.006 * i, out), (top + 0.115 + 0.006 * i, 0.86 * out),
                     (top + 0.16 + 0.006 * i, 0.55 * out)]  # fmt: skip
            width = rng.uniform(4.2, 5.4) * np.interp(i, [0, 4], [0.75, 1])
            for arc, weight in ((behind, 1.0), (front, 0.55 if i < 7 else 0.0)):
                line = open_curve(place(arc, side, 0.004), 18)
                tube = strokes(shape, [(line, np.full(18, width))])
                reach = np.s_[max(int(line[:, 0].min() - 8), 0) : max(int(line[:, 0].max() + 9), 0)]
                tube = tube[reach]
                flat = cover(tube - 0.25 * width, 2)
                shell = np.exp(-((tube - 0.45 * width) ** 2) / 2.2)
                shell -= np.exp(-((0.45 * width) ** 2) / 2.2)
                bones[reach] += weight * p["rib"] * (0.55 * flat * spongy[reach] + 0.60 * shell)
        collar = open_curve(place([(0.155, 0.07), (0.12, 0.26), (0.10, 0.5), (0.085, 0.78)], side))
        tube = strokes(shape, [(collar, np.linspace(6, 4.5, 60))])
        bones += 0.24 * cover(tube - 1.5, 2) * spongy + 0.14 * np.exp(-((tube - 2.2) ** 2) / 2)
        blade = depth(shape, closed_curve(place(SCAPULA, side)), rough(0.5))
        bones += 0.07 * cover(blade, 2) + 0.14 * np.exp(-((blade - 1.5) ** 2) / 3)
        arm = open_curve(place([(0.15, 0.90), (0.22, 1.0), (0.45, 1.06)], side))
        tube = strokes(shape, [(arm, np.linspace(11, 8, 60))])
        bones += 0.25 * cover(tube - 3, 3) * spongy + 0.16 * np.exp(-((tube - 4) ** 2) / 3)
    for i in range(16):
        y0, x0 = place([(0.02 + 0.064 * i, 0)], 1, 0.002)[0]
        near = np.s_[max(int(y0) - 16, 0) : max(int(y0) + 22, 0), int(x0) - 22 : int(x0) + 23]
        y, x = yy[near] - y0, xx[near] - x0
        box = np.minimum(0.075 * half - np.abs(x), 0.026 * h - np.abs(y))
        plate = np.exp(-((box - 1) ** 2) / 2.5)
        process = np.hypot((y - 6) / 5, x / 2.5)
        bones[near] += 0.10 * cover(box, 2) * spongy[near] + 0.10 * plate
        bones[near] += 0.10 * np.exp(-((process - 1) ** 2) / 0.08)
    total += calcium * bones * rise
    trachea = open_curve(place([(-0.05, 0.0), (0.15, 0.0), (0.33, 0.02)]))
    total -= 0.22 * cover(strokes(shape, [(trachea, np.full(60, 8.0))]) - 3, 4)
    if rng.random() < 0.6:  # gas in the stomach
        outline = [(0.77, 0.35), (0.75, 0.5), (0.82, 0.55), (0.83, 0.4)]
        bubble = depth(shape, closed_curve(place(outline)), rough(1.5))
        total -= 0.3 * cover(bubble, 3)

    exposure = pose.uniform(0.9, 1.15)
    total = gaussian_filter(np.clip(total, 0, None), p["blur_px"])
    counts = p["photons"] * exposure * np.exp(-0.9 * total)
    noisy = np.maximum(pose.poisson(counts), 1).astype(np.float32)
    low, high = 0.05, np.percentile(total, 99) * 1.04
    curve = pose.uniform(0.85, 1.2)

    def film(attenuation: Field) -> Field:
        scaled = np.clip((attenuation - low) / (high - low), 0, 1)
        return np.asarray(scaled**curve, dtype=np.float32)

    return Phantom(film(-np.log(noisy / (p["photons"] * exposure)) / 0.9), film(total))
