"""Which of the known layouts a user's folder has."""

from __future__ import annotations

import re
from pathlib import Path

from latentsr.datasets.records import walk
from latentsr.datasets.scans import is_t2w

PARTS = (  # what tells a set whose tables or volumes are not there
    (re.compile(r"/(?:train|valid)/(?:sagittal|coronal|axial)/\d{4}\.npy$"),
     "MRNet, but train/sagittal and valid/sagittal are not both there"),
    (re.compile(r"/p\d{2}/p\d{8}/s\d{8}/[^/]+\.jpg$"),
     "MIMIC-CXR-JPG, but its table mimic-cxr-2.0.0-metadata.csv (or .gz) is not there beside files/"),
    (re.compile(r"/BraTS-GLI-\d{5}-\d{3}-\w+\.nii"), "BraTS, but no volume -t2w.nii.gz is there"),
)  # fmt: skip


def recognise(root: Path) -> tuple[str, Path]:
    """Tell the adapter of a user's folder by its layout, and the folder the adapter wants.

    Returns ("mrnet" | "brats" | "mimic_cxr" | "folder", folder).

    Raises
    ------
    ValueError
        For a part of one of the sets: read as a plain folder, a patient would get into both splits.
    """
    scans, part = False, ""
    for path in walk(root):  # of half a million files: no further than needed
        inner = path.parents[1]
        part = part or next((told for sign, told in PARTS if sign.search(path.as_posix())), "")
        if path.parts[-2:] == ("train", "sagittal") and (inner / "valid/sagittal").is_dir():
            return "mrnet", inner
        is_table = path.name.startswith("mimic-cxr-2.0.0-metadata.csv")
        if is_table and (path.parent / "files").is_dir():
            return "mimic_cxr", path.parent
        scans = scans or is_t2w(path.name)
    if scans:
        return "brats", root
    if part and not (root / "manifest.csv").is_file():
        mend = "get it, or name files and subjects in a manifest.csv to read a plain folder"
        raise ValueError(f"{root}: looks like a part of {part}; {mend}")
    return "folder", root
