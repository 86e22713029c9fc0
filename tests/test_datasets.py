import csv
import gzip

import nibabel
import numpy as np
import pytest
from PIL import Image

from latentsr.datasets import (
    SetEntry,
    brats,
    folder,
    load_set,
    middle_half_slices,
    mimic_cxr,
    mrnet,
    prepare_mask,
    prepare_pixels,
    read_sets,
    recognise,
    summary,
)
from latentsr.degrade import degrade

LIMITS = {"hr_px": 16, "lr_px": 4, "train_images": None, "test_images": None}
OPTIONS = {**LIMITS, "brain_slices": 2, "test_fraction": 0.4, "operator": "bicubic", "seed": 1}
FOLDER = SetEntry("folder", "set", "folder")
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24), dtype=np.uint8)


def _png(path, image=IMAGE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def _manifest(root, *rows, header=("file", "subject")):
    with (root / "manifest.csv").open("w", newline="") as table:
        csv.writer(table).writerows([header, *rows])


def _folder(root, count=8):
    for i in range(count):
        _png(root / f"{i}.png")
    return root


def _mrnet(root, train=4, valid=3):
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


def _scan(root, patient, time=0, twice_nested=False, as_folder=False, depth=155):
    scan = f"BraTS-GLI-{patient:05d}-{time:03d}"
    where = root / "copy" / scan / scan if twice_nested else root / scan
    where.mkdir(parents=True)
    t2w = np.zeros((16, 17, depth), np.int16)
    t2w += np.arange(depth, dtype=np.int16) + 1
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


def _mimic(root, rows, packed=True):
    tables = {
        "metadata": [("dicom_id", "subject_id", "study_id", "ViewPosition")],
        "split": [("dicom_id", "study_id", "subject_id", "split")],
    }
    for dicom, patient, view, split in rows:
        tables["metadata"].append((dicom, patient, "50000001", view))
        tables["split"].append((dicom, "50000001", patient, split))
        _png(root / f"files/p{patient[:2]}/p{patient}/s50000001/{dicom}.jpg")
    for name, table in tables.items():
        text = "".join(",".join(row) + "\n" for row in table)
        path = root / f"mimic-cxr-2.0.0-{name}.csv"
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            path.write_text(text)
    return root


def test_middle_half_is_the_papers_twenty_of_155():
    slices = middle_half_slices(155, 20)
    assert (slices[0], slices[-1], len(set(slices.tolist()))) == (39, 115, 20)


def test_integers_are_scaled_by_the_range_of_their_type():
    for dtype, low, high in ((np.uint8, 0, 255), (np.uint16, 0, 65535), (np.int16, -32768, 32767)):
        image = np.full((8, 8), low, dtype)
        image[:, 4:] = high
        np.testing.assert_array_equal(prepare_pixels(image, "folder", 8), image == high)


def test_crop_is_central_and_resize_is_lanczos():
    image = np.random.default_rng(1).random((37, 31)).astype(np.float32)
    expected = Image.fromarray(image[3:34]).resize((16, 16), Image.Resampling.LANCZOS)
    found = prepare_pixels(image, "chest", 16)
    np.testing.assert_array_equal(found, np.clip(np.asarray(expected), 0, 1))
    assert found.dtype == np.float32


def test_a_brain_slice_is_scaled_by_its_own_limits():
    image = np.array([[-50, 150], [50, -50]], np.int16)
    np.testing.assert_allclose(prepare_pixels(image, "brain", 2), [[0, 1], [0.5, 0]])


def test_masks_are_cropped_like_images():
    mask = np.zeros((8, 4), bool)
    mask[2:4, :2] = True
    np.testing.assert_array_equal(prepare_mask(mask, 2), [[True, False], [False, False]])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((15, 99)), "15 x 99 pixels; at least 16"),
        (np.full((16, 16), np.nan), "256 pixels are not finite"),
        (np.zeros((16, 16, 3)), "grey image"),
        (np.full((16, 16), 7.0), "float pixels from 7 to 7; allowed are 0 to 1"),
    ],
)
def test_pixels_that_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        prepare_pixels(image, "knee", 16)


