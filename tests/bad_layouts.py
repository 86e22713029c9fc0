"""The layouts of MRNet, BraTS and MIMIC-CXR: what each makes, and how it can be broken."""

import gzip
import os

import nibabel
import numpy as np
from bad_folders import FRESH, VOLUME
from tiny_layouts import brats_scan, folder_of, mimic_of, mrnet_of, png


def _brats_of(root):
    for patient in range(1, 8):
        brats_scan(root, patient)
    return root


def _mrnet_of(root):
    return mrnet_of(root, valid=4)  # one more than is needed


def _mimic_of(root):
    rows = [(f"d{i}", f"1000000{i}", "PA", "test" if i > 5 else "train") for i in range(10)]
    return mimic_of(root, rows, packed=False)


MAKE = {"folder": folder_of, "mrnet": _mrnet_of, "brats": _brats_of, "mimic_cxr": _mimic_of}
ANATOMY = {"folder": "folder", "mrnet": "knee", "brats": "brain", "mimic_cxr": "chest"}


def _text(name, old, new):
    """Change the text of a table, in every place."""

    def change(root):
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return change


def _exam(array):
    return lambda root: np.save(root / "valid/sagittal/0005.npy", array)


def _scan(kind, patient=7):
    return f"BraTS-GLI-{patient:05d}-000/BraTS-GLI-{patient:05d}-000-{kind}.nii.gz"


def _voxels(kind, change=lambda volume: volume):
    def write(root):
        path = root / _scan(kind)
        volume = np.asarray(nibabel.load(path).dataobj).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(change(volume), np.eye(4)), path)

    return write


def _put(value, *where):
    def change(volume):
        volume[where] = value
        return volume

    return change


def _cut(name, size=200):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:size])


def _gone(name):
    return lambda root: (root / name).unlink()


def _two_in_one(root):
    (root / _scan("t2w")).unlink()
    for name in ("a.nii", "b.nii"):
        path = root / _scan("t2w").removesuffix(".gz") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


def _not_read(root, monkeypatch):
    """A folder that may not be listed."""
    scandir = os.scandir

    def scandir_(path):
        if str(path).endswith("00007-000"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir_)


