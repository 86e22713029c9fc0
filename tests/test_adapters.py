import shutil

import nibabel
import numpy as np
import pytest
from tiny_layouts import brats_scan, folder_of, mimic_of, mrnet_of, png, write_manifest

from latentsr.datasets import brats, folder, mimic_cxr, mrnet, recognise

BRATS = {"brain_slices": 2, "split_by": "subject", "test_fraction": 0.4, "seed": 1}
HALF = {"split_by": "subject", "test_fraction": 0.5, "seed": 0}


def test_mrnet_reads_the_middle_slice_and_keeps_four_digits(tmp_path):
    records = mrnet.records(mrnet_of(tmp_path))
    assert [r.image_id for r in records] == [f"{i:04d}" for i in range(7)]
    assert [r.split for r in records] == ["train"] * 4 + ["test"] * 3
    np.testing.assert_array_equal(records[5].read(), 105)


def test_brats_splits_by_patient_and_tests_one_scan_a_patient(tmp_path):
    for patient in range(1, 9):
        brats_scan(tmp_path, patient, twice_nested=patient == 2, as_folder=patient >= 3)
        brats_scan(tmp_path, patient, time=1)
    records = brats.records(tmp_path, **BRATS)
    train = {r.subject_id for r in records if r.split == "train"}
    test = [r for r in records if r.split == "test"]
    assert not train & {r.subject_id for r in test}
    assert len(train) == 5 and len(test) == 3 * 2 and len(records) == 5 * 2 * 2 + 6
    assert all("-000_z" in r.image_id for r in test)
    assert records[0].image_id.endswith("_z039") and records[1].image_id.endswith("_z115")
    another = brats.records(tmp_path, **{**BRATS, "seed": 2})
    assert [r.split for r in another] != [r.split for r in records]
    for record in records:
        image, mask = record.read(), record.mask()
        assert image.shape == mask.shape == (17, 16)
        assert image.argmax() == mask.argmax() == 5 * 16 + 3  # row y, column x
        assert image.min() == int(record.image_id[-3:]) + 1
        assert record.pixel_mm == (1, 1)


def test_brats_gives_the_pixel_size_of_a_slice(tmp_path):
    where = brats_scan(tmp_path, 1)
    path = where / "BraTS-GLI-00001-000-t2w.nii.gz"
    volume = nibabel.load(path).get_fdata()
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.5, 0.75, 2, 1])), path)
    records = brats.records(tmp_path, **BRATS)
    assert {record.pixel_mm for record in records} == {(0.75, 0.5)}  # rows are y


@pytest.mark.parametrize("packed", [True, False])
def test_mimic_keeps_frontal_views_of_the_official_split(tmp_path, packed):
    rows = [
        ("d1", "10000001", "PA", "train"),
        ("d2", "10000001", "AP", "train"),
        ("d3", "10000002", "LATERAL", "train"),
        ("d4", "10000003", "PA", "validate"),
        ("d5", "11000004", "AP", "test"),
        ("d6", "11000005", "PA", "test"),
    ]
    mimic_of(tmp_path, rows, packed)
    (tmp_path / "files/p11/p11000005/s50000001/d6.jpg").unlink()  # people hold a part of the set
    records = mimic_cxr.records(tmp_path, split_by="subject", test_fraction=0.1, seed=0)
    kept = [(patient, split) for name, patient, _, split in rows if name in ("d1", "d2", "d5")]
    assert [r.image_id for r in records] == ["d1", "d2", "d5"]
    assert [(r.subject_id, r.split) for r in records] == kept


def test_the_papers_own_sampling_splits_images_and_scans(tmp_path):
    rows = [(f"d{i:02d}", f"1000000{i // 4}", "PA", "validate") for i in range(20)]
    root = mimic_of(tmp_path / "c", rows)
    records = mimic_cxr.records(root, split_by="image", test_fraction=0.3, seed=1)
    assert len(records) == 20 and sum(r.split == "test" for r in records) == 6
    sides = {(r.subject_id, r.split) for r in records}
    assert len(sides) > len({r.subject_id for r in records})  # patients stand on both
    for patient in range(1, 7):
        for time in (0, 1):
            brats_scan(tmp_path / "b", patient, time=time)
    records = brats.records(tmp_path / "b", **{**BRATS, "split_by": "image"})
    scans = {(r.image_id.split("_")[0], r.split) for r in records}
    assert len(records) == 24 and len(scans) == 12  # a scan stays on one side
    assert len({(r.subject_id, r.split) for r in records}) > 6


