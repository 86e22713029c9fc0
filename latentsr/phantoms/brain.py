"""Axial T2-weighted brain without skull, some with a tumour: slices of one subject agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from latentsr.phantoms.fields import (
    Field,
    Phantom,
    Rng,
    cover,
    paint,
    rician,
    ridges,
    texture,
)

INDEX = 1
PARAMETERS: dict[str, Any] = {
    "size_px": 240,
    "depth": 155,
    "noise_sd": 0.022,
    "blur_px": 0.65,
    "tumour_share": 0.75,
    "sulcus_px": 1.35,
    "grain": 0.045,
    "z_periods": (17.0, 29.0),  # slices over which the folds change
}


def _through_depth(rng: Rng, z: int, **kind: Any) -> Field:
    """A random texture that changes slowly from slice to slice."""
    shape = (PARAMETERS["size_px"],) * 2
    total = np.zeros(shape, np.float32)
    for period in PARAMETERS["z_periods"]:
        a, b = (texture(rng, shape, **kind) for _ in range(2))
        total += np.cos(z / period) * a + np.sin(z / period) * b
    return total / np.float32(np.sqrt(len(PARAMETERS["z_periods"])))


def _ellipse(y: Field, x: Field, centre: tuple[float, float], radii: tuple[float, float]) -> Field:
    """Depth in pixels inside an ellipse, near enough at its edge."""
    r = np.hypot((y - centre[0]) / radii[0], (x - centre[1]) / radii[1])
    return (1 - r) * min(radii)


def _tumour(rng: Rng, y: Field, x: Field, z: int, visit: int) -> tuple[Field, Field, Field]:
    """Depths of the core, of its enhancing rim and of the oedema; far below 0 without a tumour."""
    side, top = rng.choice([-1, 1]), rng.uniform(60, 105)
    centre = (rng.uniform(-45, 35), side * rng.uniform(22, 40))
    radius = rng.uniform(11, 20) * (1.0 + visit * rng.uniform(-0.35, 0.4))
    swelling, rim = rng.uniform(6, 15), rng.uniform(2, 4.5)
    lobes = _through_depth(rng, z, slope=-2.5, periods_px=(10, 60))
    gap = np.hypot(np.hypot(y - centre[0], x - centre[1]), 0.9 * (z - top))
    core = radius - gap + 2.5 * lobes if rng.random() < PARAMETERS["tumour_share"] else gap * 0 - 99
    fingers = _through_depth(rng, z, slope=-1.5, periods_px=(7, 30))
    return core - rim, core, core + swelling + 4.5 * fingers


def draw(seed: int, subject: int, view: int, visit: int = 0) -> Phantom:
    """Slice `view` (0 to 154) of a subject at a visit: 0, or 1 for a second time point."""
    p, z = PARAMETERS, view
    rng = np.random.default_rng([seed, INDEX, subject])
    tumour_rng = np.random.default_rng([seed, INDEX, subject, 1])
    noise_rng = np.random.default_rng([seed, INDEX, subject, 2, visit, view])
    shape = (p["size_px"],) * 2
    height = (z - 78) / rng.uniform(80, 90)
    size = np.sqrt(max(1 - height**2, 0.05)) ** 0.8
    length, width = rng.normal(92, 4) * size, rng.normal(73, 3) * size
    turn, shift = rng.normal(0, 0.05), rng.normal(0, 3, 2)
    gm, wm, csf = rng.uniform(0.42, 0.50), rng.uniform(0.22, 0.30), rng.uniform(0.85, 1.0)
    atrophy = rng.uniform(0.6, 1.5)

    axis = np.arange(shape[0], dtype=np.float32) - shape[0] / 2
    yy, xx = axis[:, None] - shift[0], axis[None] - shift[1]
    y = yy * np.cos(turn) + xx * np.sin(turn)
    x = xx * np.cos(turn) - yy * np.sin(turn)
    warp = [_through_depth(rng, z, slope=-2.5, periods_px=(36, 160)) for _ in range(2)]
    y, x = y + 2 * warp[0], x + 2 * warp[1]
    inside = _ellipse(y, x * (1 + 0.0012 * y), (0, 0), (length, width)) + 0.8 * warp[0]
    fold = _through_depth(rng, z, slope=0.5, periods_px=(11, 34))
    fine = _through_depth(rng, z, slope=-0.5, periods_px=(3, 12))
    broad = _through_depth(rng, z, slope=-2.0, periods_px=(8, 60))

    # folds: sulci run inwards from the surface along the zero crossings of a band-pass field
    reach = 22 + 7 * broad - 6 * height
    sulcus_px = p["sulcus_px"] * atrophy * np.clip(1 + 0.45 * fine - inside / 40, 0.25, 3)
    sulci = ridges(fold, np.maximum(sulcus_px, 0.4)) * cover(reach - inside, 6)
    gy, gx = np.gradient(fold)
    from_sulcus = np.abs(fold) / (np.hypot(gy, gx) + 0.02)
    cortex = np.minimum(from_sulcus + 30 * cover(inside - reach, 8), inside - 1)
    grey = cover(rng.uniform(4.2, 5.4) + 0.6 * fine - cortex, 1.6)
    white = wm * (1 + 0.06 * broad + p["grain"] * fine)
    image = paint(white, gm * (1 + p["grain"] * fine), grey)

    # deep grey matter, ventricles, midline
    for centre, radii in (((-6, 24), (20, 7)), ((8, 12), (12, 8)), ((-24, 16), (11, 6))):
        nucleus = _ellipse(y, np.abs(x), centre, radii) - 14 * abs(height + 0.05)
        image = paint(image, gm * 0.88 * (1 + 0.06 * fine), 0.8 * cover(nucleus, 3))
    callosum = _ellipse(np.abs(y) - 36, x, (0, 0), (5, 16)) - 10 * abs(height - 0.1)
    image = paint(image, wm * 0.85, cover(callosum, 2))
    image = paint(image, csf, np.clip(0.75 + 0.25 * broad, 0.25, 1) * sulci)
    image = paint(image, csf, cover(1.6 * atrophy + 1.2 * broad - inside, 1.5))
    fissure = (0.9 * atrophy + 0.5 * fine - np.abs(x + 1.5 * warp[0])) * 1.0
    fissure = fissure - 30 * (np.abs(y) < 30) * (abs(height) < 0.3)
    image = paint(image, csf, 0.9 * cover(fissure))
    sylvian = 1.2 * atrophy + 0.6 * fine - np.abs(y + 8 + 0.4 * (np.abs(x) - 40) + 3 * broad)
    sylvian -= 9 * np.abs(height + 0.15) + 40 * cover(34 - np.abs(x), 8)
    image = paint(image, csf, 0.9 * cover(sylvian))
    bend = rng.uniform(3, 6) * atrophy
    horns = []
    for sign, (start, stop) in ((-1, (-34, -4)), (1, (6, 42))):
        along = np.clip((y - start) / (stop - start), 0, 1)
        centre = 4 + 16 * (along if sign > 0 else 1 - along) ** 1.5
        off = np.maximum(np.abs(y - np.clip(y, start, stop)) - 1, 0)
        horns.append(
            bend - np.hypot(np.abs(x) - centre, off) - 22 * max(abs(height - 0.08) - 0.1, 0)
        )
    ventricles = np.maximum(*horns) + 0.4 * fine
    third = _ellipse(y, x, (4, 0), (14, 2.4)) - 14 * abs(height + 0.1)
    plexus = csf * (1 - 0.35 * np.clip(fine - 0.6, 0, 1))
    image = paint(image, plexus, cover(np.maximum(ventricles, third)))

    # posterior fossa of the low slices: folia, brainstem, basal cistern
    low = -(height + 0.22) * 70
    cerebellum = _ellipse(y, x, (52, 0), (30, 50)) + min(low, 12) - 12 - 40 * (low < 0)
    stripes = ridges(
        np.sin((np.hypot(y - 20, 0.6 * x) + 0.7 * fine + 2 * broad) * np.pi / 5.5), 0.9
    )
    folia = gm * 0.95 + (csf - gm) * 0.55 * stripes * cover(16 - cerebellum, 6)
    image = paint(image, folia * (1 + 0.05 * fine), cover(cerebellum) * cover(inside - 2))
    stem = _ellipse(y, x, (16, 0), (13, 15)) + min(low, 4) - 4 - 40 * (low < 0)
    image = paint(image, csf, cover(stem + 2 + 2 * broad) * cover(-cerebellum))
    image = paint(image, wm * 1.15 * (1 + 0.08 * fine), cover(stem))

    # vessels are dark flow voids, perivascular spaces bright dots
    void = cover(fine * broad - 3.2, 0.5)
    image = paint(image, 0.08, 0.8 * void * cover(18 - inside, 4))
    image = paint(image, csf * 0.8, 0.7 * cover(fine - 2.5 + 0.2 * broad, 0.5))

    necrosis, core, oedema = _tumour(tumour_rng, y, x, z, visit)
    brain = inside > 0.5
    not_csf = (1 - cover(np.maximum(ventricles, third))) * cover(inside - 3)
    image = paint(
        image, csf * (0.68 + 0.05 * fine + 0.05 * broad), 0.85 * cover(oedema, 2) * not_csf
    )
    image = paint(image, gm * (1.15 + 0.2 * fine), cover(core, 1.5) * not_csf)
    image = paint(image, csf * (0.88 + 0.12 * fine), cover(necrosis, 1.5) * not_csf)
    mask = np.zeros(shape, np.uint8)
    for label, depth_px in ((2, oedema), (3, core), (1, necrosis)):
        mask[(depth_px > 0) & (not_csf > 0.5) & brain] = label

    bias = 1 + 0.07 * texture(rng, shape, -3, (60, 400))
    clean = np.clip(gaussian_filter(image * bias, p["blur_px"]) * brain, 0, 1).astype(np.float32)
    noisy = np.where(brain, rician(noise_rng, clean, p["noise_sd"]), np.float32(0))
    return Phantom(noisy.astype(np.float32), clean, mask)