VALID, TRAIN = "valid-abnormal.csv", "train-abnormal.csv"
METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv", "mimic-cxr-2.0.0-split.csv"
FILM = "files/p10/p10000007/s50000001/d7.jpg"
BAD_LAYOUTS = {
    "mrnet: no table": ("mrnet", _gone(VALID), r"valid-abnormal\.csv: not found"),
    "mrnet: an exam that is absent": (
        "mrnet",
        _gone("valid/sagittal/0005.npy"),
        r"0005\.npy: not there, though valid-abnormal\.csv names exam 0005; get it again",
    ),
    "mrnet: path outside": (
        "mrnet",
        _text(VALID, "0005", "../../0005"),
        r"valid-abnormal\.csv: line 2: case '\.\./\.\./0005'; a number of four digits",
    ),
    "mrnet: a header": ("mrnet", _text(TRAIN, "0000,", "case,"), "line 1: case 'case'; .* header"),
    "mrnet: empty table": (
        "mrnet",
        lambda root: (root / VALID).write_text(""),
        "4 exams, 4 in train and 0 in test; at least 6 are needed",
    ),
    "mrnet: duplicate case": (
        "mrnet",
        _text(TRAIN, "0003", "0002"),
        r"image id 0002 is there twice: .*0002\.npy; mend \*-abnormal\.csv",
    ),
    "mrnet: truncated": ("mrnet", _cut("valid/sagittal/0005.npy"), r"0005\.npy: cannot be read"),
    "mrnet: a single picture": (
        "mrnet",
        _exam(FRESH),
        r"0005\.npy: array of shape \(20, 24\); \(slices, height, width\) is needed",
    ),
    "mrnet: floats": ("mrnet", _exam(VOLUME), r"0005\.npy: float pixels from -"),
    "brats: a scan without segmentation": (
        "brats",
        _gone(_scan("seg")),
        r"00007-000-t2w\.nii\.gz: no segmentation beside it, though other scans have one",
    ),
    "brats: a scan without T2w": (
        "brats",
        _gone(_scan("t2w")),
        r"00007-000-t2w\.nii\.gz: not there, though scan BraTS-GLI-00007-000 has a folder",
    ),
    "brats: no T2w at all": (
        "brats",
        lambda root: [path.unlink() for path in root.rglob("*-t2w.nii.gz")],
        r"no BraTS-GLI-XXXXX-YYY-t2w\.nii\.gz in it",
    ),
    "brats: duplicate scan": (
        "brats",
        lambda root: brats_scan(root, 7, twice_nested=True),
        "scan BraTS-GLI-00007-000 is there twice, also as",
    ),
    "brats: two files in X.nii/": ("brats", _two_in_one, r"t2w\.nii: 2 NIfTI files in this folder"),
    "brats: truncated gzip": (
        "brats",
        _cut(_scan("t2w")),
        r"00007-000-t2w\.nii\.gz: cannot be read \(EOFError",
    ),
    "brats: a mask of another shape": (
        "brats",
        _voxels("seg", lambda volume: volume[:, :16]),
        r"-seg\.nii\.gz: mask of shape \(16, 16\) for an image of shape \(17, 16\); they must be",
    ),
    "brats: a single slice": (
        "brats",
        _voxels("t2w", lambda volume: volume[..., :1]),
        r"-t2w\.nii\.gz: volume of 1 slices; those to be sampled lie beyond",
    ),
    "brats: nan voxels": (
        "brats",
        _voxels("t2w", _put(np.nan, 2, 3, 39)),
        r"-t2w\.nii\.gz: 1 pixels are not finite",
    ),
    "brats: an empty slice": (
        "brats",
        _voxels("t2w", _put(0, ..., 39)),
        r"-t2w\.nii\.gz: all pixels are 0; a slice with an image in it",
    ),
    "brats: folder not permitted": (
        "brats",
        _not_read,
        r"BraTS-GLI-00007-000: cannot be read \(PermissionError: Permission denied\); mend its",
    ),
    "mimic: no tables": ("mimic_cxr", _gone(METADATA), r"no mimic-cxr-2\.0\.0-metadata\.csv or"),
    "mimic: missing columns": (
        "mimic_cxr",
        _text(METADATA, "study_id,ViewPosition", "study,View"),
        r"metadata\.csv: no column study_id, ViewPosition; columns found: dicom_id, subject_id",
    ),
    "mimic: path outside in dicom_id": (
        "mimic_cxr",
        _text(METADATA, "d7,", "../../d7,"),
        r"metadata\.csv: line 9: dicom_id '\.\./\.\./d7'; letters, digits and hyphens",
    ),
    "mimic: a short row": ("mimic_cxr", _text(METADATA, "d7,10000007,50000001", "d7,,"), "_id ''"),
    "mimic: an unknown split": (
        "mimic_cxr",
        _text(SPLIT, "d7,50000001,10000007,test", "d7,50000001,10000007,dev"),
        "split of image d7 is 'dev'; allowed are train, validate, test",
    ),
    "mimic: duplicate ids": (
        "mimic_cxr",
        lambda root: (root / METADATA).write_text(
            (root / METADATA).read_text() + "d7,10000007,50000001,PA\n"
        ),
        r"image id d7 is there twice: .*d7\.jpg; mend mimic-cxr-2\.0\.0-\*\.csv",
    ),
    "mimic: a patient in two splits": (
        "mimic_cxr",
        lambda root: (
            _text(METADATA, "10000007", "10000001")(root),
            png(root / "files/p10/p10000001/s50000001/d7.jpg", FRESH),
        ),
        "subject 10000001 is in train and in test; a subject must be on one side; mend mimic",
    ),
    "mimic: only unknown views": (
        "mimic_cxr",
        _text(METADATA, ",PA", ",LL"),
        r"none of the frontal images of mimic-cxr-2\.0\.0-metadata\.csv is in files/",
    ),
    "mimic: truncated gzip": (
        "mimic_cxr",
        lambda root: (root / f"{SPLIT}.gz").write_bytes(
            gzip.compress((root / SPLIT).read_bytes())[:60]
        ),
        r"split\.csv\.gz: cannot be read as a table",
    ),
    "mimic: colour": (
        "mimic_cxr",
        lambda root: png(root / FILM, np.dstack([FRESH, FRESH, FRESH // 2])),
        r"d7\.jpg: colour or transparent pixels",
    ),
}
FINE_LAYOUTS = {  # what is read, and how many images that makes
    "mrnet: a single slice": ("mrnet", _exam(np.full((1, 16, 16), 9, np.uint8)), 8),
    "mrnet: cases without zeros": ("mrnet", _text(VALID, "0005", "5"), 8),
    "brats: negative voxels": ("brats", _voxels("t2w", lambda volume: volume - 900), 14),
    "brats: no segmentation at all": (
        "brats",
        lambda root: [path.unlink() for path in root.rglob("*-seg.nii.gz")],
        14,
    ),
    "brats: a loop of links": ("brats", lambda root: (root / "loop").symlink_to(root), 14),
    "mimic: an unknown view": (
        "mimic_cxr",
        _text(METADATA, "d7,10000007,50000001,PA", "d7,10000007,50000001,XTABLE"),
        9,
    ),
    "mimic: absent": ("mimic_cxr", _gone(FILM), 9),
}