def test_a_blank_brain_slice_and_an_unknown_anatomy_are_refused():
    with pytest.raises(ValueError, match="all pixels are 0"):
        prepare_pixels(np.zeros((16, 16), np.int16), "brain", 16)
    with pytest.raises(ValueError, match="anatomy: 'foot'; allowed are knee"):
        prepare_pixels(np.zeros((16, 16)), "foot", 16)


def test_mrnet_reads_the_middle_slice_and_keeps_four_digits(tmp_path):
    records = mrnet(_mrnet(tmp_path))
    assert [r.image_id for r in records] == [f"{i:04d}" for i in range(7)]
    assert [r.split for r in records] == ["train"] * 4 + ["test"] * 3
    np.testing.assert_array_equal(records[5].read(), 105)


def test_mrnet_names_the_exam_that_is_absent(tmp_path):
    (_mrnet(tmp_path) / "valid/sagittal/0005.npy").unlink()
    with pytest.raises(ValueError, match=r"valid-abnormal\.csv: names exam 0005"):
        mrnet(tmp_path)


def test_brats_splits_by_patient_and_tests_one_scan_a_patient(tmp_path):
    for patient in range(1, 9):
        _scan(tmp_path, patient, twice_nested=patient == 2, as_folder=patient >= 3)
        _scan(tmp_path, patient, time=1)
    records = brats(tmp_path, slices=2, test_fraction=0.4, seed=1)
    train = {r.subject_id for r in records if r.split == "train"}
    test = [r for r in records if r.split == "test"]
    assert not train & {r.subject_id for r in test}
    assert len(train) == 5 and len(test) == 3 * 2 and len(records) == 5 * 2 * 2 + 6
    assert all("-000_z" in r.image_id for r in test)
    assert records[0].image_id.endswith("_z039") and records[1].image_id.endswith("_z115")
    assert [r.split for r in brats(tmp_path, slices=2, test_fraction=0.4, seed=2)] != [
        r.split for r in records
    ]
    for record in records:
        image, mask = record.read(), record.mask()
        assert image.shape == mask.shape == (17, 16)
        assert image.argmax() == mask.argmax() == 5 * 16 + 3  # row y, column x
        assert image.min() == int(record.image_id[-3:]) + 1


def test_brats_refuses_a_scan_that_is_there_twice(tmp_path):
    _scan(tmp_path, 1)
    _scan(tmp_path, 1, twice_nested=True)
    with pytest.raises(ValueError, match="scan BraTS-GLI-00001-000 is there twice"):
        brats(tmp_path, slices=2, test_fraction=0.4, seed=1)


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
    _mimic(tmp_path, rows, packed)
    (tmp_path / "files/p11/p11000005/s50000001/d6.jpg").unlink()  # people hold a part of the set
    found = [(r.image_id, r.subject_id, r.split) for r in mimic_cxr(tmp_path)]
    assert found == [
        ("d1", "10000001", "train"),
        ("d2", "10000001", "train"),
        ("d5", "11000004", "test"),
    ]


def test_a_folder_keeps_subjects_on_one_side(tmp_path):
    _folder(tmp_path, 12)
    _manifest(tmp_path, *[(f"{i}.png", f"s{i // 2}", "x") for i in range(12)],
              header=("file", "subject", "note"))  # fmt: skip
    records = folder(tmp_path, split_by="subject", test_fraction=0.5, seed=0)
    sides = {(r.subject_id, r.split) for r in records}
    assert len(sides) == 6 and len(records) == 12
    assert sum(split == "test" for _, split in sides) == 3


