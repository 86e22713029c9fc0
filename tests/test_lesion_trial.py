"""Images of one's own through trained arms."""

from types import SimpleNamespace

import numpy as np
import pytest

from latentsr.experiments import lesion_trial


@pytest.mark.parametrize("seed", [0, 1])
def test_an_image_of_nan_is_not_counted_as_one_without_marks(monkeypatch, seed):
    """A NaN of any seed's sample, of the arm sampled again, and of a ceiling."""

    def sample(net, walk, drawn):
        images = np.full((2, 4, 4), 0.5, np.float32)
        images[1, 2, 2] = np.nan if drawn == seed else 0.5
        return images

    arm = SimpleNamespace(sample=sample, only=lambda rows: arm)
    study = SimpleNamespace(dataset="knee", arm=lambda *args: arm, autoencoder=lambda vae: None)
    study.test = {"hr": np.zeros((2, 4, 4), np.float32)}
    switches = SimpleNamespace(lr_condition="lr_pixels", protocol="controlled")
    spec = SimpleNamespace(vae="natural-f8c4", switches=switches, condition_vae="", seed=0)
    monkeypatch.setattr(lesion_trial, "walk_of", lambda spec, base: None)
    message = "knee, natural-f8c4, controlled, LR pixels: 1 images hold NaN or infinity"
    with pytest.raises(ValueError, match=message):
        lesion_trial.sampled(study, spec, None, None, [0, 1], 2)
    with pytest.raises(ValueError, match=message):
        lesion_trial.super_resolved(study, spec, None, None, seed)
    monkeypatch.setattr(lesion_trial.latents, "encode_all", lambda *args, batch: None)
    monkeypatch.setattr(
        lesion_trial.latents, "decode_all", lambda *args, batch: sample(None, None, seed)
    )
    with pytest.raises(ValueError, match="knee, natural-f8c4, ceiling: 1 images hold NaN"):
        lesion_trial.copied(study, "natural-f8c4")