def test_links_to_folders_are_followed(tmp_path):
    folder_of(tmp_path / "elsewhere", 3)
    root = folder_of(tmp_path / "set", 2)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "linked/back").symlink_to(root)
    records = folder.records(root, **HALF)
    assert [r.image_id for r in records] == ["0", "1", "linked-0", "linked-1", "linked-2"]


def test_a_folder_keeps_subjects_on_one_side(tmp_path):
    rows = [(f"{i}.png", f"s{i // 2}", "x") for i in range(12)]
    write_manifest(folder_of(tmp_path, 12), *rows, header=("file", "subject", "note"))
    records = folder.records(tmp_path, **HALF)
    sides = {(r.subject_id, r.split) for r in records}
    assert len(sides) == 6 and len(records) == 12
    assert sum(split == "test" for _, split in sides) == 3


def test_a_manifest_may_bring_its_split_and_choose_files(tmp_path):
    folder_of(tmp_path, 9)
    rows = [(f"{i}.png", f"s{i}", "test" if i < 3 else "train") for i in range(7)]
    write_manifest(tmp_path, *rows, header=("file", "subject", "split"))
    records = folder.records(tmp_path, split_by="subject", test_fraction=0.9, seed=0)
    assert [r.image_id for r in records if r.split == "test"] == ["0", "1", "2"]
    assert len(records) == 7


def test_without_manifest_files_at_any_depth_are_subjects(tmp_path):
    png(tmp_path / "a/b/one.png")
    png(tmp_path / "two.TIF")
    records = folder.records(tmp_path, **HALF)
    assert [(r.image_id, r.subject_id) for r in records] == [("a-b-one", "a/b/one"), ("two", "two")]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_arrive(tmp_path, suffix):
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160
    png(tmp_path / f"a.{suffix}", deep)
    (record,) = folder.records(tmp_path, **HALF)
    np.testing.assert_array_equal(record.read(), deep)


def test_layouts_are_recognised(tmp_path):
    mrnet_of(tmp_path / "a/MRNet-v1.0")
    brats_scan(tmp_path / "b/deep", 1, twice_nested=True)
    mimic_of(tmp_path / "c", [("d1", "10000001", "PA", "train")])
    folder_of(tmp_path / "d")
    assert recognise(tmp_path / "a") == ("mrnet", tmp_path / "a/MRNet-v1.0")
    for name, layout in (("b", "brats"), ("c", "mimic_cxr"), ("d", "folder")):
        assert recognise(tmp_path / name) == (layout, tmp_path / name)


def test_a_part_of_a_known_set_is_no_plain_folder(tmp_path):
    """Read so, a patient's images would get into both splits; a manifest says that it is meant."""
    mrnet_of(tmp_path / "a")
    shutil.rmtree(tmp_path / "a/valid")
    mimic_of(tmp_path / "b", [("d1", "10000001", "PA", "train")])
    for table in (tmp_path / "b").glob("mimic-cxr-2.0.0-metadata.csv*"):
        table.unlink()
    scan = brats_scan(tmp_path / "c", 1)
    next(scan.glob("*-t2w.nii.gz")).unlink()
    for name, part in zip("abc", ("MRNet", "MIMIC-CXR-JPG", "BraTS"), strict=True):
        with pytest.raises(
            ValueError, match=f"{name}: looks like a part of {part}, but .*manifest.csv"
        ):
            recognise(tmp_path / name)
        (tmp_path / name / "manifest.csv").write_text("file,subject\n")
        assert recognise(tmp_path / name) == ("folder", tmp_path / name)