def test_a_manifest_may_bring_its_split_and_choose_files(tmp_path):
    _folder(tmp_path, 9)
    rows = [(f"{i}.png", f"s{i}", "test" if i < 3 else "train") for i in range(7)]
    _manifest(tmp_path, *rows, header=("file", "subject", "split"))
    records = folder(tmp_path, split_by="subject", test_fraction=0.9, seed=0)
    assert [r.image_id for r in records if r.split == "test"] == ["0", "1", "2"]
    assert len(records) == 7


def test_without_manifest_files_at_any_depth_are_subjects(tmp_path):
    _png(tmp_path / "a/b/one.png")
    _png(tmp_path / "two.TIF")
    records = folder(tmp_path, split_by="subject", test_fraction=0.5, seed=0)
    assert [(r.image_id, r.subject_id) for r in records] == [("a-b-one", "a/b/one"), ("two", "two")]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_arrive(tmp_path, suffix):
    deep = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160
    _png(tmp_path / f"a.{suffix}", deep)
    (record,) = folder(tmp_path, split_by="subject", test_fraction=0.5, seed=0)
    np.testing.assert_array_equal(record.read(), deep)


def test_grey_saved_as_rgb_is_read_as_grey(tmp_path):
    _png(tmp_path / "a.png", np.repeat(IMAGE[..., None], 3, axis=2))
    (record,) = folder(tmp_path, split_by="subject", test_fraction=0.5, seed=0)
    np.testing.assert_array_equal(record.read(), IMAGE)


def test_load_set_makes_the_arrays_of_a_study(tmp_path):
    for patient in range(1, 9):
        _scan(tmp_path / "brain", patient)
    entry = SetEntry("brats", "brain", "brain")
    options = {**OPTIONS, "train_images": 7}
    arrays = load_set("brain", entry, tmp_path, **options)
    assert arrays["hr"].shape == arrays["mask"].shape == (13, 16, 16)
    assert arrays["hr"].dtype == np.float32 and arrays["mask"].dtype == bool
    np.testing.assert_array_equal(arrays["lr"], degrade(arrays["hr"], 4))
    assert "noise_free" not in arrays
    assert summary(entry, arrays, is_phantom=False) == {
        "adapter": "brats", "split_by": "subject", "is_phantom": False, "allow_images": False,
        "subject_word": "patient", "n_train_images": 7, "n_train_subjects": 5,
        "n_test_images": 6, "n_test_subjects": 3, "note": "own images", "may_be_shown": False,
    }  # fmt: skip

    twin = arrays["image_id"][-1]
    _png(tmp_path / f"noise_free/brain/{twin}.png", np.full((16, 16), 13107, np.uint16))
    twins = load_set("brain", entry, tmp_path, **options)["noise_free"]
    np.testing.assert_allclose(twins[-1], 0.2)
    assert np.isnan(twins[:-1]).all()


def test_a_limit_takes_every_subject_before_a_second_image(tmp_path):
    _folder(tmp_path / "set", 12)
    rows = [(f"{i}.png", f"s{i // 2}", "test" if i < 6 else "train") for i in range(12)]
    _manifest(tmp_path / "set", *rows, header=("file", "subject", "split"))
    arrays = load_set("x", FOLDER, tmp_path, **{**OPTIONS, "train_images": 4, "test_images": 3})
    assert arrays["image_id"].tolist() == ["10", "11", "6", "8", "0", "2", "4"]


def _truncate(root):
    path = root / "3.png"
    path.write_bytes(path.read_bytes()[:200])


def _two_splits(root):
    rows = [(f"{i}.png", f"s{i % 7}", "test" if i < 3 else "train") for i in range(8)]
    _manifest(root, *rows, header=("file", "subject", "split"))


def _non_finite(root):
    image = np.full((20, 20), 0.5, np.float32)
    image[0, 0] = np.inf
    _png(root / "9.tif", image)


def _frames(root):
    pages = [Image.fromarray(IMAGE)] * 2
    pages[0].save(root / "9.tif", save_all=True, append_images=pages[1:])


