"""The lesion trial: images with and without an inserted lesion, through trained arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latentsr.autoencoders import latents, registry
from latentsr.degrade import degrade
from latentsr.diffusion.samplers import Net
from latentsr.experiments.arms import Images, PreparedSet
from latentsr.experiments.run import ArmConfig, TrainConfig, train_or_load
from latentsr.metrics import lesions
from latentsr.metrics.lesions import Lesion

HR = "", "HR"  # the true images among them


@dataclass(frozen=True)
class LesionDesign:
    """Which lesions are inserted: sizes (SD in px) and levels (d' in the LR image)."""

    sizes_px: Sequence[float]
    levels: Sequence[float]
    noise_sd: float  # of the HR image, for d'
    operator: str  # that makes LR from HR
    seed: int

    def place(self, hr: Images, lr_px: int, rng: np.random.Generator) -> list[Lesion]:
        """Choose lesions for images ``(N, H, W)``, see `lesions.insert_lesions`."""
        matrix = lesions.operator_matrix(hr.shape[-1], lr_px, self.operator)
        return lesions.insert_lesions(hr, matrix, self.noise_sd, self.sizes_px, self.levels, rng)


def first_of_subjects(prepared: PreparedSet, count: int) -> NDArray[np.intp]:
    """Return the rows of the first test image of each of ``count`` subjects."""
    return np.unique(prepared.test["subject_id"], return_index=True)[1][:count]


def prepare_trial(
    prepared: PreparedSet, count: int, design: LesionDesign
) -> tuple[PreparedSet, list[Lesion], int]:
    """Return the set with lesions in test images of ``count`` subjects, the lesions, and n.

    Its test images are n without a lesion, one per subject, then one per lesion; twins share their
    image id, so their sampling noise.
    """
    rows = first_of_subjects(prepared, count)
    hr, ids = prepared.test["hr"][rows], prepared.test["image_id"][rows]
    lr_px = prepared.test["lr"].shape[-1]
    inserted = design.place(hr, lr_px, np.random.default_rng(design.seed))
    images = np.stack([*hr, *(lesions.with_lesion(hr, lesion) for lesion in inserted)])
    names = [str(name) for name in (*ids, *(ids[lesion.image] for lesion in inserted))]
    return prepared.with_test_images(images, names, design.operator), inserted, len(hr)


def augment_training(prepared: PreparedSet, share: float, design: LesionDesign) -> PreparedSet:
    """Return the set with a lesion in a share of its training images, the prevalence.

    Which images, and which of the lesions that `LesionDesign.place` chooses for each, is drawn by
    seed; test images stay.
    """
    rng = np.random.default_rng(design.seed)
    training = np.flatnonzero(prepared.is_training.numpy())
    chosen = rng.permutation(training)[: round(share * len(training))]
    hr, lr = np.array(prepared.data["hr"]), np.array(prepared.data["lr"])
    candidates = design.place(hr[chosen], lr.shape[-1], rng)
    for place, row in enumerate(chosen):
        if own := [lesion for lesion in candidates if lesion.image == place]:
            lesion = replace(own[int(rng.integers(len(own)))], image=int(row))
            hr[row] = lesions.with_lesion(hr, lesion)
    lr[chosen] = degrade(hr[chosen], lr.shape[-1], design.operator)
    return prepared.with_images({**prepared.data, "hr": hr, "lr": lr})


def check_finite(images: Images, name: str) -> Images:
    """Return images ``(..., H, W)`` as they are, if all of their values are finite.

    Raises
    ------
    ValueError
        Where they are not: a NaN would pass as an image without detections.
    """
    if bad := int((~np.isfinite(images)).any((-2, -1)).sum()):
        raise ValueError(f"{name}: {bad} images hold NaN or infinity; train it again")
    return images


def sample_trial(
    prepared: PreparedSet,
    config: ArmConfig,
    net: Net,
    base: TrainConfig,
    rows: Sequence[int] = (),
    count: int = 1,
) -> tuple[Images, Images]:
    """Return all test images sampled once ``(M, H, W)``, and some ``rows`` from ``count`` seeds.

    The second is ``(count, len(rows), H, W)``, its first the arm's own seed.
    """
    arm = prepared.arm(config.vae, config.protocol, config.condition_vae, config.seed)
    sampler, subset = base.sampler_of(config), arm.subset(rows) if count > 1 else arm
    once = arm.sample(net, sampler, config.seed)
    more = [subset.sample(net, sampler, config.seed + k) for k in range(1, count)]
    kind = config.protocol.lr_condition
    name = (
        f"{prepared.dataset}, {registry.display_name(config.vae)}, {config.protocol.name}, {kind}"
    )
    several = np.stack([once[list(rows)], *more])
    return check_finite(once, name), check_finite(several, name)


def reconstructions(prepared: PreparedSet, vae: str) -> Images:
    """Return decode(encode(HR)) of the test images, ``(M, H, W)``, and check that it is finite."""
    model = prepared.autoencoder(vae)
    codes = latents.encode_all(model, prepared.test["hr"], batch=16)
    images = latents.decode_all(model, codes, batch=16)
    return check_finite(images, f"{prepared.dataset}, {registry.display_name(vae)}, reconstruction")


def retrain_with_lesions(
    prepared: PreparedSet,
    configs: Mapping[tuple[str, str], ArmConfig],
    base: TrainConfig,
    share: float,
    count: int,
    design: LesionDesign,
) -> tuple[dict[tuple[str, str], Images], list[Lesion], int]:
    """Train arms with lesions in a share of the training images and repeat the trial.

    ``configs`` by (arm, autoencoder). Returns the images of each arm and of HR, the lesions and how
    many images are free of them.
    """
    augmented = augment_training(prepared, share, design)
    trial, inserted, n_free = prepare_trial(augmented, count, design)
    images = {HR: trial.test["hr"]}
    for key, config in configs.items():
        net = train_or_load(augmented, config, base).net
        images[key], _ = sample_trial(trial, config, net, base)
    return images, inserted, n_free
