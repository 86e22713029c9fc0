"""A data set and an autoencoder of one's own, added and used; two pages of the book show this."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_layouts import IMAGE, png

from latentsr.autoencoders import cards, latents, registry
from latentsr.autoencoders import load as vaes
from latentsr.companion.pipeline import params
from latentsr.datasets import Record, adapters, load_set, pixels, sets
from latentsr.metrics import image as metrics
from latentsr.phantoms import draw


# [adapter]
def wrists(root):
    """List PNG files, one folder a patient; test.txt names those to test on."""
    tested = set((root / "test.txt").read_text().split())
    return [
        Record(
            image_id=f"{path.parent.name}-{path.stem}",
            subject_id=path.parent.name,
            split="test" if path.parent.name in tested else "train",
            path=path,
            read=partial(pixels.read_image, path),  # opened later, not here
        )
        for path in sorted(root.glob("*/*.png"))
    ]
    # [/adapter]


@pytest.fixture
def added(monkeypatch, tmp_path):
    """Do in a test what the page asks for in the package; write a tiny set in that layout."""
    monkeypatch.setattr(adapters, "wrists", wrists, raising=False)
    monkeypatch.setitem(sets.LAYOUTS, "wrists", sets.Layout("patient", "folder", "test.txt"))
    for number in range(12):
        png(
            tmp_path / f"own/p{number // 2:02d}/view{number % 2}.png",
            np.roll(IMAGE, number)[:16, :16],
        )
    (tmp_path / "own/test.txt").write_text("p03 p04 p05\n")
    return tmp_path


HOW = dict(
    **dict(hr_px=16, lr_px=4, train_images=None, test_images=None, brain_slices=1, seed=1),
    **dict(test_fraction=0.5, operator="bicubic"),
)


# [set]
def test_a_set_with_a_layout_of_its_own_goes_through_the_loader(added):
    # as sets.yaml would have it
    told = {"adapter": "wrists", "folder": "own", "anatomy": "folder"}
    entry = sets.validated(sets.SetEntry, told, "sets.wrist.")
    arrays = load_set("wrist", entry, added, **HOW)
    assert arrays["hr"].shape == (12, 16, 16)
    assert arrays["lr"].shape == (12, 4, 4)
    assert arrays["image_id"][0] == "p00-view0"
    tested = arrays["subject_id"][arrays["split"] == "test"]
    assert set(tested) == {"p03", "p04", "p05"}
    np.testing.assert_allclose(arrays["hr"][0], IMAGE[:16, :16] / 255, atol=1e-6)
    # [/set]


def test_the_checks_of_every_set_hold_for_it_too(added):
    (added / "own/test.txt").write_text("p03\n")
    entry = sets.SetEntry("wrists", "own", "folder")
    with pytest.raises(ValueError, match=r"set wrist: 6 patients, 5 in train and 1 in test; at le"):
        load_set("wrist", entry, added, **HOW)


def psnr_of_copies(vae, images):
    decoded = latents.decode_all(vae, latents.encode_all(vae, images, batch=4), batch=4)
    return float(metrics.psnr_db(decoded, images).mean()), decoded


# [autoencoder]
def test_an_autoencoder_of_ones_own_is_trained_saved_and_used_by_its_path(tmp_path):
    torch.manual_seed(0)
    phantoms = [draw("chest", seed=5, subject=i).image for i in range(3)]
    prepared = [pixels.prepare_pixels(one, "chest", 64) for one in phantoms]
    hr = np.stack(prepared)  # (N, H, W) in [0, 1]
    net = vaes.build(factor=4, latent_channels=1)  # or any AutoencoderKL of diffusers
    before, _ = psnr_of_copies(vaes.Autoencoder("mine", net), hr)

    net.requires_grad_(True)  # an Autoencoder is frozen
    images = torch.from_numpy(hr)[:, None] * 2 - 1  # (B, 1, H, W) in [-1, 1]
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(20):
        latent = net.encode(images).latent_dist.mode()
        loss = (net.decode(latent).sample - images).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    path = tmp_path / "mine.safetensors"
    vaes.save(vaes.Autoencoder("mine", net), path)

    vae = vaes.load(str(path))  # this path is what params.yaml names
    assert registry.is_vae(str(path)) and registry.label(str(path)).startswith("mine-")
    after, decoded = psnr_of_copies(vae, hr)
    assert after > before + 3  # dB
    codes = latents.encode_all(vae, hr, batch=4)  # (N, C, h, w)
    card = cards.card(vae, codes, decoded, hr)
    assert (card["factor"], card["latent_channels"]) == (4, 1)
    # [/autoencoder]


def test_its_path_is_taken_as_a_parameter(tmp_path):
    text = Path("profiles/smoke.yaml").read_text()
    named = text.replace("vaes: [", f"vaes: [{tmp_path}/mine.safetensors, ", 1)
    assert named != text
    (tmp_path / "params.yaml").write_text(named)
    settings = params.read(tmp_path / "params.yaml")
    assert settings["autoencoders"].vaes[0] == f"{tmp_path}/mine.safetensors"
