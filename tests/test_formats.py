import io
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from tiny_layouts import IMAGE, png

from latentsr.datasets import formats

pydicom = pytest.importorskip("pydicom")
rng = np.random.default_rng(0)
REAL = os.environ.get("LATENTSR_REAL_IMAGES")
SYNTAXES = ("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian")


def one(path):
    """Open a single file."""
    (stack,), problems = formats.find([path])
    assert not problems
    return stack


def dicom(path, pixels, syntax="ExplicitVRLittleEndian", **tags):
    """Write a DICOM file of 16-bit grey pixels."""
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset

    data, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = getattr(uid, syntax)
    meta.MediaStorageSOPClassUID = uid.MRImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = uid.MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    stored = pixels.astype(">u2" if "Big" in syntax else "<u2")
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    for key, value in tags.items():
        setattr(data, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "png-called.dat", "tif-called.png"])
def test_a_picture_is_told_by_its_content(tmp_path, name):
    kinds = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".dat": "PNG"}
    made = "TIFF" if name == "tif-called.png" else kinds[Path(name).suffix]
    Image.fromarray(IMAGE).save(tmp_path / name, made)
    stack = one(tmp_path / name)
    assert stack.kind == "picture" and stack.shape == IMAGE.shape
    assert stack.chosen("auto", 0.5, 5) == [None]
    if made != "JPEG":
        np.testing.assert_array_equal(stack.read(None, "auto"), IMAGE)


def test_pages_of_a_tiff_are_slices(tmp_path):
    pages = [Image.fromarray((IMAGE // 8 + 20 * i).astype(np.uint8)) for i in range(6)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    stack = one(tmp_path / "a.tif")
    assert stack.shape == (6, *IMAGE.shape)
    assert stack.chosen("auto", 0.5, 3) == [(0, 2), (0, 3)]
    np.testing.assert_array_equal(stack.read((0, 3), "auto"), np.asarray(pages[3]))


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_arrays(tmp_path, kind):
    volume = rng.normal(0, 100, (9, 20, 24))
    (np.save if kind == "npy" else np.savez)(tmp_path / f"a.{kind}", volume)
    stack = one(tmp_path / f"a.{kind}")
    assert stack.chosen("auto", 0.5, 2) == [(0, 3), (0, 5)]
    assert stack.chosen("auto", 0.01, 2) == [(0, 4)]
    assert stack.chosen("2", 1.0, 3) == [(2, 0), (2, 12), (2, 23)]
    low, high = np.percentile(volume, formats.PERCENTILES)
    wanted = np.clip((volume[:, :, 12] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(stack.read((2, 12), "auto"), wanted)
    own = stack.read((0, 2), "minmax")
    assert own.min() == 0 and own.max() == 1


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SAL"])
@pytest.mark.parametrize("packed", [True, False])
def test_nifti_is_upright_however_it_is_stored(tmp_path, axes, packed):
    """A volume that is brighter to the patient's right, the front and the head."""
    x, y, z = np.mgrid[:10, :12, :8].astype(np.float32)
    canonical = nibabel.Nifti1Image(x + 100 * y + 10000 * z, np.diag([2.0, 3.0, 4.0, 1.0]))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(canonical.affine), nibabel.orientations.axcodes2ornt(axes)
    )
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    nibabel.save(canonical.as_reoriented(turn), path)
    stack = one(path)
    assert stack.shape == (10, 12, 8) and stack.pixel_mm == (2, 3, 4)
    axial = stack.read((2, 4), "range")
    assert axial.shape == (12, 10) and stack.spacing((2, 4)) == (3, 2)
    assert axial[0, 0] == axial.max() and axial[-1, -1] == axial.min()  # front, right: top left
    sagittal = stack.read((0, 4), "range")
    assert sagittal.shape == (8, 12) and stack.spacing((0, 4)) == (4, 3)
    assert sagittal[0, 0] == sagittal.max()  # head and front at the top left
    scaled = stack.read((2, 4), "auto")
    assert 0 <= scaled.min() < scaled.max() <= 1
    coronal = stack.read((1, 4), "range")
    assert coronal.shape == (8, 10) and coronal[0, 0] == coronal.max()


def test_a_volume_of_sixteen_bits_is_scaled_by_its_percentiles(tmp_path):
    """Scanners use a part of their range; 12 bits of 16 would come out nearly black."""
    volume = rng.integers(0, 1400, (20, 24, 6)).astype(np.uint16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    assert one(tmp_path / "a.nii").read((2, 3), "auto").max() == 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dicom_of_either_byte_order(tmp_path, syntax):
    pixels = rng.integers(0, 4000, (20, 24))
    path = dicom(tmp_path / "a", pixels, syntax, PatientID="p1", PixelSpacing=[0.5, 0.7])
    stack = one(path)
    assert stack.kind == "dicom" and stack.subject == "p1" and stack.pixel_mm == (0.5, 0.7)
    np.testing.assert_array_equal(stack.read(None, "range"), pixels)


def test_dicom_in_jpeg_2000(tmp_path):
    from pydicom.encaps import encapsulate

    pixels = rng.integers(0, 255, (20, 24), np.uint8)
    Image.fromarray(pixels).save(
        buffer := io.BytesIO(), "JPEG2000", irreversible=False, no_jp2=True
    )
    path = dicom(tmp_path / "a.dcm", pixels)
    data = pydicom.dcmread(path)
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.PixelData = encapsulate([buffer.getvalue()])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    np.testing.assert_array_equal(one(path).read(None, "range"), pixels)


def test_slope_window_and_monochrome1(tmp_path):
    pixels = np.arange(480).reshape(20, 24)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100}
    found = one(dicom(tmp_path / "a.dcm", pixels, **tags)).read(None, "range")
    np.testing.assert_array_equal(found, 2 * pixels - 100)
    tags |= {"WindowCenter": 200, "WindowWidth": 100}
    windowed = one(dicom(tmp_path / "b.dcm", pixels, **tags)).read(None, "window")
    assert windowed.min() == 0 and windowed.max() == 1
    rising = (2 * pixels - 100 > 150) & (2 * pixels - 100 < 250)
    assert ((windowed > 0) & (windowed < 1))[rising].all()
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    turned = one(dicom(tmp_path / "c.dcm", pixels, **tags)).read(None, "range")
    np.testing.assert_array_equal(turned, 479 - pixels)
    with pytest.raises(ValueError, match="'window', but it has no WindowWidth"):
        one(dicom(tmp_path / "d.dcm", pixels)).read(None, "window")


def test_a_series_is_in_the_order_of_its_slices(tmp_path):
    """Positions decide, not names and not instance numbers."""
    for place, number in ((3.0, 1), (1.0, 2), (2.0, 3), (0.0, 4)):
        pixels = np.full((20, 24), int(place * 100))
        tags = {"SeriesInstanceUID": "1.2.3", "PatientID": "p", "InstanceNumber": number}
        tags |= {"ImagePositionPatient": [0, 0, place]}
        tags |= {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [0.5, 0.7]}
        dicom(tmp_path / f"{number}.dcm", pixels, **tags)
    dicom(tmp_path / "other.dcm", np.ones((20, 24)), SeriesInstanceUID="9")
    stacks, problems = formats.find(sorted(tmp_path.iterdir()))
    assert not problems and [len(stack.paths) for stack in stacks] == [4, 1]
    whole = stacks[0]
    assert whole.shape == (4, 20, 24) and whole.spacing((0, 1)) == (0.5, 0.7)
    assert [whole.read((0, i), "range")[0, 0] for i in range(4)] == [0, 100, 200, 300]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "no kind of image that is known"),
        ("a.nii.gz", b"\x1f\x8b\x08broken", "cannot be read"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read|header|EOF"),
        ("a.npz", b"PK\x03\x04 broken", "a damaged zip archive"),
        ("a.dcm", b"x" * 400, "without an image|cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, name, content, message):
    import re

    (tmp_path / name).write_bytes(content)
    stacks, problems = formats.find([tmp_path / name])
    assert not stacks and "\n" not in problems[tmp_path / name]
    assert re.search(message, problems[tmp_path / name])


def test_other_files_are_passed_over(tmp_path):
    (tmp_path / "README.txt").write_text("about these images")
    (tmp_path / "Thumbs.db").write_bytes(bytes(500))
    png(tmp_path / "a.png")
    stacks, problems = formats.find(sorted(tmp_path.iterdir()))
    assert [stack.paths[0].name for stack in stacks] == ["a.png"] and not problems


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5), (0, 20, 24)])
def test_arrays_that_are_no_images(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape))
    _, problems = formats.find([tmp_path / "a.npy"])
    assert "two or three axes, none empty, are needed" in problems[tmp_path / "a.npy"]


def test_two_arrays_in_one_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 3)), y=np.zeros((3, 3)))
    _, problems = formats.find([tmp_path / "a.npz"])
    assert problems[tmp_path / "a.npz"] == "2 arrays in it (x, y); one is needed"


