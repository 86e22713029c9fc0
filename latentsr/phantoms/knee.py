"""Sagittal knee MRI: one middle slice a subject, front of the leg on the left, fat bright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from latentsr.phantoms.fields import (
    Field,
    Phantom,
    closed_curve,
    cover,
    depth,
    open_curve,
    paint,
    rician,
    ridges,
    strokes,
    texture,
)

INDEX = 0
PARAMETERS: dict[str, Any] = {
    "size_px": 256,
    "blur_px": 0.85,
    "noise_sd": 0.022,  # native; about half of it is left at 128 px
    "jitter_px": 2.5,
    "trabeculae": 0.22,
    "septa": 0.32,
    "muscle_streaks": 0.2,
    "contrast": (0.80, 1.1),
}
# control points (y, x) on a 256 px template
LEG = [(-30, 62), (40, 44), (85, 32), (130, 44), (190, 66), (290, 78), (290, 222), (220, 226),
       (150, 208), (90, 208), (30, 222), (-30, 226)]  # fmt: skip
FEMUR = [(-25, 92), (30, 96), (60, 86), (84, 70), (110, 70), (131, 90), (140, 118), (133, 146),
         (116, 160), (94, 158), (70, 142), (30, 136), (-25, 134)]  # fmt: skip
TIBIA = [(156, 88), (151, 104), (152, 116), (147, 123), (152, 131), (154, 148), (161, 160),
         (180, 155), (215, 142), (285, 140), (285, 98), (215, 98), (184, 84),
         (168, 80)]  # fmt: skip
PATELLA = [(68, 60), (62, 52), (74, 43), (92, 41), (107, 48), (106, 57), (90, 64)]
QUADRICEPS = [(-30, 70), (30, 62), (48, 66), (28, 80), (-30, 88)]
HAMSTRING = [(-30, 150), (20, 158), (62, 172), (84, 186), (60, 198), (-30, 210)]
GASTROCNEMIUS = [(92, 176), (128, 170), (170, 166), (230, 152), (290, 146), (290, 206), (230, 212),
                 (160, 200), (116, 192)]  # fmt: skip
POPLITEUS = [(164, 164), (182, 160), (220, 147), (215, 152), (190, 168)]
TENDONS = [
    ([(-10, 60), (28, 55), (62, 48)], 3.0),
    ([(106, 46), (134, 56), (160, 72), (178, 82)], 3.2),
]
CRUCIATES = [
    ([(112, 142), (130, 132), (150, 112)], 4.0),
    ([(112, 122), (118, 148), (134, 158), (160, 158)], 4.5),
]
MENISCI = [[(140, 78), (154, 82), (147, 98)], [(137, 166), (155, 163), (147, 143)]]


def draw(seed: int, subject: int, view: int = 0) -> Phantom:
    """The middle slice of one exam; another `view` is another exam."""
    rng = np.random.default_rng([seed, INDEX, subject, view])
    p, shape = PARAMETERS, (PARAMETERS["size_px"],) * 2
    turn, scale = rng.normal(0, 0.06), rng.normal((1.02, 1.08), 0.05) * rng.normal(1.02, 0.04)
    shift = rng.normal(0, 6, 2) + (0, -4)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])

    def posed(points: Any, jitter_px: float = p["jitter_px"]) -> NDArray[np.float64]:
        at = np.asarray(points, float)
        at = at + rng.normal(0, jitter_px, at.shape)
        return (at - 128) * scale @ rotation.T + 128 + shift

    def region(points: Any, rough_px: float = 1.0, jitter_px: float = p["jitter_px"]) -> Field:
        wobble = texture(rng, shape, -2.5, (10, 60)) * rough_px
        return depth(shape, closed_curve(posed(points, jitter_px)), wobble)

    fat, marrow, muscle = rng.uniform(0.78, 0.95), rng.uniform(0.5, 0.72), rng.uniform(0.22, 0.34)
    fluid, dark = rng.uniform(0.4, 0.9), rng.uniform(0.03, 0.10)
    warp = texture(rng, shape, -2.0, (5, 60))

    # fat, cut up by connective septa
    leg = region(LEG, 0.8)
    septa = ridges(texture(rng, shape, -1.5, (9, 50), 2.2, np.pi / 2 + turn), 1.2)
    septa *= cover(texture(rng, shape, -1.5, (8, 50)) + 0.1, 0.8)
    lobules = 1 - p["septa"] * septa + 0.08 * warp + 0.06 * texture(rng, shape, -1.2, (2.5, 16))
    image = paint(np.zeros(shape, np.float32), fat * lobules, cover(leg))
    image = paint(image, 0.25, cover(1.4 - np.abs(leg - 1.4)))
    fascia = rng.uniform(9, 15) + 2 * warp
    image = paint(image, dark, 0.7 * cover(0.8 - np.abs(leg - fascia)))

    # muscles with streaks of fat along the fibres
    for points in (QUADRICEPS, HAMSTRING, GASTROCNEMIUS, POPLITEUS):
        d = region(points, 1.5, 5.0)
        angle = np.pi / 2 + turn + rng.normal(0, 0.25)
        fibre = texture(rng, shape, -1.5, (2.5, 40), 6, angle)
        streak = ridges(texture(rng, shape, -1.0, (6, 40), 5, angle), 1.1)
        streak *= cover(texture(rng, shape, -1.5, (8, 60)) - 0.6, 0.8)
        flesh = muscle * (1 + 0.16 * fibre + 0.1 * warp) + p["muscle_streaks"] * fat * streak
        image = paint(image, flesh, cover(d, 1.5))
        image = paint(image, dark, 0.5 * cover(0.6 - np.abs(d)))
    for _ in range(rng.integers(5, 12)):  # popliteal and other vessels
        start = posed([rng.uniform(30, 200), rng.uniform(155, 190)], 0)
        line = open_curve(start + np.cumsum(rng.normal((11, 0), (3, 3), (4, 2)), axis=0), 16)
        vessel = strokes(shape, [(line, np.full(16, rng.uniform(0.8, 2.6)))])
        image = paint(image, rng.choice([dark, dark, fluid]), cover(vessel - 0.6))

    # joint space: grey soft tissue behind the femur, cartilage, fluid
    femur, tibia, patella = region(FEMUR, 0.8), region(TIBIA, 0.8), region(PATELLA, 0.8)
    capsule = region([(88, 150), (112, 160), (140, 168), (162, 164), (150, 125), (120, 140)], 2.5)
    soft = 0.38 + 0.13 * texture(rng, shape, -1.8, (3, 22)) + 0.05 * warp
    image = paint(image, soft, 0.9 * cover(capsule, 3))
    joint = (region([(128, 74), (128, 168), (162, 166), (162, 78)], 1.0) > 0).astype(np.float32)
    image = paint(image, soft * 0.9, 0.85 * joint)
    thickness = rng.uniform(3.0, 5.5) + 0.8 * warp
    low = np.arange(shape[0])[:, None] > 70 + shift[0] + 25 * rng.random()
    for bone in (femur * low - 50 * ~low, tibia - 50 * (tibia < -thickness), patella):
        grey = rng.uniform(0.42, 0.58) + 0.05 * texture(rng, shape, -1, (2.5, 15))
        image = paint(image, grey, cover(bone + thickness))
        image = paint(image, fluid, 0.6 * cover(0.6 - np.abs(bone + thickness + 0.6)))

    # bones: dark cortex, marrow with trabeculae, growth-plate scar
    for bone, along, cortex in ((femur, 0.2, 2.2), (tibia, 0.1, 2.0), (patella, 0.0, 1.6)):
        angle = np.pi / 2 + turn + along * rng.normal()
        web = ridges(texture(rng, shape, -0.6, (3.2, 9), 1.8, angle), 0.9)
        coarse = texture(rng, shape, -1.6, (5, 60))
        spots = np.clip(texture(rng, shape, -0.7, (2.5, 8)) - 1.4, 0, 1)
        amount = p["trabeculae"] * np.clip(0.8 + 0.5 * coarse, 0.1, 2)
        bright = marrow * (1.05 - amount * web - 0.3 * spots + 0.07 * coarse)
        bright += 0.03 * texture(rng, shape, -1.2, (2.2, 14))
        image = paint(image, dark, cover(bone))
        rim = cortex * np.clip(1 + 0.35 * texture(rng, shape, -1.5, (6, 60)), 0.4, 2)
        image = paint(image, bright, cover(bone - rim))
    for height, bone in ((rng.uniform(78, 90), femur), (rng.uniform(172, 182), tibia)):
        crossing = posed([(height + rng.normal(0, 3), x) for x in range(60, 181, 15)], 1.5)
        scar = strokes(shape, [(open_curve(crossing), np.full(60, 1.1))]) * (warp > -0.8)
        image = paint(image, dark + 0.1, 0.75 * np.clip(scar, 0, 1) * cover(bone - 2))

    # ligaments, tendons and menisci are dark, with fibres
    for lines, shade in ((CRUCIATES, 0.16), (TENDONS, 0.08)):
        for points, radius in lines:
            line, radii = open_curve(posed(points)), np.full(60, radius * rng.uniform(0.75, 1.2))
            band = strokes(shape, [(line, radii)])
            angle = np.arctan2(*(line[-1] - line[0]))
            fibre = texture(rng, shape, -0.8, (2.2, 14), 5, angle)
            value = shade + np.clip(0.09 * fibre, -0.08, 0.4)
            image = paint(image, value, cover(band - 0.8) * cover(-femur) * cover(-patella))
    for points in MENISCI:
        triangle = depth(shape, posed(points, 1.8))
        stain = dark + 0.06 * np.clip(texture(rng, shape, -1, (2.5, 10)), 0, 3)
        image = paint(image, stain, cover(triangle) * cover(-femur) * cover(-tibia))

    sensitivity = 1 + 0.10 * texture(rng, shape, -3, (60, 400))
    image = gaussian_filter(image, p["blur_px"])  # the sequence's point spread
    clean = np.clip(image * sensitivity, 0, None) ** rng.uniform(*p["contrast"])
    clean = np.clip(clean * (rng.uniform(0.8, 1.0)), 0, 1).astype(np.float32)
    return Phantom(rician(rng, clean, p["noise_sd"]), clean)
