from dataclasses import replace

import numpy as np
import pytest
from tiny_layouts import IMAGE, brats_scan, folder_of, png, write_manifest

from latentsr.datasets import Preparation, SetEntry, load_set, read_sets, summary
from latentsr.degrade import degrade
from latentsr.io import read_arrays

HOW = Preparation(16, 4, brain_slices=2, test_fraction=0.4, split_seed=1)
FOLDER = SetEntry("folder", "set", "folder")


def split_of(root, tested, count, images=1):
    """Give the first files to the test split, so many images a subject."""
    sides = ["test" if i < tested else "train" for i in range(count)]
    rows = [(f"{i}.png", f"s{i // images}", side) for i, side in enumerate(sides)]
    write_manifest(root, *rows, header=("file", "subject", "split"))


def test_load_set_makes_the_arrays_of_a_study(tmp_path):
    for patient in range(1, 9):
        brats_scan(tmp_path / "brain", patient)
    entry = SetEntry("brats", "brain", "brain")
    how = replace(HOW, train_images=7)
    arrays = load_set("brain", entry, tmp_path, how)
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
    png(tmp_path / f"noise_free/brain/{twin}.png", np.full((16, 16), 13107, np.uint16))
    twins = load_set("brain", entry, tmp_path, how)["noise_free"]
    np.testing.assert_allclose(twins[-1], 0.2)
    assert np.isnan(twins[:-1]).all()

    stored = load_set("brain", entry, tmp_path, how, folder=tmp_path / "kept")
    again = read_arrays(tmp_path / "kept")
    assert set(again) == set(stored) == {*arrays, "noise_free"}
    assert all(np.array_equal(again[key], arrays[key]) for key in arrays)


def test_a_limit_takes_every_subject_before_a_second_image(tmp_path):
    split_of(folder_of(tmp_path / "set", 12), 6, 12, images=2)
    arrays = load_set("x", FOLDER, tmp_path, replace(HOW, train_images=4, test_images=3))
    assert arrays["image_id"].tolist() == ["10", "11", "6", "8", "0", "2", "4"]


def test_every_problem_is_told_and_many_are_counted(tmp_path):
    root = folder_of(tmp_path / "set")
    (root / "1.png").write_text("x")
    png(root / "9.png", IMAGE[:9])
    with pytest.raises(ValueError) as caught:
        load_set("x", FOLDER, tmp_path, HOW)
    assert len(str(caught.value).splitlines()) == 2
    for i in range(10, 40):
        (root / f"{i}.png").write_text("x")
    with pytest.raises(ValueError, match="and 12 more problems$") as caught:
        load_set("x", FOLDER, tmp_path, HOW)
    assert len(str(caught.value).splitlines()) == 21


def test_a_bad_file_among_many_can_be_skipped(tmp_path):
    root = folder_of(tmp_path / "set", 12)
    (root / "3.png").write_text("x")
    png(root / "5.png", IMAGE[:9])
    entry, lines = replace(FOLDER, on_error="skip"), []
    stored = load_set("x", entry, tmp_path, HOW, folder=tmp_path / "kept", left_out=lines)
    assert len(lines) == 2 and "3.png: cannot be read" in lines[0] + lines[1]
    assert stored["hr"].shape == (10, 16, 16) and stored["lr"].shape == (10, 4, 4)
    assert not {"3", "5"} & set(stored["image_id"].tolist())
    again = read_arrays(tmp_path / "kept")
    arrays = load_set("x", entry, tmp_path, HOW)
    assert all(np.array_equal(again[key], arrays[key]) for key in arrays)
    for i in range(7):
        (root / f"{i}.png").write_text("x")
    with pytest.raises(ValueError, match="here without the images that were left out"):
        load_set("x", entry, tmp_path, HOW)


