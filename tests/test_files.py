import csv
import gzip
import io
import os
import re
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from tiny_layouts import IMAGE, png

from latentsr.datasets import files, verify

pydicom = pytest.importorskip("pydicom")
rng = np.random.default_rng(0)
REAL = os.environ.get("LATENTSR_REAL_IMAGES")
SYNTAXES = ("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian")


def one(path):
    """Open a single file."""
    (stack,), problems = files.find([path])
    assert not problems
    return stack


def dicom(path, pixels, syntax="ExplicitVRLittleEndian", **tags):
    """Write a DICOM file of 16-bit grey pixels."""
    from pydicom import uid

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = getattr(uid, syntax)
    data.SOPClassUID, data.SOPInstanceUID = uid.MRImageStorage, uid.generate_uid()
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = pixels.astype(">u2" if "Big" in syntax else "<u2").tobytes()
    data["PixelData"].VR = "OW"
    for key, value in tags.items():
        setattr(data, key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(
    ("name", "made"), [("a.jpg", "JPEG"), ("a.tif", "TIFF"), ("a.dat", "PNG"), ("a.png", "TIFF")]
)
def test_a_picture_is_told_by_its_content(tmp_path, name, made):
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
    low, high = np.percentile(volume, files.PERCENTILES)
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
    assert one(tmp_path / "a.nii").read((2, 3), "auto").max() > 0.95


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dicom_of_either_byte_order(tmp_path, syntax):
    pixels = rng.integers(0, 4000, (20, 24))
    path = dicom(tmp_path / "a", pixels, syntax, PatientID="p1", PixelSpacing=[0.5, 0.7])
    stack = one(path)
    assert stack.kind == "dicom" and stack.subject == "p1" and stack.pixel_mm == (0.5, 0.7)
    np.testing.assert_array_equal(stack.volume(), pixels)
    with pytest.raises(ValueError, match="'range' is not for DICOM"):
        stack.read(None, "range")


def compressed(path, content, syntax, bits=8, **tags):
    """Write a DICOM file whose pixels are one JPEG stream."""
    from pydicom.encaps import encapsulate

    data = pydicom.dcmread(dicom(path, np.zeros((20, 24)), **tags))
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([content])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    return path


@pytest.mark.parametrize(
    ("syntax", "bits", "form", "options"),
    [
        ("JPEGBaseline8Bit", 8, "JPEG", {"quality": 90}),
        ("JPEG2000Lossless", 16, "JPEG2000", {"irreversible": False, "no_jp2": True}),
    ],
)
def test_compressed_dicom(tmp_path, syntax, bits, form, options):
    smooth = np.add.outer(np.arange(20), np.arange(24)) * 5 + rng.integers(0, 9, (20, 24))
    pixels = smooth.astype(np.uint8) if bits == 8 else smooth.astype(np.uint16) * 200
    Image.fromarray(pixels).save(buffer := io.BytesIO(), form, **options)
    path = compressed(tmp_path / "a", buffer.getvalue(), getattr(pydicom.uid, syntax), bits)
    got = one(path).volume()
    np.testing.assert_array_equal(got, np.asarray(Image.open(buffer)))  # Pillow's own decoding
    assert np.abs(got - pixels).max() <= (0 if "Lossless" in syntax else 12)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("JPEGLosslessSV1", "JPEG Lossless, .* requires pylibjpeg.* and pylibjpeg-libjpeg"),
        ("JPEGLSLossless", "JPEG-LS .* requires pylibjpeg.* and pylibjpeg-libjpeg"),
        ("MPEG2MPML", "'MPEG2 Main Profile / Main Level' is not supported"),
        ("JPEG2000Lossless", "cannot be read"),  # there is a decoder: the stream is broken
    ],
)
def test_a_compression_without_a_decoder_names_the_package(tmp_path, monkeypatch, syntax, message):
    uid = getattr(pydicom.uid, syntax)
    if message.startswith("JPEG"):  # whatever plugins are installed where the tests run
        monkeypatch.setattr(pydicom.pixels.get_decoder(uid), "_available", {})
    path = compressed(tmp_path / "a.dcm", bytes(16), uid)
    with pytest.raises(ValueError, match=message) as caught:
        one(path).volume()
    assert "\n" not in str(caught.value)


