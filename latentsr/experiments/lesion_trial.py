"""Images of one's own through the arms of a study: trained networks, other test images."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr import degrade
from latentsr import io as scores
from latentsr.autoencoders import latents, registry
from latentsr.diffusion.samplers import Net
from latentsr.experiments.arms import Study
from latentsr.experiments.run import Base, Spec, trained, walk_of
from latentsr.metrics import lesions
from latentsr.metrics.lesions import Lesion
from latentsr.plots.labels import in_words

Images = NDArray[np.float32]
Trial = Mapping[tuple[str, str], Images]  # by (arm, autoencoder): lesion-free, then one a lesion
HR = "", "HR"  # the true images among them


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


def finite(images: Images, which: str) -> Images:
    """Return images ``(..., H, W)`` as they are, if all of their values are finite.

    Raises
    ------
    ValueError
        Where they are not: a NaN would pass as an image without marks.
    """
    if bad := int((~np.isfinite(images)).any((-2, -1)).sum()):
        raise ValueError(f"{which}: {bad} images hold NaN or infinity; train it again")
    return images


def _rows(study: Study, count: int) -> NDArray[np.intp]:
    """Choose the first test image of each of ``count`` subjects."""
    return np.unique(study.test["subject_id"], return_index=True)[1][:count]


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

    Its test images are n without a lesion, one a subject, then one a lesion (see `lesions.insert_lesions`).
    """
    hr, ids = (study.test[key][_rows(study, count)] for key in ("hr", "image_id"))
    side, short = hr.shape[-1], study.test["lr"].shape[-1]
    matrix = lesions.operator_matrix(side, short, operator)
    rng = np.random.default_rng(seed)
    spots = lesions.insert_lesions(hr, matrix, noise_sd, sizes_px, levels, rng)
    whole = np.stack([*hr, *(lesions.with_lesion(hr, spot) for spot in spots)])
    names = [str(name) for name in (*ids, *(ids[spot.image] for spot in spots))]
    return with_test_images(study, whole, names, operator), spots, len(hr)


def with_seen_lesions(
    study: Study,
    share: float,
    *,
    operator: str,
    noise_sd: float,
    sizes_px: Sequence[float],
    levels: Sequence[float],
    seed: int,
) -> Study:
    """Return the study with a lesion in a share of its training images, the prevalence.

    Which images, and of the lesions that `lesions.insert_lesions` finds for each which one, is drawn by
    seed; test images stay.
    """
    rng = np.random.default_rng(seed)
    training = np.flatnonzero(study.is_training.numpy())
    chosen = rng.permutation(training)[: round(share * len(training))]
    hr = np.array(study.data["hr"])
    matrix = lesions.operator_matrix(hr.shape[-1], study.data["lr"].shape[-1], operator)
    spots = lesions.insert_lesions(hr[chosen], matrix, noise_sd, sizes_px, levels, rng)
    for place, row in enumerate(chosen):
        if mine := [spot for spot in spots if spot.image == place]:
            spot = replace(mine[int(rng.integers(len(mine)))], image=int(row))
            hr[row] = lesions.with_lesion(hr, spot)
    other = copy.copy(study)
    other.data = {**study.data, "hr": hr, "lr": np.array(study.data["lr"])}
    other.data["lr"][chosen] = degrade.degrade(hr[chosen], other.data["lr"].shape[-1], operator)
    other.own_lr, other._codes, other.folder = False, {}, Path("/dev/null")
    return other


def _named(study: Study, spec: Spec) -> str:
    condition = in_words(spec.switches.lr_condition)
    return (
        f"{study.dataset}, {registry.display_name(spec.vae)}, {spec.switches.protocol}, {condition}"
    )


def super_resolved(
    study: Study, spec: Spec, net: Net, base: Base, seed: int | None = None
) -> Images:
    """Sample a trained arm on the test images of ``study``; ``seed`` other than the arm's own."""
    arm = study.arm(spec.vae, spec.switches, spec.condition_vae, spec.seed)
    made = arm.sample(net, walk_of(spec, base), spec.seed if seed is None else seed)
    return finite(made, _named(study, spec))


def sampled(
    study: Study, spec: Spec, net: Net, base: Base, rows: Sequence[int], count: int
) -> tuple[Images, Images]:
    """Return all test images once ``(M, H, W)``, and some of them from ``count`` seeds.

    The second is ``(count, len(rows), H, W)``, its first the arm's own.
    """
    arm = study.arm(spec.vae, spec.switches, spec.condition_vae, spec.seed)
    walk = walk_of(spec, base)
    own = arm.sample(net, walk, spec.seed)
    few = arm.only(rows)
    more = [few.sample(net, walk, spec.seed + k) for k in range(1, count)]
    several = np.stack([own[list(rows)], *more])
    return finite(own, _named(study, spec)), finite(several, _named(study, spec))


def copied(study: Study, vae: str) -> Images:
    """Return the test images ``(M, H, W)`` as an autoencoder gives them back: its ceiling."""
    codes = latents.encode_all(study.autoencoder(vae), study.test["hr"], batch=16)
    made = latents.decode_all(study.autoencoder(vae), codes, batch=16)
    return finite(made, f"{study.dataset}, {registry.display_name(vae)}, ceiling")


def retrained(
    study: Study, specs: Mapping[tuple[str, str], Spec], base: Base, share: float, count: int,
    **where: Any,
) -> tuple[dict[tuple[str, str], Images], list[Lesion], int]:  # fmt: skip
    """Train arms with lesions in a share of the training images and repeat the trial.

    ``specs`` by (arm, autoencoder); ``count`` and ``where`` as for `planted`, whose lesions and
    lesion-free count come back with the images of each arm and of HR.
    """
    seen = with_seen_lesions(study, share, **where)
    trial, spots, free = planted(seen, count, **where)
    images = {HR: trial.test["hr"]}
    for key, spec in specs.items():
        done = trained(seen, spec, base)
        images[key] = super_resolved(trial, spec, done.net, base)
    return images, spots, free
