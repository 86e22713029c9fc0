"""The published architectures at their real size, with random weights, through chapters 2 and 3."""

import json

import compvis
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from latentsr import degrade, notebook, phantoms, scores, scratch, vaes
from latentsr.datasets import prepare_pixels

HR, LR = 256, 64


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Four phantoms as chapter 1 leaves them."""
    images = [phantoms.draw("knee", 9, number, 0).image for number in range(4)]
    hr = np.stack([prepare_pixels(image, "knee", HR) for image in images])
    arrays = {"hr": hr, "lr": degrade.degrade(hr, LR), "image_id": np.array(list("abcd"))}
    arrays |= {
        "subject_id": np.array(list("abcd")),
        "split": np.array(["train"] * 2 + ["test"] * 2),
    }
    for key, values in arrays.items():
        place = tmp_path / "data" / "knee" / f"{key}.npy"
        scores.new_array(place, values.shape, values.dtype)[:] = values
    facts = {"note": "phantoms", "may_be_shown": True, "is_phantom": True, "split_by": "subject"}
    facts |= {"n_test_images": 2, "n_test_subjects": 2, "subject_word": "exam"}
    (tmp_path / "data" / "sets.json").write_text(json.dumps({"knee": facts}))
    test = scores.test_images(arrays)
    identity = scores.identity("knee", method="bicubic")
    table = scores.table(test, identity, {"psnr_db": [20.0, 21.0], "ms_ssim": [0.9, 0.9]})
    table.to_csv(tmp_path / "data" / "baselines.csv", index=False)
    monkeypatch.setattr(vaes, "FETCHED", tmp_path / "vaes")
    monkeypatch.setenv(notebook.IN_STAGE, "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "vaes").mkdir()
    return tmp_path


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


@pytest.mark.slow
def test_real_shapes_run_from_end_to_end(results, monkeypatch):
    _, state = compvis.random_state(3, 3, (1, 2, 4), width=128, rank=4)
    torch.save({"state_dict": state}, results / "vaes" / "medvae-4-3.ckpt")
    stable_diffusion(results / "vaes" / "sd-vae-ft-ema.safetensors")
    names, places = (
        ["sd-vae-ft-ema", "medvae-4-3"],
        {k: str(results) for k in ("inputs", "outputs")},
    )
    own = {"dataset": "knee", "vaes": names, "arms": names, "batch": 1, "precision": "float32"}
    scratch.run_cells("02_autoencoders", {**places, **own})
    cards = json.loads((results / "autoencoders/knee/cards.json").read_text())
    assert [card["latent_channels"] for card in cards] == [4, 3]
    assert [round(card["parameters"] / 1e6, 1) for card in cards] == [83.7, 55.3]
    for name, shape in zip(names, [(4, 4, 32, 32), (4, 3, 64, 64)], strict=True):
        kept = scores.read_arrays(results / "autoencoders/knee/latents" / name)
        assert kept["hr"].shape == kept["upsampled"].shape == shape
        run = {"dataset": "knee", "vae": name, "grid_factor": 8, "seed": 1}
        run |= {"lr_conditions": ["lr_latent", "upsampled_latent", "lr_pixels"]}
        run |= {"unet_channels": [128, 256, 512, 512], "steps": 2, "batch": 1, "sampling_steps": 2}
        run |= {"max_learning_rate": 1e-4, "weight_decay": 0.0, "gradient_clip": 1.0}
        scratch.run_cells("03_train_arm", {**places, **run})
        table = pd.read_csv(results / "arms/knee" / name / "scores.csv")
        assert len(table) == 3 * 2 and table["psnr_db"].between(0, 60).all()
