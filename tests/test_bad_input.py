"""Input that is broken, and input that is only odd: one line that names it, or read as documented.

Every row of the tables is a layout, how it is changed, and what is said of it or how many images
are read.
"""

import gzip
import os
import re
from dataclasses import replace
from inspect import signature
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from test_datasets import HOW
from test_files import dicom
from tiny_layouts import IMAGE, brats_scan, folder_of, mimic_of, mrnet_of, png, write_manifest

from latentsr.datasets import SetEntry, load_set

VOLUME = np.random.default_rng(7).normal(0, 100, (4, 20, 24))
FRESH = np.random.default_rng(8).integers(0, 256, (20, 24), dtype=np.uint8)
COLOUR = np.dstack([FRESH, FRESH, FRESH // 2])
NAN = np.full((20, 20), np.nan, np.float32)


def _brats_of(root):
    for patient in range(1, 8):
        brats_scan(root, patient)
    return root


def _mimic_of(root):
    rows = [(f"d{i}", f"1000000{i}", "PA", "test" if i > 5 else "train") for i in range(10)]
    return mimic_of(root, rows, packed=False)


MAKE = {  # a layout: its anatomy, and how a tiny copy is made
    "folder": ("folder", folder_of),
    "mrnet": ("knee", lambda root: mrnet_of(root, valid=4)),  # one more than is needed
    "brats": ("brain", _brats_of),
    "mimic_cxr": ("chest", _mimic_of),
}


def _put(name, image):
    return lambda root: png(root / name, image)


def _array(name, array):
    return lambda root: np.save(root / name, array)


def _lists(*rows, split=False):
    header = ("file", "subject", "split") if split else ("file", "subject")
    return lambda root: write_manifest(root, *rows, header=header)


def _text(name, old, new):
    """Change the text of a table, in every place."""

    def change(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def _cut(name, size=200):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def _gone(pattern):
    return lambda root: [path.unlink() for path in [*root.rglob(pattern)]]


def _loop(root):
    (root / "loop").symlink_to(root)


def _pages(root):
    other = Image.fromarray(IMAGE.astype(np.uint16) * 200)
    Image.fromarray(IMAGE).save(root / "9.tif", save_all=True, append_images=[other])


def _outside(root):
    png(root / "../x.png", IMAGE)
    write_manifest(root, ("../x.png", "a"))


def _colour_dicom(root):
    dicom(root / "9.dcm", IMAGE, SamplesPerPixel=3, PhotometricInterpretation="RGB")


def _forbidden(root, monkeypatch):
    """A file that may not be read; tests may run as root, whom nothing is forbidden."""
    opened = Path.open

    def open_(self, *arguments, **named):
        if self.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_)


def _closed(root, monkeypatch):
    """A folder that may not be listed."""
    scandir = os.scandir

    def scandir_(path):
        if str(path).endswith("00007-000"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_)


def _scan(kind):
    return f"BraTS-GLI-00007-000/BraTS-GLI-00007-000-{kind}.nii.gz"


def _voxels(kind, change):
    def write(root):
        path = root / _scan(kind)
        volume = np.asarray(nibabel.load(path).dataobj).astype(np.float32)
        changed = change(volume)
        nibabel.save(nibabel.Nifti1Image(volume if changed is None else changed, np.eye(4)), path)

    return write


def _two_in_one(root):
    (root / _scan("t2w")).unlink()
    for name in ("a.nii", "b.nii"):
        path = root / _scan("t2w").removesuffix(".gz") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


def _two_sides(root):
    _text(METADATA, "10000007", "10000001")(root)
    png(root / "files/p10/p10000001/s50000001/d7.jpg", FRESH)


def _packed_badly(root):
    (root / f"{SPLIT}.gz").write_bytes(gzip.compress((root / SPLIT).read_bytes())[:60])


EXAM, VALID, TRAIN = "valid/sagittal/0005.npy", "valid-abnormal.csv", "train-abnormal.csv"
METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
FILM, ROW = "files/p10/p10000007/s50000001/d7.jpg", "d7,10000007,50000001"
FILES = [(f"{i}.png", f"s{i}") for i in range(8)]
SIDES = [(f"{i}.png", f"s{i % 7}", "test" if i < 3 else "train") for i in range(8)]
BAD = {
    "folder": {
        "missing": (lambda root: root.rename(root.parent / "away"), "is not there"),
        "empty": (_gone("*.png"), "no image in it"),
        "truncated": (_cut("3.png"), r"3\.png: cannot be read \(OSError"),
        "not permitted": (_forbidden, r"3\.png: cannot be read \(PermissionError"),
        "small": (_put("9.png", IMAGE[:9]), r"9\.png: 9 x 24 pixels; at least 16"),
        "an id twice": (_put("3.tif", IMAGE), "image id 3 is there twice"),
        "too few": (_gone("[0-2].png"), "5 subjects, 2 in train and 3 in test; .*; add subjects"),
        "a file twice": (
            _lists(*FILES, FILES[0]),
            r"manifest\.csv: line 10: file '0\.png' is listed twice; keep one",
        ),
        "two splits": (_lists(*SIDES, split=True), "subject s0 is in test and in train"),
        "absent": (
            _lists(*FILES, ("gone.png", "s9")),
            r"gone\.png: not there, though manifest\.csv names it; mend the name or put it there",
        ),
        "outside": (_outside, r"line 2: file '\.\./x\.png' lies outside"),
        "no subject": (_lists(("0.png", "")), r"line 2: no subject for '0\.png'"),
        "no subject column": (
            lambda root: write_manifest(root, ("0.png",), header=("file",)),
            "no column subject; columns found: file",
        ),
        "wrong split": (_lists(("0.png", "a", "val"), split=True), "split 'val'; allowed are tr"),
        "half a split": (
            _lists(("0.png", "a", "test"), ("1.png", "b"), split=True),
            "split is filled in some lines only",
        ),
        "non-finite": (
            _put("9.tif", NAN),
            r"9\.tif: \d+ pixels are not finite.* \(replace or remove it, or .*: --set x.on_error=",
        ),
        "colour": (_put("9.png", COLOUR), r"9\.png: colour or transparent pixels \(mode RGB\)"),
        "colour DICOM": (_colour_dicom, r"9\.dcm: (9\.dcm: )?RGB pixels; grey is needed"),
        "pages of two types": (_pages, r"9\.tif: 2 pages of different sizes or types"),
        "negative": (_put("9.tif", IMAGE - np.float32(300)), r"9\.tif: float pixels from -300"),
        "32 bits": (_put("9.tif", IMAGE.astype(np.int32) * 300000), r"9\.tif: 32-bit integer"),
    },
    "mrnet": {
        "no table": (_gone(VALID), r"valid-abnormal\.csv: not found"),
        "absent": (_gone("0005.npy"), r"0005\.npy: not there, though .* exam 0005; get it again"),
        "outside": (
            _text(VALID, "0005", "../../0005"),
            r"valid-abnormal\.csv: line 2: case '\.\./\.\./0005'; a number of four digits",
        ),
        "a header": (_text(TRAIN, "0000,", "case,"), "line 1: case 'case'; .* header"),
        "empty table": (_cut(VALID, 0), "4 exams, 4 in train and 0 in test; at least 6 are needed"),
        "an id twice": (
            _text(TRAIN, "0003", "0002"),
            r"image id 0002 is there twice: .*0002\.npy; mend \*-abnormal\.csv",
        ),
        "truncated": (_cut(EXAM), r"0005\.npy: cannot be read"),
        "a picture": (_array(EXAM, FRESH), r"0005\.npy: array of shape \(20, 24\); \(slices, hei"),
        "negative": (_array(EXAM, VOLUME), r"0005\.npy: float pixels from -"),
        "16 bits": (_array(EXAM, VOLUME.astype(np.int16)), "int16 values; MRNet's exams are uint8"),
    },
    "brats": {
        "no segmentation": (_gone("*7-000-seg.*"), r"00007-000-t2w\.nii\.gz: no segmentation besi"),
        "absent": (_gone("*7-000-t2w.*"), r"t2w\.nii\.gz: not there, though scan BraTS-GLI-00007"),
        "empty": (_gone("*-t2w.nii.gz"), r"no BraTS-GLI-XXXXX-YYY-t2w\.nii\.gz in it"),
        "a scan twice": (
            lambda root: brats_scan(root, 7, twice_nested=True),
            "scan BraTS-GLI-00007-000 is there twice, also as",
        ),
        "two files in X.nii/": (_two_in_one, r"t2w\.nii: 2 NIfTI files in this folder"),
        "truncated": (_cut(_scan("t2w")), r"00007-000-t2w\.nii\.gz: cannot be read \(EOFError"),
        "a mask of another shape": (
            _voxels("seg", lambda volume: volume[:, :16]),
            r"-seg\.nii\.gz: mask of shape \(16, 16\) for an image of shape \(17, 16\); they must",
        ),
        "a single slice": (
            _voxels("t2w", lambda volume: volume[..., :1]),
            r"-t2w\.nii\.gz: volume of 1 slices; those to be sampled lie beyond",
        ),
        "non-finite": (
            _voxels("t2w", lambda volume: np.put(volume, 155 * (17 * 2 + 3) + 39, np.nan)),
            r"-t2w\.nii\.gz: 1 pixels are not finite",
        ),
        "an empty slice": (
            _voxels("t2w", lambda volume: volume * (np.arange(155) != 39)),
            r"-t2w\.nii\.gz: all pixels are 0; a slice with an image in it",
        ),
        "not permitted": (
            _closed,
            r"00007-000: cannot be read \(PermissionError: Permission denied\); mend its",
        ),
    },
    "mimic_cxr": {
        "no tables": (_gone(METADATA), r"no mimic-cxr-2\.0\.0-metadata\.csv or"),
        "missing columns": (
            _text(METADATA, "study_id,ViewPosition", "study,View"),
            r"metadata\.csv: no column study_id, ViewPosition; columns found: dicom_id, subject_",
        ),
        "outside": (
            _text(METADATA, "d7,", "../../d7,"),
            r"metadata\.csv: line 9: dicom_id '\.\./\.\./d7'; letters, digits and hyphens",
        ),
        "a short row": (_text(METADATA, ROW, "d7,,"), "_id ''"),
        "wrong split": (
            _text(SPLIT, "10000007,test", "10000007,dev"),
            "split of image d7 is 'dev'; allowed are train, validate, test",
        ),
        "an id twice": (
            _text(METADATA, f"{ROW},PA\n", f"{ROW},PA\n{ROW},PA\n"),
            r"image id d7 is there twice: .*d7\.jpg; mend mimic-cxr-2\.0\.0-\*\.csv",
        ),
        "two splits": (
            _two_sides,
            "subject 10000001 is in train and in test; a subject must be on one side; mend mimic",
        ),
        "empty": (_text(METADATA, ",PA", ",LL"), "none of the frontal images of mimic.* in files/"),
        "truncated": (_packed_badly, r"split\.csv\.gz: cannot be read as a table"),
        "colour": (_put(FILM, COLOUR), r"d7\.jpg: colour or transparent pixels"),
    },
}
ODD = {
    "folder": {
        "wrong extension": (lambda root: Image.fromarray(FRESH).save(root / "9.dat", "PNG"), 9),
        "one bit": (_put("9.png", FRESH > 100), 9),
        "grey saved as colour": (_put("9.png", np.dstack([FRESH] * 3)), 9),
        "full alpha": (lambda root: Image.fromarray(FRESH).convert("LA").save(root / "9.png"), 9),
        "floats in range": (_put("9.tif", (FRESH / 255).astype(np.float32)), 9),
        "negative voxels": (_array("9.npy", VOLUME[:1] - 1000), 9),
        "unicode and spaces": (_put("ein Bild – 画像.png", FRESH), 9),
        "a constant picture": (_put("9.png", np.full((20, 24), 7, np.uint8)), 9),
        "deep": (_put("a/b c/d/9.png", FRESH), 9),
        "a text": (lambda root: (root / "README").write_text("about the images"), 8),
        "hidden files": (lambda root: (root / ".9.png").write_text("x"), 8),
        "a loop of links": (_loop, 8),
        "a link to nowhere": (lambda root: (root / "9.png").symlink_to(root / "gone"), 8),
    },
    "mrnet": {
        "a single slice": (_array(EXAM, np.full((1, 16, 16), 9, np.uint8)), 8),
        "cases without zeros": (_text(VALID, "0005", "5"), 8),
    },
    "brats": {
        "negative voxels": (_voxels("t2w", lambda volume: volume - 900), 14),
        "no segmentation at all": (_gone("*-seg.nii.gz"), 14),
        "a loop of links": (_loop, 14),
    },
    "mimic_cxr": {
        "an unknown view": (_text(METADATA, f"{ROW},PA", f"{ROW},XTABLE"), 9),
        "absent": (_gone("d7.jpg"), 9),
    },
}
SKIPPED = {  # one bad file among good ones
    "folder": ("truncated", "not permitted", "absent"),
    "mrnet": ("absent", "truncated"),
    "brats": ("no segmentation", "absent", "truncated", "a mask of another shape"),
    "mimic_cxr": ("colour",),
}


def _cases(table):
    return [(layout, case) for layout, cases in table.items() for case in cases]


def _changed(change, layout, tmp_path, monkeypatch):
    anatomy, make = MAKE[layout]
    root = make(tmp_path / "set")
    patched = "monkeypatch" in signature(change).parameters
    change(root, monkeypatch) if patched else change(root)
    return SetEntry(layout, "set", anatomy)


@pytest.mark.parametrize(("layout", "case"), _cases(BAD))
def test_bad_input_is_one_line_that_names_it(tmp_path, layout, case, monkeypatch):
    change, message = BAD[layout][case]
    entry = _changed(change, layout, tmp_path, monkeypatch)
    with pytest.raises(ValueError, match=message) as caught:
        load_set("x", entry, tmp_path, HOW)
    assert "\n" not in str(caught.value) and "set x" in str(caught.value)


@pytest.mark.parametrize(("layout", "case"), _cases(SKIPPED))
def test_one_bad_file_can_be_skipped_and_is_listed(tmp_path, layout, case, monkeypatch):
    change, message = BAD[layout][case]
    entry = replace(_changed(change, layout, tmp_path, monkeypatch), on_error="skip")
    lines = []
    arrays = load_set("x", entry, tmp_path, HOW, left_out=lines)
    assert len(arrays["hr"]) > 6
    assert lines and all(re.search(message, line) for line in lines)


@pytest.mark.parametrize(("layout", "case"), _cases(ODD))
def test_odd_input_is_read_as_documented(tmp_path, layout, case, monkeypatch):
    change, count = ODD[layout][case]
    entry = _changed(change, layout, tmp_path, monkeypatch)
    images = load_set("x", entry, tmp_path, HOW)["hr"]
    assert len(images) == count
    assert np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1


def test_an_exam_in_both_tables_is_two_problems(tmp_path):
    root = mrnet_of(tmp_path / "set")
    _text(VALID, "0005", "0002")(root)
    np.save(root / "valid/sagittal/0002.npy", np.full((5, 16, 16), 99, np.uint8))
    with pytest.raises(ValueError) as caught:
        load_set("x", SetEntry("mrnet", "set", "knee"), tmp_path, HOW)
    twice, both = str(caught.value).splitlines()
    assert "image id 0002 is there twice: " in twice
    assert "subject 0002 is in train and in test; a subject must be on one side" in both