def test_a_skipped_file_makes_room_for_the_next(tmp_path):
    root = folder_of(tmp_path / "set", 10)
    split_of(root, 5, 10)
    (root / "1.png").write_text("x")
    lines, how = [], replace(HOW, train_images=4, test_images=4)
    arrays = load_set("x", replace(FOLDER, on_error="skip"), tmp_path, how, left_out=lines)
    assert arrays["image_id"].tolist() == ["5", "6", "7", "8", "0", "2", "3", "4"]
    assert len(lines) == 1 and "1.png: cannot be read" in lines[0]


def test_an_image_of_the_other_split_is_dropped_and_told(tmp_path):
    root = folder_of(tmp_path / "set", 12)
    split_of(root, 5, 12)
    for name in ("7.png", "2.png"):
        png(root / name, IMAGE // 2)
    lines = []
    arrays = load_set("x", FOLDER, tmp_path, HOW, left_out=lines)
    assert "2" not in arrays["image_id"] and "7" in arrays["image_id"]
    assert lines == ["set x: 2: left out of test, the same pixels as 7 in train"]


def test_12_bits_in_16_bit_files_are_refused(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    for i in range(8):
        png(root / f"{i}.png", np.roll(IMAGE, i).astype(np.uint16) * 16)
    with pytest.raises(ValueError, match="set x: 16-bit files, but no pixel above .* of 65535"):
        load_set("x", FOLDER, tmp_path, HOW)
    png(root / "0.png", IMAGE.astype(np.uint16) * 257)  # one bright image: the rest is just dark
    assert load_set("x", FOLDER, tmp_path, HOW)["hr"].shape == (8, 16, 16)


def test_split_by_image_serves_one_subject(tmp_path):
    root = folder_of(tmp_path / "set")
    write_manifest(root, *[(f"{i}.png", "only") for i in range(8)])
    with pytest.raises(ValueError, match="latentsr data use x=DIR --split-by-image x"):
        load_set("x", FOLDER, tmp_path, HOW)
    entry = SetEntry("folder", "set", "folder", "image")
    arrays = load_set("x", entry, tmp_path, HOW)
    counts = summary(entry, arrays, is_phantom=False)
    assert (counts["n_train_images"], counts["n_test_images"]) == (5, 3)
    assert counts["n_train_subjects"] == counts["n_test_subjects"] == 1
    assert counts["subject_word"] == "image"


SETS = "source: own\nnames: [a]\nsets:\n  a: {adapter: folder, folder: a, anatomy: folder}\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("names: [a]", "names: [b]", "unknown set name 'b'; sets has a"),
        ("names: [a]", "names: [A]", "names: 'A'; allowed are a-z"),
        ("names: [a]", "names: []", "names: \\[\\]; List should have at least 1 item"),
        ("source: own", "source: mine", "source: 'mine'; allowed are phantoms, own"),
        ("source: own\n", "", "source: missing key"),
        ("source: own\n", "source: [own\n", "is not YAML; `latentsr data reset` mends it"),
        ("names: [a]", "names: [on]", "names: True; allowed are a-z"),
        ("names: [a]", "names: [[a]]", "names: \\['a'\\]; allowed are a-z"),
        ("adapter: folder", "adapter: dicom", "sets.a.adapter: 'dicom'; allowed are mrnet"),
        ("folder: a,", "folder: ../a,", "a folder inside data/ is needed"),
        ("folder: a,", "folder: /a,", "a folder inside data/ is needed"),
        (", anatomy: folder", "", "sets.a.anatomy: missing key"),
        ("anatomy:", "site: x, anatomy:", "sets.a.site: unknown key; allowed are adapter"),
        ("adapter: folder", "adapter: mrnet, split_by: image", "'image'; adapter mrnet does not"),
        ("adapter: folder", "adapter: brats, square: pad", "'pad'; adapter brats does not take it"),
    ],
)
def test_sets_yaml_is_checked(tmp_path, old, new, message):
    path = tmp_path / "sets.yaml"
    path.write_text(SETS)
    assert read_sets(path) == ("own", {"a": SetEntry("folder", "a", "folder")})
    path.write_text(SETS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_sets(path)
