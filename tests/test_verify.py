from dataclasses import replace

import nibabel
import numpy as np
import pytest
import typer
from tiny_layouts import IMAGE, brats_scan, folder_of, mimic_of, mrnet_of, png

from latentsr.companion.cli import main as cli
from latentsr.datasets import ADAPTERS, brats, mrnet, pixels, verify


def checked(layout, root, **how):
    rows, report = verify.verify(layout, root, **how)
    return {row.what: (row.value, row.expected, row.good) for row in rows}, report.problems


def whole_mrnet(tmp_path, monkeypatch):
    """A tiny MRNet that is as large as it should be."""
    monkeypatch.setattr(mrnet, "EXAMS", {"train": 4, "test": 3})
    monkeypatch.setitem(ADAPTERS, "mrnet", replace(mrnet.ADAPTER, shape=(None, 16, 16)))
    root = mrnet_of(tmp_path)
    for path in root.rglob("*.npy"):
        np.save(path, np.load(path) + np.eye(16, dtype=np.uint8))
    return root


def whole_brats(tmp_path, monkeypatch, count=3):
    monkeypatch.setattr(brats, "SCANS", count)
    monkeypatch.setitem(ADAPTERS, "brats", replace(brats.ADAPTER, shape=(16, 17, 155)))
    for patient in range(1, count + 1):
        brats_scan(tmp_path, patient)
    return tmp_path


def nifti_with(path, value, *place):
    volume = np.asarray(nibabel.load(path).dataobj).astype(np.float32)
    volume[place] = value
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)


def test_a_part_of_a_set_differs_from_the_whole(tmp_path):
    rows, problems = checked("mrnet", mrnet_of(tmp_path / "a"))
    assert rows["exams in train"] == ("4", "1,130", False)
    assert rows["exams in test"] == ("3", "120", False)
    assert len(problems) == 7 and "shape (5, 16, 16); (None, 256, 256) is expected" in problems[0]
    brats_scan(tmp_path / "b", 1)
    rows, (line,) = checked("brats", tmp_path / "b", full=True)
    assert rows["scans"] == ("1", "1,251", False)
    assert "t2w.nii.gz: shape (16, 17, 155); (240, 240, 155) is expected" in line


@pytest.mark.parametrize("full", [False, True])
def test_sets_as_they_should_be(tmp_path, monkeypatch, full):
    root = whole_mrnet(tmp_path / "a", monkeypatch)
    rows, problems = checked("mrnet", root, full=full)
    assert not problems and all(good for *_, good in rows.values())
    assert rows["axial series"][:2] == ("0", "7")  # not read here: nothing is wrong
    path = root / "valid/sagittal/0006.npy"
    np.save(path, np.load(path).astype(np.float32))
    rows, (line,) = checked("mrnet", root, full=full)
    assert line == f"{path}: pixels of type float32; uint8 is expected"
    assert rows["pixel types as read"] == ("float32, uint8", "uint8", False)

    rows, problems = checked("brats", whole_brats(tmp_path / "b", monkeypatch), full=full)
    assert not problems and all(good for *_, good in rows.values())
    assert rows["scans with t2w"] == rows["scans with seg"] == ("3", "3", True)
    assert rows["scans with t1c"][:2] == ("0", "3")  # not read here
    assert rows.get("labels") == (("0, 3", "0 to 3", True) if full else None)
    assert rows["smallest image, pixels"][0] == "17 x 16"


def test_every_exam_that_is_missing_is_listed(tmp_path, monkeypatch):
    root = whole_mrnet(tmp_path, monkeypatch)
    missing = [root / "train/sagittal/0001.npy", root / "valid/sagittal/0005.npy"]
    for path in missing:
        path.unlink()
    np.save(root / "train/sagittal/0099.npy", np.zeros((5, 16, 16), np.uint8))
    rows, problems = checked("mrnet", root)
    assert rows["sagittal series of them"] == ("5", "7", False)
    assert rows["sagittal series in no table"] == ("1", "0", False)
    assert rows["of those looked at, can be used"] == ("5", "7", False)
    assert [line.split(": not there")[0] for line in problems] == [str(path) for path in missing]


