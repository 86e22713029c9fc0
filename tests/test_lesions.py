"""The ideal observer against simulation, transfer on images where it is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentsr.degrade import degrade
from latentsr.experiments import lesion_trial
from latentsr.metrics import lesions
from latentsr.metrics.lesions import Lesion


@pytest.mark.parametrize("operator", ["bicubic", "lanczos", "gaussian", "kspace"])
def test_the_matrix_does_what_the_operator_does(rng, operator):
    matrix = lesions.operator_matrix(32, 8, operator)
    image = 0.4 + 0.2 * rng.random((1, 32, 32), np.float32)
    np.testing.assert_allclose(
        matrix @ image[0] @ matrix.T, degrade(image, 8, operator)[0], atol=1e-5
    )
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)


def test_detectability_is_what_an_ideal_observer_reaches(rng):
    """Likelihood ratios of simulated LR images are d' apart, in units of their SD."""
    matrix, sd = lesions.operator_matrix(24, 6, "bicubic"), 0.05
    signal = 0.06 * Lesion(0, 11, 13, 2.0, 1.0, 0.0).template(24)
    wanted = lesions.detectability(signal, matrix, sd)
    both = np.kron(matrix, matrix)
    covariance = sd**2 * both @ both.T
    seen = both @ signal.ravel()
    weights = np.linalg.solve(covariance, seen)
    noise = sd * rng.normal(size=(4000, 576)) @ both.T
    without, with_it = noise @ weights, (noise + seen) @ weights
    found = (with_it.mean() - without.mean()) / without.std()
    assert found == pytest.approx(wanted, rel=0.05) and 0.5 < wanted < 20


def test_contrasts_give_the_levels_asked_for(rng):
    hr = np.full((2, 40, 40), 0.4, np.float32)
    matrix = lesions.operator_matrix(40, 10, "bicubic")
    planted = lesions.plant(hr, matrix, 0.01, (1.0, 2.0), (0.5, 4.0), rng)
    assert len(planted) == 8 and {lesion.image for lesion in planted} == {0, 1}
    for lesion in planted:
        signal = lesion.contrast * lesion.template(40)
        assert lesions.detectability(signal, matrix, 0.01) == pytest.approx(lesion.detectability)
        made = lesions.with_lesion(hr, lesion)
        assert made[lesion.row, lesion.column] == pytest.approx(0.4 + lesion.contrast, abs=1e-6)
    assert lesions.plant(np.zeros((1, 40, 40), np.float32), matrix, 0.01, (1.0,), (1.0,), rng) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_transfer_of_a_known_share(rng, share):
    hr = np.full((1, 30, 30), 0.4, np.float32)
    lesion = Lesion(0, 14, 15, 1.5, 0.2, 1.0)
    made = lesions.with_lesion(hr, lesion)
    sr = hr[0] + 0.1 * rng.random((30, 30), np.float32)
    kept = sr + np.float32(share) * (made - hr[0])
    found = lesions.contrast_transfer(kept, sr, made, hr[0], lesion)
    assert found == pytest.approx(share, abs=1e-5)


def test_a_lesion_that_is_clipped_is_less_detectable_than_asked_for():
    """On 0.9 a peak of 0.05 fits, one of 0.2 ends at 1: half of its contrast and more."""
    hr = np.full((1, 40, 40), 0.9, np.float32)
    matrix = lesions.operator_matrix(40, 10, "bicubic")
    unit = lesions.detectability(Lesion(0, 20, 20, 1.5, 1.0, 0.0).template(40), matrix, 0.01)
    spots = [Lesion(0, 20, 20, 1.5, contrast, contrast * unit) for contrast in (0.05, 0.2)]
    made = np.stack([hr[0], *(lesions.with_lesion(hr, spot) for spot in spots)])
    whole, clipped = lesion_trial.clipped_levels(made, spots, 1, matrix, 0.01)["share"]
    assert whole == pytest.approx(1, abs=1e-4) and 0.5 < clipped < 0.9


def test_lesions_of_their_own_are_counted_by_their_masks():
    mask = np.zeros((6, 4, 4), bool)
    mask[[0, 1, 4], 2, 2] = True  # two of three training images, the second subject's first
    training = torch.tensor([True] * 3 + [False] * 3)
    test = {"subject_id": np.array(["a", "b", "b"]), "mask": mask[3:]}
    study = SimpleNamespace(data={"mask": mask}, is_training=training, test=test)
    told = lesion_trial.own_lesions(study, 2)
    assert told.startswith("2 of 3 training images and 1 of 2 images of this trial have a lesion")
    study.data = {}
    assert lesion_trial.own_lesions(study, 2).startswith("no masks")


@pytest.mark.parametrize("seed", [0, 1])
def test_an_image_of_nan_is_not_counted_as_one_without_marks(monkeypatch, seed):
    """A NaN of any seed's sample, of the arm sampled again, and of a ceiling."""

    def sample(net, walk, drawn):
        images = np.full((2, 4, 4), 0.5, np.float32)
        images[1, 2, 2] = np.nan if drawn == seed else 0.5
        return images

    arm = SimpleNamespace(sample=sample, only=lambda rows: arm)
    study = SimpleNamespace(dataset="knee", arm=lambda *given: arm, autoencoder=lambda vae: None)
    study.test = {"hr": np.zeros((2, 4, 4), np.float32)}
    switches = SimpleNamespace(lr_condition="lr_pixels", protocol="controlled")
    spec = SimpleNamespace(vae="natural-f8c4", switches=switches, condition_vae="", seed=0)
    monkeypatch.setattr(lesion_trial, "walk_of", lambda spec, base: None)
    told = "knee, natural-f8c4, controlled, LR pixels: 1 images hold NaN or infinity"
    with pytest.raises(ValueError, match=told):
        lesion_trial.sampled(study, spec, None, None, [0, 1], 2)
    with pytest.raises(ValueError, match=told):
        lesion_trial.super_resolved(study, spec, None, None, seed)
    monkeypatch.setattr(lesion_trial.latents, "encode_all", lambda *given, batch: None)
    monkeypatch.setattr(
        lesion_trial.latents, "decode_all", lambda *given, batch: sample(None, None, seed)
    )
    with pytest.raises(ValueError, match="knee, natural-f8c4, ceiling: 1 images hold NaN"):
        lesion_trial.copied(study, "natural-f8c4")


def test_the_transfer_is_averaged_by_size_and_by_size_and_level():
    """Two levels of one size, 0.5 and 0.25 of whose contrast arrives in each of two images."""
    kept = {1.0: 0.5, 4.0: 0.25}
    spots = [Lesion(image, 8, 9, 1.5, 0.1 * level, level) for image in (0, 1) for level in kept]
    plain = np.random.default_rng(0).random((2, 20, 20))
    added = [spot.contrast * spot.template(20) for spot in spots]
    hr = np.stack([*plain, *(plain[s.image] + a for s, a in zip(spots, added, strict=True))])
    sr = [plain[s.image] + kept[s.detectability] * a for s, a in zip(spots, added, strict=True)]
    images = {("", "HR"): hr, ("", "bicubic"): np.stack([*plain, *sr])}
    given = images, spots, 2, 0, 0.95
    assert lesion_trial.transfer_table(*given)["transfer"].tolist() == pytest.approx([0.375])
    each = lesion_trial.transfer_table(*given, ["sd_px", "detectability"])
    assert each["detectability"].tolist() == list(kept) and set(each["n_images"]) == {2}
    assert each["transfer"].tolist() == pytest.approx(list(kept.values()))
