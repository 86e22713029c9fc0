import numpy as np

from latentsr import regression
from latentsr.degrade import degrade, upsample
from latentsr.metrics import psnr_db


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
