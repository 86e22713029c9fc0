"""Images of one's own through the arms of a study: trained networks, other test images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from latentsr import degrade, latents, lesions, scores
from latentsr.arms import Study
from latentsr.experiment import Base, Spec, walk_of
from latentsr.lesions import Lesion
from latentsr.sampling import Net

Images = NDArray[np.float32]


def with_test_images(study: Study, hr: Images, image_ids: list[str], operator: str) -> Study:
    """Return the study with other test images ``(M, H, W)``; training images stay.

    Sampling noise hangs on the id: twins of one id are sampled from the same noise.
    """
    other = copy.copy(study)
    rows = study.is_training.numpy()
    lr_px = study.data["lr"].shape[-1]
    made: dict[str, Any] = {
        "hr": hr,
        "lr": degrade.degrade(hr, lr_px, operator),
        "image_id": np.array(image_ids),
        "subject_id": np.array(image_ids),
        "split": np.array(["test"] * len(hr)),
    }
    other.data = {key: np.concatenate([study.data[key][rows], made[key]]) for key in made}
    other.is_training = study.is_training.new_tensor(other.data["split"] == "train")
    other.test, other.own_lr, other._codes = scores.test_images(other.data), False, {}
    other.folder = Path("/dev/null")  # no latents were kept of these images
    return other


def planted(
    study: Study,
    count: int,
    *,
    operator: str,
    noise_sd: float,
    sizes_px: Sequence[float],
    levels: Sequence[float],
    seed: int,
) -> tuple[Study, list[Lesion], int]:
    """Return the study with lesions in test images of ``count`` subjects, the lesions, and n.

    Its test images are n without a lesion, one a subject, then one a lesion (see `lesions.plant`).
    """
    _, rows = np.unique(study.test["subject_id"], return_index=True)
    hr, ids = (study.test[key][rows[:count]] for key in ("hr", "image_id"))
    side, short = hr.shape[-1], study.test["lr"].shape[-1]
    matrix = lesions.operator_matrix(side, short, operator)
    rng = np.random.default_rng(seed)
    spots = lesions.plant(hr, matrix, noise_sd, sizes_px, levels, rng)
    whole = np.stack([*hr, *(lesions.with_lesion(hr, spot) for spot in spots)])
    names = [str(name) for name in (*ids, *(ids[spot.image] for spot in spots))]
    return with_test_images(study, whole, names, operator), spots, len(hr)


def super_resolved(
    study: Study, spec: Spec, net: Net, base: Base, seed: int | None = None
) -> Images:
    """Sample a trained arm on the test images of ``study``; ``seed`` other than the arm's own."""
    arm = study.arm(spec.vae, spec.switches, spec.condition_vae, spec.seed)
    return arm.sample(net, walk_of(spec, base), spec.seed if seed is None else seed)


def copied(study: Study, vae: str) -> Images:
    """Return the test images ``(M, H, W)`` as an autoencoder gives them back: its ceiling."""
    codes = latents.encode_all(study.autoencoder(vae), study.test["hr"], batch=16)
    return latents.decode_all(study.autoencoder(vae), codes, batch=16)


def transfers(sr: Images, hr: Images, planted: list[Lesion], free: int) -> pd.DataFrame:
    """Return the share of each lesion's contrast that arrives; a row a lesion.

    ``sr`` and ``hr`` hold the ``free`` lesion-free images first, then one image a lesion.
    """
    rows = []
    for place, lesion in enumerate(planted, start=free):
        twin = lesion.image
        value = lesions.contrast_transfer(sr[place], sr[twin], hr[place], hr[twin], lesion)
        rows.append({"image": twin, "sd_px": lesion.sd_px, "detectability": lesion.detectability,
                     "contrast": lesion.contrast, "transfer": value})  # fmt: skip
    return pd.DataFrame(rows)


def searched(
    free: Images, with_them: Images, spots: list[Lesion], limit: float, count: int = 30
) -> tuple[dict[str, float], pd.DataFrame]:
    """Search whole images for lesions of one size; one row of figures, and the free-response curve.

    ``free`` are images without, ``with_them`` one a lesion of ``spots``. The row holds the share
    of lesion-free images with a mark above ``limit`` and the share of lesions found; the curve
    lowers the threshold from twice the limit to a three-hundredth.
    """
    none, one = (lesions.marks(stack, spots[0].sd_px) for stack in (free, with_them))
    ((_, found),) = lesions.free_response(none, one, spots, [limit])
    marked = float(np.mean([len(found) > 0 and found[0, 0] > limit for found in none]))
    thresholds = list(np.geomspace(limit * 2, limit / 300, count))
    curve = pd.DataFrame(
        lesions.free_response(none, one, spots, thresholds), columns=["false", "found"]
    )
    return {"marked": marked, "found": found, "n_free": len(free), "n_lesions": len(spots)}, curve
