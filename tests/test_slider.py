"""The slider's images: of the first test image, the run's own, none of a closed set."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentsr import degrade, plots
from latentsr.companion.book import slider

MAIN = ["natural-f8c4", "phantom-f4c3"]


@pytest.fixture
def results(tmp_path):
    """Write two training and two test images of one set, and what two arms made of them."""
    rng = np.random.default_rng(3)
    hr = rng.random((4, 21, 17)).astype(np.float32)
    data = {
        "hr": hr,
        "lr": degrade.degrade(hr, 5),
        "split": np.array(["train", "train", "test", "test"]),
        "image_id": np.array(["0001", "0002", "0003", "0004"]),
    }
    (folder := tmp_path / "data" / "knee").mkdir(parents=True)
    for name, values in data.items():
        np.save(folder / f"{name}.npy", values)
    tests = {"image_id": ["0004", "0003"], "dataset": "knee", "method": "bicubic"}
    pd.DataFrame({**tests, "psnr_db": [30.0, 21.26]}).to_csv(
        tmp_path / "data" / "baselines.csv", index=False
    )
    for vae, level in zip(MAIN, (0.25, 0.5), strict=True):
        (arm := tmp_path / "arms" / "knee" / vae).mkdir(parents=True)
        made = np.stack([np.ones((21, 17)), np.full((21, 17), level)]).astype(np.float16)
        protocols = {"released": made, "lr_pixels": made} if vae == MAIN[0] else {"released": made}
        np.savez(arm / "sr.npz", image_id=np.array(["0004", "0003"]), **protocols)
        rows = [(image, name, 20 + level) for image in ("0004", "0003") for name in protocols]
        pd.DataFrame(rows, columns=["image_id", "arm", "psnr_db"]).to_csv(
            arm / "scores.csv", index=False
        )
    return tmp_path


def test_images_are_the_first_test_images_in_the_order_from_lr_to_hr(results):
    hr, lr = (np.load(results / f"data/knee/{name}.npy")[2] for name in ("hr", "lr"))
    found = list(slider.images(results, "knee", MAIN))
    assert [title for _, title, _ in found] == [
        "LR, 5 x 4 pixels",
        "bicubic, 21.3 dB",
        "natural-f8c4, as released, 20.2 dB",
        "phantom-f4c3, as released, 20.5 dB",
        "natural-f8c4, controlled, 20.2 dB",
        "HR, 21 x 17 pixels: the true image",
    ]
    assert (found[0][2] == lr).all() and (found[-1][2] == hr).all()
    assert (found[2][2] == 0.25).all() and (found[3][2] == 0.5).all()


def test_files_are_grey_levels_and_the_same_on_a_second_run(results, tmp_path):
    sets = {"knee": {"may_be_shown": True, "is_phantom": True}}
    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        place.mkdir()
        slider.write(results, sets, MAIN, place)
    first, second = ({p.name: p.read_bytes() for p in place.iterdir()} for place in places)
    assert first == second and len(first) == 7
    grey = np.asarray(Image.open(places[0] / "compare_knee_natural-f8c4_released.png"))
    assert grey.shape == (21, 17) and (grey == 64).all()  # 0.25 * 255 = 63.75
    text = (places[0] / "slider.md").read_text()
    assert text.count("{tab-item} knee phantoms") == 1
    beside = re.findall(r"compare-beside\n!\[.*\]\(generated/compare_knee_(\w+)\.png\)", text)
    assert beside == ["lr", "bicubic", "hr"]
    assert "![knee phantoms: bicubic, 21.3 dB](generated/compare_knee_bicubic.png)" in text


def test_of_a_closed_set_nothing_is_written(results, tmp_path):
    facts = {"may_be_shown": False, "is_phantom": False}
    (out := tmp_path / "out").mkdir()
    slider.write(results, {"knee": facts}, MAIN, out)
    assert [path.name for path in out.iterdir()] == ["slider.md"]
    assert (out / "slider.md").read_text() == f"{plots.NOT_SHOWN}\n"