def test_scans_that_lack_a_volume_are_listed(tmp_path, monkeypatch):
    root = whole_brats(tmp_path, monkeypatch, 5)
    for pattern in ("*2-000-seg.nii.gz", "*4-000-t2w.nii.gz", "*5-000-*.nii.gz"):
        for path in [*root.rglob(pattern)]:
            path.unlink()
    rows, problems = checked("brats", root)
    assert rows["scans"] == ("5", "5", True)
    assert rows["scans with t2w"] == ("3", "5", False) == rows["scans with seg"]
    for line, scan, word in zip(problems, (2, 4, 5), ("no seg", "not there", "not"), strict=True):
        assert f"BraTS-GLI-0000{scan}-000-t2w.nii.gz: {word}" in line


def test_masks_are_checked(tmp_path, monkeypatch):
    root = whole_brats(tmp_path, monkeypatch, 3)
    one, two, three = sorted(root.rglob("*-seg.nii.gz"))
    nibabel.save(nibabel.Nifti1Image(np.zeros((16, 16, 155), np.uint8), np.eye(4)), one)
    nifti_with(two, 4, 3, 5, 0)
    three.write_bytes(three.read_bytes()[:200])
    _, quick = checked("brats", root)
    assert [line.split(":")[0] for line in quick] == [str(one), str(three)]
    assert "mask of shape (16, 16) for an image of shape (17, 16)" in quick[0]
    rows, full = checked("brats", root, full=True)
    assert "mask of shape (16, 16, 155) for an image of shape (16, 17, 155)" in full[0]
    assert full[1] == f"{two}: label 4; 0 to 3 are expected"
    assert f"{three}: cannot be read (EOFError" in full[2]
    assert rows["labels"] == ("0, 3, 4", "0 to 3", False)


def test_full_reads_whole_volumes(tmp_path, monkeypatch):
    root = whole_brats(tmp_path / "brats", monkeypatch, 2)
    first = sorted(root.rglob("*-t2w.nii.gz"))[0]
    nifti_with(first, np.nan, 1, 2, 3)
    assert checked("brats", root)[1] == []
    (line,) = checked("brats", root, full=True)[1]
    assert line.startswith(f"{first}: 1 pixels are not finite")
    root = folder_of(tmp_path / "folder", 2)
    volume = np.random.default_rng(0).normal(size=(9, 20, 24))
    volume[0, 0, 0] = np.inf
    np.save(root / "9.npy", volume)
    rows, (line,) = checked("folder", root, full=True)
    assert line.startswith(f"{root}/9.npy: 1 pixels are not finite")
    assert rows["volumes of them"][0] == "1"


def test_images_that_the_tables_list_and_the_disk_lacks(tmp_path):
    views = ["PA", "AP", "PA", "LATERAL", "XTABLE"]
    root = mimic_of(tmp_path, [(f"d{i}", f"1000000{i}", v, "train") for i, v in enumerate(views)])
    (root / "files/p10/p10000001/s50000001/d1.jpg").unlink()
    rows, problems = checked("mimic_cxr", root)
    assert rows["images in metadata"] == ("5", "377,110", False) and not problems
    assert rows["of other views"][0] == "2" and rows["frontal images listed"][0] == "3"
    assert rows["frontal images on disk"] == ("2", "3", False)
    for path in root.rglob("*.jpg"):
        path.unlink()
    rows, problems = checked("mimic_cxr", root)
    assert rows["frontal images on disk"] == ("0", "3", False) and not problems
    with pytest.raises(ValueError, match="no image to show"):
        verify.contact_sheet("mimic_cxr", root)


