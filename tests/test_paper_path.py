"""The published architectures, with random weights, and a path of one's own in chapters 2 and 3.

At their real width; `python benchmarks/paper_path.py` does the same at 256 px.
"""

import json

import compvis
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from latentsr import degrade, io, phantoms
from latentsr.autoencoders import fetch, registry
from latentsr.autoencoders.load import load_autoencoder, save_autoencoder
from latentsr.companion.pipeline import notebook, scratch
from latentsr.datasets import prepare_pixels


def prepared(folder, hr_px):
    """Four phantoms as chapter 1 leaves them."""
    images = [phantoms.draw("knee", 9, number, 0).image for number in range(4)]
    hr = np.stack([prepare_pixels(image, "knee", hr_px) for image in images])
    arrays = {"hr": hr, "lr": degrade.degrade(hr, hr_px // 4), "image_id": np.array(list("abcd"))}
    arrays |= {"subject_id": arrays["image_id"], "split": np.array(["train"] * 2 + ["test"] * 2)}
    for key, values in arrays.items():
        place = folder / "data" / "knee" / f"{key}.npy"
        io.new_array(place, values.shape, values.dtype)[:] = values
    facts = {
        "note": "phantoms",
        "may_be_shown": True,
        "is_phantom": True,
        "split_by": "subject",
        "operator": "bicubic",
    }
    facts |= {
        "n_test_images": 2,
        "n_test_subjects": 2,
        "n_train_images": 2,
        "n_train_subjects": 2,
        "subject_word": "exam",
    }
    (folder / "data" / "sets.json").write_text(json.dumps({"knee": facts}))
    measures = {"psnr_db": [20.0, 21.0], "ms_ssim": [0.9, 0.9]}
    identity = io.identity("knee", method="bicubic")
    table = io.table(io.test_images(arrays), identity, measures)
    table.to_csv(folder / "data" / "baselines.csv", index=False)


def stable_diffusion(path):
    """Random weights in the layout of stabilityai/sd-vae-ft-ema."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    widths = (128, 256, 512, 512)
    model = AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    words = {
        ".to_q.": ".query.",
        ".to_k.": ".key.",
        ".to_v.": ".value.",
        ".to_out.0.": ".proj_attn.",
    }
    state = {}
    for key, value in model.state_dict().items():
        for new, old in words.items():
            key = key.replace(new, old)
        state[key] = value.contiguous()
    save_file(state, path)


def run(folder, hr_px, unet_channels, steps):
    """Run chapters 2 and 3; say what the latents' shapes are and how many scores there are."""
    prepared(folder, hr_px)
    (folder / "vaes").mkdir()
    _, state = compvis.random_state(3, 3, (1, 2, 4), width=128, rank=4)
    torch.save({"state_dict": state}, folder / "vaes" / "medvae-4-3.ckpt")
    stable_diffusion(folder / "vaes" / "sd-vae-ft-ema.safetensors")
    small = load_autoencoder("natural-f8c4")
    save_autoencoder(small, folder / "mine.safetensors")
    own_path = str(folder / "mine.safetensors")
    names, places = (
        ["sd-vae-ft-ema", "medvae-4-3", own_path],
        {k: str(folder) for k in ("inputs", "outputs")},
    )
    own = {"vaes": names, "arms": names, "batch": 1, "precision": "float32"}
    scratch.run_cells("02_autoencoders", {**places, "dataset": "knee", **own})
    found = {}
    for name in names:
        kept = io.read_arrays(folder / "autoencoders/knee/latents" / registry.display_name(name))
        arm = {"dataset": "knee", "vae": name, "grid_factor": 8, "seed": 1}
        arm |= {"lr_conditions": ["lr_latent", "upsampled_latent", "lr_pixels"]}
        arm |= {"unet_channels": unet_channels, "steps": steps, "batch": 1, "sampling_steps": 2}
        arm |= {"max_learning_rate": 1e-4, "weight_decay": 0.0, "gradient_clip": 1.0}
        arm |= {"ema_decay": 0.0, "save_every_s": 60, "attention_levels": []}
        arm |= {"pixels_only": [], "main_arms": [], "released_steps": 2, "longer_factor": 2}
        scratch.run_cells("03_train_arm", {**places, **arm})
        table = pd.read_csv(folder / "arms/knee" / registry.arm_dir(name) / "scores.csv")
        assert set(table["vae"]) == {registry.display_name(name)}
        found[registry.display_name(name)] = (
            kept["hr"].shape,
            kept["upsampled"].shape,
            table["psnr_db"].tolist(),
        )
    return found


@pytest.mark.long
def test_published_architectures_run_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "fetched_dir", lambda: tmp_path / "vaes")
    monkeypatch.setenv(notebook.IN_STAGE, "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    found = run(tmp_path, 64, [32, 32, 64], 2)
    cards = json.loads((tmp_path / "autoencoders/knee/cards.json").read_text())
    assert [round(card["parameters"] / 1e6, 1) for card in cards] == [83.7, 55.3, 0.9]
    for (hr, upsampled, psnr_db), shape in zip(
        found.values(), [(4, 8, 8), (3, 16, 16), (4, 8, 8)], strict=True
    ):
        assert hr == upsampled == (4, *shape)
        assert len(psnr_db) == 3 * 2 and all(0 < value < 60 for value in psnr_db)