BAD = {
    "missing folder": (lambda root: root.rename(root.parent / "away"), "is not there"),
    "empty folder": (lambda root: [p.unlink() for p in root.iterdir()], "no image in it"),
    "truncated": (_truncate, r"3\.png: cannot be read \(OSError"),
    "not an image": (lambda root: (root / "3.png").write_text("x"), r"3\.png: cannot be read"),
    "small": (lambda root: _png(root / "9.png", IMAGE[:9]), r"9\.png: 9 x 24 pixels; at least 16"),
    "duplicate ids": (lambda root: _png(root / "3.tif"), "image id 3 is there twice"),
    "listed twice": (
        lambda root: _manifest(root, *[(f"{i % 7}.png", f"s{i}") for i in range(8)]),
        r"manifest\.csv: line 9: file '0\.png' is listed twice; keep one",
    ),
    "two splits": (_two_splits, "subject s0 is in test and in train"),
    "absent file": (
        lambda root: _manifest(root, ("0.png", "a"), ("gone.png", "b")),
        r"manifest\.csv: line 3: file 'gone\.png' is not in",
    ),
    "outside": (
        lambda root: (_png(root / "../x.png"), _manifest(root, ("../x.png", "a"))),
        r"line 2: file '\.\./x\.png' lies outside",
    ),
    "absolute": (lambda root: _manifest(root, ("/etc/x.png", "a")), "lies outside"),
    "no subject column": (
        lambda root: _manifest(root, ("0.png",), header=("file",)),
        "no column subject; columns found: file",
    ),
    "unclosed quote": (
        lambda root: (root / "manifest.csv").write_text('file,subject\n"0.png,a\n1.png,b\n'),
        r"manifest\.csv: cannot be read as a table",
    ),
    "empty subject": (lambda root: _manifest(root, ("0.png",)), "line 2: no subject for '0.png'"),
    "wrong split": (
        lambda root: _manifest(root, ("0.png", "a", "val"), header=("file", "subject", "split")),
        "split 'val'; allowed are train, test",
    ),
    "half a split": (
        lambda root: _manifest(
            root, ("0.png", "a", "test"), ("1.png", "b"), header=("file", "subject", "split")
        ),
        "split is filled in some lines only",
    ),
    "too small": (
        lambda root: [(root / f"{i}.png").unlink() for i in range(3)],
        "2 subjects in train; needs 6 subjects, 3 a split or split_by: image",
    ),
    "non-finite": (_non_finite, r"9\.tif: 1 pixels are not finite"),
    "colour": (
        lambda root: _png(root / "9.png", np.dstack([IMAGE, IMAGE, IMAGE // 2])),
        r"9\.png: colour or transparent pixels \(mode RGB\); grey is needed",
    ),
    "frames": (_frames, r"9\.tif: 2 frames; one image a file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_names_it(tmp_path, case):
    spoil, message = BAD[case]
    root = _folder(tmp_path / "set")
    spoil(root)
    with pytest.raises(ValueError, match=message) as caught:
        load_set("x", FOLDER, tmp_path, **OPTIONS)
    assert "\n" not in str(caught.value) and "set x" in str(caught.value)


def test_every_problem_is_told_and_many_are_counted(tmp_path):
    root = _folder(tmp_path / "set")
    (root / "1.png").write_text("x")
    _png(root / "9.png", IMAGE[:9])
    with pytest.raises(ValueError) as caught:
        load_set("x", FOLDER, tmp_path, **OPTIONS)
    assert len(str(caught.value).splitlines()) == 2
    for i in range(10, 40):
        (root / f"{i}.png").write_text("x")
    with pytest.raises(ValueError, match="and 12 more problems$") as caught:
        load_set("x", FOLDER, tmp_path, **OPTIONS)
    assert len(str(caught.value).splitlines()) == 21


def test_12_bits_in_16_bit_files_are_refused(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(8):
        _png(root / f"{i}.png", IMAGE.astype(np.uint16) * 16)
    with pytest.raises(ValueError, match="set x: 16-bit files, but no pixel above .* of 65535"):
        load_set("x", FOLDER, tmp_path, **OPTIONS)
    _png(root / "0.png", IMAGE.astype(np.uint16) * 257)  # one bright image: the rest is just dark
    assert load_set("x", FOLDER, tmp_path, **OPTIONS)["hr"].shape == (8, 16, 16)


def test_a_broken_volume_is_named(tmp_path):
    for patient in range(1, 8):
        where = _scan(tmp_path / "brain", patient)
    path = where / "BraTS-GLI-00007-000-t2w.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"00007-000-t2w\.nii\.gz: cannot be read \(EOFError"):
        load_set("brain", SetEntry("brats", "brain", "brain"), tmp_path, **OPTIONS)


def test_split_by_image_serves_one_subject(tmp_path):
    root = _folder(tmp_path / "set")
    _manifest(root, *[(f"{i}.png", "only") for i in range(8)])
    with pytest.raises(ValueError, match="latentsr data use x=DIR --split-by-image x"):
        load_set("x", FOLDER, tmp_path, **OPTIONS)
    entry = SetEntry("folder", "set", "folder", "image")
    arrays = load_set("x", entry, tmp_path, **OPTIONS)
    counts = summary(entry, arrays, is_phantom=False)
    assert (counts["n_train_images"], counts["n_test_images"]) == (5, 3)
    assert counts["n_train_subjects"] == counts["n_test_subjects"] == 1
    assert counts["subject_word"] == "image"


def test_layouts_are_recognised(tmp_path):
    _mrnet(tmp_path / "a/MRNet-v1.0")
    _scan(tmp_path / "b/deep", 1, twice_nested=True)
    _mimic(tmp_path / "c", [("d1", "10000001", "PA", "train")])
    _folder(tmp_path / "d")
    found = [recognise(tmp_path / name) for name in "abcd"]
    assert found == [
        ("mrnet", tmp_path / "a/MRNet-v1.0"),
        ("brats", tmp_path / "b"),
        ("mimic_cxr", tmp_path / "c"),
        ("folder", tmp_path / "d"),
    ]


SETS = "source: own\nnames: [a]\nsets:\n  a: {adapter: folder, folder: a, anatomy: folder}\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("names: [a]", "names: [b]", "unknown set name 'b'; sets has a"),
        ("names: [a]", "names: [A]", "names: 'A'; allowed are a-z"),
        ("names: [a]", "names: []", "at least one set"),
        ("source: own", "source: mine", "source: 'mine'; allowed are phantoms, own"),
        ("source: own\n", "", "source is not there or not a str"),
        ("source: own\n", "source: [own\n", "is not YAML; `latentsr data reset` mends it"),
        ("names: [a]", "names: [on]", "names: True; allowed are a-z"),
        ("names: [a]", "names: [[a]]", "names: \\['a'\\]; allowed are a-z"),
        ("adapter: folder", "adapter: dicom", "sets.a.adapter: 'dicom'; allowed are mrnet"),
        ("folder: a,", "folder: ../a,", "a folder inside data/ is needed"),
        ("folder: a,", "folder: /a,", "a folder inside data/ is needed"),
        (", anatomy: folder", "", "sets.a: missing key anatomy"),
        ("anatomy:", "site: x, anatomy:", "sets.a.site: unknown key; allowed are adapter"),
        ("adapter: folder", "adapter: mrnet, split_by: image", "'image' is for adapter folder"),
    ],
)
def test_sets_yaml_is_checked(tmp_path, old, new, message):
    path = tmp_path / "sets.yaml"
    path.write_text(SETS)
    assert read_sets(path) == ("own", {"a": SetEntry("folder", "a", "folder")})
    path.write_text(SETS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_sets(path)