def test_quick_looks_at_some_and_full_at_all(tmp_path):
    root = folder_of(tmp_path, 120)
    (root / "1.png").write_bytes(b"\x89PNG broken")
    png(root / "2.png", np.full((20, 24), 9, np.uint8))
    calls = []
    verify.verify("folder", root, progress=lambda *where: calls.append(where))
    assert len(calls) <= verify.QUICK and calls[-1] == (len(calls), len(calls))
    rows, problems = checked("folder", root, full=True)
    assert rows["of those looked at, can be used"] == ("118", "120", False)
    assert any("1.png: cannot be read" in line for line in problems)
    assert any("2.png: all pixels are 9" in line for line in problems)
    _, problems = checked("folder", root, hr_px=21)  # more than they have
    assert len(problems) == 1 + len(calls)  # the broken one is known before any is opened
    assert all("20 x 24 pixels; at least 21 a side" in line for line in problems[1:])


def test_an_interruption_says_what_was_opened(tmp_path, monkeypatch, capsys):
    root = folder_of(tmp_path, 9)
    png(root / "0.png", np.full((20, 24), 9, np.uint8))

    def third(done, total):
        if done == 3:
            raise KeyboardInterrupt

    rows, report = verify.verify("folder", root, progress=third)
    assert report.stopped and (report.opened, report.good) == (3, 2)
    assert ("stopped after", "3", "9") in [(row.what, row.value, row.expected) for row in rows]
    monkeypatch.setattr(verify, "verify", lambda *_, **__: (rows, report))
    with pytest.raises(typer.Exit) as ended:
        cli.verify_data("folder", root)
    assert ended.value.exit_code == 130 and "0.png: all pixels" in capsys.readouterr().out


def test_a_set_below_the_folder_that_is_given(tmp_path):
    mrnet_of(tmp_path / "knees/MRNet-v1.0")
    mimic_of(tmp_path / "chests/2.1.0", [(f"d{i}", f"1000000{i}", "PA", "train") for i in range(3)])
    assert checked("mrnet", tmp_path / "knees")[0]["exams in train"][0] == "4"
    rows, _ = checked("mimic_cxr", tmp_path / "chests")
    assert rows["frontal images on disk"] == ("3", "3", True)


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
    sheet = verify.contact_sheet("folder", root, side_px=16)
    assert sheet.shape == (2 * 16, 8 * 16) and sheet.dtype == np.uint8
    first = pixels.prepare_pixels(pixels.read_image(root / "0.png"), "folder", 16)
    assert np.array_equal(sheet[:16, :16], (255 * first).round().astype(np.uint8))
    assert ((sheet[16:, :16] == 127) | (sheet[16:, :16] == 128)).all()  # the broken one
    assert not sheet[16:, 16:].any()  # nothing more to show


def test_a_contact_sheet_shows_several_slices_of_a_volume(tmp_path):
    for patient in range(1, 5):
        brats_scan(tmp_path / "many", patient)
    sheet = verify.contact_sheet("brats", tmp_path / "many", count=10, slices=5, side_px=16)
    assert sheet.shape == (2 * 16, 5 * 16)  # two scans, one a row
    volume = np.stack([IMAGE // 4 + 9 * z for z in range(15)]).astype(np.uint8)
    (tmp_path / "few").mkdir()
    np.save(tmp_path / "few/a.npy", volume)
    sheet = verify.contact_sheet("folder", tmp_path / "few", count=6, side_px=16)
    assert sheet.shape == (16, 6 * 16)  # the middle half of 15, evenly
    tiles = sheet.reshape(16, 6, 16).transpose(1, 0, 2)  # (6, 16, 16)
    assert np.all(np.diff(tiles.astype(int).mean((1, 2))) > 0)


def test_an_image_twice_and_a_patient_in_two_splits_are_counted(tmp_path):
    rows = [("d1", "10000001", "PA", "train"), ("d2", "10000001", "AP", "test")]
    mimic_of(tmp_path / "a", [*rows, ("d3", "10000002", "PA", "test"), rows[0]])
    counts, _ = checked("mimic_cxr", tmp_path / "a")
    assert counts["images listed twice"] == counts["patients in two splits"] == ("1", "0", False)
    png(tmp_path / "b/c/1.png")
    png(tmp_path / "b/c-1.png")  # c/1 becomes c-1
    counts, _ = checked("folder", tmp_path / "b")
    assert counts["images listed twice"] == ("1", "0", False)
    assert "patients in two splits" not in counts
