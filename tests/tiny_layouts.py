"""Tiny copies of the layouts that the adapters read, for tests."""

import csv
import gzip

import nibabel
import numpy as np
from PIL import Image

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)


def png(path, image=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def write_manifest(root, *rows, header=("file", "subject")):
    with (root / "manifest.csv").open("w", newline="") as table:
        csv.writer(table).writerows([header, *rows])


def folder_of(root, count=8):
    for i in range(count):
        png(root / f"{i}.png", np.roll(IMAGE, i))
    return root


def mrnet_of(root, train=4, valid=3):
    case = 0
    for split, count in (("train", train), ("valid", valid)):
        (root / split / "sagittal").mkdir(parents=True)
        rows = []
        for _ in range(count):
            exam = np.full((5, 16, 16), case, np.uint8)
            exam[2] += 100
            np.save(root / split / "sagittal" / f"{case:04d}.npy", exam)
            rows.append(f"{case:04d},{case % 2}\n")
            case += 1
        (root / f"{split}-abnormal.csv").write_text("".join(rows))
    return root


def brats_scan(root, patient, time=0, twice_nested=False, as_folder=False, depth=155):
    scan = f"BraTS-GLI-{patient:05d}-{time:03d}"
    where = root / "copy" / scan / scan if twice_nested else root / scan
    where.mkdir(parents=True)
    t2w = np.zeros((16, 17, depth), np.int16)
    t2w += np.arange(depth, dtype=np.int16) + 1
    t2w[0, 0] += patient  # no two are alike
    t2w[3, 5] += 700  # x = 3, y = 5: row 5, column 3
    seg = np.zeros((16, 17, depth), np.uint8)
    seg[3, 5] = 3
    for kind, volume in (("t2w", t2w), ("seg", seg)):
        path = where / f"{scan}-{kind}.nii.gz"
        if as_folder:
            inside = "volume.nii" if patient % 2 else f"{scan}-{kind}.nii"
            path = where / f"{scan}-{kind}.nii" / inside
            path.parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), path)
    return where


def mimic_of(root, rows, packed=True):
    tables = {
        "metadata": [("dicom_id", "subject_id", "study_id", "ViewPosition")],
        "split": [("dicom_id", "study_id", "subject_id", "split")],
    }
    for number, (dicom, patient, view, split) in enumerate(rows):
        tables["metadata"].append((dicom, patient, "50000001", view))
        tables["split"].append((dicom, "50000001", patient, split))
        png(root / f"files/p{patient[:2]}/p{patient}/s50000001/{dicom}.jpg", np.roll(IMAGE, number))
    for name, table in tables.items():
        text = "".join(",".join(row) + "\n" for row in table)
        path = root / f"mimic-cxr-2.0.0-{name}.csv"
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
    return root
