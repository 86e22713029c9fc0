import sys

import numpy as np
import pytest
import torch

from latentsr.companion import others

LR = np.random.default_rng(0).random((3, 8, 8), np.float32)
CPU = "cpu"


@pytest.fixture(scope="module")
def ldm_folder(tmp_path_factory):
    """A super-resolution pipeline of two tiny networks with random weights, as diffusers saves it."""
    from diffusers import DDIMScheduler, UNet2DModel, VQModel
    from diffusers.pipelines.latent_diffusion import pipeline_latent_diffusion_superresolution

    torch.manual_seed(0)
    levels = {"down_block_types": ("DownEncoderBlock2D",) * 3}
    levels |= {"up_block_types": ("UpDecoderBlock2D",) * 3, "block_out_channels": (8, 8, 8)}
    vqvae = VQModel(**levels, norm_num_groups=4, num_vq_embeddings=16)
    unet = UNet2DModel(
        in_channels=6,
        out_channels=3,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    )
    made = pipeline_latent_diffusion_superresolution.LDMSuperResolutionPipeline(
        vqvae, unet, DDIMScheduler()
    )
    made.save_pretrained(folder := tmp_path_factory.mktemp("ldm"))
    return folder


def test_a_grey_image_goes_through_a_network_of_three_channels():
    image = np.random.default_rng(1).random((5, 7, 9), np.float32)
    assert np.allclose(others.in_color(lambda x: x, image, batch=2), image)
    doubled = others.in_color(lambda x: 2 * x, image)
    assert np.allclose(doubled, np.clip(2 * image, 0, 1))
    weights = torch.tensor([1.0, 0.0, 0.5])[:, None, None]
    assert np.allclose(others.in_color(lambda x: x * weights, image), image / 2)


def test_ldm_runs_from_a_folder_and_comes_out_again_for_a_seed(ldm_folder):
    once, again, other = (
        others.ldm(ldm_folder, LR, 32, CPU, num_steps=2, seed=seed) for seed in (1, 1, 2)
    )
    assert once.shape == (3, 32, 32) and 0 <= once.min() and once.max() <= 1
    assert np.allclose(once, again, atol=1e-5) and abs(once - other).max() > 1e-2
    with pytest.raises(ValueError, match="enlarges 4 times; 2 times is needed"):
        others.ldm(ldm_folder, LR, 16, CPU, num_steps=2, seed=1)


def test_every_set_of_a_run_is_scored(ldm_folder, tmp_path):
    for name in ("knee", "mine"):
        (folder := tmp_path / "data" / name).mkdir(parents=True)
        np.save(folder / "lr.npy", LR)
        np.save(folder / "hr.npy", np.random.default_rng(2).random((3, 32, 32), np.float32))
        np.save(folder / "split.npy", np.array(["train", "test", "test"]))
        for key in ("image_id", "subject_id"):
            np.save(folder / f"{key}.npy", np.array(["a", "b", "c"]))
    table = others.sr_models(tmp_path, ldm_folder, CPU, num_steps=1, seed=0)
    assert list(table["dataset"]) == ["knee"] * 2 + ["mine"] * 2
    assert list(table["image_id"]) == ["b", "c"] * 2 and table["psnr_db"].between(0, 30).all()


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("spandrel", lambda path: others.single_file(path, LR, 32, CPU)),
        ("torchvision", lambda path: others.lpips(LR, LR)),
        ("torchvision", lambda path: others.fid(LR, LR)),
    ],
)
def test_a_package_that_is_missing_is_named(package, call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)  # as if not installed
    (path := tmp_path / "x.pth").touch()
    needed = rf"^{package}: cannot be imported .*pip install 'latentsr\[others\]'"
    with pytest.raises(ValueError, match=needed):
        call(path)


def test_weights_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.pth: not there; put a checkpoint of ESRGAN"):
        others.single_file(tmp_path / "gone.pth", LR, 32, CPU)
    with pytest.raises(ValueError, match=r"model_index\.json: not there; put what diffusers saves"):
        others.ldm(tmp_path, LR, 32, CPU, num_steps=1, seed=0)


def test_an_unknown_measure_is_named(tmp_path):
    with pytest.raises(ValueError, match="'ssim'; allowed are lpips, fid"):
        others.perceptual(tmp_path, "ssim")
