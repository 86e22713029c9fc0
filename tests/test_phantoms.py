"""Phantoms: reproducible, in the right layouts, and as hard as real images."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import runpy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from latentsr.phantoms import ANATOMIES, draw, parameters_sha256, write

FROZEN = "f317a57df6378d1eb56cdf3c7c2e6db9a74d66520a41773dd09a3fa71f443caf"
COUNTS = {"knee_train": 2, "knee_test": 1, "brain_train": 5, "brain_test": 1, "brain_slices": 1,
          "chest_train": 2, "chest_test": 2}  # fmt: skip
REALISM = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "phantom_realism.py"))
REAL_IMAGES = os.environ.get("LATENTSR_REAL_IMAGES")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms")
    write(root, seed=3, **COUNTS)
    return root


def table(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as lines:
        return list(csv.DictReader(lines))


def test_the_generator_is_frozen() -> None:
    assert parameters_sha256() == FROZEN, (
        "The phantoms changed: every training and every result has to be run again, and the"
        " change is listed with its reason in CONTRIBUTING.md before FROZEN is renewed."
    )


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_same_arguments_same_bits(anatomy: str) -> None:
    first, again = draw(anatomy, 1, 4, 60), draw(anatomy, 1, 4, 60)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.noise_free, again.noise_free)
    for other in (draw(anatomy, 2, 4, 60), draw(anatomy, 1, 5, 60), draw(anatomy, 1, 4, 61)):
        different = other.image.shape != first.image.shape
        assert different or not np.array_equal(other.image, first.image)
    assert first.image.dtype == first.noise_free.dtype == np.float32
    assert first.image.shape == first.noise_free.shape
    assert first.image.min() >= 0 and first.image.max() <= 1 and first.image.std() > 0.1


def test_neighbouring_slices_belong_to_one_brain() -> None:
    def likeness(a: tuple[int, int], b: tuple[int, int]) -> float:
        images = [draw("brain", 1, *key).noise_free.ravel() for key in (a, b)]
        return float(np.corrcoef(images)[0, 1])

    assert likeness((0, 90), (0, 91)) > likeness((0, 90), (1, 90)) + 0.05


def test_studies_of_a_patient_differ_in_pose_and_noise_only() -> None:
    first, second = draw("chest", 1, 0, 0).noise_free, draw("chest", 1, 0, 1).noise_free
    other = draw("chest", 1, 1, 0).noise_free
    assert first.shape == second.shape != other.shape
    assert 0.8 < np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.9999


def test_tumour_labels() -> None:
    masks = [draw("brain", 1, subject, 80).mask for subject in range(4)]
    assert all(m is not None and m.dtype == np.uint8 and m.max() <= 3 for m in masks)
    assert any(m is not None and m.any() for m in masks)
    assert draw("knee", 1, 0).mask is None


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_as_hard_as_real_images(anatomy: str) -> None:
    images, noise_sd = REALISM["phantoms"](anatomy, range(18), 1)
    assert 0.002 < noise_sd <= 0.02
    psnr, slope, ridge = REALISM["GATE"][anatomy]
    assert REALISM["mean_psnr_db"](images, REALISM["bicubic"](images)) == pytest.approx(
        psnr[0], abs=psnr[1]
    )
    assert REALISM["spectral_slope"](images) == pytest.approx(slope[0], abs=slope[1])
    assert REALISM["ridge_gain_db"](images) == pytest.approx(ridge[0], abs=ridge[1])


@pytest.mark.skipif(REAL_IMAGES is None, reason="LATENTSR_REAL_IMAGES names no folder")
@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_the_gate_is_what_real_images_give(anatomy: str) -> None:
    images, subjects = REALISM["real_images"](Path(REAL_IMAGES or ""), anatomy)
    figures = (
        REALISM["mean_psnr_db"](images, REALISM["bicubic"](images)),
        REALISM["spectral_slope"](images),
        REALISM["ridge_gain_db"](images, subjects),
    )
    for figure, (reference, _) in zip(figures, REALISM["GATE"][anatomy], strict=True):
        assert figure == pytest.approx(reference, abs=0.15)


def test_writing_twice_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    def digests(root: Path) -> dict[str, str]:
        files = sorted(f for f in root.rglob("*") if f.is_file())
        return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    write(tmp_path, seed=3, **COUNTS)
    assert digests(tmp_path) == digests(written)
    assert "phantoms" in (written / "PHANTOMS.txt").read_text()


def test_knee_layout(written: Path) -> None:
    folder = written / "knee" / "MRNet-v1.0"
    names = sorted(str(f.relative_to(folder)) for f in folder.rglob("*.npy"))
    assert names == [
        "train/sagittal/0000.npy", "train/sagittal/0001.npy", "valid/sagittal/1130.npy"
    ]  # fmt: skip
    volume = np.load(folder / names[2])
    assert volume.dtype == np.uint8 and volume.shape[1:] == (256, 256)
    middle = volume[len(volume) // 2] / 255
    twin = np.asarray(Image.open(written / "noise_free/knee/1130.png")) / 65535
    assert np.abs(middle - twin)[twin > 0.2].std() < 0.03
    assert (folder / "train-acl.csv").read_text() == "0000,0\n0001,0\n"
    assert len(list(folder.glob("*.csv"))) == 6


def test_brain_layout(written: Path) -> None:
    scans = sorted(p.name for p in (written / "brain").iterdir())
    assert scans == [f"BraTS-GLI-{i:05d}-000" for i in range(1, 7)] + ["BraTS-GLI-00006-001"]
    path = written / "brain" / scans[0] / scans[0]
    t2w, seg = (nib.load(f"{path}-{kind}.nii.gz") for kind in ("t2w", "seg"))
    assert t2w.shape == seg.shape == (240, 240, 155)
    assert t2w.get_data_dtype() == np.int16 and seg.get_data_dtype() == np.uint8
    volume = np.asarray(t2w.dataobj)
    (z,) = np.flatnonzero(volume.any(axis=(0, 1)))
    assert volume.max() > 400 and set(np.unique(np.asarray(seg.dataobj))) <= {0, 1, 2, 3}
    twin = np.asarray(Image.open(written / f"noise_free/brain/{scans[0]}_z{z:03d}.png")) / 65535
    assert np.corrcoef(twin.ravel(), volume[..., z].T.ravel())[0, 1] > 0.98
    header = Path(f"{path}-t2w.nii.gz").read_bytes()[:10]
    assert header[3] == 0 and header[4:8] == bytes(4)  # no file name, no time


def test_chest_layout(written: Path) -> None:
    root = written / "chest"
    metadata, split, labels = (
        table(root / f"mimic-cxr-2.0.0-{name}.csv.gz") for name in ("metadata", "split", "chexpert")
    )
    assert [r["split"] for r in split] == ["train", "train", "test", "test"]
    assert split[2]["subject_id"] == split[3]["subject_id"] != split[0]["subject_id"]
    assert len({r["study_id"] for r in labels}) == 4 and len(labels[0]) == 16
    for row in metadata:
        patient, study = row["subject_id"], row["study_id"]
        path = root / f"files/p{patient[:2]}/p{patient}/s{study}/{row['dicom_id']}.jpg"
        image = Image.open(path)
        assert image.mode == "L" and image.size == (int(row["Columns"]), int(row["Rows"]))
        assert row["ViewPosition"] in {"PA", "AP"} and len(row["dicom_id"]) == 44
    twins = sorted(f.stem for f in (written / "noise_free" / "chest").iterdir())
    assert twins == sorted(r["dicom_id"] for r in split if r["split"] == "test")
