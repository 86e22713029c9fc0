import json

import numpy as np
import pandas as pd
import pytest

from latentsr import io as scores

TEST = {"image_id": np.array(["0001", "0002", "0003"]), "subject_id": np.array(["a", "a", "b"])}


def frame(vae, values):
    return scores.table(TEST, scores.identity("knee", vae, vae), {"psnr_db": values})


def test_a_table_names_its_images_and_keeps_ids_as_text(tmp_path):
    made = frame("u", [1.0, 2.0, 4.0])
    assert list(made.columns[: len(scores.ID_COLUMNS)]) == list(scores.ID_COLUMNS)
    made.to_csv(tmp_path / "t.csv", index=False)
    assert scores.read_tables([tmp_path / "t.csv"])["image_id"].tolist() == ["0001", "0002", "0003"]


def test_nan_does_not_enter_a_table():
    with pytest.raises(ValueError, match="psnr_db: 1 of 3 values are NaN"):
        frame("u", [1.0, np.nan, 2.0])


def test_subjects_are_averaged_first():
    got = scores.subject_mean(frame("u", [1.0, 3.0, 8.0]), ["vae"], ["psnr_db"])
    assert got.loc["u", "psnr_db"] == 5.0  # (2 + 8) / 2, not 4


def test_pairing_is_by_id_not_by_row():
    shuffled = frame("v", [10.0, 20.0, 30.0]).iloc[::-1]
    both = pd.concat([frame("u", [1.0, 2.0, 3.0]), shuffled])
    pair = scores.paired(both, "vae", "u", "v", "psnr_db")
    assert (pair["b"] == 10 * pair["a"]).all()


def test_pairing_refuses_other_images_and_doubles():
    u, v = frame("u", [1.0, 2, 3]), frame("v", [1.0, 2, 3])
    other = v.assign(image_id=["0001", "0002", "0009"])
    with pytest.raises(ValueError, match="u and v were scored on different images"):
        scores.paired(pd.concat([u, other]), "vae", "u", "v", "psnr_db")
    moved = v.assign(subject_id=v["subject_id"].iloc[::-1].to_numpy())
    with pytest.raises(ValueError, match="u and v give an image two subjects"):
        scores.paired(pd.concat([u, moved]), "vae", "u", "v", "psnr_db")
    with pytest.raises(ValueError, match="vae v: 6 rows, but one an image"):
        scores.paired(pd.concat([u, v, v]), "vae", "u", "v", "psnr_db")
    with pytest.raises(ValueError, match="vae w: 0 rows"):
        scores.paired(u, "vae", "u", "w", "psnr_db")


def test_a_subject_may_be_called_na(tmp_path):
    """pandas reads NA, null and None as missing, and a mean would leave such a subject out."""
    names = ["NA", "null", "p1"]
    frame = pd.DataFrame({"image_id": ["a", "None", "c"], "subject_id": names, "dataset": "x"})
    frame.assign(psnr_db=[1.0, 2.0, 6.0], vae="").to_csv(tmp_path / "scores.csv", index=False)
    read = scores.read_tables([tmp_path / "scores.csv"])
    assert read["subject_id"].tolist() == names and read["vae"].isna().all()
    assert scores.subject_mean(read, ["dataset"], ["psnr_db"])["psnr_db"].item() == 3.0


def test_a_table_of_sets_split_by_image_says_so(tmp_path):
    frame = pd.DataFrame({"dataset": ["knee", "chest", "all"], "psnr_db": [1.0, 2.0, 3.0]})
    facts = {"knee": {"split_by": "image"}, "chest": {"split_by": "subject"}}
    scores.write_table(frame, path := tmp_path / "t.csv", facts)
    assert pd.read_csv(path)["split_by"].tolist() == ["image", "subject", "image"]
    scores.write_table(frame[["psnr_db"]], path, facts)  # over all sets
    assert pd.read_csv(path)["split_by"].tolist() == ["image"] * 3
    scores.write_table(frame, path, {"chest": facts["chest"]})
    pd.testing.assert_frame_equal(pd.read_csv(path), frame)


def test_numbers_that_were_not_measured_are_null(tmp_path):
    record = {"b": {"low": float("nan")}, "a": 1.5}
    scores.write_metrics(record, path := tmp_path / "metrics" / "05.json")
    assert json.loads(path.read_text()) == {"a": 1.5, "b": {"low": None}}


def test_images_are_read_in_the_order_of_their_ids(tmp_path):
    stack = np.arange(3, dtype=np.float16)[:, None, None] * np.ones((3, 2, 2), np.float16)
    np.savez(path := tmp_path / "sr.npz", image_id=np.array(["a", "b", "c"]), lr_pixels=stack)
    found = scores.read_images(path, "lr_pixels", ["c", "a"])
    assert found.dtype == np.float64 and found[:, 0, 0].tolist() == [2, 0]


def test_images_are_joined_one_to_one(tmp_path):
    stack, path = np.zeros((3, 2, 2), np.float16), tmp_path / "sr.npz"
    np.savez(path, image_id=np.array(["a", "b", "b"]), lr_pixels=stack)
    with pytest.raises(ValueError, match=r"sr\.npz: an image id is there twice"):
        scores.read_images(path, "lr_pixels", ["a"])
    np.savez(path, image_id=np.array(["a", "b", "c"]), lr_pixels=stack)
    with pytest.raises(ValueError, match=r"sr\.npz: holds no image d"):
        scores.read_images(path, "lr_pixels", ["a", "d"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number_is_caught(tmp_path, value):
    """A comparison with NaN is false: it would count as neither added nor lost."""
    stack, path = np.zeros((3, 2, 2), np.float16), tmp_path / "sr.npz"
    stack[1, 0, 1] = value
    np.savez(path, image_id=np.array(["a", "b", "c"]), lr_pixels=stack)
    told = r"sr\.npz: lr_pixels of image b holds NaN or infinity; make it again"
    with pytest.raises(ValueError, match=told):
        scores.read_images(path, "lr_pixels", ["c", "b"])
    assert not scores.read_images(path, "lr_pixels", ["c", "a"]).any()


def test_nan_does_not_enter_a_mean():
    """pandas would leave it out and average the rest."""
    table = frame("u", [1.0, 2.0, 4.0])
    table.loc[1, "psnr_db"] = np.nan
    with pytest.raises(ValueError, match="psnr_db: 1 of 3 values are NaN"):
        scores.subject_mean(table, ["vae"], ["psnr_db"])


def test_arms_on_different_images_are_caught():
    good = pd.DataFrame({"dataset": "x", "vae": list("uuvv"), "image_id": list("1221")})
    scores.same_images(good, ["vae"])
    with pytest.raises(ValueError, match=r"x, v: not scored on the images of x, u \(1\)"):
        scores.same_images(good.iloc[:3], ["vae"])
    with pytest.raises(ValueError, match="x, v: image 2 was scored twice"):
        scores.same_images(good.assign(image_id=list("1222")), ["vae"])
