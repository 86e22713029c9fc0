"""Similarity of latents, against plain numpy, scikit-image and SciPy, and by hand."""

import json

import numpy as np
import pytest
from scipy.spatial import distance
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio

from latentsr.metrics import latent_similarity as similarity


@pytest.mark.parametrize("by", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 4, 8, 8), (2, 1, 4, 12)])
def test_every_number_equals_another_implementation(rng, by, shape):
    z = rng.normal(1, 2, shape)
    made = z + rng.normal(0, 0.5, shape)
    found = similarity.compare(made.astype(np.float32), z, by)
    small = [block_reduce(side, (1, 1, by, by), np.mean) for side in (made, z)]
    span = small[1].max() - small[1].min()
    for image, (a, b) in enumerate(zip(*small, strict=True)):
        wanted = peak_signal_noise_ratio(b, a, data_range=span)
        assert found["psnr_db"][image] == pytest.approx(wanted, rel=1e-5)
        wanted = 1 - distance.cosine(a.ravel(), b.ravel())
        assert found["cosine"][image] == pytest.approx(wanted, rel=1e-5)
        columns = zip(a.reshape(len(a), -1).T, b.reshape(len(b), -1).T, strict=True)
        wanted = np.mean([u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in columns])
        assert found["cosine_by_place"][image] == pytest.approx(wanted, rel=1e-5)


def test_one_and_the_same(rng):
    z = rng.normal(size=(2, 3, 4, 4))
    found = similarity.compare(z, z)
    assert np.isinf(found["psnr_db"]).all()
    assert found["cosine"] == pytest.approx(1) == found["cosine_by_place"]
    assert similarity.compare(-z, z)["cosine"] == pytest.approx(-1)
    assert similarity.compare(np.zeros_like(z), z)["cosine"].tolist() == [0, 0]


def test_noise_that_averages_out_counts_less_at_a_coarser_scale(rng):
    coarse = np.kron(rng.normal(size=(40, 2, 2, 2)), np.ones((4, 4)))  # alike within 4 x 4 places
    noisy = coarse + rng.normal(0, 1, coarse.shape)
    fine, pooled = (similarity.compare(noisy, coarse, by)["psnr_db"].mean() for by in (1, 4))
    assert pooled - fine == pytest.approx(10 * np.log10(16), abs=0.6)  # variance over 16


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="4 does not divide both sides"):
        similarity.pooled(np.zeros((1, 1, 6, 6)), 4)
    with pytest.raises(ValueError, match="pair them by image id"):
        similarity.compare(np.zeros((2, 1, 4, 4)), np.zeros((3, 1, 4, 4)))


def test_a_run_is_averaged_over_subjects_and_paired_by_image(tmp_path, rng):
    ids = np.array(["t", "a", "b", "c"])
    prepared = {"image_id": ids, "subject_id": np.array(["t", "p", "p", "q"])}
    prepared["split"] = np.array(["train", "test", "test", "test"])
    for name, array in prepared.items():
        (tmp_path / "data/knee").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"data/knee/{name}.npy", array)
    codes = {key: rng.normal(size=(4, 2, 4, 4)) for key in ("hr", "upsampled")}
    (folder := tmp_path / "autoencoders/knee/latents/vae").mkdir(parents=True)
    for key, array in codes.items():
        np.save(folder / f"{key}.npy", array)
    (arm := tmp_path / "arms/knee/vae").mkdir(parents=True)
    made = codes["hr"][1:] + rng.normal(0, [[[[0.1]]], [[[0.2]]], [[[0.4]]]], (3, 2, 4, 4))
    np.savez(arm / "latents.npz", image_id=ids[1:], lr_pixels=made)
    table = similarity.of_run(tmp_path, {"vae": "vae"}, ["knee"], 0, 0.95)
    assert json.loads(table["n_subjects"].to_json(orient="values")) == [2] * 6
    assert set(table["arm"]) == {"bicubic", "lr_pixels"} and set(table["pooled_by"]) == {1, 2, 4}
    each = similarity.compare(made, codes["hr"][1:])["psnr_db"]
    row = table[(table["arm"] == "lr_pixels") & (table["pooled_by"] == 1)].iloc[0]
    assert row["psnr_db"] == pytest.approx((each[:2].mean() + each[2]) / 2)
    said = similarity.nearer_than_bicubic(table)
    assert said.endswith("pooled by 1: 1 of 1, pooled by 2: 1 of 1, pooled by 4: 1 of 1")
    np.savez(arm / "latents.npz", image_id=ids[[2, 1, 3]], lr_pixels=made)
    with pytest.raises(ValueError, match="not those of the test images"):
        similarity.of_run(tmp_path, {"vae": "vae"}, ["knee"], 0, 0.95)
