import json

import numpy as np
import pandas as pd
import pytest

from latentsr import io

TEST = {"image_id": np.array(["0001", "0002", "0003"]), "subject_id": np.array(["a", "a", "b"])}


def frame(vae, values):
    return io.table(TEST, io.identity("knee", vae, vae), {"psnr_db": values})


def test_a_table_names_its_images_and_keeps_ids_as_text(tmp_path):
    made = frame("u", [1.0, 2.0, 4.0])
    assert list(made.columns[: len(io.ID_COLUMNS)]) == list(io.ID_COLUMNS)
    made.to_csv(tmp_path / "t.csv", index=False)
    assert io.read_tables([tmp_path / "t.csv"])["image_id"].tolist() == ["0001", "0002", "0003"]


def test_subjects_are_averaged_first():
    got = io.subject_mean(frame("u", [1.0, 3.0, 8.0]), ["vae"], ["psnr_db"])
    assert got.loc["u", "psnr_db"] == 5.0  # (2 + 8) / 2, not 4


def test_a_subject_may_be_called_na(tmp_path):
    """pandas reads NA, null and None as missing, and a mean would leave such a subject out."""
    names = ["NA", "null", "p1"]
    frame = pd.DataFrame({"image_id": ["a", "None", "c"], "subject_id": names, "dataset": "x"})
    frame.assign(psnr_db=[1.0, 2.0, 6.0], vae="").to_csv(tmp_path / "scores.csv", index=False)
    read = io.read_tables([tmp_path / "scores.csv"])
    assert read["subject_id"].tolist() == names and read["vae"].isna().all()
    assert io.subject_mean(read, ["dataset"], ["psnr_db"])["psnr_db"].item() == 3.0


def test_a_table_of_sets_split_by_image_says_so(tmp_path):
    frame = pd.DataFrame({"dataset": ["knee", "chest", "all"], "psnr_db": [1.0, 2.0, 3.0]})
    facts = {"knee": {"split_by": "image"}, "chest": {"split_by": "subject"}}
    io.write_table(frame, path := tmp_path / "t.csv", facts)
    assert pd.read_csv(path)["split_by"].tolist() == ["image", "subject", "image"]
    io.write_table(frame[["psnr_db"]], path, facts)  # over all sets
    assert pd.read_csv(path)["split_by"].tolist() == ["image"] * 3
    io.write_table(frame, path, {"chest": facts["chest"]})
    pd.testing.assert_frame_equal(pd.read_csv(path), frame)


def test_numbers_that_were_not_measured_are_null(tmp_path):
    record = {"b": {"low": float("nan"), "why": "a NaN"}, "a": (1.5, np.nan)}
    io.write_metrics(record, path := tmp_path / "metrics" / "05.json")
    assert json.loads(path.read_text()) == {"a": [1.5, None], "b": {"low": None, "why": "a NaN"}}


def test_images_are_joined_by_id_one_to_one(tmp_path):
    stack, path = np.arange(3, dtype=np.float16).repeat(4).reshape(3, 2, 2), tmp_path / "sr.npz"
    np.savez(path, image_id=np.array(["a", "b", "c"]), lr_pixels=stack)
    images = io.read_images(path, "lr_pixels", ["c", "a"])
    assert images.dtype == np.float64 and images[:, 0, 0].tolist() == [2, 0]
    with pytest.raises(ValueError, match=r"sr\.npz: holds no image d"):
        io.read_images(path, "lr_pixels", ["a", "d"])
    np.savez(path, image_id=np.array(["a", "b", "b"]), lr_pixels=stack)
    with pytest.raises(ValueError, match=r"sr\.npz: an image id is there twice"):
        io.read_images(path, "lr_pixels", ["a"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_caught(tmp_path, value):
    """A comparison with NaN is false: it would count as neither added nor lost."""
    stack, path = np.zeros((3, 2, 2), np.float16), tmp_path / "sr.npz"
    stack[1, 0, 1] = value
    np.savez(path, image_id=np.array(["a", "b", "c"]), lr_pixels=stack)
    with pytest.raises(ValueError, match=r"sr\.npz: lr_pixels of image b holds NaN or infinity"):
        io.read_images(path, "lr_pixels", ["c", "b"])
    assert not io.read_images(path, "lr_pixels", ["c", "a"]).any()


def test_nan_enters_no_table_and_no_mean():
    """pandas would leave it out and average the rest."""
    made = frame("u", [1.0, 2.0, 4.0])
    made.loc[1, "psnr_db"] = np.nan
    with pytest.raises(ValueError, match="psnr_db: 1 of 3 values are NaN.*'vae': 'u'"):
        io.subject_mean(made, ["vae"], ["psnr_db"])
    with pytest.raises(ValueError, match="psnr_db: 1 of 3 values are NaN"):
        frame("u", [1.0, np.nan, 2.0])


def test_arms_on_different_images_are_caught():
    good = pd.DataFrame({"dataset": "x", "vae": list("uuvv"), "image_id": list("1221")})
    io.same_images(good, ["vae"])
    with pytest.raises(ValueError, match=r"x, v: not scored on the images of x, u \(1\)"):
        io.same_images(good.iloc[:3], ["vae"])
    with pytest.raises(ValueError, match="x, v: image 2 was scored twice"):
        io.same_images(good.assign(image_id=list("1222")), ["vae"])


def test_arrays_on_disk_keep_their_values_when_they_leave_memory(tmp_path):
    on_disk, rows = io.new_array(tmp_path / "x.npy", (4, 3)), np.arange(12.0).reshape(4, 3)
    on_disk[:2] = rows[:2]
    io.flush_memmaps(on_disk, np.zeros(2))
    on_disk[2:] = rows[2:]
    io.flush_memmaps(on_disk[2:], on_disk)
    assert (on_disk == rows).all() and (io.read_arrays(tmp_path)["x"] == rows).all()