def test_without_pydicom_the_extra_is_named_in_one_line(tmp_path, monkeypatch):
    for number in range(3):
        dicom(tmp_path / f"{number}.dcm", rng.integers(0, 999, (20, 24)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    monkeypatch.setitem(sys.modules, "pydicom.pixels", None)
    with pytest.raises(ValueError) as caught:
        verify.verify("folder", tmp_path)
    assert str(caught.value) == "DICOM files need `pip install 'latentsr[dicom]'`"
    png(tmp_path / "other/a.png")  # nobody needs it for pictures
    assert one(tmp_path / "other/a.png").shape == IMAGE.shape


def test_slope_window_and_monochrome1(tmp_path):
    pixels = np.arange(480).reshape(20, 24)
    dark = {"PhotometricInterpretation": "MONOCHROME1"}
    scale = {"RescaleSlope": 2, "RescaleIntercept": -100}
    window = {**scale, "WindowCenter": [200, 40], "WindowWidth": [101, 80]}

    def made(**tags):
        return one(dicom(tmp_path / f"{len(list(tmp_path.iterdir()))}.dcm", pixels, **tags))

    np.testing.assert_array_equal(made(**scale).volume(), 2 * pixels - 100)
    wanted = np.clip((2 * pixels - 100 - 199.5) / 100 + 0.5, 0, 1)
    np.testing.assert_allclose(made(**window).read(None, "window"), wanted)
    np.testing.assert_allclose(made(**window, **dark).read(None, "window"), 1 - wanted)
    plain = made().read(None, "percentile")
    np.testing.assert_allclose(made(**dark).read(None, "percentile"), 1 - plain, atol=1e-9)
    with pytest.raises(ValueError, match="'window', but it has no window"):
        made().read(None, "window")


def at(place_mm):
    """Place and direction of an axial slice."""
    axes = [1, 0, 0, 0, 1, 0]
    return {"ImagePositionPatient": [0, 0, place_mm], "ImageOrientationPatient": axes}


def test_a_series_is_in_the_order_of_its_slices(tmp_path):
    """Positions decide, not names and not instance numbers."""
    tags = {"SeriesInstanceUID": "1.2.3", "PatientID": "p", "PixelSpacing": [0.5, 0.7]}
    for number, place in enumerate((3, 1, 2, 0)):
        tags |= {"InstanceNumber": number, **at(place)}
        dicom(tmp_path / f"{number}.dcm", np.full((20, 24), place * 100), **tags)
    dicom(tmp_path / "other.dcm", np.ones((20, 24)), SeriesInstanceUID="9")
    stacks, problems = files.find(sorted(tmp_path.iterdir()))
    assert not problems and [len(stack.paths) for stack in stacks] == [4, 1]
    whole = stacks[0]
    assert whole.shape == (4, 20, 24) and whole.spacing((0, 1)) == (0.5, 0.7)
    assert whole.volume()[:, 0, 0].tolist() == [0, 100, 200, 300]


def _npy(array):
    np.save(buffer := io.BytesIO(), array)
    return buffer.getvalue()


def _npz(**arrays):
    np.savez(buffer := io.BytesIO(), **arrays)
    return buffer.getvalue()


FOUR = nibabel.Nifti1Image(np.zeros((6, 7, 8, 2)), np.eye(4))
PAIR = nibabel.Nifti1Pair(np.zeros((6, 7, 8)), np.eye(4)).header.binaryblock
PROBLEMS = {  # a name, what is in it, and the one line that says what is wrong
    "nothing": ("a.png", b"", "no kind of image that is known"),
    "broken gzip": ("a.nii.gz", b"\x1f\x8b\x08broken", "cannot be read"),
    "half a header": ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read|header|EOF"),
    "broken zip": ("a.npz", b"PK\x03\x04 broken", "a damaged zip archive"),
    "no DICOM": ("a.dcm", b"x" * 400, "cannot be read"),
    "one axis": ("a.npy", _npy(np.zeros(3)), "two or three axes, none empty"),
    "four axes": ("a.nii", FOUR.to_bytes(), r"array of shape \(6, 7, 8, 2\)"),
    "empty": ("a.npy", _npy(np.zeros((0, 9, 9))), "axes, none empty, are"),
    "complex": ("a.npy", _npy(np.zeros((3, 9, 9), complex)), "type complex128; integers or floats"),
    "objects": ("a.npy", _npy(np.array([{}], object)), "Python objects"),
    "two arrays": ("a.npz", _npz(x=IMAGE, y=IMAGE), r"2 arrays in it \(x, y\); one is needed"),
    "a pair": ("a.hdr", PAIR, "voxels lie in another file"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_cannot_be_opened_is_one_line(tmp_path, case):
    name, content, message = PROBLEMS[case]
    (tmp_path / name).write_bytes(content)
    stacks, problems = files.find([tmp_path / name])
    assert not stacks and "\n" not in problems[tmp_path / name]
    assert re.search(message, problems[tmp_path / name])


def series(folder, count=3, start=0, **tags):
    """A series of slices, 1 mm apart."""
    for i in range(start, start + count):
        dicom(folder / f"{i}.dcm", rng.integers(0, 999, (20, 24)), **at(i), **tags)


def stacks_of(folder, **how):
    stacks, problems = files.find(sorted(p for p in folder.rglob("*") if p.is_file()), **how)
    return [len(stack.paths) for stack in stacks], problems


def test_what_makes_a_series(tmp_path):
    series(tmp_path / "a", SeriesInstanceUID="1", PatientID="p")
    series(tmp_path / "b", start=3, SeriesInstanceUID="1", PatientID="p")  # in two folders
    assert stacks_of(tmp_path) == ([6], {})
    series(tmp_path / "c", SeriesInstanceUID="1", PatientID="q")  # another patient
    assert stacks_of(tmp_path)[0] == [6, 3]
    series(tmp_path / "d")  # anonymised: no UID, no patient; one folder is one series
    assert stacks_of(tmp_path)[0] == [6, 3, 3]
    halves = stacks_of(tmp_path / "d", key_of=lambda path: path.stem == "0")[0]
    assert sorted(halves) == [1, 2]  # as a manifest may say


def test_several_slices_at_one_place_and_single_projections(tmp_path):
    series(tmp_path / "echo", SeriesInstanceUID="1")
    pixels = rng.integers(0, 999, (20, 24))
    dicom(tmp_path / "echo/x.dcm", pixels, SeriesInstanceUID="1", **at(0))
    counts, problems = stacks_of(tmp_path / "echo")
    (line,) = problems.values()
    assert not counts and "a series of 4 slices at 3 positions" in line
    for view in range(4):  # a mammography: four pictures, one series
        tags = {"SeriesInstanceUID": "2", "Modality": "MG", **at(0)}
        dicom(tmp_path / f"mg/{view}.dcm", pixels + view, **tags)
    assert stacks_of(tmp_path / "mg")[0] == [1, 1, 1, 1]


def test_dicom_without_preamble(tmp_path):
    pixels = rng.integers(0, 999, (20, 24))
    whole = dicom(tmp_path / "a.dcm", pixels, "ImplicitVRLittleEndian")
    data = pydicom.dcmread(whole)
    bare = tmp_path / "bare"
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.save_as(bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert bare.read_bytes()[:4] != b"DICM"
    np.testing.assert_array_equal(one(bare).volume(), pixels)


def test_frames_of_one_dicom_file(tmp_path):
    frames = rng.integers(0, 999, (6, 20, 24))
    for name in ("a", "b"):
        tags = {"NumberOfFrames": 6, "PixelSpacing": [0.5, 0.7], "SeriesInstanceUID": "1"}
        dicom(tmp_path / f"{name}.dcm", frames, **tags)
    stacks, problems = files.find(sorted(tmp_path.iterdir()))
    assert not problems and [stack.shape for stack in stacks] == [(6, 20, 24)] * 2
    assert stacks[0].spacing((0, 2)) == (0.5, 0.7)
    assert stacks[0].read((0, 2), "percentile").shape == (20, 24)


@pytest.mark.parametrize("name", ["scan", "scan.dat", "scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_nifti_is_told_by_its_content(tmp_path, name, packed):
    volume = rng.normal(size=(6, 7, 8)).astype(np.float32)
    content = nibabel.Nifti1Image(volume, np.eye(4)).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    stack = one(tmp_path / name)
    assert stack.shape == (6, 7, 8)
    np.testing.assert_array_equal(stack.volume(), volume)


def test_odd_nifti(tmp_path):
    volume = rng.normal(size=(6, 7, 8, 1)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    assert one(tmp_path / "a.nii").shape == (6, 7, 8)
    nibabel.save(nibabel.Nifti1Image(volume[:, :, 0, 0], np.eye(4)), tmp_path / "b.nii")
    flat = one(tmp_path / "b.nii")
    np.testing.assert_array_equal(flat.read(None, "range"), volume[::-1, ::-1, 0, 0].T)


def test_values_that_cannot_be_scaled(tmp_path):
    big = rng.integers(0, 65535, (3, 20, 24)).astype(">u2")
    np.save(tmp_path / "a.npy", big)
    np.testing.assert_array_equal(one(tmp_path / "a.npy").read((0, 1), "auto"), big[1])
    infinite = rng.normal(size=(3, 20, 24))
    infinite[1, 2, 3] = np.inf
    np.save(tmp_path / "b.npy", infinite)
    np.save(tmp_path / "c.npy", np.full((3, 20, 24), 700.0))
    for name, how, message in (
        ("b", "auto", "1 pixels are not finite"),
        ("c", "auto", "percentile: both limits are 700"),
        ("c", "window", "'window' is for DICOM files"),
    ):
        with pytest.raises(ValueError, match=message):
            one(tmp_path / f"{name}.npy").read((0, 1), how)


def test_other_files_are_passed_over(tmp_path):
    (tmp_path / "README.txt").write_text("about these images")
    (tmp_path / "Thumbs.db").write_bytes(bytes(500))
    with zipfile.ZipFile(tmp_path / "labels.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
    png(tmp_path / "a.png")
    assert stacks_of(tmp_path) == ([1], {})
    _, problems = stacks_of(tmp_path, named=True)  # somebody listed them
    assert "no kind of image" in problems[tmp_path / "labels.xlsx"]


@pytest.mark.skipif(not REAL, reason="LATENTSR_REAL_IMAGES is not set")
def test_the_big_endian_series_equals_its_pictures():
    root = Path(REAL)
    slices = sorted((root / "volumes").glob("*/*.dcm"))
    (stack,), problems = files.find(slices)
    assert not problems and len(stack.paths) == len(slices) == 24
    names = [path.name for path in stack.paths]
    compared = 0
    for row in csv.DictReader((root / "knee" / "manifest.csv").open()):
        if (name := Path(row["source"]).name) in names:
            picture = np.asarray(Image.open(root / "knee" / row["file"]), float)
            got = np.round(255 * stack.read((0, names.index(name)), "percentile"))
            assert np.abs(got - picture).max() <= 1, row["file"]
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
