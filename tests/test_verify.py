import nibabel
import numpy as np
import pytest
from tiny_layouts import brats_scan, folder_of, mimic_of, mrnet_of, png

from latentsr.datasets import pixels, verify


def told(findings):
    return {row.what: (row.found, row.expected, row.good) for row in findings}


def test_a_part_of_mrnet_differs_from_the_whole(tmp_path):
    findings, problems = verify.verify("mrnet", mrnet_of(tmp_path))
    rows = told(findings)
    assert rows["exams in train"] == ("4", "1,130", False)
    assert rows["exams in test"] == ("3", "120", False)
    assert len(problems) == 7 and "shape (5, 16, 16); (None, 256, 256) is expected" in problems[0]


def test_mrnet_as_it_should_be(tmp_path, monkeypatch):
    monkeypatch.setitem(verify.EXPECTED, "mrnet", {"exams in train": 4, "exams in test": 3})
    monkeypatch.setitem(verify.SHAPES, "mrnet", ("uint8", (None, 16, 16)))
    root = mrnet_of(tmp_path)
    for path in root.rglob("*.npy"):
        exam = np.load(path)
        exam[:, 0] += 1
        np.save(path, exam)
    findings, problems = verify.verify("mrnet", root)
    assert not problems and all(row.good for row in findings)
    exam = exam.astype(np.float32)
    exam[2, 5, 5] = np.nan
    np.save(path, exam)
    monkeypatch.setitem(verify.SHAPES, "mrnet", (None, (None, 16, 16)))
    _, (line,) = verify.verify("mrnet", root)
    assert str(path) in line and "1 pixels are not finite" in line


def test_brats(tmp_path):
    for patient in (1, 2, 3):
        brats_scan(tmp_path, patient)
    where = brats_scan(tmp_path, 3, time=1)
    (where / "BraTS-GLI-00003-001-seg.nii.gz").unlink()
    findings, problems = verify.verify("brats", tmp_path, full=True)
    found = {key: row[0] for key, row in told(findings).items()}
    assert found["images listed"] == "4" and found["subjects"] == "3"
    assert found["with a segmentation"] == "3"
    assert len(problems) == 4 and all("(240, 240, 155) is expected" in line for line in problems)


def test_a_mask_of_another_shape_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(verify.SHAPES, "brats", (None, (16, 17, 155)))
    where = brats_scan(tmp_path, 1)
    path = where / "BraTS-GLI-00001-000-seg.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 155), np.uint8), np.eye(4)), path)
    findings, (line,) = verify.verify("brats", tmp_path)
    assert "mask of shape (16, 16) for an image of shape (17, 16)" in line
    assert told(findings)["smallest image, pixels"][0] == "17 x 16"


def test_mimic(tmp_path):
    rows = [(f"d{i}", f"1000000{i}", "PA", "train") for i in range(3)]
    findings, problems = verify.verify("mimic_cxr", mimic_of(tmp_path, rows))
    assert told(findings)["images in metadata"] == ("3", "377,110", False) and not problems


def test_quick_looks_at_some_and_full_at_all(tmp_path):
    root = folder_of(tmp_path, 120)
    (root / "1.png").write_bytes(b"\x89PNG broken")
    png(root / "2.png", np.full((20, 24), 9, np.uint8))
    seen = []
    verify.verify("folder", root, progress=lambda: seen.append(1))
    assert len(seen) <= verify.QUICK
    findings, problems = verify.verify("folder", root, full=True)
    assert told(findings)["images that can be used"] == ("118 of 120", "120", False)
    assert any("1.png: cannot be read" in line for line in problems)
    assert any("2.png: all pixels are 9" in line for line in problems)


def test_what_cannot_be_verified(tmp_path):
    with pytest.raises(ValueError, match="layout: 'knee'; allowed are mrnet, brats"):
        verify.verify("knee", tmp_path)
    with pytest.raises(ValueError, match="not a folder"):
        verify.verify("mrnet", tmp_path / "x")
    with pytest.raises(ValueError, match="train-abnormal.csv: not found"):
        verify.verify("mrnet", tmp_path)


def test_a_contact_sheet_shows_images_as_the_study_sees_them(tmp_path):
    root = folder_of(tmp_path / "set")
    (root / "9.png").write_bytes(b"")
    found = verify.contact_sheet("folder", root, across=4, side_px=16)
    names = sorted(path.name for path in root.glob("*.png"))
    rows = -(-len(names) // 4)
    assert found.shape == (rows * 16, 64) and found.dtype == np.uint8
    first = pixels.prepare_pixels(pixels.read_image(root / names[0]), "folder", 16)
    assert np.array_equal(found[:16, :16], (255 * first).round().astype(np.uint8))
    place = names.index("9.png")
    broken = found[place // 4 * 16 :, place % 4 * 16 :][:16, :16]
    assert (broken == 128).all() or (broken == 127).all()
