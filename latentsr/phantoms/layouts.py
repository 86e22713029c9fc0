"""Phantoms written to disk in the layouts of MRNet, BraTS 2023 and MIMIC-CXR-JPG."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from latentsr.datasets import middle_half_slices
from latentsr.phantoms import brain, chest, knee
from latentsr.phantoms.fields import Field

MRNET_FIRST_VALID_CASE = 1130
KNEE_SLICES = 3  # only the middle one is filled
SECOND_SCAN_EVERY = 6
GZIP_LEVEL = 4
# BraTS stores axes right-left, front-back, foot-head: a displayed slice is volume[:, :, z].T
BRATS_AFFINE = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]])
METADATA = ("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription",
            "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime",
            "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning",
            "PatientOrientationCodeSequence_CodeMeaning")  # fmt: skip
FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
            "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion",
            "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices")  # fmt: skip
Rows = list[tuple[object, ...]]


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, GZIP_LEVEL, mtime=0)


def _save_csv(path: Path, rows: Rows) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    content = text.getvalue().encode()
    _save(path, _gzipped(content) if path.suffix == ".gz" else content)


def _save_twin(root: Path, dataset: str, image_id: str, noise_free: Field) -> None:
    """The noise-free twin, 16-bit, on the scale on which the noisy image is read."""
    buffer = io.BytesIO()
    # the four lowest bits lie far below the noise and would double the size
    twelve_bits = np.rint(np.clip(noise_free, 0, 1) * 4095).astype(np.uint16)
    Image.fromarray(twelve_bits * 16 + twelve_bits // 256).save(buffer, "PNG")
    _save(root / "noise_free" / dataset / f"{image_id}.png", buffer.getvalue())


def _knee_exam(root: Path, seed: int, subject: int, split: str, case: int) -> None:
    phantom = knee.draw(seed, subject)
    volume = np.zeros((KNEE_SLICES, *phantom.image.shape), np.uint8)
    volume[KNEE_SLICES // 2] = np.rint(phantom.image * 255)
    buffer = io.BytesIO()
    np.save(buffer, volume)
    _save(root / f"knee/MRNet-v1.0/{split}/sagittal/{case:04d}.npy", buffer.getvalue())
    if split == "valid":
        _save_twin(root, "knee", f"{case:04d}", phantom.noise_free)


def _brain_scan(root: Path, seed: int, subject: int, visit: int, count: int) -> None:
    scan = f"BraTS-GLI-{subject + 1:05d}-{visit:03d}"
    size, depth = brain.PARAMETERS["size_px"], brain.PARAMETERS["depth"]
    scanner_unit = np.random.default_rng([seed, brain.INDEX, subject, 3, visit]).uniform(600, 1800)
    t2w, seg = np.zeros((size, size, depth), np.int16), np.zeros((size, size, depth), np.uint8)
    for z in middle_half_slices(depth, count):
        phantom = brain.draw(seed, subject, int(z), visit)
        t2w[..., z] = np.rint(phantom.image.T * scanner_unit)
        seg[..., z] = 0 if phantom.mask is None else phantom.mask.T
        # read per slice from minimum (0, the background) to maximum, so the twin is too
        _save_twin(root, "brain", f"{scan}_z{z:03d}", phantom.noise_free / phantom.image.max())
    for kind, volume in (("t2w", t2w), ("seg", seg)):
        content = nib.Nifti1Image(volume, BRATS_AFFINE).to_bytes()
        _save(root / "brain" / scan / f"{scan}-{kind}.nii.gz", _gzipped(content))


def _chest_ids(seed: int, subject: int, view: int) -> tuple[str, int, int]:
    """Invented identifiers: dicom, subject and study; the factors keep them distinct."""
    digest = hashlib.sha256(f"phantom {seed} {subject} {view}".encode()).hexdigest()
    dicom = "-".join(digest[i : i + 8] for i in range(0, 40, 8))
    patient = 10_000_000 + (subject * 7_368_787 + seed * 104_729) % 10_000_000
    study = 50_000_000 + ((2 * subject + view) * 3_571_429 + seed * 104_729) % 10_000_000
    return dicom, patient, study


def _chest_study(root: Path, seed: int, subject: int, view: int, split: str) -> Rows:
    phantom = chest.draw(seed, subject, view)
    dicom, patient, study = _chest_ids(seed, subject, view)
    rows, columns = phantom.image.shape
    buffer = io.BytesIO()
    Image.fromarray(np.rint(phantom.image * 255).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    folder = root / f"chest/files/p{str(patient)[:2]}/p{patient}/s{study}"
    _save(folder / f"{dicom}.jpg", buffer.getvalue())
    if split == "test":
        _save_twin(root, "chest", dicom, phantom.noise_free)
    position = "AP" if int(dicom[0], 16) % 3 == 0 else "PA"
    meaning = {"AP": "antero-posterior", "PA": "postero-anterior"}[position]
    date = f"{2110 + subject % 80}{1 + view:02d}{1 + subject % 28:02d}"
    return [(dicom, patient, study, "CHEST (PHANTOM)", position, rows, columns, date,
             "120000.000", "CHEST (PHANTOM)", meaning, "Erect")]  # fmt: skip


def _run(job: tuple[Callable[..., Rows | None], tuple[object, ...]]) -> Rows:
    function, arguments = job
    return function(*arguments) or []


def _studies(patients: Sequence[int], images: int, split: str) -> list[tuple[int, int, str]]:
    """(subject, view, split) of each image: the first patients come twice."""
    twice = images - len(patients)
    return [(s, view, split) for i, s in enumerate(patients) for view in range(1 + (i < twice))]


def write(
    root: Path,
    *,
    seed: int,
    knee_train: int,
    knee_test: int,
    brain_train: int,
    brain_test: int,
    brain_slices: int,
    chest_train: int,
    chest_test: int,
) -> None:
    """Write the three sets under `root`, the same bytes for the same arguments.

    Counts are exams (knee), patients (brain, every sixth with a second time point) and images
    (chest, some patients with two studies). `noise_free/<set>/<image_id>.png` holds the twins.
    """
    from latentsr.phantoms import parameters_sha256

    jobs: list[tuple[Callable[..., Rows | None], tuple[object, ...]]] = []
    exams = {"train": range(knee_train), "valid": range(knee_train, knee_train + knee_test)}
    for split, subjects in exams.items():
        first = 0 if split == "train" else MRNET_FIRST_VALID_CASE
        cases = [(s, first + i) for i, s in enumerate(subjects)]
        jobs += [(_knee_exam, (root, seed, s, split, case)) for s, case in cases]
        for task in ("abnormal", "acl", "meniscus"):
            rows: Rows = [(f"{case:04d}", 0) for _, case in cases]
            _save_csv(root / f"knee/MRNet-v1.0/{split}-{task}.csv", rows)
    for subject in range(brain_train + brain_test):
        visits = 2 if subject % SECOND_SCAN_EVERY == SECOND_SCAN_EVERY - 1 else 1
        jobs += [(_brain_scan, (root, seed, subject, v, brain_slices)) for v in range(visits)]
    train_patients = chest_train - chest_train // 8
    test_patients = chest_test - (max(chest_test // 4, 1) if chest_test > 1 else 0)
    studies = _studies(range(train_patients), chest_train, "train") + _studies(
        range(train_patients, train_patients + test_patients), chest_test, "test"
    )
    jobs += [(_chest_study, (root, seed, *study)) for study in studies]
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        metadata = [row for rows in pool.map(_run, jobs, chunksize=4) for row in rows]

    ids = [(*_chest_ids(seed, s, view), split) for s, view, split in studies]
    labels = [1.0 if finding == "No Finding" else "" for finding in FINDINGS]
    tables: dict[str, Rows] = {
        "metadata": [METADATA, *metadata],
        "split": [("dicom_id", "study_id", "subject_id", "split")]
        + [(dicom, study, patient, split) for dicom, patient, study, split in ids],
        "chexpert": [("subject_id", "study_id", *FINDINGS)]
        + [(patient, study, *labels) for _, patient, study, _ in ids],
    }
    for name, rows in tables.items():
        _save_csv(root / f"chest/mimic-cxr-2.0.0-{name}.csv.gz", rows)
    note = (
        "The images in this folder are phantoms: a computer drew them from random numbers. No"
        " patient is behind any of them; identifiers, dates and labels are invented, and the"
        " layouts of MRNet, BraTS 2023 and MIMIC-CXR-JPG are followed only so that the same"
        f" loaders read them. Seed {seed}, generator sha256 {parameters_sha256()}.\n"
    )
    _save(root / "PHANTOMS.txt", note.encode())
