"""Folders of images: how they can be broken, and what is only odd."""

from pathlib import Path

import numpy as np
from PIL import Image
from test_files import dicom
from tiny_layouts import IMAGE, png, write_manifest

VOLUME = np.random.default_rng(7).normal(0, 100, (4, 20, 24))
FRESH = np.random.default_rng(8).integers(0, 256, (20, 24), dtype=np.uint8)


def _truncate(root):
    path = root / "3.png"
    path.write_bytes(path.read_bytes()[:200])


def _two_splits(root):
    rows = [(f"{i}.png", f"s{i % 7}", "test" if i < 3 else "train") for i in range(8)]
    write_manifest(root, *rows, header=("file", "subject", "split"))


def _non_finite(root):
    image = np.full((20, 20), 0.5, np.float32)
    image[0, 0] = np.inf
    png(root / "9.tif", image)


def _modes(root):
    pages = [Image.fromarray(IMAGE), Image.fromarray(IMAGE.astype(np.uint16) * 200)]
    pages[0].save(root / "9.tif", save_all=True, append_images=pages[1:])


def _infinite(root):
    volume = VOLUME.copy()
    volume[1, 2, 3] = np.inf
    np.save(root / "9.npy", volume)


def _forbidden(root, monkeypatch):
    """A file that may not be read; tests may run as root, whom nothing is forbidden."""
    opened = Path.open

    def open_(self, *arguments, **named):
        if self.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", open_)


BAD = {
    "missing folder": (lambda root: root.rename(root.parent / "away"), "is not there"),
    "empty folder": (lambda root: [p.unlink() for p in root.iterdir()], "no image in it"),
    "truncated": (_truncate, r"3\.png: cannot be read \(OSError"),
    "small": (lambda root: png(root / "9.png", IMAGE[:9]), r"9\.png: 9 x 24 pixels; at least 16"),
    "duplicate ids": (lambda root: png(root / "3.tif"), "image id 3 is there twice"),
    "listed twice": (
        lambda root: write_manifest(root, *[(f"{i % 7}.png", f"s{i}") for i in range(8)]),
        r"manifest\.csv: line 9: file '0\.png' is listed twice; keep one",
    ),
    "two splits": (_two_splits, "subject s0 is in test and in train"),
    "absent file": (
        lambda root: write_manifest(
            root, *[(f"{i}.png", f"s{i}") for i in range(8)], ("gone.png", "s9")
        ),
        r"gone\.png: not there, though manifest\.csv names it; mend the name or put it there",
    ),
    "outside": (
        lambda root: (png(root / "../x.png"), write_manifest(root, ("../x.png", "a"))),
        r"line 2: file '\.\./x\.png' lies outside",
    ),
    "no subject column": (
        lambda root: write_manifest(root, ("0.png",), header=("file",)),
        "no column subject; columns found: file",
    ),
    "wrong split": (
        lambda root: write_manifest(
            root, ("0.png", "a", "val"), header=("file", "subject", "split")
        ),
        "split 'val'; allowed are train, test",
    ),
    "half a split": (
        lambda root: write_manifest(
            root, ("0.png", "a", "test"), ("1.png", "b"), header=("file", "subject", "split")
        ),
        "split is filled in some lines only",
    ),
    "too small": (
        lambda root: [(root / f"{i}.png").unlink() for i in range(3)],
        "5 subjects, 2 in train and 3 in test; at least 6 are needed, 3 a split; add subjects",
    ),
    "non-finite": (
        _non_finite,
        r"9\.tif: 1 pixels are not finite.* \(replace or remove it, or .*: --set x.on_error=skip",
    ),
    "colour": (
        lambda root: png(root / "9.png", np.dstack([IMAGE, IMAGE, IMAGE // 2])),
        r"9\.png: colour or transparent pixels \(mode RGB\); grey is needed",
    ),
    "pages of two types": (_modes, r"9\.tif: 2 pages of different sizes or types"),
    "infinite voxels": (_infinite, r"9\.npy: 1 pixels are not finite"),
    "zero bytes": (lambda root: (root / "9.png").write_bytes(b""), r"9\.png: cannot be read"),
    "negative floats": (
        lambda root: png(root / "9.tif", IMAGE.astype(np.float32) - 300),
        r"9\.tif: float pixels from -300",
    ),
    "32 bits": (
        lambda root: png(root / "9.tif", IMAGE.astype(np.int32) * 300000),
        r"9\.tif: 32-bit integer pixels",
    ),
    "not permitted": (_forbidden, r"3\.png: cannot be read \(PermissionError"),
    "colour DICOM": (
        lambda root: dicom(
            root / "9.dcm", IMAGE, SamplesPerPixel=3, PhotometricInterpretation="RGB"
        ),
        r"9\.dcm: (9\.dcm: )?RGB pixels; grey is needed",
    ),
}

FINE = {  # odd, and read as documented
    "wrong extension": lambda root: Image.fromarray(FRESH).save(root / "9.dat", "PNG"),
    "one bit": lambda root: Image.fromarray(FRESH > 100).save(root / "9.png"),
    "grey saved as colour": lambda root: png(root / "9.png", np.dstack([FRESH] * 3)),
    "grey with full alpha": lambda root: Image.fromarray(FRESH).convert("LA").save(root / "9.png"),
    "floats in range": lambda root: png(root / "9.tif", (FRESH / 255).astype(np.float32)),
    "negative voxels": lambda root: np.save(root / "9.npy", VOLUME[:1] - 1000),
    "unicode and spaces": lambda root: png(root / "ein Bild – 画像.png", FRESH),
    "a constant picture": lambda root: png(root / "9.png", np.full((20, 24), 7, np.uint8)),
    "deep": lambda root: png(root / "a/b c/d/9.png", FRESH),
}
PASSED_OVER = {
    "a text": lambda root: (root / "README").write_text("about the images"),
    "hidden files": lambda root: (root / ".9.png").write_text("x"),
    "a loop of links": lambda root: (root / "loop").symlink_to(root),
    "a link to nowhere": lambda root: (root / "9.png").symlink_to(root / "gone"),
}
