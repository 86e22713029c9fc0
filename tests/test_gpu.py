"""What must hold on a GPU; skipped where PyTorch sees none."""

import numpy as np
import pytest
import pywt
import torch
from test_authors import checkpoint

from latentsr import degrade, phantoms
from latentsr.autoencoders.load import load_autoencoder
from latentsr.companion import authors
from latentsr.datasets import prepare_pixels
from latentsr.diffusion import networks, process, samplers, train
from latentsr.experiments import baselines
from latentsr.metrics import frequency
from latentsr.metrics import image as metrics

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
SETTINGS = train.Settings(40, 4, 3e-3, 1e-2, 1.0, 42)


@pytest.fixture(scope="module")
def images():
    drawn = [phantoms.draw("knee", 7, number).image for number in range(9)]
    return np.stack([prepare_pixels(image, "knee", 128) for image in drawn])


def psnr_between(a, b):
    return float(metrics.psnr_db(np.asarray(a), np.asarray(b)).min())


@pytest.mark.parametrize("name", ["natural-f8c4", "phantom-f4c3"])
def test_codes_and_copies_are_those_of_the_cpu(images, name):
    odd = torch.from_numpy(images[:3, None, :117, :61])  # (B, 1, H, W)
    one, other = load_autoencoder(name), load_autoencoder(name, "cuda")
    codes, found = one.encode(odd), other.encode(odd)
    assert found.device.type == "cuda"
    share = (codes - found.cpu()).abs().max() / (codes.max() - codes.min())
    assert share < 1e-4
    a, b = one.decode(codes, (117, 61)), other.decode(codes, (117, 61))
    assert (a - b.cpu()).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(images, dtype):
    vae = load_autoencoder("phantom-f4c3", "cuda", dtype)
    x = torch.from_numpy(images[:2, None])
    exact = load_autoencoder("phantom-f4c3", "cuda")
    a, b = exact.decode(exact.encode(x)), vae.decode(vae.encode(x))
    assert psnr_between(a.cpu()[:, 0].numpy(), b.cpu()[:, 0].numpy()) > 35


@pytest.fixture(scope="module")
def trained(images):
    """A short training on the GPU: network, scaled target and condition, autoencoder."""
    vae = load_autoencoder("natural-f8c4", "cuda")
    target = vae.encode(torch.from_numpy(images[:, None])).cpu()
    target = (target - target.mean((0, 2, 3), keepdim=True)) / target.std((0, 2, 3), keepdim=True)
    lr = torch.from_numpy(degrade.degrade(images, 16))[:, None]
    net = networks.build(4, 1, networks.Network((32, 32, 32)), 0)
    losses = train.train(net, target, lr, SETTINGS, device="cuda")
    return net, target, lr, losses


def test_the_first_loss_is_the_cpu_s(trained):
    """By hand: Accelerate keeps one type of device a process."""
    _, target, lr, losses = trained
    order, noises = (torch.Generator().manual_seed(SETTINGS.seed + k) for k in (0, 1))
    rows = torch.randint(len(target), (SETTINGS.batch,), generator=order)
    times = torch.randint(1000, (SETTINGS.batch,), generator=order)
    noise = torch.randn(target[rows].shape, generator=noises)
    shares = process.alphas_cumprod("cosine")
    noisy = process.add_noise(target[rows], noise, times, shares, "x0")
    net = networks.build(4, 1, networks.Network((32, 32, 32)), 0)
    with torch.no_grad():
        wanted = (net(noisy, lr[rows], times) - target[rows]).abs().mean()
    assert losses[0] == pytest.approx(float(wanted), rel=1e-4)
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_a_stopped_training_goes_on(trained, tmp_path):
    _, target, lr, losses = trained
    calls = iter(range(1000))

    def stop():
        if next(calls) == 21:
            raise KeyboardInterrupt

    def train_on(progress):
        net = networks.build(4, 1, networks.Network((32, 32, 32)), 0)
        given = {
            "device": "cuda",
            "checkpoint_dir": tmp_path,
            "save_every_s": 0.0,
            "progress": progress,
        }
        return train.train(net, target, lr, SETTINGS, **given)

    with pytest.raises(KeyboardInterrupt):
        train_on(stop)
    assert list(tmp_path.glob("*.pt"))
    np.testing.assert_allclose(train_on(lambda: None), losses, rtol=0.05)
    assert not list(tmp_path.glob("*.pt"))


def test_samples_hang_on_batch_and_device_by_rounding_alone(trained):
    net, target, lr, _ = trained
    shares, times = process.alphas_cumprod("cosine"), samplers.timesteps("spaced", 10, 999)
    drawn = [torch.Generator().manual_seed(k) for k in range(9)]
    noise = torch.stack([torch.randn(target.shape[1:], generator=one) for one in drawn])

    def run(rows, on, size):
        net.to(on)

        def walk(z, seen, _):
            return samplers.ddim(net, z, seen, times, shares)

        with torch.no_grad():
            return samplers.in_batches(walk, noise[rows], lr[rows], batch=size, device=on)

    every = list(range(9))
    whole = run(every, "cuda", 9)
    for found in (
        run(every, "cuda", 1),
        run(every, "cuda", 7),
        run(every[::-1], "cuda", 7).flip(0),
        run(every, "cpu", 9),
    ):
        assert (found - whole).abs().max() < 2e-3
    net.to("cuda")


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_bands_are_those_of_pywavelets(images, wavelet):
    found = frequency.decompose(torch.from_numpy(images[:2, :37, :61]).double().cuda(), wavelet, 3)
    wanted = pywt.wavedec2(images[1, :37, :61].astype(np.float64), wavelet, level=3)
    flat = [wanted[0], *(band for level in wanted[1:] for band in level)]
    for band, one in zip(found.values(), flat, strict=True):
        assert band.device.type == "cuda"
        assert np.abs(band[1].cpu().numpy() - one).max() < 1e-6


def test_the_released_sampler_is_that_of_the_cpu(tmp_path):
    checkpoint(tmp_path / "x.ckpt")
    noise, lr = (
        torch.randn(2, 3, n, n, generator=torch.Generator().manual_seed(n)) for n in (16, 4)
    )
    found = []
    for on in ("cpu", "cuda"):
        net = authors.load(tmp_path / "x.ckpt", on)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found.append(authors.sample(net, noise.to(on), lr.to(on), net.alphas, 7).cpu())
    assert (found[0] - found[1]).abs().max() < 1e-4 * found[0].abs().max()


def test_regression_and_adaptation_run_on_it(images):
    lr = degrade.degrade(images, 32)
    net = baselines.train_regression(lr, images, steps=30, batch=4, device="cuda")
    assert baselines.regress(net, lr, 128).shape == images.shape
    vae = load_autoencoder("natural-f4c3", "cuda")
    for how in baselines.ADAPTATIONS:
        made = baselines.adapt(vae, images, how, seed=0, steps=3, batch=2)
        x = torch.from_numpy(images[:1, None])
        assert torch.isfinite(made.decode(made.encode(x))).all()
