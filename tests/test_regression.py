from types import SimpleNamespace

import numpy as np
import torch

from latentsr.degrade import degrade, upsample
from latentsr.experiments import baselines as regression
from latentsr.metrics.image import psnr_db


def stripes(count, seed):
    """Images whose detail LR tells: sharp stripes at a random phase and slope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :40]
    waves = [
        (np.sin(0.6 * x + s * y + p) > 0).astype(np.float32) for s, p in rng.random((count, 2))
    ]
    return np.stack(waves)[:, :, :24]


def test_a_regression_learns_what_interpolation_lacks():
    hr = stripes(24, 0)
    lr = degrade(hr, 12)
    net = regression.train(lr[:16], hr[:16], steps=60, batch=8, seed=1)
    made = regression.super_resolve(net, lr[16:], 24)
    plain = upsample(lr[16:], 24)
    assert made.shape == hr[16:].shape and made.dtype == np.float32
    assert psnr_db(made, hr[16:]).mean() > psnr_db(plain, hr[16:]).mean() + 1


def test_a_seed_decides_it():
    hr = stripes(6, 0)
    lr = degrade(hr, 12)
    made = [
        regression.super_resolve(regression.train(lr, hr, steps=3, batch=2, seed=s), lr, 24)
        for s in (1, 1, 2)
    ]
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_it_is_scored_beside_bicubic_on_images_it_has_not_seen():
    hr, subjects = stripes(24, 0), np.array([f"s{k:02d}" for k in range(24)])
    lr, is_training = degrade(hr, 12), np.arange(24) < 16
    test = {"lr": lr[16:], "hr": hr[16:], "image_id": subjects[16:], "subject_id": subjects[16:]}
    data = {"lr": lr, "hr": hr}
    study = SimpleNamespace(
        dataset="knee", data=data, test=test, is_training=torch.from_numpy(is_training)
    )
    table = regression.beside_bicubic(study, 1, steps=60, batch=8)
    by = table.set_index("image_id").groupby("method")["psnr_db"]
    assert by.get_group("bicubic").to_list() == psnr_db(upsample(lr[16:], 24), hr[16:]).tolist()
    assert (by.get_group("regression") > by.get_group("bicubic")).all()
    alone = regression.beside_bicubic(study, 1, is_trained=False)
    assert set(alone["method"]) == {"bicubic"} and len(alone) == 8
