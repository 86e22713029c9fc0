import numpy as np
import pandas as pd
import pytest
import torch
from test_experiment import BASE, results, study  # noqa: F401 - fixtures

from latentsr.autoencoders.load import load_autoencoder
from latentsr.experiments import adapt as adaptation
from latentsr.experiments import run as experiment
from latentsr.experiments.protocol import Switches
from latentsr.experiments.run import Spec
from latentsr.metrics import image as metrics


def copies(vae, images):
    x = torch.from_numpy(images)[:, None]
    return vae.decode(vae.encode(x), images.shape[1:])[:, 0].numpy()


@pytest.fixture(scope="module")
def odd():
    """Images unlike any that a shipped autoencoder has seen: stripes two pixels wide, in patches."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :48]
    ways = [(y // 2) % 2, (x // 2) % 2]
    patches = rng.integers(0, 2, (12, 3, 3)).repeat(16, 1).repeat(16, 2)
    return np.where(patches, *ways).astype(np.float32)


@pytest.mark.parametrize("how", adaptation.HOW)
def test_adapting_raises_the_ceiling_and_leaves_the_original_alone(odd, how):
    vae = load_autoencoder("natural-f4c3")
    before = {key: value.clone() for key, value in vae.model.state_dict().items()}
    made = adaptation.adapt(vae, odd[:8], how, steps=30, batch=4, crop_px=32, seed=1)
    gain = metrics.psnr_db(copies(made, odd[8:]), odd[8:]) - metrics.psnr_db(
        copies(vae, odd[8:]), odd[8:]
    )
    assert gain.min() > 0.1 and made.name == f"natural-f4c3-adapted-{how}"
    after = vae.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert made.model.state_dict().keys() == before.keys()  # merged: loads as any other


def test_a_low_rank_change_is_of_low_rank(odd):
    vae = load_autoencoder("natural-f4c3")
    made = adaptation.adapt(vae, odd, "lora", steps=3, batch=2, crop_px=32, rank=2, seed=1)
    old, new = vae.model.state_dict(), made.model.state_dict()
    changed = 0
    for key, value in old.items():
        difference = (new[key] - value).flatten(1) if value.ndim > 1 else new[key] - value
        if value.ndim > 1:
            assert torch.linalg.matrix_rank(difference, rtol=1e-3) <= 2
            changed += bool(difference.any())
        else:
            assert not difference.any()
    assert changed > 10


def test_what_cannot_be_adapted_is_told(odd):
    vae = load_autoencoder("natural-f4c3")
    with pytest.raises(ValueError, match=r"^how: 'half'; allowed are full, lora$"):
        adaptation.adapt(vae, odd, "half")
    with pytest.raises(ValueError, match=r"^crop_px: 64; at most 48 fits the images$"):
        adaptation.adapt(vae, odd, "full")


def test_an_adapted_autoencoder_gets_arms_of_its_own(study):  # noqa: F811
    images = study.data["hr"][study.is_training.numpy()]
    made = adaptation.adapt(
        load_autoencoder("phantom-f4c3"), images, "full", steps=2, batch=2, seed=1
    )
    more = adaptation.Extended(study, made)
    table, sr, _ = experiment.score(more, Spec(made.name, switches=Switches("lr_latent")), BASE)
    assert set(table.vae) == {made.name} and np.isfinite(table.psnr_db).all()
    wanted = copies(made, more.test["hr"])
    assert np.allclose(more.own_decode(made.name), wanted, atol=1e-3)
    assert np.array_equal(more.own_decode("phantom-f4c3"), study.own_decode("phantom-f4c3"))


def test_gains_and_what_passes_through():
    rows = [
        {"vae": "mine" if how == "none" else f"mine-adapted-{how}", "how": how}
        | {"lr_condition": kind, "subject_id": s, "psnr_db": p + s, "ceiling_db": c + s}
        for how, p, c in (("none", 20, 28), ("full", 21, 32), ("lora", 21, 30))
        for kind in ("lr_latent", "lr_pixels")
        for s in range(7)
    ]
    found = adaptation.gains(pd.DataFrame(rows), 0).set_index(["lr_condition", "how", "what"])
    full = found.loc["lr_pixels", "full"]
    assert full.gain_db.tolist() == [4, 1] and full.pass_through.tolist() == [0.25, 0.25]
    assert found.loc[("lr_latent", "lora", "ceiling"), "gain_db"] == 2
    assert set(found["autoencoder"]) == {"mine"}
    assert full["before_db"].tolist() == [28 + 3, 20 + 3]


def test_every_way_is_scored_under_both_conditions(study):  # noqa: F811
    table = adaptation.compare(study, "phantom-f4c3", BASE, 1, steps=1, batch=1)
    assert len(table) == 3 * 2 * len(study.test["hr"])
    assert set(table.lr_condition) == {"lr_latent", "lr_pixels"} and set(table.how) == {
        "none",
        "full",
        "lora",
    }
    none = table[table.how == "none"].drop_duplicates("image_id")
    wanted = metrics.psnr_db(study.own_decode("phantom-f4c3"), study.test["hr"])
    assert np.allclose(none.ceiling_db, wanted, atol=0.01)