def test_constant_pixels_and_a_wrong_rule(tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 20, 24), 700.0))
    with pytest.raises(ValueError, match="all pixels are 700"):
        one(tmp_path / "a.npy").read((0, 1), "auto")
    with pytest.raises(ValueError, match="'window' is for DICOM files"):
        one(tmp_path / "a.npy").read((0, 1), "window")


@pytest.mark.skipif(not REAL, reason="LATENTSR_REAL_IMAGES is not set")
def test_the_big_endian_series_equals_its_pictures():
    import csv

    root = Path(REAL)
    files = sorted((root / "volumes").glob("*/*.dcm"))
    (stack,), problems = formats.find(files)
    assert not problems and len(stack.paths) == len(files) == 24
    names = [path.name for path in stack.paths]
    rows = list(csv.DictReader((root / "knee" / "manifest.csv").open()))
    compared = 0
    for row in rows:
        if (name := Path(row["source"]).name) in names:
            picture = np.asarray(Image.open(root / "knee" / row["file"]), float)
            found = np.round(255 * stack.read((0, names.index(name)), "percentile"))
            assert np.abs(found - picture).max() <= 1, row["file"]
            compared += 1
    assert compared >= 5


@pytest.mark.skipif(not REAL, reason="LATENTSR_REAL_IMAGES is not set")
def test_real_nifti_is_upright():
    """The head's mirror line runs from top to bottom: left and right halves are alike."""
    (path,) = (Path(REAL) / "volumes").glob("*FLAIR.nii.gz")
    stack = one(path)
    image = stack.read(stack.chosen("auto", 0.2, 1)[0], "percentile")
    across = np.corrcoef(image.ravel(), image[:, ::-1].ravel())[0, 1]
    down = np.corrcoef(image.ravel(), image[::-1].ravel())[0, 1]
    assert across > down and across > 0.6
